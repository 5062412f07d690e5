//! What is asked of Azure DevOps and of GitHub, and what each of their answers is taken for. Composed in the shapes of their
//! documentation and of public clients; none was recorded.

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{identity::Identities, resource_manager::Limits},
    domain::{
        observation::{Observation, ObstacleWeight, WayBack},
        record::RecordId,
        rollback::{Fence, OperationState, StepKind, Submission},
        rule::RuleId,
        target::{PipelinePlace, PipelineTarget},
    },
    platforms::pipeline::{Pipeline, PipelineClients},
    ports::{Platform, PortErrorKind},
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
        }
        GitHub => {
            let all: Vec<Value> = runs.iter().map(Run::workflow_run).collect();
            azure.on(RUNS, [Reply::json(200, &json!({"total_count": all.len(), "workflow_runs": all}))]);
        }
    }
}

async fn observe(server: Server, runs: &[Run]) -> Observation {
    let azure = FakeAzure::start().await;
    serve(server, &azure, runs);
    adapter(server, &azure).observe().await.unwrap()
}

fn names(ways: &[WayBack]) -> Vec<&str> {
    ways.iter().map(|way| way.name.as_str()).collect()
}

#[tokio::test]
async fn runs_are_read_with_the_reading_identity_in_one_trip() {
    let azure = FakeAzure::start().await;
    serve(AzureDevOps, &azure, &[run(5, "2026-11-25T09:00:00Z", "1.42.0")]);
    adapter(AzureDevOps, &azure).observe().await.unwrap();
    serve(GitHub, &azure, &[run(5, "2026-11-25T09:00:00Z", "1.42.0")]);
    adapter(GitHub, &azure).observe().await.unwrap();

    let recorded = azure.recorded();
    let [dev_ops, github] = recorded.as_slice() else { panic!("{recorded:#?}") };
    assert_eq!((dev_ops.line().as_str(), github.line().as_str()), (BUILDS, RUNS));
    assert_eq!(dev_ops.query, "definitions=12&queryOrder=queueTimeDescending&%24top=100&api-version=7.1");
    assert_eq!(dev_ops.header("authorization"), Some("Bearer reader-token"));
    assert_eq!(dev_ops.header("x-tfs-fedauthredirect"), Some("Suppress"));
    assert_eq!(github.query, "per_page=50&exclude_pull_requests=true");
    assert_eq!(github.header("authorization"), Some("Bearer github-token"));
    assert_eq!(github.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(github.header("x-github-api-version"), Some("2022-11-28"));
    assert!(github.header("user-agent").is_some_and(|agent| agent.starts_with("backout/")));
}

#[tokio::test]
async fn the_newest_success_runs_and_earlier_versions_are_ways_back() {
    let runs = [
        run(9, "2026-11-25T09:00:00Z", "1.42.0"),
        run(8, "2026-11-25T08:00:00Z", "1.41.3").state("failed"),
        run(7, "2026-11-24T08:00:00Z", "1.41.2"),
        run(6, "2026-11-23T08:00:00Z", "1.42.0"),
        run(5, "2026-11-22T08:00:00Z", "1.41.2"),
        run(4, "2026-11-21T08:00:00Z", "1.41.1"),
    ];
    for server in BOTH {
        let seen = observe(server, &runs).await;
        let token = if server == AzureDevOps { "run|9|2026-11-25T09:00:00Z" } else { "run|9|1" };
        assert_eq!(seen.running.token.0, token);
        assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), Some("1.42.0"));
        assert_eq!(seen.running.serving_since, Some("2026-11-25T09:00:00Z".parse().unwrap()));
        let number = if server == AzureDevOps { "20261125.9" } else { "#9" };
        assert_eq!(seen.running.label, format!("1.42.0 (run {number}, ended at 09:00:00Z)"));
        assert_eq!(seen.observed_at, "2026-11-25T10:30:00Z".parse().unwrap());
        assert_eq!((seen.under_way, seen.obstacles), (None, vec![]), "a failure from before the success is over");
        assert_eq!(names(&seen.ways_back), ["version 1.41.2", "version 1.41.1"]);
        assert_eq!(seen.ways_back[0].fingerprint.as_ref().map(|print| print.0.as_str()), Some("1.41.2"));
        assert_eq!(seen.ways_back[0].detail, json!({"version": "1.41.2"}));
        assert!(seen.ways_back.iter().all(|way| way.obstacles.is_empty()));
    }
}

