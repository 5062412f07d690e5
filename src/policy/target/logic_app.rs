//! `platform: logic-app`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::{
        series::{EvidenceMetric, NoData, WorseWhen},
        target::LogicAppTarget,
    },
    policy::{
        check::{below, resource_id},
        read::Findings,
        tree::Step,
    },
};

/// A Consumption logic app, which goes back to an earlier version. A Standard logic app is a site: `platform: app-service`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "platform": "logic-app", "workflow": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Logic/workflows/invoices" }]))]
pub struct LogicAppTargetFile {
    /// Resource id: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Logic/workflows/{name}`.
    pub workflow: String,
}

/// The share of failed runs, by the workflow's own metrics. A minute with runs and no count of failed ones had none.
pub(super) fn evidence() -> Vec<EvidenceMetric> {
    vec![EvidenceMetric {
        metric: "RunsFailed".to_owned(),
        of: Some("RunsCompleted".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Zero,
        resource: None,
    }]
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: &LogicAppTargetFile) -> Option<LogicAppTarget> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Logic/workflows/{name}`, as `az resource list --resource-type Microsoft.Logic/workflows --query [].id` prints it";
    let path = below(path, "workflow");
    let id = resource_id(findings, &path, &file.workflow, SHAPE)?;
    let kind = id.resource_type().unwrap_or_default();
    if kind.starts_with("microsoft.web/sites") {
        findings.add(
            &path,
            "is an App Service site: a Standard logic app has no versions to go back to, but slots",
            "write `platform: app-service` with `site:` and this id (cut before `/slots/` or `/hostruntime/`)",
        );
        return None;
    }
    if kind.starts_with("microsoft.logic/workflows/") {
        findings.add(&path, "is a part of a logic app (a version, run or trigger)", "cut it behind the workflow's name");
        return None;
    }
    let workflow =
        super::of_type(findings, &path, id, "microsoft.logic/workflows", "a logic app (`Microsoft.Logic/workflows`)", SHAPE)?;
    Some(LogicAppTarget { workflow })
}
