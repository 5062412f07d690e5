//! The one step of a rollback: one more run, asked for an explicit version; and the run followed to its end.
//!
//! **Why it counts as a toggle.** A second run for the same version would not undo the first, but it is no repetition without
//! effect either: it takes effect minutes later, after whatever was rolled out in between, which it would take back; and it is a rollout of its own with
//! a token that nobody marked as ours. So it is sent once, like a toggle, and a lost answer is found by looking.

use serde_json::{Value, json};
use url::Url;

use super::{
    PipelineClients, Who, azure_dev_ops, github,
    observe::{look_for_approval, read, server, under_way},
    run::{Run, RunState, is_version, shown},
};
use crate::{
    azure::answer::clean,
    domain::{
        observation::WayBack,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        target::{PipelinePlace, PipelineTarget},
    },
    ports::{PortError, PortErrorKind},
};

/// What a way back and a step remember: `{"version": "1.41.2"}`. Paths are made from the policy's own names, never stored.
pub const VERSION: &str = "version";
/// What a step and an operation remember: the record's id.
const DECISION: &str = "decision";
/// What an operation remembers where the server told: the id of the run.
const RUN: &str = "run";

/// Runs take minutes; either server asks not to be polled too often.
const POLL_AFTER_SECONDS: u32 = 15;
const POLL_AFTER_SECONDS_MAX: u64 = 600;

pub fn step(target: &PipelineTarget, way_back: &WayBack, fence: &Fence) -> Step {
    let version = way_back.detail.get(VERSION).and_then(Value::as_str).unwrap_or_default();
    let what = match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, .. } => {
            format!("queue pipeline {pipeline} of `{organization}/{project}`")
        }
        PipelinePlace::GitHub { repository, workflow, .. } => format!("dispatch workflow `{workflow}` of `{repository}`"),
    };
    Step {
        says: format!("{what} with `{}` = {}", target.version_parameter, shown(version)),
        kind: StepKind::Toggle,
        detail: json!({ VERSION: version, DECISION: fence.record.0 }),
    }
}

/// Asks for the run once. What is stored may choose the version only: which pipeline, and of which branch, says the policy.
pub async fn submit(clients: &PipelineClients, target: &PipelineTarget, step: &Step) -> Submission {
    let text = |key: &str| step.detail.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, decision) = (text(VERSION), text(DECISION));
    if !is_version(version) || !is_version(decision) {
        return Submission::Refused {
            says: format!("`{}` is no version that may be asked for; nothing was sent", clean(version)),
        };
    }
    let connection = match clients.connection(&target.place) {
        Ok(connection) => connection,
        Err(error) => return Submission::Refused { says: error.says },
    };
    let token = match clients.token(&target.place, Who::Actor).await {
        Ok(token) => token,
        Err(error) => return Submission::NotSent { says: error.says, retry_after_seconds: None },
    };
    let (path, body) = match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, branch, .. } => {
            let place = azure_dev_ops::Place { organization, project, pipeline: *pipeline, branch };
            (place.queue(), place.queue_body(target, version, decision))
        }
        PipelinePlace::GitHub { api, repository, workflow, reference, .. } => {
            let place = github::Place { repository, workflow, reference };
            let tells = Url::parse(api).is_ok_and(|api| !github::is_enterprise_server(&api));
            (place.dispatch(), place.dispatch_body(target, version, decision, tells))
        }
    };
    let answer = match connection.submit(&path, &token, &body).await {
        Ok(answer) => answer,
        Err(Submission::Refused { says }) => return Submission::Refused { says: with_hint(target, says) },
        Err(other) => return other,
    };
    // The yes alone counts: a body that can't be read only means that the run is looked for in the list.
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let id = match &target.place {
        PipelinePlace::AzureDevOps { .. } => azure_dev_ops::queued(&body),
        PipelinePlace::GitHub { .. } => github::dispatched(&body),
    };
    let operation = match id {
        Some(id) => json!({ RUN: id, DECISION: decision }),
        None => json!({ DECISION: decision }),
    };
    Submission::Accepted { operation, poll_after_seconds: POLL_AFTER_SECONDS }
}

