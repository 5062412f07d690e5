//! `platform: container-app` of a policy file. All files are composed here.

use backout::{
    domain::target::Target,
    policy::{self, Problem},
};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers";
const EVIDENCE: &str =
    "    evidence:\n      - { metric: requests/failed, of: requests/count, worseWhen: higher, resource: INSIGHTS }\n";

/// A policy whose only service has this target on line 4.
fn with(target: &str, evidence: &str) -> String {
    let evidence = evidence.replace("INSIGHTS", &format!("{GROUP}/Microsoft.Insights/components/orders"));
    format!(
        "version: 1\nservices:\n  orders:\n    target: {{ platform: container-app, {target} }}\n    alerts:\n      - rule: orders-*\n{evidence}"
    )
}

fn problems(target: &str, evidence: &str) -> Vec<Problem> {
    let text = with(target, evidence);
    policy::read(text.as_bytes(), None).expect_err(&text).problems
}

#[track_caller]
fn check(target: &str, path: &str, says: &str, hint: &str) {
    let found = problems(target, EVIDENCE);
    let [problem] = found.as_slice() else { panic!("one problem expected for\n{target}\nfound: {found:#?}") };
    assert_eq!((problem.line, problem.path.as_str()), (4, format!("services.orders.target{path}").as_str()), "{problem}");
    assert!(problem.says.contains(says), "`{says}` expected in: {problem}");
    assert!(problem.hint.contains(hint), "`{hint}` expected in the hint of: {problem}");
}

#[test]
fn the_app_is_all_that_is_named() {
    let text = with(&format!("app: {GROUP}/Microsoft.App/containerApps/Orders"), EVIDENCE);
    let read = policy::read(text.as_bytes(), None).unwrap_or_else(|problems| panic!("{problems}"));
    let Target::ContainerApp(target) = read.services.into_values().next().unwrap().target else { panic!("another platform") };
    assert_eq!(target.app.name(), "Orders");
    assert_eq!(
        Target::ContainerApp(target).key().to_string(),
        format!("{GROUP}/Microsoft.App/containerApps/Orders").to_ascii_lowercase()
    );
}

#[test]
fn mistakes_are_told_with_their_cure() {
    let app = format!("{GROUP}/Microsoft.App/containerApps/orders");
    check("app: orders", ".app", "", "az containerapp show");
    check(
        &format!("app: {GROUP}/Microsoft.Web/sites/orders"),
        ".app",
        "is not the id of a container app",
        "containerApps/{name}",
    );
    check(&format!("app: {app}/revisions/orders--a1"), ".app", "is not the id of a container app", "containerApps/{name}");
    check(&format!("app: {GROUP}/Microsoft.App/jobs/orders"), ".app", "is not the id of a container app", "containerApps/{name}");
    check(&format!("app: {GROUP}/Microsoft.Insights/components/x"), ".app", "belongs to monitoring", "remove this service");
    let found = problems(&format!("app: {app}, revision: orders--a1"), EVIDENCE);
    assert!(found.iter().any(|problem| problem.to_string().contains("revision")), "{found:?}");
}

#[test]
fn evidence_must_be_named() {
    let found = problems(&format!("app: {GROUP}/Microsoft.App/containerApps/orders"), "");
    assert!(found.iter().any(|problem| problem.to_string().contains("evidence")), "{found:?}");
}
