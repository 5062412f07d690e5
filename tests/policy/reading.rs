//! A valid policy file becomes exactly these domain values. The file is composed here.

use std::collections::BTreeMap;

use backout::{
    domain::{
        alert::Severity,
        policy::{Channel, NoticeKind, NotifyRule, StormRule},
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, WorseWhen},
        service::{AlertMatcher, Budget, DeploymentMatcher, Mode, Resubmit, Reversible, Service, ServiceName},
        target::{AppServiceTarget, AppServiceWay, FingerprintSource, Target},
    },
    policy::{self, duration::DurationText, json_schema},
};
use jiff::SignedDuration;
use serde_json::Value;
use sha2::{Digest, Sha256};

const FULL: &str = r#"
version: 1
defaults:
  mode: propose
  severityAtLeast: Sev1
  correlationWindow: 2h30m
  evidenceWait: 90s
  healthyFor: 45m
  coolDown: 1h
  budget: { rollbacks: 2, per: 12h }
  quietTime: 15m
  verifyWithin: 20m
  reversible: never
services:
  checkout:
    target:
      platform: app-service
      site: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Web/sites/Checkout
      servingSlot: live
      goodSlots: [last-good, staging]
    alerts:
      - resource: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Insights/components/checkout
      - rule: "checkout-*"
        property: { service: checkout, "tier": "1" }
    deployments:
      - { project: shop, pipeline: release, stage: prod }
      - { repository: contoso/shop, environment: production }
      - { subject: shop/checkout }
    dependsOn: [payments]
    reversible: always
    mode: act
    severityAtLeast: sev0
    budget: { rollbacks: 1 }
    quietTime: 6m
    resubmit: once
    evidence:
      - { metric: Http5xx, of: Requests }
      - metric: availabilityResults/availabilityPercentage
        worseWhen: lower
        noData: zero
        resource: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Insights/components/checkout
    fingerprint: { setting: RELEASE_ID }
  payments:
    target: { platform: app-service, site: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Web/sites/payments }
    fingerprint: { url: /version }
storm: { resources: 8, within: 10m }
notify:
  - { channel: teams, urlFrom: TEAMS_WEBHOOK_URL, for: [act, page] }
  - { channel: log }
"#;

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers";

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("{GROUP}/{rest}")).unwrap()
}

fn name(text: &str) -> ServiceName {
    ServiceName(text.to_owned())
}

