//! `platform: logic-app` of the policy file. All files are composed here.

use backout::{
    domain::{
        series::{EvidenceMetric, NoData, WorseWhen},
        service::Service,
        target::Target,
    },
    policy::{self, Problem},
};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers";

fn read(target: &str, more: &str) -> Result<Service, Vec<Problem>> {
    let text = format!("version: 1\nservices:\n  orders:\n    target: {{ platform: logic-app, {target} }}\n{more}");
    let policy = policy::read(text.as_bytes(), None).map_err(|problems| problems.problems)?;
    Ok(policy.services.into_values().next().unwrap())
}

#[test]
fn a_workflow_brings_its_own_evidence() {
    let service = read(&format!("workflow: {GROUP}/Microsoft.Logic/workflows/Orders"), "").unwrap();
    let Target::LogicApp(target) = &service.target else { panic!("{:?}", service.target) };
    assert_eq!(target.workflow.as_written(), format!("{GROUP}/Microsoft.Logic/workflows/Orders"));
    assert_eq!(service.target.key().0, format!("{GROUP}/Microsoft.Logic/workflows/Orders").to_lowercase());
    let expected = EvidenceMetric {
        metric: "RunsFailed".to_owned(),
        of: Some("RunsCompleted".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Zero,
        resource: None,
    };
    assert_eq!(service.evidence, [expected]);
}

#[test]
fn anything_else_is_told_apart() {
    let workflow = format!("{GROUP}/Microsoft.Logic/workflows/orders");
    for (target, path, says, hint) in [
        (format!("workflow: {GROUP}/Microsoft.Web/sites/orders"), ".workflow", "a Standard logic app", "`platform: app-service`"),
        (format!("workflow: {GROUP}/Microsoft.Web/sites/o/slots/s"), ".workflow", "is an App Service site", "`/slots/`"),
        (format!("workflow: {workflow}/versions/0858"), ".workflow", "is a part of a logic app", "behind the workflow's name"),
        (
            format!("workflow: {GROUP}/Microsoft.App/containerApps/o"),
            ".workflow",
            "is not the id of a logic app",
            "az resource list",
        ),
        (format!("workflow: {GROUP}/Microsoft.Insights/components/o"), ".workflow", "never acts (E9)", "remove this service"),
        ("workflow: orders".to_owned(), ".workflow", "", "Microsoft.Logic/workflows/{name}"),
        ("site: orders".to_owned(), "", "lacks `workflow`", "resource id"),
    ] {
        let problems = read(&target, "").unwrap_err();
        let path = format!("services.orders.target{path}");
        let found = problems.iter().find(|problem| problem.path == path).unwrap_or_else(|| panic!("{target}: {problems:#?}"));
        assert!(found.says.contains(says) && found.hint.contains(hint), "{target}: {found}");
    }
    let problems = read(&format!("workflow: {workflow}"), "    fingerprint: { setting: BUILD }\n").unwrap_err();
    assert_eq!(problems[0].path, "services.orders.fingerprint", "{problems:#?}");
}