fn with_hint(target: &PipelineTarget, says: String) -> String {
    let (version, decision) = (&target.version_parameter, &target.decision_parameter);
    let hint = match target.place {
        PipelinePlace::AzureDevOps { .. } => format!("the pipeline must declare the parameters `{version}` and `{decision}`"),
        PipelinePlace::GitHub { .. } => {
            format!("the workflow must have a `workflow_dispatch` trigger with the inputs `{version}` and `{decision}`")
        }
    };
    if says.starts_with("400") || says.starts_with("422") { format!("{says}; {hint}") } else { says }
}

/// How the run stands. One that waits for a person is left to the observation, which can say so in words.
pub async fn poll(clients: &PipelineClients, target: &PipelineTarget, operation: &Value) -> Result<OperationState, PortError> {
    let unknown = |says: String| Ok(OperationState::Unknown { says: format!("{says}; the list of runs tells") });
    let Some(id) = operation.get(RUN).and_then(Value::as_u64) else {
        let decision = operation.get(DECISION).and_then(Value::as_str).unwrap_or_default();
        let runs = read(clients, target).await?;
        return match runs.iter().find(|run| run.decision.as_deref() == Some(decision)) {
            Some(run) => Ok(state(target, run, POLL_AFTER_SECONDS)),
            None => unknown("the server took the call without naming the run, and none with our id shows yet".to_owned()),
        };
    };
    match read_run(clients, target, id).await {
        Ok((run, poll_after_seconds)) => Ok(state(target, &run, poll_after_seconds)),
        Err(error) => match error.kind {
            PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => unknown(error.to_string()),
            PortErrorKind::Transient | PortErrorKind::Throttled => Err(error),
        },
    }
}

async fn read_run(clients: &PipelineClients, target: &PipelineTarget, id: u64) -> Result<(Run, u32), PortError> {
    const OPERATION: &str = "read the run";
    let connection = clients.connection(&target.place)?;
    let token = clients.token(&target.place, Who::Reader).await?;
    let seconds = |wait: Option<std::time::Duration>| {
        let asked = wait.map_or(0, |wait| wait.as_secs()).min(POLL_AFTER_SECONDS_MAX);
        u32::try_from(asked).unwrap_or(POLL_AFTER_SECONDS).max(POLL_AFTER_SECONDS)
    };
    match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, branch, .. } => {
            let place = azure_dev_ops::Place { organization, project, pipeline: *pipeline, branch };
            let (answer, wait) = connection.read(OPERATION, &place.run(id), &token).await?;
            let mut run = azure_dev_ops::run(target, &place, OPERATION, answer)?;
            if matches!(run.state, RunState::UnderWay { .. }) {
                look_for_approval(&connection, &place, &token, &mut run).await;
            }
            Ok((run, seconds(wait)))
        }
        PipelinePlace::GitHub { repository, workflow, reference, .. } => {
            let place = github::Place { repository, workflow, reference };
            let (answer, wait) = connection.read(OPERATION, &place.run(id), &token).await?;
            Ok((github::run(target, &place, OPERATION, answer)?, seconds(wait)))
        }
    }
}

fn state(target: &PipelineTarget, run: &Run, poll_after_seconds: u32) -> OperationState {
    match &run.state {
        RunState::UnderWay { waits_for_approval: false } => OperationState::Running { poll_after_seconds },
        RunState::UnderWay { waits_for_approval: true } => {
            let says = under_way(target, run).unwrap_or_else(|| run.name());
            OperationState::WaitsForAPerson { says, poll_after_seconds }
        }
        RunState::Succeeded => OperationState::Succeeded,
        RunState::Ended(word) | RunState::NeverRan(word) => {
            OperationState::Failed { says: format!("{} ended as `{}` in {}", run.name(), clean(word), server(target)) }
        }
    }
}
