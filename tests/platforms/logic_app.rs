//! What an observation of a workflow says, and the one call that saves an earlier version again.

use backout::{
    domain::{
        observation::{Observation, Obstacle, ObstacleWeight, WayBack},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, StepKind, Submission},
        rule::RuleId,
        target::{LogicAppTarget, Target},
    },
    platforms::logic_app::{promote::body, wire::Workflow},
    ports::PortErrorKind,
};
use serde_json::{Value, json};

use super::server::{FakeAzure, Recorded, Reply, adapter_over};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers";
const OLD: &str = "08584500000000000300";
const GOOD: &str = "08584500000000000200";
const BAD: &str = "08584500000000000100";

fn path() -> String {
    format!("{GROUP}/Microsoft.Logic/workflows/orders")
}

fn target() -> Target {
    Target::LogicApp(LogicAppTarget { workflow: ResourceId::parse(&path()).unwrap() })
}

fn connections(names: &[&str]) -> Value {
    let entry = |name: &&str| {
        (name.to_string(), json!({"connectionId": format!("{GROUP}/Microsoft.Web/connections/{name}"), "connectionName": name}))
    };
    json!({"$connections": {"value": names.iter().map(entry).collect::<serde_json::Map<_, _>>()}})
}

/// A version as the list shows it: `id` and `name` are the workflow's own.
fn version(id: &str, changed: &str, content: &str) -> Value {
    json!({"id": path(), "name": "orders", "location": "westeurope", "properties": {
        "version": id, "changedTime": changed, "state": "Enabled", "provisioningState": "Succeeded",
        "definition": {"actions": {"call": {"inputs": content}}, "triggers": {}}, "parameters": connections(&["office"]),
        "integrationAccount": {"id": format!("{GROUP}/Microsoft.Logic/integrationAccounts/b2b"), "name": "b2b"}}})
}

fn bad() -> Value {
    let mut workflow = version(BAD, "2026-11-25T10:00:00Z", "bad");
    workflow["tags"] = json!({"team": "orders"});
    workflow["identity"] = json!({"type": "SystemAssigned, UserAssigned", "principalId": "p", "tenantId": "t",
        "userAssignedIdentities": {"/subscriptions/1/ua": {"principalId": "p", "clientId": "c"}}});
    workflow["properties"]["accessControl"] = json!({"triggers": {"allowedCallerIpAddresses": []}});
    workflow["properties"]["sku"] = json!({"name": "NotSpecified"});
    workflow["properties"]["accessEndpoint"] = json!("https://x");
    workflow
}

fn good() -> Value {
    version(GOOD, "2026-11-24T10:00:00Z", "good")
}

fn runs(version: &str, status: &str, count: usize) -> Vec<Value> {
    let named = json!({"id": format!("{}/versions/{version}", path()), "name": version});
    let run = |n| json!({"name": format!("{version}-{status}-{n}"), "properties": {"status": status, "workflow": named}});
    (0..count).map(run).collect()
}

struct Scene {
    workflow: Value,
    versions: Vec<Value>,
    runs: Vec<Value>,
}

impl Scene {
    fn new() -> Self {
        Self { workflow: bad(), versions: vec![bad(), good()], runs: runs(GOOD, "Succeeded", 20) }
    }

    async fn azure(&self) -> FakeAzure {
        let azure = FakeAzure::start().await;
        azure
            .on(&format!("GET {}", path()), [Reply::json(200, &self.workflow)])
            .on(&format!("GET {}/versions", path()), [Reply::json(200, &json!({"value": self.versions}))])
            .on(
                &format!("GET {}/runs", path()),
                [Reply::json(200, &json!({"value": self.runs, "nextLink": "https://else.test/"}))],
            )
            .on(&format!("GET {}/versions/{GOOD}", path()), [Reply::json(200, &good())]);
        azure
    }

    async fn observe(&self) -> Observation {
        self.azure().await.adapter(&target()).observe().await.unwrap()
    }
}

fn summary(obstacles: &[Obstacle]) -> Vec<(RuleId, ObstacleWeight)> {
    obstacles.iter().map(|obstacle| (obstacle.rule, obstacle.weight)).collect()
}

