//! Which services an alert or an event speaks about.

use std::collections::BTreeMap;

use backout::{
    decide::who,
    domain::{
        alert::Alert,
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        policy::{Policy, StormRule},
        service::{AlertMatcher, DeploymentMatcher, Service, ServiceName},
        target::Target,
    },
};

use super::case::{alert, id, minutes, service, site};

const INSIGHTS: &str =
    "/subscriptions/5f3c1a52-9a0b-4c7e-8f3d-2d8a40c6b001/resourceGroups/shop/providers/microsoft.insights/components/checkout";

fn policy(services: Vec<Service>) -> Policy {
    Policy {
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
        storm: StormRule { resources: 5, within: minutes(5) },
        notify: Vec::new(),
        sha256: String::new(),
    }
}

fn matcher(resource: Option<&str>, rule: Option<&str>, property: &[(&str, &str)]) -> AlertMatcher {
    AlertMatcher {
        resource: resource.map(id),
        rule: rule.map(str::to_owned),
        property: property.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn with_alerts(name: &str, alerts: Vec<AlertMatcher>) -> Service {
    Service { alerts, ..service(name) }
}

fn depending(name: &str, on: &[&str]) -> Service {
    Service { depends_on: on.iter().map(|name| ServiceName((*name).to_owned())).collect(), ..service(name) }
}

fn about(resource: &str) -> Alert {
    Alert { resources: vec![resource.to_owned()], ..alert() }
}

#[track_caller]
fn check_meant(alert: &Alert, policy: &Policy, expect: &[&str]) {
    let meant: Vec<&str> = who::services_meant(alert, policy).into_iter().map(|service| service.name.0.as_str()).collect();
    assert_eq!(meant, expect, "{:?}", alert.resources);
}

#[test]
fn an_alert_on_the_target_means_its_service() {
    let policy = policy(vec![service("checkout"), service("checkout2")]);
    for (resource, expect) in [
        (site("checkout"), &["checkout"] as &[&str]),
        (site("checkout").to_uppercase(), &["checkout"]),
        (site("checkout") + "/", &["checkout"]),
        (site("checkout") + "/functions/pay", &["checkout"]),
        (site("checkout") + "/slots/production", &["checkout"]),
        (site("checkout") + "/slots/PRODUCTION", &["checkout"]),
        // Other slots do not speak about what serves users.
        (site("checkout") + "/slots/staging", &[]),
        (site("checkout") + "/slots/production2", &[]),
        // Neither does what merely begins alike.
        (site("checkout2"), &["checkout2"]),
        (site("checkout-2"), &[]),
        (site("check"), &[]),
        (site("checkout").replace("/shop/", "/shop2/"), &[]),
    ] {
        check_meant(&about(&resource), &policy, expect);
    }
}

#[test]
fn a_service_in_a_slot_is_meant_by_that_slot_only() {
    let mut canary = service("checkout");
    let Target::AppService(target) = &mut canary.target else { panic!("not a site") };
    target.serving_slot = "Blue".to_owned();
    let policy = policy(vec![canary]);
    check_meant(&about(&(site("checkout") + "/slots/blue")), &policy, &["checkout"]);
    check_meant(&about(&(site("checkout") + "/slots/blue/functions/pay")), &policy, &["checkout"]);
    check_meant(&about(&site("checkout")), &policy, &[]);
    check_meant(&about(&(site("checkout") + "/functions/pay")), &policy, &[]);
    check_meant(&about(&(site("checkout") + "/slots/production")), &policy, &[]);
    check_meant(&about(&(site("checkout") + "/slots/blue2")), &policy, &[]);
}

#[test]
fn what_is_no_resource_id_means_nothing() {
    let policy = policy(vec![service("checkout"), with_alerts("search", vec![matcher(Some(INSIGHTS), None, &[])])]);
    for text in ["", "/", "checkout", "/subscriptions", &format!("{}/../checkout", site("search")), &site("checkout%00"), "*"] {
        check_meant(&about(text), &policy, &[]);
    }
    check_meant(&Alert { resources: Vec::new(), ..alert() }, &policy, &[]);
    check_meant(&Alert { resources: vec!["nonsense".to_owned(), site("checkout")], ..alert() }, &policy, &["checkout"]);
}

#[test]
fn the_keys_of_a_matcher_are_all_of_and_matchers_any_of() {
    let policy = policy(vec![with_alerts(
        "search",
        vec![
            matcher(Some(INSIGHTS), Some("search-*"), &[("Service", "search"), ("tier", "web")]),
            matcher(None, Some("only-*-rule"), &[]),
        ],
    )]);
    let alert = |resource: &str, rule: Option<&str>, properties: &[(&str, &str)], dimensions: &[(&str, &str)]| {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Alert { rule: rule.map(str::to_owned), properties: map(properties), dimensions: map(dimensions), ..about(resource) }
    };
    let both = [("service", "search"), ("tier", "web")];
    for (alert, expect) in [
        (alert(INSIGHTS, Some("Search-5xx"), &both, &[]), true),
        (alert(&INSIGHTS.to_uppercase(), Some("search-"), &both[..1], &both[1..]), true),
        (alert(&format!("{INSIGHTS}2"), Some("search-5xx"), &both, &[]), false),
        (alert(INSIGHTS, Some("checkout-5xx"), &both, &[]), false),
        (alert(INSIGHTS, None, &both, &[]), false),
        (alert(INSIGHTS, Some("search-5xx"), &both[..1], &[]), false),
        (alert(INSIGHTS, Some("search-5xx"), &[("service", "Search"), ("tier", "web")], &[]), false),
        (alert(&site("other"), Some("only-this-rule"), &[], &[]), true),
        (alert(&site("other"), Some("only-rule"), &[], &[]), false),
    ] {
        check_meant(&alert, &policy, if expect { &["search"] } else { &[] });
    }
}

#[test]
fn a_matcher_that_says_nothing_means_nothing() {
    check_meant(&alert(), &policy(vec![with_alerts("search", vec![matcher(None, None, &[])])]), &[]);
}

#[test]
fn an_alert_may_mean_two_services() {
    let by_insights = || vec![matcher(Some(INSIGHTS), None, &[])];
    let policy = policy(vec![with_alerts("search", by_insights()), with_alerts("checkout", by_insights()), service("other")]);
    check_meant(&about(INSIGHTS), &policy, &["checkout", "search"]);
    check_meant(
        &Alert { resources: vec![INSIGHTS.to_owned(), site("other")], ..alert() },
        &policy,
        &["checkout", "other", "search"],
    );
}

#[test]
fn c4_the_scope_is_what_is_upstream_nearest_first() {
    // A diamond: checkout -> (payments, stock) -> ledger; stock -> payments too. `web` is downstream, `search` apart.
    let policy = policy(vec![
        depending("web", &["checkout"]),
        depending("checkout", &["stock", "payments"]),
        depending("payments", &["ledger"]),
        depending("stock", &["payments", "ledger"]),
        service("ledger"),
        service("search"),
    ]);
    let scope = |names: &[&str]| -> Vec<(String, u32)> {
        let meant: Vec<&Service> = names.iter().map(|name| &policy.services[&ServiceName((*name).to_owned())]).collect();
        who::scope(&meant, &policy).into_iter().map(|(service, distance)| (service.name.0.clone(), distance)).collect()
    };
    let expect = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, distance)| ((*name).to_owned(), *distance)).collect::<Vec<_>>();
    assert_eq!(scope(&["checkout"]), expect(&[("checkout", 0), ("payments", 1), ("stock", 1), ("ledger", 2)]));
    assert_eq!(scope(&["ledger"]), expect(&[("ledger", 0)]));
    assert_eq!(scope(&["web", "payments"]), expect(&[("payments", 0), ("web", 0), ("checkout", 1), ("ledger", 1), ("stock", 2)]));
    assert_eq!(scope(&[]), []);
    let downstream = |name: &str| -> Vec<&str> {
        who::services_downstream(&ServiceName(name.to_owned()), &policy).into_iter().map(|s| s.name.0.as_str()).collect()
    };
    assert_eq!(downstream("payments"), ["checkout", "payments", "stock", "web"]);
    assert_eq!(downstream("search"), ["search"]);
    assert_eq!(downstream("nobody"), [] as [&str; 0]);
}

