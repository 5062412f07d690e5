//! `backout check`, the real binary, against the simulated Azure: what is there, what is missing, and the command that mends it.

use std::{collections::BTreeMap, sync::Arc};

use backout::{
    domain::resource_id::ResourceId,
    local::sqlite_store::SqliteStore,
    ports::StateStore,
    settings::names,
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, Grant, Moment, Role, SimulatedSite, clock::ScaledClock},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{azurite, program::Program};

const SUBSCRIPTION: &str = "6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20";
const READER: &str = "11111111-1111-4111-8111-111111111111";
const ACTOR: &str = "22222222-2222-4222-8222-222222222222";

struct Scene {
    azure: AzureSimulation,
    environment: BTreeMap<String, String>,
    site: ResourceId,
    folder: TempDir,
}

struct Checked {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Checked {
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))).collect()
    }

    /// What was found under one heading.
    fn about(&self, what: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["what"] == what).collect()
    }

    /// Status and heading of all that is not good.
    fn bad(&self) -> Vec<(String, String)> {
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let bad = self.lines().into_iter().filter(|line| line["good"] == false);
        bad.map(|line| (text(&line, "status"), text(&line, "what"))).collect()
    }
}

impl Scene {
    /// Two identities with every right; a site whose slot holds an earlier build.
    async fn new(mode: &str) -> Self {
        let clock = Arc::new(ScaledClock::from_setting("1").unwrap());
        let azure = AzureSimulation::start(clock).await.unwrap();
        let site = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/Microsoft.Web/sites/checkout");
        let site = ResourceId::parse(&site).unwrap();
        azure.add_site(SimulatedSite::new(site.clone(), "build-41"));
        azure.deploy(&site, "staging", "build-42");
        azure.swap_now(&site, "staging", "production").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("backout.yaml");
        std::fs::write(&policy, format!(
            "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {site}, goodSlots: [staging] }}\n    mode: {mode}\n    reversible: always\n"
        ))
        .unwrap();
        let environment = [
            (names::BACKOUT_POLICY, policy.display().to_string()),
            (names::BACKOUT_STORE, format!("sqlite:{}", folder.path().join("state.db").display())),
            (names::BACKOUT_ARM_ENDPOINT, azure.resource_manager_url().to_string()),
            (names::BACKOUT_BUS_ENDPOINT, azure.bus_url().to_string()),
            (names::IDENTITY_ENDPOINT, azure.identity_endpoint()),
            (names::IDENTITY_HEADER, azure.identity_header()),
            (names::AZURE_CLIENT_ID, READER.to_owned()),
            (names::BACKOUT_ACTOR_CLIENT_ID, ACTOR.to_owned()),
            ("ServiceBus__fullyQualifiedNamespace", azure.namespace().to_owned()),
            ("ServiceBus__credential", "managedidentity".to_owned()),
            ("ServiceBus__clientId", READER.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        Self { azure, environment, site, folder }
    }

    async fn check(&self, arguments: &[&str]) -> Checked {
        let program = Program::new(["check"].iter().chain(arguments)).in_folder(self.folder.path());
        let output = program.without_environment().with(&self.environment).ran().await;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Checked { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    async fn check_json(&self) -> Checked {
        self.check(&["--format", "json"]).await
    }

    fn grant(&self, identity: &str, actions: &[&str]) {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        let scope = format!("/subscriptions/{SUBSCRIPTION}");
        self.azure.grant(Grant { identity: Some(identity.to_owned()), scope, actions, not_actions: Vec::new() });
    }
}

#[tokio::test]
async fn with_everything_there_every_part_says_so() {
    let scene = Scene::new("act").await;
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![], Some(0)), "{}", checked.out);
    let keys = ["action", "fix", "good", "identity", "says", "scope", "status", "what"];
    for line in checked.lines() {
        assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    }
    let says = |what: &str| checked.about(what)[0]["says"].as_str().unwrap().to_owned();
    assert_eq!(says("store"), "a document was written, read back and removed");
    assert_eq!(
        says("identity that reads"),
        format!("managed identity with client id {READER}: a token for `https://management.azure.com/.default`")
    );
    assert!(says("identity that acts").contains(ACTOR));
    for queue in ["alerts", "deployments", "markers", "followups"] {
        assert_eq!(says(&format!("queue {queue}")), "is there, and may be received from");
        assert_eq!(scene.azure.queue_length(queue), 0, "nothing was sent");
    }
    assert_eq!(checked.about("sending to the queues")[0]["status"], "notChecked");
    assert_eq!(
        says(&format!("lost alerts of subscription {SUBSCRIPTION}")),
        "can be looked for: 0 alerts in the last 60 minutes"
    );
    assert!(says("target of checkout").starts_with("runs deployment "), "{}", says("target of checkout"));
    assert!(says("evidence of checkout").contains("Http5xx"));

    let rights = checked.about("rights for checkout");
    let swap = rights.iter().find(|line| line["action"] == "Microsoft.Web/sites/slots/slotsswap/action").unwrap();
    assert_eq!(
        (&swap["status"], &swap["identity"], &swap["scope"]),
        (&json!("ok"), &json!("acting"), &json!(scene.site.as_written()))
    );
    assert!(!checked.out.contains("eyJ"), "no token");
    let changes = scene.azure.journal().into_iter().filter(|entry| entry.role == Role::ResourceManager && entry.method != "GET");
    assert!(changes.clone().all(|entry| entry.path_and_query.contains("/slotsdiffs")), "{:?}", changes.collect::<Vec<_>>());
    let store = SqliteStore::new(scene.folder.path().join("state.db"));
    assert_eq!(store.list("check/", None, 10).await, Ok(vec![]), "the document is gone");
}

#[tokio::test]
async fn a_missing_right_has_its_line_and_the_command_that_grants_it() {
    let scene = Scene::new("act").await;
    scene.azure.clear_grants();
    scene.grant(READER, &["*/read", "Microsoft.Web/sites/slots/slotsdiffs/action", "Microsoft.Web/sites/slotsdiffs/action"]);
    scene.grant(ACTOR, &["*/read", "Microsoft.Web/sites/config/write"]);
    let checked = scene.check_json().await;
    assert_eq!(
        (checked.bad(), checked.code),
        (vec![("missing".to_owned(), "rights for checkout".to_owned())], Some(1)),
        "{}",
        checked.out
    );
    let missing: Vec<Value> = checked.lines().into_iter().filter(|line| line["status"] == "missing").collect();
    let site = scene.site.as_written();
    assert_eq!(
        missing[0]["fix"],
        format!("az role assignment create --assignee {ACTOR} --role \"Website Contributor\" --scope \"{site}\"")
    );
    let says = missing[0]["says"].as_str().unwrap();
    for part in [
        "lacks `Microsoft.Web/sites/slots/slotsswap/action`",
        ACTOR,
        "`mayAct: true` in the target's entry of `targets`",
        "(role `backout NAME app-service actor`)",
    ] {
        assert!(says.contains(part), "{says}");
    }
    let text = scene.check(&[]).await;
    assert!(
        text.out
            .lines()
            .any(|line| line.starts_with("MISSING      rights for checkout: lacks `Microsoft.Web/sites/slots/slotsswap/action`")),
        "{}",
        text.out
    );
    assert!(text.out.lines().any(|line| line.trim_start().starts_with("az role assignment create --assignee")), "{}", text.out);
}

#[tokio::test]
async fn who_only_observes_needs_no_right_to_act() {
    let scene = Scene::new("observe").await;
    scene.azure.clear_grants();
    scene.grant(READER, &["*"]);
    scene.grant(ACTOR, &["Microsoft.Authorization/permissions/read"]);
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![], Some(0)), "{}", checked.out);
    let rights = checked.about("rights for checkout");
    let swap = rights.iter().find(|line| line["action"] == "Microsoft.Web/sites/slots/slotsswap/action").unwrap();
    assert!(swap["says"].as_str().unwrap().ends_with("which mode `observe` does not need"), "{swap}");
}