#[tokio::test]
async fn what_runs_is_told_at_every_edge() {
    let (old, bad) = (run(1, "2026-11-24T08:00:00Z", "1.41.2"), run(2, "2026-11-25T08:00:00Z", "1.42.0"));
    let later = "2026-11-25T09:00:00Z";
    let rolled_back = Run { record: RECORD, ..run(3, later, "1.41.2") };
    struct Row {
        why: &'static str,
        runs: Vec<Run>,
        token: &'static str,
        version: Option<&'static str>,
        ways: &'static [&'static str],
        /// Obstacles, all of which ask a person.
        doubts: usize,
        under_way: bool,
    }
    let row = |why, runs, token, version, ways, doubts, under_way| Row { why, runs, token, version, ways, doubts, under_way };
    let (of_old, of_bad): (&'static [&'static str], &'static [&'static str]) = (&["version 1.41.2"], &["version 1.42.0"]);
    let rows = [
        row("nothing at all", vec![], "run|none", None, &[], 0, false),
        row("one version only", vec![old.clone()], "run|1|", Some("1.41.2"), &[], 0, false),
        row("after our own run", vec![rolled_back.clone(), bad.clone(), old.clone()], "run|3|", Some("1.41.2"), of_bad, 0, false),
        row(
            "ends decide, not numbers",
            vec![run(0, later, "1.40.0"), bad.clone(), old.clone()],
            "run|0|",
            Some("1.40.0"),
            &["version 1.42.0", "version 1.41.2"],
            0,
            false,
        ),
        row(
            "a later failure",
            vec![run(3, later, "1.42.1").state("failed"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a later cancellation",
            vec![run(3, later, "1.42.1").state("canceled"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a later run goes on",
            vec![run(3, later, "1.42.1").state("under way"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            true,
        ),
        row(
            "another branch before",
            vec![bad.clone(), run(3, "2026-11-25T07:00:00Z", "x").branch("topic"), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            false,
        ),
        row(
            "another branch after",
            vec![run(3, later, "x").branch("topic"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a pull request after",
            vec![Run { pull_request: true, ..run(3, later, "x") }, bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            false,
        ),
        row("only failures", vec![bad.clone().state("failed")], "run|none", None, &[], 1, false),
        row("no fit version", vec![run(3, later, "1;reboot"), bad.clone()], "run|3|", None, of_bad, 0, false),
    ];
    for server in BOTH {
        for row in &rows {
            let seen = observe(server, &row.runs).await;
            let why = format!("{server:?}: {}: {seen:#?}", row.why);
            assert!(seen.running.token.0.starts_with(row.token), "{why}");
            assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), row.version, "{why}");
            assert_eq!(names(&seen.ways_back), row.ways, "{why}");
            assert_eq!(seen.under_way.is_some(), row.under_way, "{why}");
            assert_eq!(seen.obstacles.len(), row.doubts, "{why}");
            assert!(seen.obstacles.iter().all(|o| o.rule == RuleId::S8 && o.weight == ObstacleWeight::Propose), "{why}");
        }
    }
}

#[tokio::test]
async fn a_run_without_a_version_deploys_its_commit() {
    let commit = "1111111111111111111111111111111111111111";
    let dev_ops = observe(AzureDevOps, &[run(2, "2026-11-25T08:00:00Z", "")]).await;
    assert_eq!(dev_ops.running.fingerprint.as_ref().map(|print| print.0.as_str()), Some(commit));
    assert!(dev_ops.running.label.starts_with("111111111111 (run"), "{}", dev_ops.running.label);

    let mut push = run(2, "2026-11-25T08:00:00Z", "").workflow_run();
    push["event"] = json!("push");
    push["display_title"] = json!("Claim that version=9.9.9 is here");
    let mut dispatched = push.clone();
    dispatched["event"] = json!("workflow_dispatch");
    dispatched["display_title"] = json!("Deploy");
    for (told, fingerprint) in [(push, Some(commit)), (dispatched, None)] {
        let azure = FakeAzure::start().await;
        azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [told]}))]);
        let seen = adapter(GitHub, &azure).observe().await.unwrap();
        assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), fingerprint);
    }
}

