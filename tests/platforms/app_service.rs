//! What an observation of slots says, and the one call that swaps them.

use backout::{
    domain::{
        observation::{Observation, Obstacle, ObstacleWeight, WayBack},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, StepKind, Submission},
        rule::RuleId,
        target::{AppServiceTarget, AppServiceWay, FingerprintSource, Target},
    },
    ports::PortErrorKind,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::server::{FakeAzure, Reply, SITE};

pub fn target(good_slots: &[&str], fingerprint: FingerprintSource) -> Target {
    Target::AppService(AppServiceTarget {
        site: ResourceId::parse(SITE).unwrap(),
        serving_slot: "production".to_owned(),
        good_slots: good_slots.iter().map(|slot| (*slot).to_owned()).collect(),
        ways_back: AppServiceWay::ALL.into_iter().filter(|way| way.fits(&fingerprint)).collect(),
        fingerprint,
    })
}

pub fn fence() -> Fence {
    Fence { claim: "abcdefghijklmnopqrstuvwxyz".to_owned(), record: RecordId("r".to_owned()) }
}

/// What one slot of the fake answers; changed row by row.
#[derive(Clone)]
pub struct Slot {
    site: Value,
    config: Value,
    deployments: Value,
    settings: Value,
}

impl Slot {
    pub fn new(swap: &Value, deployment: &str, ended: &str) -> Self {
        Self {
            site: json!({"kind": "app,linux", "properties": {
                "state": "Running", "defaultHostName": "checkout.test", "slotSwapStatus": swap,
                "inProgressOperationId": null, "targetSwapSlot": null, "sku": "Standard"}}),
            config: json!({"properties": {"linuxFxVersion": "NODE|20-lts", "autoSwapSlotName": null,
                "experiments": {"rampUpRules": []}}}),
            deployments: json!({"value": [
                {"id": format!("{SITE}/deployments/{deployment}"), "properties":
                    {"active": true, "status": 4, "received_time": "2026-11-25T08:00:00Z", "end_time": ended}},
                {"id": format!("{SITE}/deployments/older"), "properties":
                    {"active": false, "status": 4, "end_time": "2026-11-20T08:00:00Z"}}]}),
            settings: json!({"properties": {"RELEASE_ID": deployment, "PASSWORD": "hunter2"}}),
        }
    }

    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.site.pointer_mut(pointer).unwrap() = value;
        self
    }

    pub fn configured(mut self, pointer: &str, value: Value) -> Self {
        *self.config.pointer_mut(pointer).unwrap() = value;
        self
    }

    pub fn deployed(mut self, id: &str, active: bool, status: u8, times: &Value) -> Self {
        let mut properties = json!({"active": active, "status": status});
        properties.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        let all = self.deployments["value"].as_array_mut().unwrap();
        if active {
            all[0]["properties"]["active"] = json!(false);
        }
        all.push(json!({"id": format!("{SITE}/slots/staging/deployments/{id}"), "properties": properties}));
        self
    }

    pub fn set(mut self, name: &str, value: Value) -> Self {
        self.settings["properties"][name] = value;
        self
    }

    pub fn without_log(self) -> Self {
        Self { deployments: json!({"value": []}), ..self }
    }

    pub fn serve(&self, azure: &FakeAzure, path: &str) {
        azure
            .on(&format!("GET {path}"), [Reply::json(200, &self.site)])
            .on(&format!("GET {path}/config/web"), [Reply::json(200, &self.config)])
            .on(&format!("GET {path}/deployments"), [Reply::json(200, &self.deployments)])
            .on(&format!("POST {path}/config/appsettings/list"), [Reply::json(200, &self.settings)]);
    }
}

/// Staging was swapped into production at 10:02:31; new content is `new1`, the content before it `old1`.
pub fn swap() -> Value {
    json!({"timestampUtc": "2026-11-25T10:02:31.25Z", "sourceSlotName": "staging", "destinationSlotName": "Production"})
}

pub fn production() -> Slot {
    Slot::new(&swap(), "new1", "2026-11-25T09:50:00Z")
}

pub fn staging() -> Slot {
    Slot::new(&swap(), "old1", "2026-11-24T09:50:00Z")
}