#[tokio::test]
async fn an_identity_that_is_not_assigned_is_named() {
    let scene = Scene::new("act").await;
    scene.azure.set_client_ids(&[READER]);
    let checked = scene.check_json().await;
    assert_eq!(checked.code, Some(1));
    assert_eq!(checked.about("identity that reads")[0]["status"], "ok");
    let acts = &checked.about("identity that acts")[0];
    let says = acts["says"].as_str().unwrap();
    assert!(acts["status"] == "problem" && says.contains(ACTOR) && says.contains("BACKOUT_ACTOR_CLIENT_ID"), "{says}");
    let rights = checked.about("rights for checkout");
    assert!(
        rights.iter().any(|line| line["status"] == "notChecked" && line["identity"] == "acting"),
        "who has no token can't be asked"
    );
}

/// One missing token is one problem, not one a line.
#[tokio::test]
async fn without_a_token_to_read_the_rest_is_not_checked() {
    let scene = Scene::new("act").await;
    scene.azure.set_client_ids(&[ACTOR]);
    let checked = scene.check_json().await;
    let bad = checked.bad();
    let of_arm: Vec<&str> = bad.iter().map(|(_, what)| what.as_str()).filter(|what| !what.starts_with("queue ")).collect();
    assert_eq!((of_arm, checked.code), (vec!["identity that reads"], Some(1)), "{}", checked.out);
    assert_eq!(checked.about("target of checkout")[0]["status"], "notChecked");
    assert!(checked.about("rights for checkout").iter().all(|line| line["status"] == "notChecked"));
}

