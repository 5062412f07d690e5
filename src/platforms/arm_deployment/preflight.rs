//! Whether the deployment would be allowed, asked before it is needed: rights of both identities, and locks.
//!
//! Necessary, not sufficient: which rights the resources of the template need, and what Azure Policy says to them, the what-if
//! tells, which comes before anything is deployed.

use serde_json::Value;

use super::observe::{page, propose};
use crate::{
    azure::{resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        rule::RuleId,
        target::ArmDeploymentTarget,
    },
    platforms::app_service::preflight::{Right, granted},
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

/// Reads permissions of both identities and the locks at the scope, side by side.
pub async fn check(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Preflight {
    const OPERATION: &str = "read our permissions";
    let scope = resource_path(&target.scope);
    let permissions = format!("{scope}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01");
    let locks = format!("{scope}/providers/Microsoft.Authorization/locks?api-version=2020-05-01");
    let reading = async { if arm.has_two_identities() { Some(arm.read_all(OPERATION, &permissions).await) } else { None } };
    let (acting, reading, locks) =
        tokio::join!(arm.read_all_as_actor(OPERATION, &permissions), reading, arm.read_all("read the locks", &locks));
    let reading = reading.as_ref().unwrap_or(&acting);
    let mut obstacles = Vec::new();
    missing("acting", &acting, &ACTING_ACTIONS, target, &mut obstacles);
    missing("reading", reading, &READING_ACTIONS, target, &mut obstacles);
    obstacles.extend(locked(&locks, target));
    Preflight { obstacles, ways_back: Vec::new() }
}

fn missing(
    identity: &str,
    permissions: &Result<Vec<Value>, PortError>,
    actions: &[&str],
    target: &ArmDeploymentTarget,
    obstacles: &mut Vec<Obstacle>,
) {
    let permissions = match permissions {
        Ok(permissions) => permissions,
        Err(error) => {
            let says = format!("whether the {identity} identity may `{}` could not be checked ({error})", actions.join("`, `"));
            obstacles.push(propose(RuleId::S9, says));
            return;
        }
    };
    let scope = &target.scope;
    for action in actions {
        match granted(permissions, action) {
            Right::Granted => {}
            Right::Missing => obstacles.push(page(
                RuleId::S9,
                format!("the {identity} identity lacks `{action}` on `{scope}`; grant it by a role assignment there"),
            )),
            Right::Conditional => obstacles.push(propose(
                RuleId::S9,
                format!("the {identity} identity has `{action}` on `{scope}` only under a condition, which could not be checked"),
            )),
        }
    }
}

/// A `ReadOnly` lock refuses the deployment; `CanNotDelete` does not, since an incremental deployment deletes nothing.
fn locked(locks: &Result<Vec<Value>, PortError>, target: &ArmDeploymentTarget) -> Option<Obstacle> {
    let scope = &target.scope;
    match locks {
        Ok(locks) => {
            let read_only = |lock: &&Value| {
                let level = lock.pointer("/properties/level").and_then(Value::as_str);
                level.is_some_and(|level| level.eq_ignore_ascii_case("ReadOnly"))
            };
            let (over, within): (Vec<_>, Vec<_>) = locks.iter().filter(read_only).partition(|lock| lies_over(lock, scope));
            match (over.is_empty(), within.is_empty()) {
                (false, _) => Some(page(
                    RuleId::S9,
                    format!("a `ReadOnly` lock lies on `{scope}`, so nothing can be deployed there; remove it"),
                )),
                (true, false) => Some(propose(
                    RuleId::S9,
                    format!("a `ReadOnly` lock lies on a resource in `{scope}`, which a deployment may have to change"),
                )),
                (true, true) => None,
            }
        }
        Err(error) => Some(propose(RuleId::S9, format!("the locks of `{scope}` could not be read ({error})"))),
    }
}

/// Whether the lock holds for the whole scope; one that does not say where it lies is taken for such.
fn lies_over(lock: &Value, scope: &ResourceId) -> bool {
    let id = lock.get("id").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let at = id.split("/providers/microsoft.authorization/locks/").next().unwrap_or_default();
    ResourceId::parse(at).map_or(true, |at| scope.is_within(&at))
}