async fn observe(production: &Slot, staging: &Slot, target: &Target) -> Observation {
    let azure = FakeAzure::start().await;
    production.serve(&azure, SITE);
    staging.serve(&azure, &format!("{SITE}/slots/staging"));
    azure.adapter(target).observe().await.unwrap()
}

pub async fn default_observation(production: &Slot, staging: &Slot) -> Observation {
    observe(production, staging, &target(&["staging"], FingerprintSource::Default)).await
}

pub fn fingerprints(observation: &Observation) -> (Option<&str>, Option<&str>) {
    let running = observation.running.fingerprint.as_ref().map(|f| f.0.as_str());
    (running, observation.ways_back[0].fingerprint.as_ref().map(|f| f.0.as_str()))
}

pub fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_swapped_site_is_named_by_its_swap() {
    let azure = FakeAzure::start().await;
    production().serve(&azure, SITE);
    staging().serve(&azure, &format!("{SITE}/slots/staging"));
    let observation = azure.adapter(&target(&["last-good", "staging"], FingerprintSource::Default)).observe().await.unwrap();
    assert_eq!(observation.running.token.0, "swap|2026-11-25T10:02:31.2500000Z");
    assert_eq!(observation.running.serving_since, Some(moment("2026-11-25T10:02:31.25Z")));
    assert_eq!(observation.running.label, "deployment new1 (swapped in from staging at 10:02:31Z)");
    assert_eq!(observation.observed_at, "2026-11-25T10:30:00Z".parse().unwrap());
    assert_eq!(observation.under_way, None);
    assert_eq!(observation.obstacles, []);
    assert_eq!(observation.ways_back.len(), 1, "`last-good` does not exist");
    assert_eq!(observation.ways_back[0].name, "slot staging");
    assert_eq!(observation.ways_back[0].obstacles, []);
    assert_eq!(observation.ways_back[0].detail, json!({"slot": "staging"}));
    assert_eq!(fingerprints(&observation), (Some("deployment:new1"), Some("deployment:old1")));

    let mut lines: Vec<_> = azure.recorded().iter().map(|r| r.line().replace(SITE, "SITE")).collect();
    lines.sort();
    let mut expected: Vec<_> = ["SITE", "SITE/slots/last-good", "SITE/slots/staging"]
        .iter()
        .flat_map(|slot| [format!("GET {slot}"), format!("GET {slot}/config/web"), format!("GET {slot}/deployments")])
        .collect();
    expected.sort();
    assert_eq!(lines, expected);
    for recorded in azure.recorded() {
        assert_eq!(recorded.query, "api-version=2025-05-01");
        assert_eq!(recorded.header("authorization"), Some("Bearer reader-token"));
    }
}

#[tokio::test]
async fn a_rollout_is_named_by_what_happened_last() {
    let push = json!({"start_time": "2026-11-25T10:10:00Z", "end_time": "2026-11-25T10:11:00Z"});
    let none = production().with("/properties/slotSwapStatus", Value::Null);
    let bare = Slot::without_log;
    let no_zone = json!({"timestampUtc": "2026-11-25T10:02:31.1234567", "sourceSlotName": "staging",
        "destinationSlotName": "production"});
    let away = json!({"timestampUtc": "2026-11-25T10:02:31Z", "sourceSlotName": "production", "destinationSlotName": "canary"});
    let others = json!({"timestampUtc": "2026-11-25T10:02:31Z", "sourceSlotName": "a", "destinationSlotName": "b"});
    let rows = [
        (bare(none.clone()), "swap|none", None),
        (none.clone(), "deployment|new1|2026-11-25T09:50:00.0000000Z", Some(moment("2026-11-25T09:50:00Z"))),
        (
            production().deployed("push2", true, 4, &push),
            "deployment|push2|2026-11-25T10:11:00.0000000Z",
            Some(moment("2026-11-25T10:11:00Z")),
        ),
        (
            production().deployed("broken", false, 3, &push),
            "swap|2026-11-25T10:02:31.2500000Z",
            Some(moment("2026-11-25T10:02:31.25Z")),
        ),
        (
            production().with("/properties/slotSwapStatus", no_zone),
            "swap|2026-11-25T10:02:31.1234567Z",
            Some(moment("2026-11-25T10:02:31.1234567Z")),
        ),
        (
            production().with("/properties/slotSwapStatus", away),
            "swap|2026-11-25T10:02:31.0000000Z",
            Some(moment("2026-11-25T10:02:31Z")),
        ),
        (bare(production().with("/properties/slotSwapStatus", others)), "swap|none", None),
    ];
    for (production, token, since) in rows {
        let observation = default_observation(&production, &staging()).await;
        assert_eq!(observation.running.token.0, token);
        assert_eq!(observation.running.serving_since, since, "{token}");
    }
}

