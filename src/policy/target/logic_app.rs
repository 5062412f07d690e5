//! `platform: logic-app`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::LogicAppTarget,
    policy::{
        check::{below, resource_id},
        read::Findings,
        tree::Step,
    },
};

/// A Consumption logic app, which goes back to an earlier version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogicAppTargetFile {
    /// Resource id: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Logic/workflows/{name}`.
    pub workflow: String,
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: &LogicAppTargetFile) -> Option<LogicAppTarget> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Logic/workflows/{name}`, as `az resource list --resource-type Microsoft.Logic/workflows --query [].id` prints it";
    let path = below(path, "workflow");
    let id = resource_id(findings, &path, &file.workflow, SHAPE)?;
    let workflow =
        super::of_type(findings, &path, id, "microsoft.logic/workflows", "a logic app (`Microsoft.Logic/workflows`)", SHAPE)?;
    Some(LogicAppTarget { workflow })
}
