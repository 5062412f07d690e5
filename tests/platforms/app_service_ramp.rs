//! Traffic rules: when they are a rollout of their own, when they are in the way of a swap, and the call that clears them.

use backout::{
    domain::{
        observation::ObstacleWeight,
        rollback::{StepKind, Submission},
        rule::RuleId,
        target::{FingerprintSource, Target},
    },
    ports::PortErrorKind,
};
use serde_json::{Value, json};

use super::{
    app_service::{Slot, default_observation, fence, fingerprints, moment, production, staging, summary, target},
    server::{FakeAzure, Reply, SITE},
};

const HOST: &str = "checkout-staging.test";
const BASE: &str = "swap|2026-11-25T10:02:31.2500000Z";
const RAMPED: &str = "ramp|swap|2026-11-25T10:02:31.2500000Z|staging:next:2026-11-25T10:20:00.0000000Z";

fn to(host: &str, percentage: f64) -> Value {
    json!({"actionHostName": host, "reroutePercentage": percentage, "name": "Staging"})
}

fn ramped(rules: &[Value]) -> Slot {
    production().configured("/properties/experiments/rampUpRules", json!(rules))
}

fn host() -> Slot {
    staging().with("/properties/defaultHostName", json!(HOST))
}

/// Another build, pushed to staging after the swap.
fn canary() -> Slot {
    host().deployed("next", true, 4, &json!({"end_time": "2026-11-25T10:20:00Z"}))
}

#[tokio::test]
async fn users_sent_to_a_newer_build_are_a_rollout_that_ends_with_the_rules() {
    let observation = default_observation(&ramped(&[to(HOST, 20.0)]), &canary()).await;
    let running = &observation.running;
    assert_eq!(running.token.0, RAMPED);
    assert_eq!(running.serving_since, Some(moment("2026-11-25T10:20:00Z")), "not before its build was pushed");
    assert_eq!(
        running.label,
        "deployment next on slot staging for 20 % of the users (pushed there at 10:20:00Z) beside deployment new1"
    );
    let running_fingerprint = running.fingerprint.as_ref().unwrap();
    assert_eq!(
        (running_fingerprint.0.as_str(), running_fingerprint.is_shared()),
        ("shared:deployment:new1 + deployment:next", true)
    );
    assert_eq!(observation.obstacles, []);
    let [off, slot] = observation.ways_back.as_slice() else { panic!("{observation:#?}") };
    assert_eq!(
        (off.name.as_str(), off.label.as_str(), &off.detail),
        ("slot production alone", "deployment new1", &json!({"ramp": "off"}))
    );
    assert_eq!(off.obstacles, []);
    assert!(slot.obstacles.iter().all(|obstacle| obstacle.weight == ObstacleWeight::Page && obstacle.rule == RuleId::S10));
    assert_eq!(slot.obstacles.len(), 2, "it holds the accused build, and the ramp comes first");

    // Cleared, the serving slot's own rollout is left: another token, and the content to which the way led.
    let after = default_observation(&production(), &canary()).await;
    assert_eq!((after.running.token.0.as_str(), &after.running.fingerprint), (BASE, &off.fingerprint));
}

#[tokio::test]
async fn the_name_of_a_ramp_is_the_same_while_its_share_moves() {
    let auto = json!({"actionHostName": HOST.to_ascii_uppercase(), "reroutePercentage": 0, "changeStep": 5});
    for rules in [vec![to(HOST, 1.0)], vec![to(HOST, 55.5)], vec![auto], vec![json!({"actionHostName": HOST})]] {
        assert_eq!(default_observation(&ramped(&rules), &canary()).await.running.token.0, RAMPED, "{rules:?}");
    }
    let pushed_again = canary().deployed("next2", true, 4, &json!({"end_time": "2026-11-25T10:25:00Z"}));
    let token = default_observation(&ramped(&[to(HOST, 20.0)]), &pushed_again).await.running.token.0;
    assert!(token.ends_with("|staging:next2:2026-11-25T10:25:00.0000000Z"), "{token}");
}