fn lines(recorded: &[Recorded]) -> Vec<String> {
    let mut lines: Vec<_> = recorded.iter().map(|r| format!("{}?{}", r.line().replace(&path(), "WF"), r.query)).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_workflow_is_named_by_its_version_and_goes_back_to_the_one_before() {
    let azure = Scene::new().azure().await;
    let observation = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!(observation.running.token.0, BAD);
    assert_eq!(observation.running.serving_since, Some("2026-11-25T10:00:00Z".parse().unwrap()));
    assert_eq!(observation.running.label, format!("version {BAD} of 2026-11-25T10:00:00Z"));
    assert_eq!((observation.under_way.as_ref(), observation.obstacles.as_slice()), (None, [].as_slice()));
    let [way] = observation.ways_back.as_slice() else { panic!("{:?}", observation.ways_back) };
    assert_eq!((way.name.as_str(), way.obstacles.as_slice()), (format!("version {GOOD}").as_str(), [].as_slice()));
    assert_eq!(way.detail, json!({"version": GOOD, "insteadOf": BAD}));
    assert!(way.fingerprint.is_some() && observation.running.fingerprint.is_some());
    assert_ne!(way.fingerprint, observation.running.fingerprint);
    let expected = [
        "GET WF/runs?api-version=2019-05-01&$top=250",
        "GET WF/runs?api-version=2019-05-01&$top=250&$filter=startTime%20lt%202026-11-24T10%3A30%3A00Z",
        "GET WF/runs?api-version=2019-05-01&$top=250&$filter=startTime%20lt%202026-11-25T09%3A30%3A00Z",
        "GET WF/runs?api-version=2019-05-01&$top=250&$filter=startTime%20lt%202026-11-25T10%3A20%3A00Z",
        "GET WF/versions?api-version=2019-05-01&$top=20",
        "GET WF?api-version=2019-05-01",
    ];
    assert_eq!(lines(&azure.recorded()), expected);
    assert!(azure.recorded().iter().all(|r| r.header("authorization") == Some("Bearer reader-token")));
}

/// One row: the versions, newest first, as (id, hour of the day, content); the runs; what is expected of the first way back.
#[tokio::test]
async fn last_known_good_is_the_newest_earlier_content_that_is_proven() {
    type Row<'a> = (&'a [(&'a str, &'a str, &'a str)], Vec<Value>, Option<(&'a str, bool)>, &'a str);
    let two = [runs(GOOD, "Succeeded", 20), runs(OLD, "Succeeded", 20)].concat();
    let rows: Vec<Row<'_>> = vec![
        (&[(BAD, "10", "bad"), (GOOD, "09", "good"), (OLD, "08", "old")], two.clone(), Some((GOOD, true)), "10"),
        // In whatever order the list comes.
        (&[(OLD, "08", "old"), (BAD, "10", "bad"), (GOOD, "09", "good")], two.clone(), Some((GOOD, true)), "10"),
        // A save that changed no content: the content serves since the first of both.
        (&[(BAD, "10", "bad"), (GOOD, "09", "bad"), (OLD, "08", "old")], two.clone(), Some((OLD, true)), "09"),
        (&[(BAD, "10", "bad"), (GOOD, "09", "bad")], two.clone(), None, "09"),
        (&[(BAD, "10", "bad")], Vec::new(), None, "10"),
        // The bad content ran before: that one is no way back either.
        (&[(BAD, "10", "bad"), (GOOD, "09", "good"), (OLD, "08", "bad")], two.clone(), Some((GOOD, true)), "10"),
        // Runs of a content count, whichever of its versions ran.
        (&[(BAD, "10", "bad"), (GOOD, "09", "good"), (OLD, "08", "good")], runs(OLD, "Succeeded", 5), Some((GOOD, true)), "10"),
        // Proof: five runs that succeeded, and at most every tenth that failed.
        (&[(BAD, "10", "bad"), (GOOD, "09", "good")], runs(GOOD, "Succeeded", 5), Some((GOOD, true)), "10"),
        (&[(BAD, "10", "bad"), (GOOD, "09", "good")], runs(GOOD, "Succeeded", 4), Some((GOOD, false)), "10"),
        (&[(BAD, "10", "bad"), (GOOD, "09", "good")], runs(OLD, "Succeeded", 9), Some((GOOD, false)), "10"),
        (
            &[(BAD, "10", "bad"), (GOOD, "09", "good")],
            [runs(GOOD, "Succeeded", 9), runs(GOOD, "Failed", 1), runs(GOOD, "Cancelled", 9)].concat(),
            Some((GOOD, true)),
            "10",
        ),
        (
            &[(BAD, "10", "bad"), (GOOD, "09", "good")],
            [runs(GOOD, "Succeeded", 8), runs(GOOD, "TimedOut", 1)].concat(),
            Some((GOOD, false)),
            "10",
        ),
        // The newest one is not proven, the one before is.
        (
            &[(BAD, "10", "bad"), (GOOD, "09", "half"), (OLD, "08", "old")],
            [runs(GOOD, "Failed", 20), runs(OLD, "Succeeded", 20)].concat(),
            Some((OLD, false)),
            "10",
        ),
        // Saved in one moment: the smaller id is the newer version.
        (&[(BAD, "10", "bad"), (OLD, "10", "old"), (GOOD, "10", "good")], two, Some((GOOD, true)), "10"),
    ];
    for (index, (versions, runs, expected, since)) in rows.into_iter().enumerate() {
        let time = |hour: &str| format!("2026-11-25T{hour}:00:00Z");
        let versions = versions.iter().map(|(id, hour, content)| version(id, &time(hour), content)).collect();
        let observation = Scene { versions, runs, ..Scene::new() }.observe().await;
        let first = observation.ways_back.first();
        let found = first.map(|way| (way.detail["version"].as_str().unwrap(), way.obstacles.is_empty()));
        assert_eq!(found, expected, "row {index}: {:#?}", observation.ways_back);
        assert_eq!(observation.running.serving_since, Some(time(since).parse().unwrap()), "row {index}");
        // Beyond another content a person decides, however well proven this one is.
        let rule = if expected == Some((OLD, false)) { RuleId::S3 } else { RuleId::S5 };
        assert!(first.iter().flat_map(|way| &way.obstacles).all(|o| (o.rule, o.weight) == (rule, ObstacleWeight::Propose)));
    }
}

/// Each version comes with its whole definition.
#[tokio::test]
async fn long_definitions_hide_no_way_back() {
    let padding = "x".repeat(300_000);
    let older = (0..18).map(|n: u64| {
        let (id, changed) = (format!("{:020}", 8_584_500_000_000_000_300 + n), format!("2026-11-{:02}T10:00:00Z", 23 - n));
        version(&id, &changed, &format!("{n}{padding}"))
    });
    let (bad, good) =
        (version(BAD, "2026-11-25T10:00:00Z", "bad"), version(GOOD, "2026-11-24T10:00:00Z", &format!("good{padding}")));
    let versions = [bad, good].into_iter().chain(older).collect();
    let observation = Scene { versions, ..Scene::new() }.observe().await;
    assert!(observation.obstacles.is_empty(), "{:#?}", observation.obstacles);
    assert_eq!(observation.ways_back.first().map(|way| way.name.clone()), Some(format!("version {GOOD}")));
}

/// A busy workflow: the newest runs are all of the accused version; those of before tell about the good one.
#[tokio::test]
async fn runs_of_some_time_ago_prove_a_version_and_newer_failures_are_not_outweighed() {
    let numbered = |prefix: &str, mut runs: Vec<Value>| {
        for (n, run) in runs.iter_mut().enumerate() {
            run["name"] = json!(format!("{prefix}-{n}"));
        }
        runs
    };
    let observe = async |lists: [Vec<Value>; 4]| {
        let azure = Scene::new().azure().await;
        // The four lists are asked at once, in whatever order; their contents tell them apart well enough.
        azure.on(&format!("GET {}/runs", path()), lists.map(|list| Reply::json(200, &json!({"value": list}))));
        summary(&azure.adapter(&target()).observe().await.unwrap().ways_back[0].obstacles)
    };
    let bad = || numbered("bad", runs(BAD, "Failed", 250));
    let fine = || numbered("fine", runs(GOOD, "Succeeded", 250));
    let unproven = vec![(RuleId::S5, ObstacleWeight::Propose)];
    assert_eq!(observe([bad(), bad(), fine(), fine()]).await, []);
    assert_eq!(observe([bad(), bad(), bad(), bad()]).await, unproven);
    // The same run in two lists is one run.
    let four = || numbered("four", runs(GOOD, "Succeeded", 4));
    assert_eq!(observe([four(), four(), four(), four()]).await, unproven);
    let six = || numbered("six", runs(GOOD, "Failed", 6));
    // Too few to count by themselves, and few among all.
    assert_eq!(observe([six(), fine(), fine(), fine()]).await, []);
    let troubled = || numbered("mixed", [runs(GOOD, "Failed", 2), runs(GOOD, "Succeeded", 8)].concat());
    assert_eq!(observe([bad(), troubled(), fine(), fine()]).await, unproven, "it failed of late");
}

#[tokio::test]
async fn a_version_that_could_not_run_as_it_did_is_told() {
    let azure = async |change: &dyn Fn(&mut Value)| {
        let mut scene = Scene::new();
        change(&mut scene.versions[1]);
        let azure = scene.azure().await;
        let at = |what: &str| format!("GET {}/providers/Microsoft.Authorization/{what}", path());
        azure
            .on(&at("permissions"), [Reply::json(200, &json!({"value": [{"actions": ["*"]}]}))])
            .on(&at("locks"), [Reply::json(200, &json!({"value": []}))]);
        azure
    };
    let observed = async |change: &dyn Fn(&mut Value)| {
        let azure = azure(change).await;
        let observation = azure.adapter(&target()).observe().await.unwrap();
        assert!(azure.recorded().iter().all(|r| !r.path.contains("connections")), "one trip tells no connections");
        summary(&observation.ways_back[0].obstacles)
    };
    let checked = async |change: &dyn Fn(&mut Value), connection: Option<Reply>| {
        let azure = azure(change).await;
        azure.on(&format!("GET {GROUP}/Microsoft.Web/connections/sql"), connection);
        let found = azure.adapter(&target()).preflight().await.unwrap();
        assert!(azure.recorded().iter().all(|r| !r.path.contains("connections") || r.query == "api-version=2016-06-01"));
        assert_eq!(found.obstacles, []);
        assert!(found.ways_back.iter().all(|(way, _)| *way == format!("version {GOOD}")), "{found:?}");
        summary(&found.ways_back.into_iter().flat_map(|(_, obstacles)| obstacles).collect::<Vec<_>>())
    };
    let page = vec![(RuleId::S10, ObstacleWeight::Page)];
    let propose = vec![(RuleId::S10, ObstacleWeight::Propose)];
    let secure = |v: &mut Value| v["properties"]["definition"]["parameters"]["key"] = json!({"type": "securestring"});
    assert_eq!(observed(&secure).await, page);
    let secret = |v: &mut Value| v["properties"]["parameters"]["key"] = json!({"type": "SecureObject"});
    assert_eq!(observed(&secret).await, page);
    let account = |v: &mut Value| v["properties"]["integrationAccount"] = Value::Null;
    assert_eq!(observed(&account).await, propose);
    let sql = |v: &mut Value| v["properties"]["parameters"] = connections(&["office", "sql"]);
    assert_eq!(observed(&sql).await, []);
    assert_eq!(checked(&sql, None).await, page);
    assert_eq!(checked(&sql, Some(Reply::json(200, &json!({"id": "x"})))).await, []);
    assert_eq!(checked(&sql, Some(Reply::empty(403))).await, propose);
    let renamed = |v: &mut Value| {
        v["properties"]["parameters"]["$connections"]["value"]["office"]["connectionId"] =
            json!(format!("{GROUP}/Microsoft.Web/connections/office-old"));
    };
    assert_eq!(checked(&renamed, None).await, page);
    let elsewhere = |v: &mut Value| {
        v["properties"]["parameters"]["$connections"]["value"]["office"]["connectionId"] = json!(path());
    };
    assert_eq!(checked(&elsewhere, None).await, page);

    let azure = azure(&sql).await;
    azure.on(&format!("GET {}/versions", path()), [Reply::empty(503)]);
    assert_eq!(summary(&azure.adapter(&target()).preflight().await.unwrap().obstacles), propose, "not known is no yes");
}

#[tokio::test]
async fn the_state_of_the_workflow_is_told() {
    let observe = async |key: &str, value: Value| {
        let mut scene = Scene::new();
        scene.workflow["properties"][key] = value;
        scene.observe().await
    };
    for state in [json!("Disabled"), json!("Suspended"), Value::Null] {
        assert_eq!(summary(&observe("state", state).await.obstacles), [(RuleId::S9, ObstacleWeight::Propose)]);
    }
    let failed = observe("provisioningState", json!("Failed")).await;
    assert_eq!((summary(&failed.obstacles), failed.under_way), (vec![(RuleId::S8, ObstacleWeight::Propose)], None));
    let updating = observe("provisioningState", json!("Updating")).await;
    assert_eq!(updating.under_way.as_deref(), Some("the workflow is `Updating`"));

    // The content may have begun before the first version of the page.
    let azure = Scene::new().azure().await;
    let page = json!({"value": [bad(), version(GOOD, "2026-11-24T10:00:00Z", "bad")], "nextLink": "https://else.test/"});
    azure.on(&format!("GET {}/versions", path()), [Reply::json(200, &page)]);
    assert_eq!(azure.adapter(&target()).observe().await.unwrap().running.serving_since, None);

    let short = Scene { versions: vec![good()], ..Scene::new() }.observe().await;
    assert_eq!(summary(&short.obstacles), [(RuleId::S5, ObstacleWeight::Propose)], "a list without the running version");

    let azure = Scene::new().azure().await;
    azure.on(&format!("GET {}/runs", path()), [Reply::empty(403)]);
    let unread = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!(summary(&unread.ways_back[0].obstacles), [(RuleId::S5, ObstacleWeight::Propose)]);
    azure.on(&format!("GET {}/versions", path()), [Reply::empty(403)]);
    let unread = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!((unread.ways_back.len(), summary(&unread.obstacles)), (0, vec![(RuleId::S5, ObstacleWeight::Propose)]));

    let nothing = FakeAzure::start().await.adapter(&target()).observe().await.unwrap_err();
    assert_eq!(nothing.kind, PortErrorKind::NotFound);
    let mut nameless = Scene::new();
    nameless.workflow["properties"]["version"] = Value::Null;
    let error = nameless.azure().await.adapter(&target()).observe().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid, "{error}");
}