#[tokio::test]
async fn a_run_started_again_is_another_rollout() {
    let mut again = run(2, "2026-11-25T08:00:00Z", "1.42.0").workflow_run();
    again["run_attempt"] = json!(2);
    let azure = FakeAzure::start().await;
    azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [again]}))]);
    assert_eq!(adapter(GitHub, &azure).observe().await.unwrap().running.token.0, "run|2|2");
    // A stage of Azure DevOps that ran again ends the run again.
    let seen = observe(AzureDevOps, &[run(2, "2026-11-25T09:10:00Z", "1.42.0")]).await;
    assert_eq!(seen.running.token.0, "run|2|2026-11-25T09:10:00Z");
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_says_where() {
    let azure = FakeAzure::start().await;
    let waiting = Run { record: RECORD, ..run(3, "2026-11-25T09:00:00Z", "1.41.2").state("under way") };
    serve(AzureDevOps, &azure, &[waiting.clone(), run(2, "2026-11-25T08:00:00Z", "1.42.0")]);
    let timeline = |state: &str| json!({"records": [{"type": "Stage", "state": "pending"}, {"type": "Checkpoint.Approval", "state": state}]});
    let path = "GET /contoso/Shop%20Legacy/_apis/build/builds/3/timeline";
    let on = |state| Reply::json(200, &timeline(state));
    azure.on(path, [on("inProgress"), on("completed"), Reply::empty(204), Reply::empty(500), Reply::empty(500)]);
    let run = format!("run 20261125.3, asked for by record {RECORD}");
    for expected in [format!("{run} waits for an approval in Azure DevOps"), run.clone(), run.clone(), run.clone()] {
        assert_eq!(adapter(AzureDevOps, &azure).observe().await.unwrap().under_way, Some(expected));
    }
    let mut github = waiting.workflow_run();
    github["status"] = json!("waiting");
    azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [github]}))]);
    let seen = adapter(GitHub, &azure).observe().await.unwrap();
    assert_eq!(seen.under_way, Some(format!("run #3, asked for by record {RECORD} waits for an approval in GitHub")));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_by_its_kind() {
    let rows = [
        (BOTH.as_slice(), Reply::json(401, &json!({"message": "Bad credentials"})), PortErrorKind::Denied, "Bad credentials"),
        (&BOTH, Reply::empty(403), PortErrorKind::Denied, "403"),
        (&BOTH, Reply::json(404, &json!({"message": "Not Found"})), PortErrorKind::NotFound, "was deleted"),
        (&BOTH, Reply::empty(429), PortErrorKind::Throttled, "429"),
        (&BOTH, Reply::empty(503), PortErrorKind::Transient, "503"),
        (&BOTH, Reply::text(200, "<html>"), PortErrorKind::Invalid, "no JSON"),
        (&BOTH, Reply::json(200, &json!({})), PortErrorKind::Invalid, "another shape"),
        (&BOTH, Reply::empty(302).with("location", "https://elsewhere.test/"), PortErrorKind::Invalid, "not followed"),
        (&[AzureDevOps], Reply::text(203, "<html>Sign in</html>"), PortErrorKind::Denied, "asks for a sign-in"),
        (
            &[AzureDevOps],
            Reply::empty(302).with("location", "https://app.vssps.visualstudio.com/_signin?x=1"),
            PortErrorKind::Denied,
            "sign-in",
        ),
        (&[GitHub], Reply::empty(403).with("x-ratelimit-remaining", "0"), PortErrorKind::Throttled, "403"),
        (&[GitHub], Reply::empty(403).with("retry-after", "60"), PortErrorKind::Throttled, "403"),
    ];
    for (servers, reply, kind, says) in rows {
        for server in servers {
            let azure = FakeAzure::start().await;
            azure.on(if *server == AzureDevOps { BUILDS } else { RUNS }, [reply.clone()]);
            let error = adapter(*server, &azure).observe().await.unwrap_err();
            assert_eq!(error.kind, kind, "{server:?} {error}");
            assert!(error.says.contains(says), "{server:?} {error}");
        }
    }
}

#[tokio::test]
async fn the_wait_that_github_asks_for_is_counted_by_its_own_clock() {
    let azure = FakeAzure::start().await;
    let limited = Reply::empty(403)
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-reset", "1795600890")
        .with("date", "Wed, 25 Nov 2026 10:00:00 GMT");
    azure.on(RUNS, [limited]);
    let error = adapter(GitHub, &azure).observe().await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(1_795_600_890 - 1_795_600_800)));
}