#[tokio::test]
async fn containers_are_told_apart_by_their_image() {
    let image =
        |slot: Slot, tag: &str| slot.configured("/properties/linuxFxVersion", json!(format!("DOCKER|r.io/shop/app:{tag}")));
    let observation = default_observation(&image(production(), "43"), &image(staging(), "42")).await;
    assert_eq!(fingerprints(&observation), (Some("image:r.io/shop/app:43"), Some("image:r.io/shop/app:42")));
    assert_eq!(observation.running.label, "app:43 (swapped in from staging at 10:02:31Z)");
    let other = production().configured("/properties/linuxFxVersion", json!("SITECONTAINERS"));
    assert_eq!(fingerprints(&default_observation(&other, &staging()).await).0, Some("deployment:new1"));
    let silent = production().without_log();
    let observation = default_observation(&silent, &staging()).await;
    assert_eq!(fingerprints(&observation).0, None);
    assert!(observation.running.label.starts_with("unknown build (no deployment is active)"), "{}", observation.running.label);
}

#[tokio::test]
async fn a_setting_may_name_the_build() {
    let by_setting = |name: &str| target(&["staging"], FingerprintSource::Setting(name.to_owned()));
    let observation = observe(&production(), &staging(), &by_setting("RELEASE_ID")).await;
    assert_eq!(fingerprints(&observation), (Some("setting:new1"), Some("setting:old1")));
    assert_eq!(observation.running.label, "new1 (swapped in from staging at 10:02:31Z)");
    assert!(!format!("{observation:?}").contains("hunter2"));

    let observation = observe(&production(), &staging(), &by_setting("BUILD")).await;
    assert_eq!(fingerprints(&observation), (None, None));
    assert!(observation.running.label.contains("setting `BUILD` is not there"), "{}", observation.running.label);

    let azure = FakeAzure::start().await;
    production().serve(&azure, SITE);
    let sticky = json!({"properties": {"appSettingNames": ["release_id"]}});
    azure.on(&format!("GET {SITE}/config/slotConfigNames"), [Reply::json(200, &sticky)]);
    let observation = azure.adapter(&by_setting("RELEASE_ID")).observe().await.unwrap();
    assert_eq!(observation.running.fingerprint, None);
    assert!(observation.running.label.contains("is sticky"), "{}", observation.running.label);
    let list = azure.recorded().into_iter().find(|r| r.line().ends_with("sites/checkout/config/appsettings/list")).unwrap();
    assert_eq!((list.method.as_str(), list.body.as_str()), ("POST", ""));
    assert_eq!(list.header("authorization"), Some("Bearer reader-token"));
}

#[tokio::test]
async fn a_path_on_the_slots_own_host_may_name_the_build() {
    let (azure, site) = (FakeAzure::start().await, FakeAzure::start().await);
    let host = |at: &FakeAzure| json!(format!("127.0.0.1:{}", at.url.port().unwrap()));
    let by_url = |path: &str| target(&["staging"], FingerprintSource::Url(path.to_owned()));
    production().with("/properties/defaultHostName", host(&site)).serve(&azure, SITE);
    staging().with("/properties/defaultHostName", host(&azure)).serve(&azure, &format!("{SITE}/slots/staging"));
    site.on("GET /version", [Reply::text(200, " build-43\n")]);
    azure.on("GET /version", [Reply::text(503, "starting")]);
    let observation = azure.adapter(&by_url("/version")).observe().await.unwrap();
    assert_eq!(fingerprints(&observation), (Some("url:build-43"), None));
    assert_eq!(observation.ways_back[0].label, "unknown build (`/version` answered 503)");
    assert_eq!(site.recorded().len(), 1);
    assert_eq!(site.recorded()[0].header("authorization"), None);

    site.on("GET /version", [Reply::text(200, &"x".repeat(300))]);
    assert_eq!(azure.adapter(&by_url("/version")).observe().await.unwrap().running.fingerprint, None);
    site.on("GET /version", [Reply::empty(302).with("location", "/other")]);
    assert_eq!(azure.adapter(&by_url("/version")).observe().await.unwrap().running.fingerprint, None);
    assert!(site.recorded().iter().all(|r| r.path == "/version"));
}

