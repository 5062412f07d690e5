//! What is asked of Azure DevOps and of GitHub, and what each of their answers is taken for. Composed in the shapes of their
//! documentation and of public clients; none was recorded.

mod observe;
mod queue;

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{identity::Identities, resource_manager::Limits},
    domain::{
        observation::WayBack,
        record::RecordId,
        rollback::{Fence, StepKind, Submission},
        target::{PipelinePlace, PipelineTarget},
    },
    platforms::pipeline::{Pipeline, PipelineClients},
    ports::Platform,
    settings::MapSource,
};
use serde_json::{Value, json};

use super::server::{FakeAzure, FixedClock, Reply};

const BUILDS: &str = "GET /contoso/Shop%20Legacy/_apis/build/builds";
const DEFINITION: &str = "GET /contoso/Shop%20Legacy/_apis/build/definitions/12";
const QUEUE: &str = "POST /contoso/Shop%20Legacy/_apis/pipelines/12/runs";
const RUNS: &str = "GET /repos/contoso/legacy/actions/workflows/deploy.yml/runs";
const WORKFLOW: &str = "GET /repos/contoso/legacy/actions/workflows/deploy.yml";
const DISPATCH: &str = "POST /repos/contoso/legacy/actions/workflows/deploy.yml/dispatches";
const RECORD: &str = "abcdefghijklmnopqrstuvwxyz";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    AzureDevOps,
    GitHub,
}
use Server::{AzureDevOps, GitHub};

const BOTH: [Server; 2] = [AzureDevOps, GitHub];

/// A token for Azure DevOps, and for nothing else.
#[derive(Debug)]
struct DevOpsToken(&'static str);

#[async_trait::async_trait]
impl TokenCredential for DevOpsToken {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["499b84ac-1321-427f-aa17-267ca6975798/.default"]);
        Ok(AccessToken::new(self.0, OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()))
    }
}

fn target(server: Server, url: &str) -> PipelineTarget {
    let url = url.trim_end_matches('/').to_owned();
    PipelineTarget {
        place: match server {
            AzureDevOps => PipelinePlace::AzureDevOps {
                server: url,
                organization: "contoso".to_owned(),
                project: "Shop Legacy".to_owned(),
                pipeline: 12,
                branch: "main".to_owned(),
            },
            GitHub => PipelinePlace::GitHub {
                api: url,
                repository: "contoso/legacy".to_owned(),
                workflow: "deploy.yml".to_owned(),
                reference: "main".to_owned(),
                token_from: "DEPLOY_TOKEN".to_owned(),
            },
        },
        version_parameter: "version".to_owned(),
        decision_parameter: "decisionId".to_owned(),
    }
}

fn adapter_with(target: PipelineTarget, answer_within: Duration, settings: MapSource) -> Pipeline {
    let identities = Identities::of(Arc::new(DevOpsToken("reader-token")), Arc::new(DevOpsToken("actor-token")));
    let limits = Limits { answer_within, retry_pause: Duration::from_millis(1), ..Limits::default() };
    let clients = PipelineClients::new(Arc::new(identities), Arc::new(settings)).with_limits(limits);
    Pipeline::new(Arc::new(clients), Arc::new(FixedClock("2026-11-25T10:30:00Z".parse().unwrap())), target)
}

fn adapter(server: Server, azure: &FakeAzure) -> Pipeline {
    let settings = MapSource::new([("DEPLOY_TOKEN", "github-token\n")]);
    adapter_with(target(server, azure.url.as_str()), Duration::from_secs(30), settings)
}

/// One run, as either server tells it.
#[derive(Clone)]
struct Run {
    id: u64,
    ended: &'static str,
    state: &'static str,
    version: &'static str,
    branch: &'static str,
    pull_request: bool,
    record: &'static str,
}

/// A successful run of the branch that deploys.
fn run(id: u64, ended: &'static str, version: &'static str) -> Run {
    Run { id, ended, state: "succeeded", version, branch: "main", pull_request: false, record: "" }
}

impl Run {
    fn state(mut self, state: &'static str) -> Self {
        self.state = state;
        self
    }

    fn branch(mut self, branch: &'static str) -> Self {
        self.branch = branch;
        self
    }

    fn build(&self) -> Value {
        let under_way = self.state == "under way";
        let mut parameters = json!({});
        if !self.version.is_empty() {
            parameters["version"] = json!(self.version);
        }
        if !self.record.is_empty() {
            parameters["decisionId"] = json!(self.record);
        }
        json!({
            "id": self.id, "buildNumber": format!("20261125.{}", self.id),
            "status": if under_way { "inProgress" } else { "completed" },
            "result": (!under_way).then_some(self.state),
            "reason": if self.pull_request { "pullRequest" } else { "manual" },
            "queueTime": "2026-11-25T07:00:00.1234567Z", "startTime": "2026-11-25T07:00:01.1234567Z",
            "finishTime": (!under_way).then_some(self.ended),
            "sourceBranch": format!("refs/heads/{}", self.branch),
            "sourceVersion": "1111111111111111111111111111111111111111",
            "templateParameters": parameters, "definition": {"id": 12},
        })
    }

    fn workflow_run(&self) -> Value {
        let (status, conclusion) = match self.state {
            "under way" => ("in_progress", Value::Null),
            "succeeded" => ("completed", json!("success")),
            "failed" => ("completed", json!("failure")),
            "canceled" => ("completed", json!("cancelled")),
            other => ("completed", json!(other)),
        };
        let event = if self.pull_request { "pull_request" } else { "workflow_dispatch" };
        json!({
            "id": self.id, "run_number": self.id, "run_attempt": 1, "event": event,
            "display_title": format!("deploy version={} decisionId={}", self.version, self.record),
            "status": status, "conclusion": conclusion, "head_branch": self.branch,
            "head_sha": "1111111111111111111111111111111111111111",
            "created_at": "2026-11-25T07:00:00Z", "updated_at": self.ended,
        })
    }
}

fn serve(server: Server, azure: &FakeAzure, runs: &[Run]) {
    match server {
        AzureDevOps => {
            let builds: Vec<Value> = runs.iter().map(Run::build).collect();
            azure.on(BUILDS, [Reply::json(200, &json!({"count": builds.len(), "value": builds}))]);
            azure.on(DEFINITION, [Reply::json(200, &json!({"id": 12, "queueStatus": "enabled"}))]);
        }
        GitHub => {
            let all: Vec<Value> = runs.iter().map(Run::workflow_run).collect();
            azure.on(RUNS, [Reply::json(200, &json!({"total_count": all.len(), "workflow_runs": all}))]);
        }
    }
}

fn way(version: &str) -> WayBack {
    WayBack {
        name: format!("version {version}"),
        fingerprint: None,
        label: version.to_owned(),
        obstacles: Vec::new(),
        detail: json!({"version": version}),
    }
}

async fn submit(adapter: &Pipeline, version: &str) -> Submission {
    let fence = Fence { claim: "claim".to_owned(), record: RecordId(RECORD.to_owned()) };
    let steps = adapter.steps(&way(version), &fence);
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].kind, StepKind::Toggle);
    adapter.submit(&steps[0]).await
}