#[tokio::test]
async fn other_rules_are_cleared_before_a_swap() {
    let undated = host().deployed("next", true, 4, &json!({}));
    let failed = host().deployed("next", false, 3, &json!({"end_time": "2026-11-25T10:20:00Z"}));
    let one = vec![to(HOST, 20.0)];
    let rows = [
        // name, rules, staging, whether they are cleared, obstacles of the site
        ("to the build of before", one.clone(), host(), true, 0),
        ("a push that failed serves nobody", one.clone(), failed, true, 0),
        ("no share", vec![to(HOST, 0.0)], host(), false, 0),
        ("no share of a newer build", vec![to(HOST, 0.0)], canary(), false, 0),
        ("elsewhere", vec![to("other.test", 20.0)], host(), true, 1),
        ("no host", vec![json!({"reroutePercentage": 20})], host(), true, 1),
        ("no time", one, undated, true, 1),
        ("one of two is not told", vec![to(HOST, 20.0), to("other.test", 5.0)], canary(), true, 1),
    ];
    for (name, rules, staging, cleared, obstacles) in rows {
        let observation = default_observation(&ramped(&rules), &staging).await;
        assert_eq!(observation.running.token.0, BASE, "{name}");
        assert_eq!(fingerprints(&observation).0, Some("deployment:new1"), "{name}");
        assert_eq!(summary(&observation.obstacles), vec![(RuleId::S10, ObstacleWeight::Propose); obstacles], "{name}");
        let detail = if cleared { json!({"slot": "staging", "ramp": "off"}) } else { json!({"slot": "staging"}) };
        assert_eq!(observation.ways_back[0].detail, detail, "{name}");
    }
}

#[tokio::test]
async fn a_slot_that_only_the_rules_name_is_read_as_well() {
    let azure = FakeAzure::start().await;
    let rule = json!({"actionHostName": "checkout-canary.test", "reroutePercentage": 10, "name": "Canary"});
    let path = format!("{SITE}/slots/canary");
    ramped(&[rule, json!({"actionHostName": "x.test", "reroutePercentage": 1, "name": "../.."})]).serve(&azure, SITE);
    staging().serve(&azure, &format!("{SITE}/slots/staging"));
    canary().with("/properties/defaultHostName", json!("checkout-canary.test")).serve(&azure, &path);
    let platform = azure.adapter(&target(&["staging"], FingerprintSource::Default));
    let observation = platform.observe().await.unwrap();
    assert_eq!(observation.running.token.0, BASE, "the second rule's slot is not told");
    assert!(azure.recorded().iter().all(|request| !request.path.contains("..")));

    ramped(&[json!({"actionHostName": "checkout-canary.test", "reroutePercentage": 10, "name": "Canary"})]).serve(&azure, SITE);
    let observation = platform.observe().await.unwrap();
    assert_eq!(observation.running.token.0, RAMPED.replace("staging", "canary"));
    let names: Vec<_> = observation.ways_back.iter().map(|way| way.name.as_str()).collect();
    assert_eq!(names, ["slot production alone", "slot staging"]);

    azure.on(
        &format!("GET {path}"),
        [Reply::json(
            200,
            &json!({"properties": {"inProgressOperationId": "op-1",
        "defaultHostName": "checkout-canary.test"}}),
        )],
    );
    let under_way = platform.observe().await.unwrap().under_way;
    assert_eq!(under_way.as_deref(), Some("operation `op-1` on slot canary"));
}

#[tokio::test]
async fn a_push_to_a_slot_that_serves_users_is_under_way() {
    let pushing = canary().deployed("d9", false, 2, &json!({"start_time": "2026-11-25T10:29:00Z"}));
    let observation = default_observation(&ramped(&[to(HOST, 20.0)]), &pushing).await;
    assert_eq!(observation.under_way.as_deref(), Some("deployment `d9` to slot staging"));
    assert_eq!(default_observation(&production(), &pushing).await.under_way, None);
}