#[tokio::test]
async fn a_slot_whose_host_is_known_is_asked_while_its_name_is_read_anew() {
    let (azure, site, moved) = (FakeAzure::start().await, FakeAzure::start().await, FakeAzure::start().await);
    let host = |at: &FakeAzure| json!(format!("127.0.0.1:{}", at.url.port().unwrap()));
    production().with("/properties/defaultHostName", host(&site)).serve(&azure, SITE);
    site.on("GET /version", [Reply::text(200, "build-43")]);
    moved.on("GET /version", [Reply::text(200, "build-44")]);
    let adapter = azure.adapter(&target(&[], FingerprintSource::Url("/version".to_owned())));
    adapter.observe().await.unwrap();
    adapter.observe().await.unwrap();
    assert_eq!(site.recorded().len(), 2, "once an observation");

    // Another host than before is asked after all, and what the old one said does not count.
    production().with("/properties/defaultHostName", host(&moved)).serve(&azure, SITE);
    let content = adapter.observe().await.unwrap().running.fingerprint.unwrap();
    assert_eq!(content.0, "url:build-44");
    assert_eq!((site.recorded().len(), moved.recorded().len()), (3, 1));

    azure.on(&format!("GET {SITE}"), [Reply::empty(503)]);
    assert_eq!(adapter.observe().await.unwrap_err().kind, PortErrorKind::Transient);
    assert_eq!(moved.recorded().len(), 2, "it was not waited for");
}

pub fn summary(obstacles: &[Obstacle]) -> Vec<(RuleId, ObstacleWeight)> {
    obstacles.iter().map(|obstacle| (obstacle.rule, obstacle.weight)).collect()
}

#[tokio::test]
async fn what_stands_against_a_swap_becomes_an_obstacle() {
    use ObstacleWeight::{Page, Propose};
    use RuleId::{S9, S10};
    let late = json!({"received_time": "2026-11-25T10:20:00Z"});
    let (p, s) = (production, staging);
    let rows: Vec<(&str, Slot, Slot, Vec<_>, Vec<_>)> = vec![
        ("stopped site", p().with("/properties/state", json!("Stopped")), s(), vec![(S9, Propose)], vec![]),
        ("state unknown", p().with("/properties/state", Value::Null), s(), vec![(S9, Propose)], vec![]),
        ("preview", p().with("/properties/targetSwapSlot", json!("staging")), s(), vec![(S10, Propose)], vec![]),
        ("auto-swap", p().configured("/properties/autoSwapSlotName", json!("x")), s(), vec![(S10, Propose)], vec![]),
        ("no experiments", p().configured("/properties/experiments", Value::Null), s(), vec![], vec![]),
        ("stopped slot", p(), s().with("/properties/state", json!("Stopped")), vec![], vec![(S9, Page)]),
        ("slot's state unknown", p(), s().with("/properties/state", Value::Null), vec![], vec![(S9, Propose)]),
        ("slot's preview", p(), s().with("/properties/targetSwapSlot", json!("production")), vec![], vec![(S10, Propose)]),
        (
            "slot's auto-swap",
            p(),
            s().configured("/properties/autoSwapSlotName", json!("production")),
            vec![],
            vec![(S10, Propose)],
        ),
        ("later deployment", p(), s().deployed("next", true, 4, &late), vec![], vec![(S10, Page)]),
        ("later failed deployment", p(), s().deployed("next", false, 3, &late), vec![], vec![(S10, Page)]),
    ];
    for (name, production, staging, site, way) in rows {
        let observation = default_observation(&production, &staging).await;
        assert_eq!(summary(&observation.obstacles), site, "{name}");
        assert_eq!(summary(&observation.ways_back[0].obstacles), way, "{name}");
        assert_eq!(observation.under_way, None, "{name}");
    }
    let observation = default_observation(&p(), &s().deployed("next", true, 4, &late)).await;
    let says = &observation.ways_back[0].obstacles[0].says;
    assert!(says.contains("another deployment at 10:20:00Z, after the swap at 10:02:31Z"), "{says}");
}

