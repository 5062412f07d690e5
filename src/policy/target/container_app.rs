//! `platform: container-app`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::ContainerAppTarget,
    policy::{
        check::{below, resource_id},
        read::Findings,
        tree::Step,
    },
};

/// A container app, which goes back to an earlier revision.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "platform": "container-app", "app": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.App/containerApps/search" }]))]
pub struct ContainerAppTargetFile {
    /// Resource id: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.App/containerApps/{name}`.
    pub app: String,
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: &ContainerAppTargetFile) -> Option<ContainerAppTarget> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.App/containerApps/{name}`, as `az containerapp show --query id` prints it";
    let path = below(path, "app");
    let id = resource_id(findings, &path, &file.app, SHAPE)?;
    let app = super::of_type(
        findings,
        &path,
        id,
        "microsoft.app/containerapps",
        "a container app (`Microsoft.App/containerApps`)",
        SHAPE,
    )?;
    Some(ContainerAppTarget { app })
}
