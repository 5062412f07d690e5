//! Whether a save would be allowed, asked before it is needed. What stands against one version, observing says.
//!
//! Necessary, not sufficient: deny assignments, Azure Policy, and the right to join the version's connections and integration
//! account are not asked for.

use crate::{
    azure::{locks, permissions::missing, resource_manager::ResourceManager},
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
    let needed = rights(target);
    let (mut obstacles, locks) =
        tokio::join!(Box::pin(missing(arm, &target.workflow, &needed)), locks::read_only(arm, &target.workflow));
    obstacles.extend(locked(&locks));
    Preflight { obstacles, ways_back: Vec::new() }
}

fn locked(locks: &Result<Vec<String>, PortError>) -> Option<Obstacle> {
    match locks {
        Ok(locks) if !locks.is_empty() => {
            Some(Obstacle::page(RuleId::S9, "a `ReadOnly` lock refuses every save; remove it with `az lock delete`"))
        }
        Ok(_) => None,
        Err(error) => Some(Obstacle::propose(RuleId::S9, format!("whether a lock refuses saves could not be checked ({error})"))),
    }
}