#[tokio::test]
async fn an_operation_under_way_is_seen_on_every_slot() {
    let operation = json!("op-1");
    let running = json!({"start_time": "2026-11-25T10:29:00Z"});
    let abandoned = json!({"start_time": "2026-11-25T08:29:00Z"});
    let rows = [
        (
            production().with("/properties/inProgressOperationId", operation.clone()),
            staging(),
            Some("operation `op-1` on slot production"),
        ),
        (production(), staging().with("/properties/inProgressOperationId", operation), Some("operation `op-1` on slot staging")),
        (production().deployed("d9", false, 2, &running), staging(), Some("deployment `d9` to slot production")),
        (production().deployed("d9", false, 2, &abandoned), staging(), None),
        (production().with("/properties/inProgressOperationId", json!(" ")), staging(), None),
    ];
    for (production, staging, under_way) in rows {
        assert_eq!(default_observation(&production, &staging).await.under_way.as_deref(), under_way);
    }
}

#[tokio::test]
async fn flex_consumption_has_no_way_back() {
    let site = production().with("/properties/sku", json!("FlexConsumption")).with("/kind", json!("functionapp,linux"));
    let observation = default_observation(&site, &staging()).await;
    assert_eq!(observation.ways_back, []);
    assert_eq!(summary(&observation.obstacles), [(RuleId::S9, ObstacleWeight::Page)]);
    let says = &observation.obstacles[0].says;
    assert!(says.contains("Flex Consumption") && says.contains("`platform: pipeline`"), "{says}");
}

#[tokio::test]
async fn what_cannot_be_read_is_never_guessed() {
    let staging_path = format!("{SITE}/slots/staging");
    let target = target(&["staging"], FingerprintSource::Default);
    let rows: [(&str, u16, usize, usize, bool, bool); 5] = [
        // part, status, obstacles of the site and of the way, fingerprints known
        ("/deployments", 403, 1, 0, false, true),
        ("/slots/staging", 403, 0, 1, true, true),
        ("/slots/staging", 503, 0, 1, true, true),
        ("/slots/staging/config/web", 404, 0, 1, true, false),
        ("/slots/staging/deployments", 429, 0, 1, true, false),
    ];
    for (part, status, site, way, running, good) in rows {
        let azure = FakeAzure::start().await;
        production().serve(&azure, SITE);
        staging().serve(&azure, &staging_path);
        azure.on(&format!("GET {SITE}{part}"), [Reply::empty(status)]);
        let observation = azure.adapter(&target).observe().await.unwrap();
        assert_eq!(observation.obstacles.len(), site, "{part}");
        assert_eq!(observation.ways_back[0].obstacles.len(), way, "{part}");
        assert!(
            observation.obstacles.iter().chain(&observation.ways_back[0].obstacles).all(|o| o.weight == ObstacleWeight::Propose)
        );
        let (seen_running, seen_good) = fingerprints(&observation);
        assert_eq!((seen_running.is_some(), seen_good.is_some()), (running, good), "{part}");
    }
    // A push to the serving slot names the rollout: while its log is away for a moment, the swap before would seem to.
    for (status, kind) in [(429, PortErrorKind::Throttled), (500, PortErrorKind::Transient)] {
        let azure = FakeAzure::start().await;
        production().serve(&azure, SITE);
        azure.on(&format!("GET {SITE}/deployments"), [Reply::empty(status)]);
        assert_eq!(azure.adapter(&target).observe().await.unwrap_err().kind, kind);
    }
    // Without the traffic rules the rollout has no name.
    let azure = FakeAzure::start().await;
    production().serve(&azure, SITE);
    azure.on(&format!("GET {SITE}/config/web"), [Reply::empty(403)]);
    assert_eq!(azure.adapter(&target).observe().await.unwrap_err().kind, PortErrorKind::Denied);
    for (reply, kind) in [
        (Reply::empty(404), PortErrorKind::NotFound),
        (Reply::empty(429), PortErrorKind::Throttled),
        (Reply::empty(503), PortErrorKind::Transient),
        (Reply::empty(403), PortErrorKind::Denied),
        (Reply::json(200, &json!({"properties": {"state": 7}})), PortErrorKind::Invalid),
        (Reply::json(200, &json!({"properties": {"slotSwapStatus": {"timestampUtc": "soon"}}})), PortErrorKind::Invalid),
    ] {
        let azure = FakeAzure::start().await;
        azure.on(&format!("GET {SITE}"), [reply]);
        assert_eq!(azure.adapter(&target).observe().await.unwrap_err().kind, kind);
    }
}

