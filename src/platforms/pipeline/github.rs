//! GitHub Actions: paths, and the parts of its answers that matter. Names as in API version 2022-11-28.
//!
//! A run does not tell its inputs, so the workflow's `run-name` must: `version=1.41.2 decisionId=...` in it says both.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::run::{Run, RunState, SUCCESSES_READ_MAX, is_version};
use crate::platforms::answer::parse;
use crate::{azure::resource_path::encoded, domain::target::PipelineTarget, ports::PortError};

/// A workflow by its file name in one repository.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    pub workflow: &'a str,
    pub reference: &'a str,
}

impl Place<'_> {
    fn actions(&self) -> String {
        let (owner, name) = self.repository.split_once('/').unwrap_or_default();
        format!("/repos/{}/{}/actions", encoded(owner), encoded(name))
    }

    pub fn workflow(&self) -> String {
        format!("{}/workflows/{}", self.actions(), encoded(self.workflow))
    }

    /// The newest runs, whatever became of them. `exclude_pull_requests` leaves out a field of each run, and no run.
    pub fn runs(&self) -> String {
        format!("{}/runs?per_page=50&exclude_pull_requests=true", self.workflow())
    }

    /// The newest successes of the branch, however many other runs came after them. Pull requests of forks may have a branch of that name.
    pub fn successes(&self) -> String {
        let branch = encoded(self.branch());
        format!(
            "{}/runs?branch={branch}&status=success&per_page={SUCCESSES_READ_MAX}&exclude_pull_requests=true",
            self.workflow()
        )
    }

    fn branch(&self) -> &str {
        let reference = self.reference;
        reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix("refs/tags/")).unwrap_or(reference)
    }

    pub fn run(&self, id: u64) -> String {
        format!("{}/runs/{id}?exclude_pull_requests=true", self.actions())
    }

    /// Where a run is asked for.
    pub fn dispatch(&self) -> String {
        format!("{}/dispatches", self.workflow())
    }

    /// `with_details`: answer with the id of the run, which Enterprise Server refuses as an unknown key.
    pub fn dispatch_body(&self, target: &PipelineTarget, version: &str, decision: &str, with_details: bool) -> Value {
        let mut body = json!({
            "ref": self.reference,
            "inputs": {
                target.version_parameter.as_str(): version,
                target.decision_parameter.as_str(): decision,
            },
        });
        if with_details && let Some(body) = body.as_object_mut() {
            body.insert("return_run_details".to_owned(), json!(true));
        }
        body
    }
}

/// Whether this API is an Enterprise Server's, whose path begins with `/api/v3`. Source: its documentation.
pub fn is_enterprise_server(api: &Url) -> bool {
    api.path().starts_with("/api/v3")
}

#[derive(Debug, Deserialize)]
struct WorkflowRun {
    id: u64,
    run_number: Option<u64>,
    run_attempt: Option<u64>,
    /// What `run-name` made of the inputs; without it a commit's message or the workflow's name.
    display_title: Option<String>,
    event: Option<String>,
    /// `queued`, `requested`, `pending`, `waiting`, `in_progress`, `completed`.
    status: Option<String>,
    conclusion: Option<String>,
    head_branch: Option<String>,
    head_sha: Option<String>,
    /// When it ended, once it has: GitHub names no better time for a whole run.
    updated_at: Option<Timestamp>,
}

/// The runs of a list.
pub fn runs(target: &PipelineTarget, place: &Place<'_>, operation: &'static str, answer: Value) -> Result<Vec<Run>, PortError> {
    #[derive(Deserialize)]
    struct List {
        workflow_runs: Vec<WorkflowRun>,
    }
    let list: List = parse(operation, answer)?;
    Ok(list.workflow_runs.into_iter().map(|run| run.into_run(target, place)).collect())
}

/// One run.
pub fn run(target: &PipelineTarget, place: &Place<'_>, operation: &'static str, answer: Value) -> Result<Run, PortError> {
    Ok(parse::<WorkflowRun>(operation, answer)?.into_run(target, place))
}

impl WorkflowRun {
    fn into_run(self, target: &PipelineTarget, place: &Place<'_>) -> Run {
        let title = self.display_title.as_deref().unwrap_or_default();
        let event = self.event.as_deref().unwrap_or_default();
        // Such a run has no inputs, and its title may be somebody's commit message: it deploys what was pushed.
        let version = match event {
            "push" | "release" | "create" => self.head_sha.clone(),
            _ => marked(title, &target.version_parameter),
        };
        let word = self.conclusion.clone().unwrap_or_else(|| "unknown".to_owned());
        let state = match (self.status.as_deref().unwrap_or_default(), self.conclusion.as_deref().unwrap_or_default()) {
            ("completed", "success") => RunState::Succeeded,
            // `action_required`: a run from outside that nobody let start.
            ("completed", "skipped" | "startup_failure" | "stale" | "action_required") => RunState::NeverRan(word),
            ("completed", _) => RunState::Ended(word),
            (status, _) => RunState::UnderWay { waits_for_approval: status == "waiting" },
        };
        let branch = self.head_branch.unwrap_or_default();
        let under_way = matches!(state, RunState::UnderWay { .. });
        Run {
            id: self.id,
            attempt: self.run_attempt.unwrap_or(1).to_string(),
            number: self.run_number.map_or_else(|| self.id.to_string(), |number| format!("#{number}")),
            state,
            version: version.filter(|text| is_version(text)),
            decision: marked(title, &target.decision_parameter),
            deploys: branch == place.branch(),
            of_pull_request: event.starts_with("pull_request") || event == "merge_group",
            branch,
            finished_at: self.updated_at.filter(|_| !under_way),
        }
    }
}

/// The value of the word `name=value` in a title; `None` where two such words differ.
fn marked(title: &str, name: &str) -> Option<String> {
    let words = title.split_whitespace().map(|word| word.trim_start_matches(['(', '[']).trim_end_matches([')', ']', ',', ';']));
    let mut values = words.filter_map(|word| word.split_once('=')).filter(|(key, value)| *key == name && !value.is_empty());
    let (_, first) = values.next()?;
    values.all(|(_, value)| value == first).then(|| first.to_owned())
}

/// The id of the run that was asked for; not every server tells.
pub fn dispatched(answer: &Value) -> Option<u64> {
    answer.get("workflow_run_id").and_then(Value::as_u64)
}

/// `active`, or why not: `deleted`, `disabled_fork`, `disabled_inactivity`, `disabled_manually`.
pub fn workflow_state(workflow: &Value) -> Option<&str> {
    workflow.get("state").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_in_a_title_is_a_word_of_its_own() {
        let rows = [
            ("Deploy version=1.41.2 decisionId=abc", Some("1.41.2")),
            ("Deploy (version=1.41.2, decisionId=abc)", Some("1.41.2")),
            ("version=", None),
            ("version= version=2", Some("2")),
            ("version=1;reboot", Some("1;reboot")),
            ("version=1 or version=1", Some("1")),
            ("version=1 version=2", None),
            ("myversion=1", None),
            ("Version=1", None),
            ("version: 1", None),
            ("", None),
        ];
        for (title, version) in rows {
            assert_eq!(marked(title, "version").as_deref(), version, "{title}");
        }
    }
}