fn default_evidence() -> EvidenceMetric {
    EvidenceMetric {
        metric: "Http5xx".to_owned(),
        of: Some("Requests".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Unknown,
        resource: None,
    }
}

#[test]
fn a_full_policy() {
    let policy = policy::read(FULL.as_bytes(), Some(&id("Microsoft.Web/sites/backout"))).unwrap();
    let checkout = Service {
        name: name("checkout"),
        target: Target::AppService(AppServiceTarget {
            site: id("Microsoft.Web/sites/checkout"),
            serving_slot: "live".to_owned(),
            good_slots: vec!["last-good".to_owned(), "staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots],
            fingerprint: FingerprintSource::Setting("RELEASE_ID".to_owned()),
        }),
        alerts: vec![
            AlertMatcher { resource: Some(id("Microsoft.Insights/components/checkout")), rule: None, property: vec![] },
            AlertMatcher {
                resource: None,
                rule: Some("checkout-*".to_owned()),
                property: vec![("service".to_owned(), "checkout".to_owned()), ("tier".to_owned(), "1".to_owned())],
            },
        ],
        deployments: vec![
            DeploymentMatcher {
                project: Some("shop".to_owned()),
                pipeline: Some("release".to_owned()),
                stage: Some("prod".to_owned()),
                ..DeploymentMatcher::default()
            },
            DeploymentMatcher {
                repository: Some("contoso/shop".to_owned()),
                environment: Some("production".to_owned()),
                ..DeploymentMatcher::default()
            },
            DeploymentMatcher { subject: Some("shop/checkout".to_owned()), ..DeploymentMatcher::default() },
        ],
        depends_on: vec![name("payments")],
        reversible: Reversible::Always,
        mode: Mode::Act,
        severity_at_least: Severity::new(0).unwrap(),
        correlation_window: SignedDuration::from_mins(150),
        evidence_wait: SignedDuration::from_secs(90),
        healthy_for: SignedDuration::from_mins(45),
        cool_down: SignedDuration::from_hours(1),
        budget: Budget { rollbacks: 1, per: SignedDuration::from_hours(12) },
        quiet_time: SignedDuration::from_mins(6),
        verify_within: SignedDuration::from_mins(20),
        resubmit: Resubmit::Once,
        evidence: vec![
            default_evidence(),
            EvidenceMetric {
                metric: "availabilityResults/availabilityPercentage".to_owned(),
                of: None,
                worse_when: WorseWhen::Lower,
                no_data: NoData::Zero,
                resource: Some(id("Microsoft.Insights/components/checkout")),
            },
        ],
    };
    let payments = Service {
        name: name("payments"),
        target: Target::AppService(AppServiceTarget {
            site: id("Microsoft.Web/sites/payments"),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots],
            fingerprint: FingerprintSource::Url("/version".to_owned()),
        }),
        alerts: vec![],
        deployments: vec![],
        depends_on: vec![],
        reversible: Reversible::Never,
        mode: Mode::Propose,
        severity_at_least: Severity::new(1).unwrap(),
        budget: Budget { rollbacks: 2, per: SignedDuration::from_hours(12) },
        quiet_time: SignedDuration::from_mins(15),
        resubmit: Resubmit::Never,
        evidence: vec![default_evidence()],
        ..checkout.clone()
    };
    assert_eq!(policy.services, BTreeMap::from([(name("checkout"), checkout), (name("payments"), payments)]));
    assert_eq!(policy.storm, StormRule { resources: 8, within: SignedDuration::from_mins(10) });
    assert_eq!(
        policy.notify,
        vec![
            NotifyRule {
                channel: Channel::Teams,
                url_from: Some("TEAMS_WEBHOOK_URL".to_owned()),
                kinds: vec![NoticeKind::Act, NoticeKind::Page],
            },
            NotifyRule {
                channel: Channel::Log,
                url_from: None,
                kinds: vec![NoticeKind::Act, NoticeKind::Propose, NoticeKind::Page],
            },
        ]
    );
    assert_eq!(policy.sha256, data_encoding::HEXLOWER.encode(&Sha256::digest(FULL.as_bytes())));
    // The id is used in calls as it was written.
    assert!(policy.services[&name("checkout")].target.resource().unwrap().as_written().ends_with("/Checkout"));
}

/// What takes a site back without a list, and with one.
#[test]
fn ways_back_of_a_site() {
    use AppServiceWay::{Image, Package, Slots};
    let package = "    fingerprint: { setting: WEBSITE_RUN_FROM_PACKAGE }\n";
    let rows = [
        ("", "", &["staging"][..], vec![Slots, Image]),
        ("", package, &["staging"], vec![Slots, Package]),
        ("", "    fingerprint: { setting: RELEASE_ID }\n", &["staging"], vec![Slots]),
        ("", "    fingerprint: { url: /version }\n", &["staging"], vec![Slots]),
        (", waysBack: [image, slots]", "", &["staging"], vec![Image, Slots]),
        (", waysBack: [image]", "", &[], vec![Image]),
        (", waysBack: [package]", package, &[], vec![Package]),
    ];
    for (ways, fingerprint, slots, expected) in rows {
        let text = format!(
            "version: 1\nservices:\n  a:\n    target: {{ platform: app-service, site: {GROUP}/Microsoft.Web/sites/a{ways} }}\n{fingerprint}"
        );
        let policy = policy::read(text.as_bytes(), None).unwrap();
        let Target::AppService(target) = &policy.services[&name("a")].target else { panic!("not a site") };
        assert_eq!(
            (target.good_slots.as_slice(), &target.ways_back),
            (slots.iter().map(|slot| (*slot).to_owned()).collect::<Vec<_>>().as_slice(), &expected),
            "{text}"
        );
    }
}

#[test]
fn the_smallest_policy_takes_every_default() {
    let text =
        format!("version: 1\nservices:\n  a:\n    target: {{ platform: app-service, site: {GROUP}/Microsoft.Web/sites/a }}\n");
    let policy = policy::read(text.as_bytes(), None).unwrap();
    let expected = Service {
        name: name("a"),
        target: Target::AppService(AppServiceTarget {
            site: id("Microsoft.Web/sites/a"),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots, AppServiceWay::Image],
            fingerprint: FingerprintSource::Default,
        }),
        alerts: vec![],
        deployments: vec![],
        depends_on: vec![],
        reversible: Reversible::Declared,
        mode: Mode::Observe,
        severity_at_least: Severity::new(2).unwrap(),
        correlation_window: SignedDuration::from_mins(60),
        evidence_wait: SignedDuration::from_secs(120),
        healthy_for: SignedDuration::from_mins(30),
        cool_down: SignedDuration::from_mins(30),
        budget: Budget { rollbacks: 3, per: SignedDuration::from_hours(24) },
        quiet_time: SignedDuration::from_mins(10),
        verify_within: SignedDuration::from_mins(15),
        resubmit: Resubmit::Never,
        evidence: vec![default_evidence()],
    };
    assert_eq!(policy.services, BTreeMap::from([(name("a"), expected)]));
    assert_eq!(policy.storm, StormRule { resources: 5, within: SignedDuration::from_mins(5) });
    assert_eq!(policy.notify, vec![]);
}

