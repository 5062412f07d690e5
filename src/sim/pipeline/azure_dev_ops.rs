//! Azure DevOps over HTTP: definitions, builds, timelines, and the queueing of runs. Names as in api-version 7.1.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Asked, BRANCH, FIRST_COMMIT, Pipeline, PipelinePlace, Progress, Run};
use crate::sim::{
    call::{Call, Reply, Role},
    world::World,
};

pub(super) fn answer(world: &mut World, call: &Call, now: Timestamp, here: &Url, fails: bool) -> Result<Reply, Reply> {
    if let Err((_, message)) = world.identities.accept(call.bearer_token(), Role::AzureDevOps) {
        return Err(not_signed_in(call, message));
    }
    if call.parameter("api-version") != Some("7.1") {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "VssVersionNotSpecifiedException",
            "No api-version was supplied, or none that is known.",
        ));
    }
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let [organization, project, "_apis", below @ ..] = segments.as_slice() else {
        return Err(not_there("The resource cannot be found."));
    };
    let place = |pipeline| PipelinePlace::AzureDevOps {
        organization: (*organization).to_owned(),
        project: (*project).to_owned(),
        pipeline,
    };
    let state = &mut world.pipelines;
    let ok = |body: Value| Ok(Reply::json(StatusCode::OK, &body));
    match (call.method.as_str(), below) {
        ("GET", ["build", "definitions", number]) => {
            let at = number.parse().ok().and_then(|number| state.find(&place(number)));
            let pipeline = &state.pipelines[at.ok_or_else(|| no_definition(number))?];
            ok(json!({
                "id": number.parse::<u32>().unwrap_or_default(),
                "name": pipeline.set_up.workload,
                "type": "build",
                "queueStatus": if pipeline.enabled { "enabled" } else { "disabled" },
                "process": { "type": 2, "yamlFilename": "azure-pipelines.yml" },
            }))
        }
        ("GET", ["build", "builds"]) => {
            let number = call.parameter("definitions").unwrap_or_default();
            let at = number.parse().ok().and_then(|number| state.find(&place(number)));
            // A list for a definition that is not there is empty, not missing.
            let top = call.parameter("$top").and_then(|text| text.parse().ok()).unwrap_or(1000);
            let (branch, success) = (call.parameter("branchName"), call.parameter("resultFilter") == Some("succeeded"));
            let asked_for = |run: &&Run| {
                branch.is_none_or(|branch| branch == format!("refs/heads/{}", run.branch))
                    && (!success || matches!(run.progress, Progress::Succeeded(_)))
            };
            let pipeline = at.map(|at| &state.pipelines[at]);
            let mut runs: Vec<&Run> = pipeline.iter().flat_map(|pipeline| pipeline.runs.iter().rev().filter(asked_for)).collect();
            if call.parameter("queryOrder") == Some("finishTimeDescending") {
                runs.sort_by_key(|run| std::cmp::Reverse(run.ended_at()));
            }
            let builds: Vec<Value> =
                pipeline.iter().flat_map(|pipeline| runs.iter().take(top).map(|run| build(pipeline, run))).collect();
            ok(json!({ "count": builds.len(), "value": builds }))
        }
        ("GET", ["build", "builds", id, rest @ ..]) => {
            let id: u64 = id.parse().map_err(|_| not_there("The requested build could not be found."))?;
            let found = state.pipelines.iter().filter(|pipeline| match pipeline.set_up.place {
                PipelinePlace::AzureDevOps { pipeline: number, .. } => pipeline.set_up.place.is(&place(number)),
                PipelinePlace::GitHub { .. } => false,
            });
            let run =
                found.flat_map(|pipeline| pipeline.runs.iter().map(move |run| (pipeline, run))).find(|(_, run)| run.id == id);
            let (pipeline, run) = run.ok_or_else(|| not_there(&format!("The requested build {id} could not be found.")))?;
            match rest {
                [] => ok(build(pipeline, run)),
                ["timeline"] => ok(timeline(run)),
                _ => Err(not_there("The resource cannot be found.")),
            }
        }
        ("POST", ["pipelines", number, "runs"]) => {
            let at = number.parse().ok().and_then(|number| state.find(&place(number))).ok_or_else(|| no_definition(number))?;
            let asked = asked(&state.pipelines[at], call, fails)?;
            let id = state.queue(at, asked, now);
            let pipeline = &mut state.pipelines[at];
            pipeline.asked_for += 1;
            let answer = pipeline.runs.last().map(|run| queued(pipeline, run, id, here, organization, project));
            Ok(Reply::json(StatusCode::OK, &answer.unwrap_or_default()).with_effects(1))
        }
        _ if call.method != Method::GET => Err(refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "VssRequestContentTypeNotSupportedException",
            "The method is not supported.",
        )),
        _ => Err(not_there("The resource cannot be found.")),
    }
}

