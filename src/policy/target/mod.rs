//! `target:` of a service: its platform first, then the keys of that platform.

mod app_service;
mod arm_deployment;
mod container_app;
mod kubernetes;
mod logic_app;
mod pipeline;

use schemars::JsonSchema;
use serde_json::Value;

use super::{check::below, file::FingerprintFile, read::Findings, relations::service_path, shape, suggest::nearest, tree::Step};
use crate::domain::{
    resource_id::ResourceId,
    series::EvidenceMetric,
    target::{FingerprintSource, PlatformKind, Target},
};

/// Resource providers that observe or carry messages: acting on them would blind us, or cut off our own way in (E9).
const MONITORING_PLANE: [&str; 8] = [
    "microsoft.insights/",
    "microsoft.operationalinsights/",
    "microsoft.operationsmanagement/",
    "microsoft.alertsmanagement/",
    "microsoft.monitor/",
    "microsoft.dashboard/",
    "microsoft.servicebus/",
    "microsoft.eventgrid/",
];

/// The platform resource which can be taken back. `platform` says which other keys there are.
#[derive(JsonSchema)]
#[serde(tag = "platform", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only the schema is made from it: read apart, each problem keeps its place")]
pub(super) enum TargetFile {
    AppService(app_service::AppServiceTargetFile),
    Kubernetes(kubernetes::KubernetesTargetFile),
    ArmDeployment(arm_deployment::ArmDeploymentTargetFile),
    LogicApp(logic_app::LogicAppTargetFile),
    ContainerApp(container_app::ContainerAppTargetFile),
    Pipeline(pipeline::PipelineTargetFile),
}

/// Reads `target:` of one service; `None` when there is none to speak of, which was told.
pub(super) fn read(
    findings: &mut Findings<'_>,
    service: &str,
    file: Value,
    fingerprint: Option<FingerprintFile>,
    own_site: Option<&ResourceId>,
) -> Option<Target> {
    let path = service_path(service, &["target"]);
    let Value::Object(mut keys) = file else {
        findings.misfit(&path, "is no set of keys with values", "write `{ platform: app-service, site: RESOURCE_ID }`");
        return None;
    };
    let at = below(&path, "platform");
    let platform = match keys.remove("platform") {
        Some(Value::String(word)) => platform(findings, &at, &word)?,
        Some(_) => {
            findings.misfit(&at, "is no text", format!("known: {}", words()));
            return None;
        }
        None => {
            findings.misfit(&path, "lacks `platform`", "write `platform: app-service`");
            return None;
        }
    };
    let at = service_path(service, &["fingerprint"]);
    if platform != PlatformKind::AppService && fingerprint.is_some() {
        findings.add(
            &at,
            format!("has no meaning for `{platform}`"),
            "remove it; the platform itself tells one version from another",
        );
    }
    let keys = Value::Object(keys);
    match platform {
        PlatformKind::AppService => {
            let fingerprint = match fingerprint {
                Some(file) => app_service::fingerprint(findings, &at, file),
                None => FingerprintSource::Default,
            };
            let file = shape::fit_part(findings, keys, &path)?;
            app_service::check(findings, &path, file, fingerprint, own_site).map(Target::AppService)
        }
        PlatformKind::Kubernetes => {
            let file = shape::fit_part(findings, keys, &path)?;
            kubernetes::check(findings, &path, file).map(Target::Kubernetes)
        }
        PlatformKind::ArmDeployment => {
            let file = shape::fit_part(findings, keys, &path)?;
            arm_deployment::check(findings, &path, file).map(Target::ArmDeployment)
        }
        PlatformKind::LogicApp => {
            let file = shape::fit_part(findings, keys, &path)?;
            logic_app::check(findings, &path, &file).map(Target::LogicApp)
        }
        PlatformKind::ContainerApp => {
            let file = shape::fit_part(findings, keys, &path)?;
            container_app::check(findings, &path, &file).map(Target::ContainerApp)
        }
        PlatformKind::Pipeline => {
            let file = shape::fit_part(findings, keys, &path)?;
            pipeline::check(findings, &path, file).map(Target::Pipeline)
        }
    }
}

/// What shows a fault where the file names no evidence; `None` where the platform measures nothing of the kind itself.
pub(super) fn evidence(platform: PlatformKind) -> Option<Vec<EvidenceMetric>> {
    match platform {
        PlatformKind::AppService => Some(app_service::evidence()),
        PlatformKind::LogicApp => Some(logic_app::evidence()),
        PlatformKind::Kubernetes | PlatformKind::ArmDeployment | PlatformKind::ContainerApp | PlatformKind::Pipeline => None,
    }
}

fn platform(findings: &mut Findings<'_>, path: &[Step], word: &str) -> Option<PlatformKind> {
    let platform = PlatformKind::ALL.into_iter().find(|platform| platform.word() == word);
    if platform.is_none() {
        let hint = match nearest(word, PlatformKind::ALL.into_iter().map(PlatformKind::word)) {
            Some(meant) => format!("did you mean `{meant}`? Known: {}", words()),
            None => format!("known: {}", words()),
        };
        findings.misfit(path, format!("says {}, which is not known", shape::shown(word)), hint);
    }
    platform
}

fn words() -> String {
    PlatformKind::ALL.map(|platform| format!("`{platform}`")).join(", ")
}

/// The id, if it is one of `resource_type` inside a resource group, and nothing of the monitoring plane.
fn of_type(
    findings: &mut Findings<'_>,
    path: &[Step],
    id: ResourceId,
    resource_type: &str,
    what: &str,
    hint: &str,
) -> Option<ResourceId> {
    let kind = id.resource_type().unwrap_or_default();
    if MONITORING_PLANE.iter().any(|provider| kind.starts_with(provider)) {
        findings.add(
            path,
            "belongs to monitoring or messaging, on which backout never acts (E9)",
            "remove this service; name such a resource under `alerts:` or `evidence:` only",
        );
        return None;
    }
    if kind != resource_type {
        findings.add(path, format!("is not the id of {what}"), hint);
        return None;
    }
    if id.resource_group().is_none() {
        findings.add(path, "names no resource group", hint);
        return None;
    }
    Some(id)
}