fn way_back(version: &str) -> WayBack {
    WayBack {
        name: format!("version {version}"),
        fingerprint: None,
        label: String::new(),
        obstacles: Vec::new(),
        detail: json!({"version": version, "insteadOf": BAD}),
    }
}

async fn submit(azure: &FakeAzure, version: &str) -> Submission {
    submit_over(adapter_over(azure.arm(), &target()), version).await
}

async fn submit_over(adapter: std::sync::Arc<dyn backout::ports::Platform>, version: &str) -> Submission {
    let fence = Fence { claim: "abcdefghijklmnopqrstuvwxyz".to_owned(), record: RecordId("r".to_owned()) };
    let [step] = adapter.steps(&way_back(version), &fence).try_into().unwrap();
    assert_eq!((step.kind, step.says), (StepKind::Convergent, format!("save version {version} of `orders` again")));
    assert_eq!(step.detail, json!({"version": version, "insteadOf": BAD}), "no definition is stored");
    let step = adapter.steps(&way_back(version), &fence).remove(0);
    adapter.submit(&step).await
}

fn puts(azure: &FakeAzure) -> Vec<Recorded> {
    azure.recorded().into_iter().filter(|r| r.method != "GET").collect()
}

#[tokio::test]
async fn a_save_sends_the_earlier_content_with_all_else_as_it_is() {
    let mut scene = Scene::new();
    scene.workflow["properties"]["state"] = json!("Disabled");
    let azure = scene.azure().await;
    azure.on(&format!("PUT {}", path()), [Reply::json(200, &good())]);
    assert_eq!(submit(&azure, GOOD).await, Submission::Done);
    let sent = puts(&azure);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].line(), sent[0].query.as_str()), (format!("PUT {}", path()), "api-version=2019-05-01"));
    assert_eq!(sent[0].header("authorization"), Some("Bearer actor-token"));
    assert_eq!(sent[0].header("content-type"), Some("application/json"));
    let expected = json!({
        "location": "westeurope",
        "tags": {"team": "orders"},
        "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {"/subscriptions/1/ua": {}}},
        "properties": {
            "state": "Disabled",
            "definition": {"actions": {"call": {"inputs": "good"}}, "triggers": {}},
            "parameters": connections(&["office"]),
            "integrationAccount": {"id": format!("{GROUP}/Microsoft.Logic/integrationAccounts/b2b")},
            "accessControl": {"triggers": {"allowedCallerIpAddresses": []}},
        },
    });
    assert_eq!(serde_json::from_str::<Value>(&sent[0].body).unwrap(), expected);
}