fn way(slot: &str) -> WayBack {
    WayBack {
        name: format!("slot {slot}"),
        fingerprint: None,
        label: String::new(),
        obstacles: Vec::new(),
        detail: json!({"slot": slot}),
    }
}

#[tokio::test]
async fn a_rollback_is_one_swap_from_the_good_slot() {
    let azure = FakeAzure::start().await;
    let swap = format!("POST {SITE}/slots/staging/slotsswap");
    let location = format!("{}{}/slots/staging/operationresults/1", azure.url, &SITE[1..]);
    azure.on(&swap, [Reply::empty(202).with("location", &location)]);
    azure.on(&format!("GET {SITE}/slots/staging/operationresults/1"), [Reply::empty(202), Reply::empty(200)]);
    let platform = azure.adapter(&target(&["staging"], FingerprintSource::Default));
    let steps = platform.steps(&way("staging"), &fence());
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].kind, StepKind::Toggle);
    assert_eq!(steps[0].says, "swap slot staging with production of `checkout`");
    let Submission::Accepted { operation, .. } = platform.submit(&steps[0]).await else { panic!("not accepted") };
    let recorded = azure.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].line(), swap);
    assert_eq!(recorded[0].query, "api-version=2025-05-01");
    let body: Value = serde_json::from_str(&recorded[0].body).unwrap();
    assert_eq!(body, json!({"targetSlot": "production", "preserveVnet": true}));
    assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));
    assert!(matches!(platform.poll(&operation).await.unwrap(), OperationState::Running { .. }));
    assert_eq!(platform.poll(&operation).await.unwrap(), OperationState::Succeeded);
}

#[tokio::test]
async fn another_serving_slot_is_the_target_of_the_swap() {
    let azure = FakeAzure::start().await;
    azure.on(&format!("POST {SITE}/slots/staging%202/slotsswap"), [Reply::empty(200)]);
    let Target::AppService(mut target) = target(&["staging 2"], FingerprintSource::Default) else { panic!("not a site") };
    target.serving_slot = "live".to_owned();
    let platform = azure.adapter(&Target::AppService(target));
    let step = platform.steps(&way("staging 2"), &fence()).remove(0);
    assert_eq!(platform.submit(&step).await, Submission::Done);
    let body: Value = serde_json::from_str(&azure.recorded()[0].body).unwrap();
    assert_eq!(body["targetSlot"], "live");
}

#[tokio::test]
async fn a_swap_from_anywhere_else_is_not_sent() {
    let azure = FakeAzure::start().await;
    let platform = azure.adapter(&target(&["staging", "production", ".."], FingerprintSource::Default));
    for slot in ["other", "", "production", "..", "staging/../.."] {
        let step = platform.steps(&way(slot), &fence()).remove(0);
        let submission = platform.submit(&step).await;
        assert!(matches!(submission, Submission::Refused { .. }), "{slot}: {submission:?}");
    }
    assert!(azure.recorded().is_empty());
}

#[tokio::test]
async fn verifying_reads_afresh() {
    let azure = FakeAzure::start().await;
    production().serve(&azure, SITE);
    staging().serve(&azure, &format!("{SITE}/slots/staging"));
    let platform = azure.adapter(&target(&["staging"], FingerprintSource::Default));
    let before = platform.observe().await.unwrap();
    let status =
        json!({"timestampUtc": "2026-11-25T10:29:00Z", "sourceSlotName": "staging", "destinationSlotName": "production"});
    Slot::new(&status, "old1", "2026-11-24T09:50:00Z").serve(&azure, SITE);
    let after = platform.verify(&before.ways_back[0]).await.unwrap();
    assert_eq!(after.running.token.0, "swap|2026-11-25T10:29:00.0000000Z");
    assert_eq!(after.running.fingerprint, before.ways_back[0].fingerprint);
}