#[tokio::test]
async fn a_read_is_tried_twice_and_a_success_without_an_end_is_no_guess() {
    let azure = FakeAzure::start().await;
    let mut build = run(2, "2026-11-25T08:00:00Z", "1.42.0").build();
    build["finishTime"] = Value::Null;
    azure.on(BUILDS, [Reply::empty(502), Reply::json(200, &json!({"value": [build]}))]);
    let error = adapter(AzureDevOps, &azure).observe().await.unwrap_err();
    assert_eq!((error.kind, azure.recorded().len()), (PortErrorKind::Invalid, 2));
    assert!(error.says.contains("no time at which it ended"), "{error}");
}

#[tokio::test]
async fn a_missing_token_names_the_setting_and_sends_nothing() {
    let azure = FakeAzure::start().await;
    for settings in [MapSource::default(), MapSource::new([("DEPLOY_TOKEN", " ")]), MapSource::new([("DEPLOY_TOKEN", "a b")])] {
        let adapter = adapter_with(target(GitHub, azure.url.as_str()), Duration::from_secs(30), settings);
        let error = adapter.observe().await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Denied);
        assert!(error.says.contains("`DEPLOY_TOKEN`"), "{error}");
        let says = adapter.preflight().await.unwrap().obstacles.remove(0);
        assert_eq!((says.rule, says.weight), (RuleId::S9, ObstacleWeight::Page));
        assert!(matches!(submit(&adapter, "1.41.2").await, Submission::NotSent { .. }));
    }
    let plain = adapter_with(target(GitHub, "http://api.example.com"), Duration::from_secs(30), MapSource::default());
    assert!(plain.observe().await.unwrap_err().says.contains("plain http"));
    assert!(azure.recorded().is_empty());
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

#[tokio::test]
async fn the_call_names_version_and_record_and_nothing_more() {
    let azure = FakeAzure::start().await;
    azure.on(QUEUE, [Reply::json(200, &json!({"id": 77, "state": "inProgress"}))]);
    azure.on(DISPATCH, [Reply::json(200, &json!({"workflow_run_id": 78})), Reply::empty(204)]);
    for (server, operation) in [
        (AzureDevOps, json!({"run": 77, "decision": RECORD})),
        (GitHub, json!({"run": 78, "decision": RECORD})),
        (GitHub, json!({"decision": RECORD})),
    ] {
        let accepted = submit(&adapter(server, &azure), "1.41.2").await;
        assert_eq!(accepted, Submission::Accepted { operation, poll_after_seconds: 15 });
    }
    let recorded = azure.recorded();
    assert_eq!(recorded.iter().map(|sent| sent.line()).collect::<Vec<_>>(), [QUEUE, DISPATCH, DISPATCH]);
    assert_eq!(recorded[0].query, "api-version=7.1");
    assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));
    assert_eq!(recorded[1].header("authorization"), Some("Bearer github-token"));
    let body = |at: usize| serde_json::from_str::<Value>(&recorded[at].body).unwrap();
    let inputs = json!({"version": "1.41.2", "decisionId": RECORD});
    let reference = json!({"repositories": {"self": {"refName": "refs/heads/main"}}});
    assert_eq!(body(0), json!({"resources": reference, "templateParameters": inputs}));
    assert_eq!(body(1), json!({"ref": "main", "inputs": inputs, "return_run_details": true}));
    assert_ne!(recorded[1].connection, recorded[2].connection, "each call has a connection of its own");
}

#[tokio::test]
async fn an_enterprise_server_is_not_asked_for_what_it_refuses() {
    let azure = FakeAzure::start().await;
    let path = "POST /api/v3/repos/contoso/legacy/actions/workflows/deploy.yml/dispatches";
    azure.on(path, [Reply::empty(204)]);
    let target = target(GitHub, &format!("{}api/v3", azure.url));
    let settings = MapSource::new([("DEPLOY_TOKEN", "t")]);
    let adapter = adapter_with(target, Duration::from_secs(30), settings);
    assert!(matches!(submit(&adapter, "1.41.2").await, Submission::Accepted { .. }));
    assert!(!azure.recorded()[0].body.contains("return_run_details"), "{}", azure.recorded()[0].body);
}

