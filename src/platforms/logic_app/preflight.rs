//! Whether a save would be allowed, asked before it is needed. What stands against one version, observing says.
//!
//! Necessary, not sufficient: deny assignments, Azure Policy, and the right to join the version's connections and integration
//! account are not asked for.

use serde_json::Value;

use super::observe::{page, propose};
use crate::{
    azure::{resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, Preflight},
        rule::RuleId,
        target::LogicAppTarget,
    },
    platforms::app_service::preflight::{Right, granted},
    ports::PortError,
};

/// What the identity that acts must be allowed to do.
pub const ACTING: [&str; 1] = ["Microsoft.Logic/workflows/write"];
/// What the identity that reads must be allowed to do.
pub const READING: [&str; 4] = [
    "Microsoft.Logic/workflows/read",
    "Microsoft.Logic/workflows/versions/read",
    "Microsoft.Logic/workflows/runs/read",
    "Microsoft.Logic/workflows/triggers/read",
];

/// Permissions of both identities at the workflow, and the locks on it, side by side.
pub async fn check(arm: &ResourceManager, target: &LogicAppTarget) -> Preflight {
    const PERMISSIONS: &str = "read our permissions";
    let at = |what: &str| format!("{}/providers/Microsoft.Authorization/{what}", resource_path(&target.workflow));
    let (permissions, locks) = (at("permissions?api-version=2022-04-01"), at("locks?api-version=2020-05-01"));
    let reading = async { if arm.has_two_identities() { Some(arm.read_all(PERMISSIONS, &permissions).await) } else { None } };
    let (acting, reading, locks) =
        tokio::join!(arm.read_all_as_actor(PERMISSIONS, &permissions), reading, arm.read_all("read the locks", &locks));
    let reading = reading.as_ref().unwrap_or(&acting);
    let mut obstacles = missing("acting", &acting, &ACTING, target);
    obstacles.extend(missing("reading", reading, &READING, target));
    obstacles.extend(locked(&locks));
    Preflight { obstacles, ways_back: Vec::new() }
}

fn missing(
    identity: &str,
    permissions: &Result<Vec<Value>, PortError>,
    actions: &[&str],
    target: &LogicAppTarget,
) -> Vec<Obstacle> {
    let scope = &target.workflow;
    let permissions = match permissions {
        Ok(permissions) => permissions,
        Err(error) => {
            let says = format!("whether the {identity} identity may `{}` could not be checked ({error})", actions.join("`, `"));
            return vec![propose(RuleId::S9, says)];
        }
    };
    let obstacle = |action: &&str| match granted(permissions, action) {
        Right::Granted => None,
        Right::Missing => Some(page(
            RuleId::S9,
            format!(
                "the {identity} identity lacks `{action}` on `{scope}`; grant it with `az role assignment create --assignee \
                 <principal id> --role \"Logic App Contributor\" --scope {scope}`, or by a custom role"
            ),
        )),
        Right::Conditional => Some(propose(
            RuleId::S9,
            format!("the {identity} identity has `{action}` on `{scope}` only under a condition, which could not be checked"),
        )),
    };
    actions.iter().filter_map(obstacle).collect()
}

fn locked(locks: &Result<Vec<Value>, PortError>) -> Option<Obstacle> {
    let level = |lock: &Value| lock["properties"]["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("ReadOnly"));
    match locks {
        Ok(locks) if locks.iter().any(level) => {
            Some(page(RuleId::S9, "a `ReadOnly` lock refuses every save; remove it with `az lock delete`".to_owned()))
        }
        Ok(_) => None,
        Err(error) => Some(propose(RuleId::S9, format!("whether a lock refuses saves could not be checked ({error})"))),
    }
}