/// What a request to queue asks for, if the pipeline takes it.
fn asked(pipeline: &Pipeline, call: &Call, fails: bool) -> Result<Asked, Reply> {
    let invalid = |message: &str| refuse(StatusCode::BAD_REQUEST, "PipelineValidationException", message);
    if pipeline.queueing_denied {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            "TF215106: Access denied. The identity needs Queue builds permissions for this pipeline to perform the action.",
        ));
    }
    if !pipeline.enabled {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "DefinitionDisabledException",
            "The pipeline is disabled. Queueing of runs is not possible.",
        ));
    }
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| invalid("The request body is no JSON."))?;
    let reference = body.pointer("/resources/repositories/self/refName").and_then(Value::as_str).unwrap_or("refs/heads/main");
    if reference != format!("refs/heads/{BRANCH}") {
        return Err(invalid(&format!("Could not find the branch '{reference}' in the repository of the pipeline.")));
    }
    let given = body["templateParameters"].as_object().cloned().unwrap_or_default();
    let names = &pipeline.set_up.inputs;
    if let Some(unknown) = given.keys().find(|key| !names.contains(key)) {
        return Err(invalid(&format!("/azure-pipelines.yml: Unexpected parameter '{unknown}'")));
    }
    let value = |name: &String| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Asked {
        inputs: Some([value(&names[0]), value(&names[1])]),
        commit: FIRST_COMMIT.to_owned(),
        branch: BRANCH.to_owned(),
        taking: None,
        fails,
    })
}

fn build(pipeline: &Pipeline, run: &Run) -> Value {
    let (status, result) = match run.progress {
        Progress::WaitsForApproval | Progress::Ends(_) => ("inProgress", None),
        Progress::Succeeded(_) => ("completed", Some("succeeded")),
        Progress::Failed(_) => ("completed", Some("failed")),
    };
    let mut parameters = Map::new();
    if let Some(inputs) = &run.inputs {
        for (name, value) in pipeline.set_up.inputs.iter().zip(inputs) {
            if let Some(value) = value {
                parameters.insert(name.clone(), json!(value));
            }
        }
    }
    json!({
        "id": run.id,
        "buildNumber": number(run),
        "status": status,
        "result": result,
        "queueTime": run.queued_at,
        "startTime": run.queued_at,
        "finishTime": run.ended_at(),
        "sourceBranch": format!("refs/heads/{}", run.branch),
        "sourceVersion": run.commit,
        "reason": if run.inputs.is_some() { "manual" } else { "individualCI" },
        "templateParameters": parameters,
    })
}

fn number(run: &Run) -> String {
    format!("{}.{}", run.queued_at.strftime("%Y%m%d"), run.number)
}

fn timeline(run: &Run) -> Value {
    let approval = match run.progress {
        Progress::WaitsForApproval => "inProgress",
        Progress::Ends(_) | Progress::Succeeded(_) | Progress::Failed(_) => "completed",
    };
    json!({
        "records": [
            { "id": format!("{}-1", run.id), "type": "Stage", "name": "Deploy", "state": "pending" },
            { "id": format!("{}-2", run.id), "type": "Checkpoint.Approval", "name": "Checkpoint.Approval", "state": approval },
        ],
    })
}

fn queued(pipeline: &Pipeline, run: &Run, id: u64, here: &Url, organization: &str, project: &str) -> Value {
    json!({
        "id": id,
        "name": number(run),
        "state": "inProgress",
        "createdDate": run.queued_at,
        "pipeline": { "name": pipeline.set_up.workload, "folder": "\\" },
        "templateParameters": build(pipeline, run)["templateParameters"],
        "url": format!("{here}{organization}/{project}/_apis/pipelines/runs/{id}"),
    })
}

/// A page to sign in, unless the caller asked for a plain no.
fn not_signed_in(call: &Call, message: &str) -> Reply {
    if call.header("x-tfs-fedauthredirect").is_some_and(|value| value.eq_ignore_ascii_case("suppress")) {
        return Reply::text(StatusCode::UNAUTHORIZED, "text/html; charset=utf-8", format!("<html>{message}</html>"));
    }
    Reply::text(StatusCode::NON_AUTHORITATIVE_INFORMATION, "text/html; charset=utf-8", "<html>Sign in</html>".to_owned())
}

fn no_definition(number: &str) -> Reply {
    refuse(
        StatusCode::NOT_FOUND,
        "DefinitionNotFoundException",
        &format!("The pipeline {number} could not be found, or the identity may not see it."),
    )
}

fn not_there(message: &str) -> Reply {
    refuse(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
}

/// The error body of Azure DevOps.
fn refuse(status: StatusCode, kind: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "$id": "1", "innerException": null, "message": message, "typeKey": kind, "errorCode": 0, "eventId": 3000 }),
    )
}