/// Whoever may not ask for its rights is not told that they are missing, and hears it once a right.
#[tokio::test]
async fn rights_that_cannot_be_asked_are_not_checked() {
    let scene = Scene::new("act").await;
    let denied = FaultEffect::Status { moment: Moment::BeforeEffect, status: 403, body: FaultBody::Html };
    scene.azure.inject(Fault::on("GET", "/Microsoft.Authorization/permissions", denied).times(10));
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![], Some(0)), "{}", checked.out);
    assert!(checked.about("rights for checkout").iter().all(|line| line["status"] == "notChecked"));
    let target = checked.about("target of checkout");
    assert!(target.iter().all(|line| !line["says"].as_str().unwrap().contains("identity may")), "{target:?}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_or_not_ours_is_told() {
    let mut scene = Scene::new("act").await;
    let detail = |status, says: &str| FaultEffect::Status {
        moment: Moment::BeforeEffect,
        status,
        body: FaultBody::Error { code: status.to_string(), message: says.to_owned() },
    };
    let gone = "The messaging entity 'sb://simulated.servicebus.windows.net/markers' could not be found.";
    scene.azure.inject(Fault::on("PUT", "/markers/", detail(404, gone)));
    scene.azure.inject(Fault::on("PUT", "/alerts/", detail(401, "Unauthorized")));
    scene.azure.inject(Fault::on("PUT", "/deployments/", detail(404, "a proxy's own page")));
    let checked = scene.check_json().await;
    let bad =
        [("missing", "queue alerts"), ("problem", "queue markers")].map(|(status, what)| (status.to_owned(), what.to_owned()));
    assert_eq!((checked.bad(), checked.code), (bad.to_vec(), Some(1)));
    let alerts = &checked.about("queue alerts")[0];
    let fix = alerts["fix"].as_str().unwrap();
    assert!(
        fix.starts_with(&format!("az role assignment create --assignee {READER} --role \"Azure Service Bus Data Receiver\"")),
        "{fix}"
    );
    let markers = &checked.about("queue markers")[0];
    assert_eq!(markers["fix"], "az servicebus queue create --resource-group GROUP --namespace-name simulated --name markers");
    assert_eq!(
        checked.about("queue deployments")[0]["status"],
        "notChecked",
        "an answer that does not tell is neither good nor bad"
    );

    scene.environment.insert(names::BACKOUT_BUS.to_owned(), "local:".to_owned());
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![], Some(0)), "{}", checked.out);
}