fn event(resources: &[String], subject: DeploymentSubject) -> DeploymentEvent {
    DeploymentEvent {
        id: None,
        source: "event-grid".to_owned(),
        resources: resources.to_vec(),
        operation: None,
        status: DeploymentStatus::Succeeded,
        at: None,
        subject,
        version: None,
        reversible: None,
        slots: None,
    }
}

#[track_caller]
fn check_changed(event: &DeploymentEvent, policy: &Policy, expect: &[&str]) {
    let changed: Vec<&str> = who::services_changed(event, policy).into_iter().map(|service| service.name.0.as_str()).collect();
    assert_eq!(changed, expect, "{event:?}");
}

#[test]
fn an_event_about_any_slot_may_change_the_service() {
    let policy = policy(vec![service("checkout"), service("search")]);
    for resource in [site("checkout"), site("CHECKOUT"), site("checkout") + "/slots/staging"] {
        check_changed(&event(&[resource], DeploymentSubject::default()), &policy, &["checkout"]);
    }
    for resource in [site("checkout2"), "nonsense".to_owned()] {
        check_changed(&event(&[resource], DeploymentSubject::default()), &policy, &[]);
    }
    check_changed(&event(&[], DeploymentSubject::default()), &policy, &[]);
}

#[test]
fn an_event_of_a_pipeline_is_matched_by_its_names() {
    let some = |text: &str| Some(text.to_owned());
    let of = |name: &str, deployments: Vec<DeploymentMatcher>| Service { deployments, ..service(name) };
    let policy = policy(vec![
        of("checkout", vec![DeploymentMatcher { pipeline: some("Shop"), stage: some("prod"), ..DeploymentMatcher::default() }]),
        of(
            "search",
            vec![
                DeploymentMatcher { repository: some("org/search"), environment: some("prod"), ..DeploymentMatcher::default() },
                DeploymentMatcher { subject: some("Deployment/shop/search"), ..DeploymentMatcher::default() },
            ],
        ),
        of("nothing", vec![DeploymentMatcher::default()]),
        of("project", vec![DeploymentMatcher { project: some("Shop"), ..DeploymentMatcher::default() }]),
    ]);
    for (subject, expect) in [
        (
            DeploymentSubject { pipeline: some("shop"), stage: some("PROD"), ..DeploymentSubject::default() },
            &["checkout"] as &[&str],
        ),
        (DeploymentSubject { pipeline: some("shop"), stage: some("test"), ..DeploymentSubject::default() }, &[]),
        (DeploymentSubject { pipeline: some("shop"), ..DeploymentSubject::default() }, &[]),
        (DeploymentSubject { pipeline: some("shop2"), stage: some("prod"), ..DeploymentSubject::default() }, &[]),
        (
            DeploymentSubject { repository: some("org/search"), environment: some("prod"), ..DeploymentSubject::default() },
            &["search"],
        ),
        (DeploymentSubject { repository: some("org/search2"), environment: some("prod"), ..DeploymentSubject::default() }, &[]),
        (DeploymentSubject { subject: some("deployment/shop/search"), ..DeploymentSubject::default() }, &["search"]),
        (
            DeploymentSubject {
                project: some("shop"),
                pipeline: some("shop"),
                stage: some("prod"),
                ..DeploymentSubject::default()
            },
            &["checkout", "project"],
        ),
        (DeploymentSubject::default(), &[]),
    ] {
        check_changed(&event(&[], subject), &policy, expect);
    }
}