#[tokio::test]
async fn every_answer_to_the_call_is_taken_for_what_it_proves() {
    #[derive(Debug, PartialEq)]
    enum Proves {
        Accepted,
        Refused,
        Busy,
        NotSent(Option<u32>),
        Unknown,
    }
    use Proves::{Accepted, Busy, NotSent, Refused, Unknown};
    let says = |status, text: &str| Reply::json(status, &json!({"message": text}));
    let rows = [
        (BOTH.as_slice(), says(200, "no run in here"), Accepted, ""),
        (&BOTH, Reply::text(200, "<html>"), Accepted, ""),
        (&BOTH, says(400, "Unexpected parameter 'decisionId'"), Refused, "`version` and `decisionId`"),
        (&BOTH, says(401, "Bad credentials"), Refused, "Bad credentials"),
        (&BOTH, says(403, "Access denied"), Refused, "Access denied"),
        (&BOTH, says(404, "Not Found"), Refused, "was deleted"),
        (&BOTH, says(409, "another one"), Busy, "another one"),
        (&BOTH, Reply::empty(429).with("retry-after", "90"), NotSent(Some(90)), "429"),
        (&BOTH, Reply::empty(429), NotSent(None), "429"),
        (&BOTH, Reply::empty(500), Unknown, "list of runs"),
        (&BOTH, Reply::text(502, "<html>"), Unknown, "list of runs"),
        (&BOTH, Reply::empty(504), Unknown, "list of runs"),
        (&BOTH, Reply::empty(307).with("location", "https://elsewhere.test"), Unknown, "not followed"),
        (&BOTH, Reply::never(), Unknown, "in time"),
        (&[AzureDevOps], Reply::text(203, "<html>Sign in</html>"), Refused, "sign-in"),
        (&[AzureDevOps], Reply::empty(302).with("location", "/_signin"), Refused, "sign-in"),
        (
            &[GitHub],
            says(422, "Workflow does not have 'workflow_dispatch' trigger"),
            Refused,
            "`workflow_dispatch` trigger with the inputs",
        ),
        (&[GitHub], Reply::empty(403).with("retry-after", "60"), NotSent(Some(60)), "403"),
        (&[GitHub], Reply::empty(403).with("x-ratelimit-remaining", "0"), NotSent(None), "403"),
    ];
    for (servers, reply, proves, text) in rows {
        for server in servers {
            let azure = FakeAzure::start().await;
            azure.on(if *server == AzureDevOps { QUEUE } else { DISPATCH }, [reply.clone()]);
            // Short only where no answer ever comes.
            let patience = if text == "in time" { Duration::from_millis(150) } else { Duration::from_secs(30) };
            let settings = MapSource::new([("DEPLOY_TOKEN", "t")]);
            let adapter = adapter_with(target(*server, azure.url.as_str()), patience, settings);
            let (is, words) = match submit(&adapter, "1.41.2").await {
                Submission::Accepted { operation, .. } => {
                    assert_eq!(operation, json!({"decision": RECORD}));
                    (Accepted, String::new())
                }
                Submission::Refused { says } => (Refused, says),
                Submission::Busy { says } => (Busy, says),
                Submission::NotSent { says, retry_after_seconds } => (NotSent(retry_after_seconds), says),
                Submission::Unknown { says } => (Unknown, says),
                Submission::Done => panic!("a run is never done at once"),
            };
            assert_eq!(is, proves, "{server:?} {words}");
            assert!(words.contains(text), "{server:?} {words}");
            assert_eq!(azure.recorded().len(), 1, "sent once, whatever the answer");
        }
    }
}

