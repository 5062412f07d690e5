//! GitHub's API: workflows, their runs, and the dispatch of one. Names as in API version 2022-11-28.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::{Asked, BRANCH, FIRST_COMMIT, GITHUB_TOKEN, Pipeline, PipelinePlace, Progress, Run, State};
use crate::sim::call::{Call, Reply};

pub(super) fn answer(state: &mut State, call: &Call, now: Timestamp, here: &Url, fails: bool) -> Result<Reply, Reply> {
    if call.header("user-agent").is_none_or(str::is_empty) {
        return Err(refuse(StatusCode::FORBIDDEN, "Request forbidden by administrative rules. A User-Agent header is required."));
    }
    if call.bearer_token() != Some(GITHUB_TOKEN) {
        return Err(refuse(StatusCode::UNAUTHORIZED, "Bad credentials"));
    }
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let ["repos", owner, name, "actions", below @ ..] = segments.as_slice() else { return Err(not_found()) };
    let repository = format!("{owner}/{name}");
    let place = |workflow: &str| PipelinePlace::GitHub { repository: repository.clone(), workflow: workflow.to_owned() };
    match (call.method.as_str(), below) {
        ("GET", ["workflows", workflow]) => {
            let pipeline = &state.pipelines[state.find(&place(workflow)).ok_or_else(not_found)?];
            Ok(Reply::json(
                StatusCode::OK,
                &json!({
                    "id": 1,
                    "name": pipeline.set_up.workload,
                    "path": format!(".github/workflows/{workflow}"),
                    "state": if pipeline.enabled { "active" } else { "disabled_manually" },
                }),
            ))
        }
        ("GET", ["workflows", workflow, "runs"]) => {
            let pipeline = &state.pipelines[state.find(&place(workflow)).ok_or_else(not_found)?];
            let page = call.parameter("per_page").and_then(|text| text.parse().ok()).unwrap_or(30);
            let (branch, success) = (call.parameter("branch"), call.parameter("status") == Some("success"));
            let asked_for = |run: &&Run| {
                branch.is_none_or(|branch| run.branch == branch) && (!success || matches!(run.progress, Progress::Succeeded(_)))
            };
            let all: Vec<&Run> = pipeline.runs.iter().rev().filter(asked_for).collect();
            let runs: Vec<Value> = all.iter().take(page).map(|run| workflow_run(pipeline, run)).collect();
            Ok(Reply::json(StatusCode::OK, &json!({ "total_count": all.len(), "workflow_runs": runs })))
        }
        ("GET", ["runs", id]) => {
            let id: u64 = id.parse().map_err(|_| not_found())?;
            let here = state.pipelines.iter().filter(|pipeline| match &pipeline.set_up.place {
                PipelinePlace::GitHub { repository: known, .. } => known.eq_ignore_ascii_case(&repository),
                PipelinePlace::AzureDevOps { .. } => false,
            });
            let run =
                here.flat_map(|pipeline| pipeline.runs.iter().map(move |run| (pipeline, run))).find(|(_, run)| run.id == id);
            let (pipeline, run) = run.ok_or_else(not_found)?;
            Ok(Reply::json(StatusCode::OK, &workflow_run(pipeline, run)))
        }
        ("POST", ["workflows", workflow, "dispatches"]) => {
            let at = state.find(&place(workflow)).ok_or_else(not_found)?;
            let (asked, details) = asked(&state.pipelines[at], call, fails)?;
            let id = state.queue(at, asked, now);
            state.pipelines[at].asked_for += 1;
            let reply = if details {
                let url = format!("{here}repos/{repository}/actions/runs/{id}");
                Reply::json(StatusCode::OK, &json!({ "workflow_run_id": id, "run_url": url, "html_url": url }))
            } else {
                Reply::empty(StatusCode::NO_CONTENT)
            };
            Ok(reply.with_effects(1))
        }
        _ => Err(not_found()),
    }
}

/// What a dispatch asks for, if the workflow takes it; and whether the run's id is wanted.
fn asked(pipeline: &Pipeline, call: &Call, fails: bool) -> Result<(Asked, bool), Reply> {
    let unprocessable = |message: &str| refuse(StatusCode::UNPROCESSABLE_ENTITY, message);
    if pipeline.queueing_denied {
        return Err(refuse(StatusCode::FORBIDDEN, "Resource not accessible by personal access token"));
    }
    if !pipeline.enabled {
        return Err(unprocessable("Cannot trigger a 'workflow_dispatch' on a disabled workflow"));
    }
    if !pipeline.dispatchable {
        return Err(unprocessable("Workflow does not have 'workflow_dispatch' trigger"));
    }
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| refuse(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?;
    let reference = body["ref"].as_str().unwrap_or_default();
    if reference != BRANCH {
        return Err(unprocessable(&format!("No ref found for: {reference}")));
    }
    let given = body["inputs"].as_object().cloned().unwrap_or_default();
    let names = &pipeline.set_up.inputs;
    let unknown: Vec<&String> = given.keys().filter(|key| !names.contains(key)).collect();
    if !unknown.is_empty() {
        return Err(unprocessable(&format!("Unexpected inputs provided: {unknown:?}")));
    }
    let value = |name: &String| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let asked = Asked {
        inputs: Some([value(&names[0]), value(&names[1])]),
        commit: FIRST_COMMIT.to_owned(),
        branch: BRANCH.to_owned(),
        taking: None,
        fails,
    };
    Ok((asked, body["return_run_details"] == json!(true)))
}

/// The title is what `run-name: deploy version=... decisionId=...` makes of the inputs; of a push it is the commit's message.
fn workflow_run(pipeline: &Pipeline, run: &Run) -> Value {
    let (status, conclusion) = match run.progress {
        Progress::WaitsForApproval => ("waiting", None),
        Progress::Ends(_) => ("in_progress", None),
        Progress::Succeeded(_) => ("completed", Some("success")),
        Progress::Failed(_) => ("completed", Some("failure")),
    };
    let title = match &run.inputs {
        Some(values) => {
            let marks = pipeline.set_up.inputs.iter().zip(values);
            let marks: Vec<String> =
                marks.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default())).collect();
            format!("deploy {}", marks.join(" "))
        }
        None => "Make it better".to_owned(),
    };
    json!({
        "id": run.id,
        "name": pipeline.set_up.workload,
        "display_title": title,
        "run_number": run.number,
        "run_attempt": 1,
        "event": if run.inputs.is_some() { "workflow_dispatch" } else { "push" },
        "status": status,
        "conclusion": conclusion,
        "head_branch": run.branch,
        "head_sha": run.commit,
        "created_at": run.queued_at,
        "updated_at": run.ended_at().unwrap_or(run.queued_at),
    })
}

fn not_found() -> Reply {
    refuse(StatusCode::NOT_FOUND, "Not Found")
}

fn refuse(status: StatusCode, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.as_str() }),
    )
}