/// Otherwise a look that fails in part would show the serving slot's own rollout, as if the rules were gone.
#[tokio::test]
async fn a_ramp_that_cannot_be_read_is_no_verdict() {
    for (part, status, kind) in [
        ("/config/web", 503, PortErrorKind::Transient),
        ("/deployments", 500, PortErrorKind::Transient),
        ("/slots/staging", 503, PortErrorKind::Transient),
        ("/slots/staging/deployments", 403, PortErrorKind::Denied),
    ] {
        let azure = FakeAzure::start().await;
        ramped(&[to(HOST, 20.0)]).serve(&azure, SITE);
        canary().serve(&azure, &format!("{SITE}/slots/staging"));
        azure.on(&format!("GET {SITE}{part}"), [Reply::empty(status)]);
        let error = azure.adapter(&target(&["staging"], FingerprintSource::Default)).observe().await.unwrap_err();
        assert_eq!(error.kind, kind, "{part}");
    }
    let azure = FakeAzure::start().await;
    ramped(&[to(HOST, 20.0)]).serve(&azure, SITE);
    canary().serve(&azure, &format!("{SITE}/slots/staging"));
    azure.on(&format!("POST {SITE}/slots/staging/config/appsettings/list"), [Reply::empty(403)]);
    let by_setting = target(&["staging"], FingerprintSource::Setting("RELEASE_ID".to_owned()));
    let running = azure.adapter(&by_setting).observe().await.unwrap().running;
    assert_eq!((running.token.0.as_str(), running.fingerprint), (RAMPED, None), "its name stays, its content is unknown");
}

#[tokio::test]
async fn clearing_is_one_patch_and_comes_before_a_swap() {
    let azure = FakeAzure::start().await;
    let patch = format!("PATCH {SITE}/config/web");
    azure.on(&patch, [Reply::json(200, &json!({"properties": {}}))]);
    let platform = azure.adapter(&target(&["staging"], FingerprintSource::Default));

    let off = default_observation(&ramped(&[to(HOST, 20.0)]), &canary()).await.ways_back.remove(0);
    let steps = platform.steps(&off, &fence());
    let says: Vec<_> = steps.iter().map(|step| (step.says.as_str(), step.kind)).collect();
    let clear = ("send all users of `checkout` to slot production (clear `rampUpRules`)", StepKind::Convergent);
    assert_eq!(says, [clear]);
    assert_eq!(platform.submit(&steps[0]).await, Submission::Done);
    let recorded = azure.recorded();
    assert_eq!((recorded.len(), recorded[0].line(), recorded[0].query.as_str()), (1, patch, "api-version=2025-05-01"));
    let body: Value = serde_json::from_str(&recorded[0].body).unwrap();
    assert_eq!(body, json!({"properties": {"experiments": {"rampUpRules": []}}}), "and nothing else of the configuration");
    assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));

    let swap = default_observation(&ramped(&[to(HOST, 20.0)]), &host()).await.ways_back.remove(0);
    let steps = platform.steps(&swap, &fence());
    let says: Vec<_> = steps.iter().map(|step| (step.says.as_str(), step.kind)).collect();
    assert_eq!(says, [clear, ("swap slot staging with production of `checkout`", StepKind::Toggle)]);
}

#[tokio::test]
async fn another_serving_slot_has_rules_of_its_own() {
    let azure = FakeAzure::start().await;
    let Target::AppService(mut site) = target(&["staging"], FingerprintSource::Default) else { panic!("not a site") };
    site.serving_slot = "live".to_owned();
    azure.on(&format!("PATCH {SITE}/slots/live/config/web"), [Reply::empty(409)]);
    let platform = azure.adapter(&Target::AppService(site));
    let off = default_observation(&ramped(&[to(HOST, 20.0)]), &canary()).await.ways_back.remove(0);
    let submission = platform.submit(&platform.steps(&off, &fence())[0]).await;
    assert!(matches!(submission, Submission::Busy { .. }), "{submission:?}");
    assert_eq!(azure.recorded().len(), 1);
}