#[tokio::test]
async fn lost_alerts_need_a_right_of_their_own() {
    let scene = Scene::new("act").await;
    scene.azure.revoke(Some(READER), "Microsoft.AlertsManagement/alerts/read");
    let checked = scene.check_json().await;
    let what = format!("lost alerts of subscription {SUBSCRIPTION}");
    assert_eq!((checked.bad(), checked.code), (vec![("missing".to_owned(), what.clone())], Some(1)));
    assert_eq!(
        checked.about(&what)[0]["fix"],
        format!(
            "az role assignment create --assignee {READER} --role \"Monitoring Reader\" --scope \"/subscriptions/{SUBSCRIPTION}\""
        )
    );
}

#[tokio::test]
async fn evidence_that_cannot_be_read_is_a_problem() {
    let scene = Scene::new("act").await;
    scene.azure.revoke(Some(READER), "Microsoft.Insights/Metrics/Read");
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![("problem".to_owned(), "evidence of checkout".to_owned())], Some(1)));
}

/// A wrong policy hides nothing of what does not need it.
#[tokio::test]
async fn store_and_queues_are_checked_without_a_policy_too() {
    let scene = Scene::new("akt").await;
    let checked = scene.check_json().await;
    assert_eq!((checked.bad(), checked.code), (vec![("problem".to_owned(), "policy".to_owned())], Some(1)));
    assert_eq!(checked.about("store")[0]["status"], "ok");
    assert_eq!(checked.about("queue alerts")[0]["status"], "ok");
}

/// Azurite makes a container where it may: with a signature that may only use one, it may not.
#[tokio::test]
async fn a_container_that_is_not_there_comes_with_the_command_that_makes_it() {
    let Some(azurite) = azurite::over_http() else { return };
    let mut scene = Scene::new("act").await;
    let fresh = azurite.container_by_key();
    let signature = azurite::container_signature(fresh.name(), "racwdl", "2099-12-31T00:00:00Z");
    let store = format!("{}/{}?{signature}", azurite.endpoint, fresh.name());
    scene.environment.insert(names::BACKOUT_STORE.to_owned(), store);
    let checked = scene.check_json().await;
    assert!(checked.bad().contains(&("problem".to_owned(), "store".to_owned())), "{}", checked.out);
    let says = checked.about("store")[0]["says"].as_str().unwrap().to_owned();
    assert!(says.contains("az storage container create"), "{says}");
}

