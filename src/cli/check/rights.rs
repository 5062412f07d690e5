//! Every right that a rollback needs, one line each: asked from resource manager's permissions API where that knows it.

use super::{
    finding::{Finding, Status},
    identity::{assignee, who},
};
use crate::{
    azure::permissions::{Permissions, Right},
    cli::wiring::Wired,
    domain::{
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        service::{Mode, Service},
        target::{PlatformKind, Target},
    },
    platforms::arm_deployment,
};

/// What is needed, known without asking anybody: whoever grants it has it before the first contact.
pub fn needed(wired: &Wired, service: &Service) -> Vec<NeededRight> {
    let mut needed = wired.ports.platforms.of(&service.target).rights();
    match &service.target {
        Target::ArmDeployment(target) => needed.extend(arm_deployment::preflight::polling_rights(target)),
        // A container app tells itself how a change ended, the others below their own id.
        Target::AppService(_) | Target::Kubernetes(_) | Target::LogicApp(_) | Target::ContainerApp(_) | Target::Pipeline(_) => {}
    }
    needed
}

/// The rights as a list, unasked.
pub fn told(wired: &Wired, service: &Service) -> Vec<Finding> {
    let told = |right: &NeededRight| Finding::not_checked(what(service), needs(right)).about(right);
    needed(wired, service).iter().map(told).collect()
}

/// The rights, each with the answer for its identity.
pub async fn check(wired: &Wired, service: &Service) -> Vec<Finding> {
    let needed = needed(wired, service);
    let platform = service.target.platform();
    let mut findings = Vec::new();
    for (scope, rights) in by_scope(&needed) {
        let Some(scope) = scope else {
            let says = |right: &NeededRight| format!("{}; {}", needs(right), asked_elsewhere(platform));
            findings.extend(rights.iter().map(|right| Finding::not_checked(what(service), says(right)).about(right)));
            continue;
        };
        let permissions = Permissions::read(&wired.arm, &scope, &rights).await;
        for right in &rights {
            findings.push(answered(wired, service, right, permissions.of(right).map_err(ToString::to_string)).about(right));
        }
    }
    findings
}

fn answered(wired: &Wired, service: &Service, right: &NeededRight, answer: Result<Right, String>) -> Finding {
    let what = what(service);
    match answer {
        Ok(Right::Granted) => {
            Finding::ok(what, format!("has `{}` on {} ({} identity)", right.action, right.scope, right.identity))
        }
        Ok(Right::Missing) if right.identity == Identity::Acting && observes(wired, service) => {
            let says = format!(
                "lacks `{}` on {} ({} identity), which mode `observe` does not need",
                right.action, right.scope, right.identity
            );
            Finding::ok(what, says)
        }
        Ok(Right::Missing) => Finding::of(
            what,
            Status::Missing,
            format!(
                "lacks `{}` on {} ({} identity: {}); with infra/: {}; or by hand:",
                right.action,
                right.scope,
                right.identity,
                who(&wired.settings, right.identity),
                bicep(service.target.platform(), right)
            ),
        )
        .mended_by(assignment(wired, right)),
        Ok(Right::Conditional) => {
            Finding::not_checked(what, format!("{}; it is granted under a condition, which only Azure can judge", needs(right)))
        }
        Err(error) => Finding::not_checked(what, format!("{}; the permissions could not be read ({error})", needs(right))),
    }
}

pub fn assignment(wired: &Wired, right: &NeededRight) -> String {
    let NeededRight { identity, scope, role, .. } = right;
    format!("az role assignment create --assignee {} --role \"{role}\" --scope \"{scope}\"", assignee(&wired.settings, *identity))
}

/// Whether nothing will be sent, approved or not.
fn observes(wired: &Wired, service: &Service) -> bool {
    wired.settings.mode_ceiling.map_or(service.mode, |ceiling| ceiling.min(service.mode)) == Mode::Observe
}

fn what(service: &Service) -> String {
    format!("rights for {}", service.name)
}

fn needs(right: &NeededRight) -> String {
    format!("needs `{}` on {} ({} identity)", right.action, right.scope, right.identity)
}

/// The narrower way: the parameter of `infra/main.bicep` that assigns the custom role which has this action.
fn bicep(platform: PlatformKind, right: &NeededRight) -> String {
    let ends_with = |suffix: &str| right.action.to_ascii_lowercase().ends_with(suffix);
    let (parameter, role) = match (right.identity, platform) {
        (Identity::Reading, PlatformKind::AppService) if ends_with("config/list/action") => {
            ("`readsAppSettings: true` in the target's entry of `targets`", "settings reader")
        }
        (Identity::Reading, PlatformKind::Kubernetes) if ends_with("runcommand/action") || ends_with("commandresults/read") => {
            ("`runsCommands: true` in the target's entry of `targets`", "command reader")
        }
        (Identity::Acting, PlatformKind::Kubernetes) if ends_with("runcommand/action") => {
            ("`mayAct: true` and `runsCommands: true` in the target's entry of `targets`", "command actor")
        }
        (Identity::Reading, PlatformKind::ArmDeployment) if ends_with("operationresults/read") => {
            ("`mayAct: true` in the target's entry of `targets`", "operation reader")
        }
        (Identity::Reading, _) => ("an entry of `targets` with this id", "reader"),
        (Identity::Acting, PlatformKind::AppService) if ends_with("config/write") => {
            ("`mayAct: true` and `mayConfigure: true` in the target's entry of `targets`", "configurator")
        }
        (Identity::Acting, _) => ("`mayAct: true` in the target's entry of `targets`", "actor"),
    };
    format!("{parameter} (role `backout NAME {} {role}`)", platform.word())
}

/// Who knows of a right that resource manager does not know.
fn asked_elsewhere(platform: PlatformKind) -> &'static str {
    match platform {
        PlatformKind::Kubernetes => "the cluster itself is asked: what is missing stands under the target",
        PlatformKind::ContainerApp => "the app names its environment: what is missing stands under the target",
        PlatformKind::Pipeline => {
            "the server tells no rights; that the pipeline can be read stands under the target, whether a run may be asked for shows \
             only when it is"
        }
        PlatformKind::AppService | PlatformKind::ArmDeployment | PlatformKind::LogicApp => {
            "it is no right of resource manager, so it could not be asked"
        }
    }
}

/// Rights of one scope are one question; `None` for what resource manager knows nothing of.
fn by_scope(needed: &[NeededRight]) -> Vec<(Option<ResourceId>, Vec<NeededRight>)> {
    let mut groups: Vec<(Option<ResourceId>, Vec<NeededRight>)> = Vec::new();
    for right in needed {
        // Actions of resource manager begin with their provider.
        let scope = ResourceId::parse(&right.scope).ok().filter(|_| right.action.starts_with("Microsoft."));
        match groups.iter_mut().find(|(known, _)| *known == scope) {
            Some((_, rights)) => rights.push(right.clone()),
            None => groups.push((scope, vec![right.clone()])),
        }
    }
    groups
}
