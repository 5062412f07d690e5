//! Who else keeps the workload as it is: such an owner would put the bad version back, or has a rollback of its own (A12, S11).

use super::wire::{Reading, annotation, label};
use crate::{
    azure::answer::clean,
    domain::{
        observation::{Obstacle, ObstacleWeight},
        rule::RuleId,
    },
};

/// Whoever applies with one of these is told by marks of its own, or is a person or a pipeline with `kubectl`.
const KNOWN_APPLIERS: [&str; 6] =
    ["backout", "helm", "kustomize-controller", "helm-controller", "argocd-controller", "argocd-application-controller"];

/// Every owner that is seen on the object itself.
pub fn obstacles(reading: &Reading) -> Vec<Obstacle> {
    let metadata = reading.metadata();
    let mut found = Vec::new();
    let mut say = |rule, weight, says: String| found.push(Obstacle { rule, weight, says });
    for owner in metadata.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true)) {
        say(
            RuleId::A12,
            ObstacleWeight::Page,
            format!(
                "the workload is kept by {} `{}`, which would undo a rollback; roll back there",
                clean(&owner.kind),
                clean(&owner.name)
            ),
        );
    }
    if annotation(metadata, "rollout.argoproj.io/workload-generation").is_some() {
        say(
            RuleId::A12,
            ObstacleWeight::Page,
            "an Argo Rollout runs this workload's template, and rolls back by itself; undo the Rollout instead".to_owned(),
        );
    }
    if annotation(metadata, "keel.sh/policy").or_else(|| label(metadata, "keel.sh/policy")).is_some() {
        say(
            RuleId::A12,
            ObstacleWeight::Page,
            "keel updates this workload and would bring the bad image back; pin the good image there".to_owned(),
        );
    }
    if let Some(name) = label(metadata, "kustomize.toolkit.fluxcd.io/name") {
        let stands_aside = annotation(metadata, "kustomize.toolkit.fluxcd.io/reconcile") == Some("disabled")
            || matches!(annotation(metadata, "kustomize.toolkit.fluxcd.io/ssa"), Some("IfNotPresent" | "Ignore"));
        if stands_aside {
            let says = format!(
                "Flux's Kustomization `{}` is told to leave this workload alone, but its source still names the bad version; \
                 change it there too",
                clean(name)
            );
            say(RuleId::S11, ObstacleWeight::Propose, says);
        } else {
            let says = format!(
                "Flux's Kustomization `{}` would put the bad version back at its next interval; revert in its source, or \
                 suspend it first",
                clean(name)
            );
            say(RuleId::A12, ObstacleWeight::Page, says);
        }
    }
    if let Some(name) = label(metadata, "helm.toolkit.fluxcd.io/name") {
        let says = format!(
            "Flux's HelmRelease `{}` still names the bad version and may put it back; revert in its source, or suspend it",
            clean(name)
        );
        say(RuleId::S11, ObstacleWeight::Propose, says);
    } else if let Some(name) = annotation(metadata, "meta.helm.sh/release-name") {
        let says = format!(
            "Helm's release `{}` still names the bad version, and its next upgrade starts from there; prefer `helm rollback`",
            clean(name)
        );
        say(RuleId::S11, ObstacleWeight::Propose, says);
    }
    let argo = annotation(metadata, "argocd.argoproj.io/tracking-id").and_then(|id| id.split(':').next());
    if let Some(name) = argo.or_else(|| label(metadata, "argocd.argoproj.io/instance")) {
        let says = format!(
            "Argo CD's application `{}` still names the bad version and puts it back within seconds where self-healing is on; \
             revert in its source, or turn automatic sync off first",
            clean(name)
        );
        say(RuleId::S11, ObstacleWeight::Propose, says);
    }
    for manager in unknown_appliers(reading) {
        let says =
            format!("`{}` applies this workload's template and may put the bad version back; ask its owner", clean(manager));
        say(RuleId::S11, ObstacleWeight::Propose, says);
    }
    found
}

/// Managers that apply the pod template by server-side apply and are nobody we know.
fn unknown_appliers(reading: &Reading) -> impl Iterator<Item = &str> {
    let entries = reading.metadata().managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.operation.as_deref() == Some("Apply") && super::observe::owns_template(entry))
        .filter_map(|entry| entry.manager.as_deref())
        .filter(|manager| !KNOWN_APPLIERS.contains(manager) && !manager.starts_with("kubectl"))
}