#[tokio::test]
async fn nothing_but_a_plain_version_is_ever_sent() {
    let azure = FakeAzure::start().await;
    for version in ["", "1; curl evil", "$(id)", "a\nb"] {
        for server in BOTH {
            let refused = submit(&adapter(server, &azure), version).await;
            assert!(matches!(&refused, Submission::Refused { says } if says.contains("nothing was sent")), "{refused:?}");
        }
    }
    assert!(azure.recorded().is_empty());
    let nobody = target(AzureDevOps, "http://127.0.0.1:1");
    let silent = submit(&adapter_with(nobody, Duration::from_secs(30), MapSource::default()), "1.41.2").await;
    assert!(matches!(&silent, Submission::NotSent { says, .. } if says.contains("no connection to Azure DevOps")), "{silent:?}");
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let good = || run(77, "2026-11-25T10:00:00Z", "1.41.2");
    let failed = |text: &str| OperationState::Failed { says: text.to_owned() };
    let running = |seconds| OperationState::Running { poll_after_seconds: seconds };
    for server in BOTH {
        let path = if server == AzureDevOps {
            "GET /contoso/Shop%20Legacy/_apis/build/builds/77"
        } else {
            "GET /repos/contoso/legacy/actions/runs/77"
        };
        let told = |run: Run| Reply::json(200, &if server == AzureDevOps { run.build() } else { run.workflow_run() });
        let (number, name, word) = match server {
            AzureDevOps => ("20261125.77", "Azure DevOps", "failed"),
            GitHub => ("#77", "GitHub", "failure"),
        };
        let rows = [
            (told(good().state("under way")), running(15)),
            (told(good().state("under way")).with("retry-after", "50"), running(50)),
            (told(good()), OperationState::Succeeded),
            (told(good().state("failed")), failed(&format!("run {number} ended as `{word}` in {name}"))),
        ];
        for (reply, expected) in rows {
            let azure = FakeAzure::start().await;
            azure.on(path, [reply]);
            assert_eq!(adapter(server, &azure).poll(&json!({"run": 77, "decision": RECORD})).await.unwrap(), expected);
        }
        for (reply, kind) in [
            (Reply::empty(404), None),
            (Reply::empty(403), None),
            (Reply::text(200, "?"), None),
            (Reply::empty(503), Some(PortErrorKind::Transient)),
            (Reply::empty(429), Some(PortErrorKind::Throttled)),
        ] {
            let azure = FakeAzure::start().await;
            azure.on(path, [reply]);
            match (adapter(server, &azure).poll(&json!({"run": 77, "decision": RECORD})).await, kind) {
                (Ok(OperationState::Unknown { .. }), None) => {}
                (Err(error), Some(kind)) => assert_eq!(error.kind, kind),
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_run_without_an_id_is_found_by_its_record() {
    let ours = |state| Run { record: RECORD, ..run(77, "2026-11-25T10:00:00Z", "1.41.2").state(state) };
    let theirs = Run { record: "bbbbbbbbbbbbbbbbbbbbbbbbbb", ..run(76, "2026-11-25T10:00:00Z", "1.41.2") };
    for server in BOTH {
        for (runs, expected) in [
            (vec![theirs.clone(), ours("under way")], Some(OperationState::Running { poll_after_seconds: 15 })),
            (vec![ours("succeeded"), theirs.clone()], Some(OperationState::Succeeded)),
            (vec![theirs.clone()], None),
        ] {
            let azure = FakeAzure::start().await;
            serve(server, &azure, &runs);
            let state = adapter(server, &azure).poll(&json!({"decision": RECORD})).await.unwrap();
            match expected {
                Some(expected) => assert_eq!(state, expected),
                None => {
                    assert!(matches!(&state, OperationState::Unknown { says } if says.contains("none with our id")), "{state:?}")
                }
            }
        }
    }
}

#[tokio::test]
async fn preflight_asks_as_the_one_who_acts_whether_runs_are_taken() {
    let status = |key: &str, word: &str| Reply::json(200, &json!({ key: word }));
    let rows = [
        (AzureDevOps, status("queueStatus", "enabled"), None),
        (AzureDevOps, status("queueStatus", "disabled"), Some((ObstacleWeight::Page, "is `disabled` in Azure DevOps"))),
        (AzureDevOps, status("queueStatus", "paused"), Some((ObstacleWeight::Page, "is `paused`"))),
        (AzureDevOps, Reply::text(203, "<html>"), Some((ObstacleWeight::Page, "asks for a sign-in"))),
        (GitHub, status("state", "active"), None),
        (GitHub, status("state", "disabled_inactivity"), Some((ObstacleWeight::Page, "is `disabled_inactivity` in GitHub"))),
        (GitHub, Reply::empty(404), Some((ObstacleWeight::Page, "was deleted"))),
        (GitHub, Reply::empty(503), Some((ObstacleWeight::Propose, "could not be checked"))),
        (GitHub, status("other", ""), Some((ObstacleWeight::Propose, "could not be told"))),
    ];
    for (server, reply, expected) in rows {
        let azure = FakeAzure::start().await;
        azure.on(if server == AzureDevOps { DEFINITION } else { WORKFLOW }, [reply]);
        let preflight = adapter(server, &azure).preflight().await.unwrap();
        assert_eq!(preflight.ways_back, []);
        match (preflight.obstacles.as_slice(), expected) {
            ([], None) => {}
            ([obstacle], Some((weight, says))) => {
                assert_eq!((obstacle.rule, obstacle.weight), (RuleId::S9, weight));
                assert!(obstacle.says.contains(says), "{}", obstacle.says);
            }
            (other, _) => panic!("{server:?} {other:?}"),
        }
        let token = if server == AzureDevOps { "Bearer actor-token" } else { "Bearer github-token" };
        assert!(azure.recorded().iter().all(|asked| asked.header("authorization") == Some(token)));
    }
}