#[tokio::test]
async fn each_answer_is_taken_for_what_it_proves() {
    let error = |status: u16, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": "m"}}));
    for (reply, expected) in [
        (Reply::empty(201), "done"),
        (Reply::empty(202), "accepted"),
        (error(400, "InvalidTemplate"), "refused"),
        (error(403, "LinkedAuthorizationFailed"), "refused"),
        (error(404, "ResourceNotFound"), "refused"),
        (error(409, "ScopeLocked"), "refused"),
        (error(409, "Conflict"), "busy"),
        (error(412, "PreconditionFailed"), "refused"),
        (Reply::empty(429).with("retry-after", "17"), "not sent 17"),
        (Reply::empty(500), "unknown"),
        (Reply::empty(504), "unknown"),
        (Reply::empty(302), "unknown"),
        (Reply::never(), "unknown"),
    ] {
        let azure = Scene::new().azure().await;
        azure.on(&format!("PUT {}", path()), [reply.clone()]);
        let submission = submit_over(adapter_over(azure.arm_for(&reply), &target()), GOOD).await;
        let word = match &submission {
            Submission::Done => "done".to_owned(),
            Submission::Accepted { .. } => "accepted".to_owned(),
            Submission::Refused { .. } => "refused".to_owned(),
            Submission::Busy { .. } => "busy".to_owned(),
            Submission::NotSent { retry_after_seconds, .. } => format!("not sent {}", retry_after_seconds.unwrap()),
            Submission::Unknown { .. } => "unknown".to_owned(),
        };
        assert_eq!(word, expected, "{submission:?}");
        assert_eq!(puts(&azure).len(), 1, "once, whatever the answer: {submission:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_unless_the_accused_version_runs() {
    let after = async |change: &dyn Fn(&FakeAzure)| {
        let azure = Scene::new().azure().await;
        azure.on(&format!("PUT {}", path()), [Reply::empty(200)]);
        change(&azure);
        let submission = submit(&azure, GOOD).await;
        assert_eq!(puts(&azure).len(), 0, "{submission:?}");
        submission
    };
    let workflow = format!("GET {}", path());
    let other = after(&|azure| _ = azure.on(&workflow, [Reply::json(200, &version("1", "2026-11-25T11:00:00Z", "other"))])).await;
    assert!(
        matches!(&other, Submission::Refused { says } if says.contains(BAD) && says.contains("nothing was sent")),
        "{other:?}"
    );
    // Our own save, of which the answer was lost.
    let same = after(&|azure| _ = azure.on(&workflow, [Reply::json(200, &version("1", "2026-11-25T11:00:00Z", "good"))])).await;
    assert_eq!(same, Submission::Done);
    let pruned = after(&|azure| _ = azure.on(&format!("GET {}/versions/{GOOD}", path()), [Reply::empty(404)])).await;
    assert!(matches!(pruned, Submission::Refused { .. }), "{pruned:?}");
    let denied = after(&|azure| _ = azure.on(&workflow, [Reply::empty(403)])).await;
    assert!(matches!(denied, Submission::Refused { .. }), "{denied:?}");
    let throttled = after(&|azure| _ = azure.on(&workflow, [Reply::empty(429).with("retry-after", "9")])).await;
    assert!(matches!(throttled, Submission::NotSent { retry_after_seconds: Some(9), .. }), "{throttled:?}");
    let down = after(&|azure| _ = azure.on(&workflow, [Reply::empty(503)])).await;
    assert!(matches!(down, Submission::NotSent { .. }), "{down:?}");

    let azure = Scene::new().azure().await;
    let astray = submit(&azure, "../../sites/x").await;
    assert!(matches!(astray, Submission::Refused { .. }), "{astray:?}");
    assert_eq!(azure.recorded().len(), 0);
}

#[test]
fn a_save_that_would_lose_something_is_not_composed() {
    let workflow = |value: &Value| serde_json::from_value::<Workflow>(value.clone()).unwrap();
    assert!(body(&workflow(&bad()), &workflow(&good())).is_ok());
    let mut secure = good();
    secure["properties"]["definition"]["parameters"]["key"] = json!({"type": "SecureString", "defaultValue": "x"});
    assert!(body(&workflow(&bad()), &workflow(&secure)).unwrap_err().contains("`key`"));
    let mut empty = good();
    empty["properties"]["definition"] = Value::Null;
    assert!(body(&workflow(&bad()), &workflow(&empty)).unwrap_err().contains("no definition"));
    let mut nowhere = bad();
    nowhere["location"] = Value::Null;
    assert!(body(&workflow(&nowhere), &workflow(&good())).unwrap_err().contains("location"));
}

#[tokio::test]
async fn a_version_serves_once_its_triggers_are_ready() {
    let verify = async |triggers: Reply, state: &str| {
        let mut scene = Scene::new();
        scene.workflow["properties"]["state"] = json!(state);
        let azure = scene.azure().await;
        azure.on(&format!("GET {}/triggers", path()), [triggers]);
        azure.adapter(&target()).verify(&way_back(GOOD)).await
    };
    let trigger = |provisioning: &str, state: &str| {
        Reply::json(200, &json!({"value": [{"name": "hook", "properties": {"provisioningState": provisioning, "state": state}}]}))
    };
    assert_eq!(verify(trigger("Succeeded", "Enabled"), "Enabled").await.unwrap().under_way, None);
    let waits = verify(trigger("Registering", "Enabled"), "Enabled").await.unwrap().under_way;
    assert_eq!(waits.as_deref(), Some("trigger `hook` is Registering and Enabled"));
    assert!(verify(trigger("Succeeded", "Disabled"), "Enabled").await.unwrap().under_way.is_some());
    assert_eq!(verify(trigger("Succeeded", "Disabled"), "Disabled").await.unwrap().under_way, None);
    assert_eq!(verify(Reply::empty(403), "Enabled").await.unwrap_err().kind, PortErrorKind::Denied);
}

#[tokio::test]
async fn rights_and_locks_are_asked_before() {
    let at = |what: &str| format!("GET {}/providers/Microsoft.Authorization/{what}", path());
    let check = async |actions: Value, locks: Reply| {
        let azure = Scene::new().azure().await;
        azure.on(&at("permissions"), [Reply::json(200, &json!({"value": [{"actions": actions}]}))]).on(&at("locks"), [locks]);
        (azure.adapter(&target()).preflight().await.unwrap(), azure)
    };
    let none = || Reply::json(200, &json!({"value": [{"properties": {"level": "CanNotDelete"}}]}));
    let (open, azure) = check(json!(["*"]), none()).await;
    assert_eq!((open.obstacles.as_slice(), open.ways_back.len()), ([].as_slice(), 0));
    let recorded = azure.recorded();
    let asked = recorded.iter().filter(|r| r.path.contains("Microsoft.Authorization"));
    let mut asked: Vec<_> = asked.map(|r| format!("{} {}", r.query, r.header("authorization").unwrap())).collect();
    asked.sort();
    let expected = [
        "api-version=2020-05-01 Bearer reader-token",
        "api-version=2022-04-01 Bearer actor-token",
        "api-version=2022-04-01 Bearer reader-token",
    ];
    assert_eq!(asked, expected);

    let (closed, _) = check(json!(["*/read"]), none()).await;
    assert_eq!(summary(&closed.obstacles), [(RuleId::S9, ObstacleWeight::Page)]);
    for part in ["acting identity lacks `Microsoft.Logic/workflows/write`", "Logic App Contributor", "az role assignment create"]
    {
        assert!(closed.obstacles[0].says.contains(part), "{}", closed.obstacles[0].says);
    }
    let (blind, _) = check(json!(["Microsoft.Logic/workflows/write"]), none()).await;
    assert_eq!(blind.obstacles.len(), 4);
    let (locked, _) = check(json!(["*"]), Reply::json(200, &json!({"value": [{"properties": {"level": "ReadOnly"}}]}))).await;
    assert_eq!(summary(&locked.obstacles), [(RuleId::S9, ObstacleWeight::Page)]);
    let (unknown, _) = check(json!(["*"]), Reply::empty(403)).await;
    assert_eq!(summary(&unknown.obstacles), [(RuleId::S9, ObstacleWeight::Propose)]);
}
