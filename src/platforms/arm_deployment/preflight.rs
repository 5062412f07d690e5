//! Whether the deployment would be allowed, asked before it is needed: rights of both identities, and locks.
//!
//! Necessary, not sufficient: which rights the resources of the template need, and what Azure Policy says to them, the what-if
//! tells, which comes before anything is deployed.

use crate::{
    azure::{locks, permissions::missing, resource_manager::ResourceManager},
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
        target::ArmDeploymentTarget,
    },
    ports::PortError,
};

/// What the identity that acts must be allowed to do, besides writing each resource of the template.
pub const ACTING_ACTIONS: [&str; 2] = ["Microsoft.Resources/deployments/write", "Microsoft.Resources/deployments/whatIf/action"];

/// What the identity that reads must be allowed to do. `Reader` lacks the export.
pub const READING_ACTIONS: [&str; 4] = [
    "Microsoft.Resources/deployments/read",
    "Microsoft.Resources/deployments/exportTemplate/action",
    "Microsoft.Resources/deployments/operations/read",
    "Microsoft.Resources/deployments/operationstatuses/read",
];

/// What a redeployment needs at the scope.
pub fn rights(target: &ArmDeploymentTarget) -> Vec<NeededRight> {
    const ROLE: &str = "Contributor";
    let acting = NeededRight::all(Identity::Acting, &ACTING_ACTIONS, &target.scope, ROLE);
    [acting, NeededRight::all(Identity::Reading, &READING_ACTIONS, &target.scope, ROLE)].concat()
}

/// Reads permissions of both identities and the locks at the scope, side by side.
pub async fn check(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Preflight {
    let needed = rights(target);
    let (mut obstacles, locks) =
        tokio::join!(Box::pin(missing(arm, &target.scope, &needed)), locks::read_only(arm, &target.scope));
    obstacles.extend(locked(&locks, target));
    Preflight { obstacles, ways_back: Vec::new() }
}

/// A `ReadOnly` lock refuses the deployment; `CanNotDelete` does not, since an incremental deployment deletes nothing.
fn locked(locks: &Result<Vec<String>, PortError>, target: &ArmDeploymentTarget) -> Option<Obstacle> {
    let scope = &target.scope;
    match locks {
        Ok(locks) => {
            let (over, within): (Vec<_>, Vec<_>) = locks.iter().partition(|lock| lies_over(lock, scope));
            match (over.is_empty(), within.is_empty()) {
                (false, _) => Some(Obstacle::page(
                    RuleId::S9,
                    format!("a `ReadOnly` lock lies on `{scope}`, so nothing can be deployed there; remove it"),
                )),
                (true, false) => Some(Obstacle::propose(
                    RuleId::S9,
                    format!("a `ReadOnly` lock lies on a resource in `{scope}`, which a deployment may have to change"),
                )),
                (true, true) => None,
            }
        }
        Err(error) => Some(Obstacle::propose(RuleId::S9, format!("the locks of `{scope}` could not be read ({error})"))),
    }
}

/// Whether the lock holds for the whole scope; one that does not say where it lies is taken for such.
fn lies_over(lock: &str, scope: &ResourceId) -> bool {
    let id = lock.to_ascii_lowercase();
    let at = id.split("/providers/microsoft.authorization/locks/").next().unwrap_or_default();
    ResourceId::parse(at).map_or(true, |at| scope.is_within(&at))
}