/// Rules that nobody would hear of at once, or at all, are named; the key in a web hook is not.
#[tokio::test]
async fn alert_rules_that_are_not_wired_or_too_mild_are_listed() {
    let scene = Scene::new("act").await;
    let group =
        |name: &str| format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/ops/providers/Microsoft.Insights/actionGroups/{name}");
    let hook = |name: &str, url: &str| {
        json!({ "id": group(name).to_uppercase(), "name": name, "properties": {
        "enabled": true, "webhookReceivers": [{ "name": "x", "serviceUri": url, "useCommonAlertSchema": true }]
    } })
    };
    let ours = hook("ours", "https://func-backout.azurewebsites.net/api/alert-webhook?code=k3y-in-the-url");
    let others = hook("others", "https://pager.example/hook");
    scene.azure.list_resources(SUBSCRIPTION, "Microsoft.Insights/actionGroups", vec![ours, others]);
    let metric = |name: &str, resource: &str, severity: u8, groups: &[&str]| {
        json!({ "id": name, "name": name, "properties": {
        "enabled": name != "off", "severity": severity, "scopes": [resource],
        "actions": groups.iter().map(|name| json!({ "actionGroupId": group(name) })).collect::<Vec<_>>()
    } })
    };
    let site = scene.site.canonical();
    let slot = format!("{site}/slots/staging");
    let stranger = site.replace("checkout", "billing");
    scene.azure.list_resources(
        SUBSCRIPTION,
        "Microsoft.Insights/metricAlerts",
        vec![
            metric("wired", site, 1, &["others", "ours"]),
            metric("pager-only", site, 1, &["others"]),
            metric("mild", site, 3, &["ours"]),
            metric("both", site, 4, &[]),
            metric("elsewhere", site, 1, &["unknown"]),
            metric("off", site, 1, &[]),
            metric("stranger", &stranger, 1, &[]),
            metric("slot", &slot, 1, &[]),
        ],
    );
    let log = json!({ "id": "log", "name": "log", "properties": {
        "enabled": true, "severity": 0, "scopes": [site], "actions": { "actionGroups": [group("ours")] }
    } });
    scene.azure.list_resources(SUBSCRIPTION, "Microsoft.Insights/scheduledQueryRules", vec![log]);

    let told = |checked: &Checked| -> BTreeMap<String, (String, String)> {
        assert_eq!(checked.code, Some(0), "{}", checked.out);
        assert!(!checked.out.contains("k3y"), "{}", checked.out);
        let lines = checked.about("alert rules for checkout").into_iter();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        lines
            .map(|line| {
                (
                    text(&line, "says").split('`').nth(1).unwrap_or_default().to_owned(),
                    (text(&line, "status"), text(&line, "says")),
                )
            })
            .collect()
    };
    let first = told(&scene.check_json().await);
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(names, ["both", "elsewhere", "log", "mild", "pager-only", "wired"], "of this service, and not switched off");
    for (name, status, parts) in [
        ("wired", "ok", vec!["is wired"]),
        ("log", "ok", vec!["is wired"]),
        ("pager-only", "note", vec!["is not wired"]),
        ("mild", "note", vec!["lies below the gate: Sev3", "`severityAtLeast` is Sev2"]),
        ("both", "note", vec!["is not wired", "and it lies below the gate: Sev4"]),
        ("elsewhere", "note", vec!["may be wired"]),
    ] {
        let (found, says) = &first[name];
        assert!(found == status && parts.iter().all(|part| says.contains(part)), "{name}: {found} {says}");
    }

    let processing = |action: Value, conditions: Value| {
        json!({ "id": "p", "name": "p", "properties": {
        "enabled": true, "scopes": [format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/SHOP")], "conditions": conditions, "actions": [action]
    } })
    };
    let adds = json!({ "actionType": "AddActionGroups", "actionGroupIds": [group("ours")] });
    let removes = json!({ "actionType": "RemoveAllActionGroups" });
    let some = json!([{ "field": "Severity", "operator": "Equals", "values": ["Sev0"] }]);
    for (rule, says) in [
        (processing(adds.clone(), json!([])), "is wired"),
        (processing(adds, some.clone()), "may be wired"),
        (processing(removes, json!([])), "is silenced"),
    ] {
        scene.azure.list_resources(SUBSCRIPTION, "Microsoft.AlertsManagement/actionRules", vec![rule]);
        let told = told(&scene.check_json().await);
        assert!(told["pager-only"].1.contains(says), "{says}: {:?}", told["pager-only"]);
    }

    scene.azure.revoke(Some(READER), "Microsoft.Insights/actionGroups/read");
    let checked = scene.check_json().await;
    let rules = &checked.about(&format!("alert rules of subscription {SUBSCRIPTION}"))[0];
    assert_eq!((&rules["status"], checked.code), (&json!("notChecked"), Some(0)), "to list rules is not needed at night");
    assert!(rules["fix"].as_str().unwrap().contains("Monitoring Reader"));
}
