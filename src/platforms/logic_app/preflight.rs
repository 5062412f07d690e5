//! Whether a save would be allowed, asked before it is needed. What stands against one version, observing says.
//!
//! Necessary, not sufficient: deny assignments, Azure Policy, and the right to join the version's connections and integration
//! account are not asked for.

use serde_json::Value;

use crate::{
    azure::{permissions::missing, resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, Preflight},
        right::{Identity, NeededRight},
        rule::RuleId,
        target::LogicAppTarget,
    },
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

/// What a save needs.
pub fn rights(target: &LogicAppTarget) -> Vec<NeededRight> {
    const ROLE: &str = "Logic App Contributor";
    let acting = NeededRight::all(Identity::Acting, &ACTING, &target.workflow, ROLE);
    [acting, NeededRight::all(Identity::Reading, &READING, &target.workflow, ROLE)].concat()
}

/// Permissions of both identities at the workflow, and the locks on it, side by side.
pub async fn check(arm: &ResourceManager, target: &LogicAppTarget) -> Preflight {
    let locks = format!("{}/providers/Microsoft.Authorization/locks?api-version=2020-05-01", resource_path(&target.workflow));
    let needed = rights(target);
    let (mut obstacles, locks) =
        tokio::join!(Box::pin(missing(arm, &target.workflow, &needed)), arm.read_all("read the locks", &locks));
    obstacles.extend(locked(&locks));
    Preflight { obstacles, ways_back: Vec::new() }
}

fn locked(locks: &Result<Vec<Value>, PortError>) -> Option<Obstacle> {
    let level = |lock: &Value| lock["properties"]["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("ReadOnly"));
    match locks {
        Ok(locks) if locks.iter().any(level) => {
            Some(Obstacle::page(RuleId::S9, "a `ReadOnly` lock refuses every save; remove it with `az lock delete`".to_owned()))
        }
        Ok(_) => None,
        Err(error) => Some(Obstacle::propose(RuleId::S9, format!("whether a lock refuses saves could not be checked ({error})"))),
    }
}