#[test]
fn anchors_may_save_some_typing() {
    let text = format!(
        "version: 1\nservices:\n  a:\n    target: {{ platform: app-service, site: {GROUP}/Microsoft.Web/sites/a, goodSlots: &slots [blue, green] }}\n  b:\n    target: {{ platform: app-service, site: {GROUP}/Microsoft.Web/sites/b, goodSlots: *slots }}\n"
    );
    let policy = policy::read(text.as_bytes(), None).unwrap();
    for service in policy.services.values() {
        let Target::AppService(target) = &service.target else { panic!("not a site") };
        assert_eq!(target.good_slots, ["blue", "green"]);
    }
}

#[test]
fn a_file_from_windows_reads_the_same() {
    let windows = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    let (one, other) = (policy::read(windows.as_bytes(), None).unwrap(), policy::read(FULL.as_bytes(), None).unwrap());
    assert_eq!(one.services, other.services);
    assert_ne!(one.sha256, other.sha256);
}

#[test]
fn durations_as_written() {
    for (text, seconds) in [("30s", 30), ("60m", 3_600), ("24h", 86_400), ("2h30m", 9_000), ("1h2m3s", 3_723), ("1m1s", 61)] {
        assert_eq!(DurationText(text.to_owned()).parse(), Ok(SignedDuration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn the_schema_as_published() {
    insta::assert_json_snapshot!("policy_schema", json_schema());
}

/// What the schema promises as the default is what holds: a file that writes all of them out reads like one that has none.
#[test]
fn the_defaults_of_the_schema_are_the_ones_that_hold() {
    let schema = json_schema();
    let defaults_in = |shape: &Value| -> serde_json::Map<String, Value> {
        let properties = shape["properties"].as_object().unwrap();
        properties.iter().filter_map(|(key, value)| Some((key.clone(), value.get("default")?.clone()))).collect()
    };
    let defaults_of = |name: &str| defaults_in(&schema["$defs"][name]);
    let mut defaults = defaults_of("DefaultsFile");
    assert_eq!(defaults.len(), 10, "{defaults:?}");
    defaults.insert("budget".to_owned(), Value::Object(defaults_of("BudgetFile")));
    let targets = schema["$defs"]["TargetFile"]["oneOf"].as_array().unwrap();
    let site = targets.iter().find(|target| target["properties"]["platform"]["const"] == "app-service").unwrap();
    let mut target = defaults_in(site);
    target.insert("platform".to_owned(), "app-service".into());
    target.insert("site".to_owned(), format!("{GROUP}/Microsoft.Web/sites/a").into());
    let mut service = defaults_of("ServiceFile");
    assert_eq!(service.keys().collect::<Vec<_>>(), ["evidence"]);
    service.insert("target".to_owned(), Value::Object(target));
    // JSON is YAML.
    let written = serde_json::json!({
        "version": 1, "defaults": defaults, "services": { "a": service }, "storm": defaults_of("StormFile")
    });
    let bare =
        format!("version: 1\nservices: {{ a: {{ target: {{ platform: app-service, site: {GROUP}/Microsoft.Web/sites/a }} }} }}");
    let (written, bare) =
        (policy::read(written.to_string().as_bytes(), None).unwrap(), policy::read(bare.as_bytes(), None).unwrap());
    assert_eq!(written.services, bare.services);
    assert_eq!(written.storm, bare.storm);
}

/// Every field explains itself, with what holds when it is left out.
#[test]
fn every_field_of_the_schema_is_documented() {
    let schema = json_schema();
    let mut seen = 0;
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let variants = definition.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let shapes = std::iter::once(definition).chain(variants);
        let fields = shapes.filter_map(|shape| shape.get("properties")?.as_object()).flatten();
        // What `platform` may say is documented at the choice itself.
        for (key, property) in fields.filter(|(key, _)| *key != "platform") {
            assert!(property["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}.{key}: {property}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

proptest::proptest! {
    /// Any text gives a policy or problems with places inside it.
    #[test]
    fn any_text_ends_in_an_answer(text in "[ -~\n]{0,300}") {
        if let Err(error) = policy::read(text.as_bytes(), None) {
            proptest::prop_assert!(!error.problems.is_empty());
            for problem in error.problems {
                proptest::prop_assert!(problem.line >= 1 && problem.line <= text.lines().count() as u64 + 1);
            }
        }
    }

    /// So does a real policy with some bytes changed.
    #[test]
    fn a_damaged_policy_ends_in_an_answer(at in 0..FULL.len(), length in 0..30_usize, with in "[ -~\n]{0,6}") {
        let mut text = FULL.to_owned();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &with);
        if let Err(error) = policy::read(text.as_bytes(), None) {
            proptest::prop_assert!(!error.problems.is_empty());
        }
    }
}
