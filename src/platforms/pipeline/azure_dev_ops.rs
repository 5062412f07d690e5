//! Azure DevOps: paths, and the parts of its answers that matter. Names as in api-version 7.1.
//!
//! Runs are read as builds: that list is bounded, ordered, filtered by pipeline, and holds the parameters that a run was queued with,
//! which the list of runs left out at times (MicrosoftDocs/vsts-rest-api-specs#579).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::run::{Run, RunState, SUCCESSES_READ_MAX, is_version};
use crate::{azure::resource_path::encoded, domain::target::PipelineTarget, platforms::answer::parse, ports::PortError};

/// What a token for Azure DevOps is asked for: the service's own application id.
pub const SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

const API_VERSION: &str = "api-version=7.1";

/// A pipeline by its number in one project.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub organization: &'a str,
    pub project: &'a str,
    pub pipeline: u32,
    pub branch: &'a str,
}

impl Place<'_> {
    fn project(&self) -> String {
        format!("/{}/{}/_apis", encoded(self.organization), encoded(self.project))
    }

    /// The newest runs, whatever became of them.
    pub fn runs(&self) -> String {
        format!(
            "{}/build/builds?definitions={}&queryOrder=queueTimeDescending&%24top=100&{API_VERSION}",
            self.project(),
            self.pipeline
        )
    }

    /// The newest successes of the branch, however many other runs came after them.
    pub fn successes(&self) -> String {
        format!(
            "{}/build/builds?definitions={}&branchName={}&resultFilter=succeeded&queryOrder=finishTimeDescending\
             &%24top={SUCCESSES_READ_MAX}&{API_VERSION}",
            self.project(),
            self.pipeline,
            encoded(&reference(self.branch))
        )
    }

    pub fn run(&self, id: u64) -> String {
        format!("{}/build/builds/{id}?{API_VERSION}", self.project())
    }

    /// What a run does at the moment, approvals included.
    pub fn timeline(&self, id: u64) -> String {
        format!("{}/build/builds/{id}/timeline?{API_VERSION}", self.project())
    }

    pub fn definition(&self) -> String {
        format!("{}/build/definitions/{}?{API_VERSION}", self.project(), self.pipeline)
    }

    /// Where a run is queued.
    pub fn queue(&self) -> String {
        format!("{}/pipelines/{}/runs?{API_VERSION}", self.project(), self.pipeline)
    }

    pub fn queue_body(&self, target: &PipelineTarget, version: &str, decision: &str) -> Value {
        json!({
            "resources": { "repositories": { "self": { "refName": reference(self.branch) } } },
            "templateParameters": {
                target.version_parameter.as_str(): version,
                target.decision_parameter.as_str(): decision,
            },
        })
    }
}

fn reference(branch: &str) -> String {
    if branch.starts_with("refs/") { branch.to_owned() } else { format!("refs/heads/{branch}") }
}

/// A build, which is what a run of a pipeline is called in older parts of the API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    id: u64,
    #[serde(rename = "buildNumber")]
    number: Option<String>,
    /// `notStarted`, `postponed`, `inProgress`, `cancelling`, `completed`.
    status: Option<String>,
    /// `succeeded`, `partiallySucceeded`, `failed`, `canceled`.
    result: Option<String>,
    reason: Option<String>,
    source_branch: Option<String>,
    /// The commit.
    source_version: Option<String>,
    start_time: Option<Timestamp>,
    finish_time: Option<Timestamp>,
    template_parameters: Option<Map<String, Value>>,
}

/// The runs of a list.
pub fn runs(target: &PipelineTarget, place: &Place<'_>, operation: &'static str, answer: Value) -> Result<Vec<Run>, PortError> {
    #[derive(Deserialize)]
    struct List {
        value: Vec<Build>,
    }
    let list: List = parse(operation, answer)?;
    Ok(list.value.into_iter().map(|build| build.into_run(target, place)).collect())
}

/// One run.
pub fn run(target: &PipelineTarget, place: &Place<'_>, operation: &'static str, answer: Value) -> Result<Run, PortError> {
    Ok(parse::<Build>(operation, answer)?.into_run(target, place))
}

impl Build {
    fn into_run(self, target: &PipelineTarget, place: &Place<'_>) -> Run {
        let parameter = |name: &str| {
            let all = self.template_parameters.as_ref()?;
            let value = all.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let version = parameter(&target.version_parameter).or_else(|| self.source_version.clone());
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let is = |text: &Option<String>, word: &str| text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(word));
        let state = if !is(&self.status, "completed") {
            RunState::UnderWay { waits_for_approval: false }
        } else if is(&self.result, "succeeded") {
            RunState::Succeeded
        } else if self.start_time.is_none() {
            RunState::NeverRan(word(&self.result))
        } else {
            RunState::Ended(word(&self.result))
        };
        let branch = self.source_branch.unwrap_or_default();
        Run {
            id: self.id,
            // A stage that is run again ends its run again.
            attempt: self.finish_time.map(|at| at.to_string()).unwrap_or_default(),
            number: self.number.unwrap_or_else(|| self.id.to_string()),
            state,
            version: version.filter(|text| is_version(text)),
            decision: parameter(&target.decision_parameter),
            deploys: branch == reference(place.branch),
            of_pull_request: is(&self.reason, "pullRequest") || branch.starts_with("refs/pull/"),
            branch,
            finished_at: self.finish_time,
        }
    }
}

/// Whether some stage of a run waits for a person. A timeline that is empty says no.
pub fn waits_for_approval(timeline: &Value) -> bool {
    let text = |record: &Value, key: &str, word: &str| {
        record.get(key).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(word))
    };
    let records = timeline.get("records").and_then(Value::as_array);
    records.is_some_and(|all| {
        all.iter().any(|record| text(record, "type", "Checkpoint.Approval") && text(record, "state", "inProgress"))
    })
}

/// `enabled`, `paused` or `disabled`.
pub fn queue_status(definition: &Value) -> Option<&str> {
    definition.get("queueStatus").and_then(Value::as_str)
}

/// The id of the run that was queued.
pub fn queued(answer: &Value) -> Option<u64> {
    answer.get("id").and_then(Value::as_u64)
}
