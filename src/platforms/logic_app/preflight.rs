//! Whether a save would be allowed, asked before it is needed, and whether the connections of earlier versions are still there.
//! What else stands against one version, observing says.
//!
//! Necessary, not sufficient: deny assignments, Azure Policy, and the right to join the version's connections and integration
//! account are not asked for.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{
    observe::{self, History},
    wire::{CONNECTION_API_VERSION, Workflow},
};
use crate::{
    azure::{answer::clean, locks, permissions::missing, resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
        target::LogicAppTarget,
    },
    ports::{PortError, PortErrorKind},
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

/// Permissions of both identities at the workflow, the locks on it and the connections, side by side.
///
/// Two trips deep: the versions name their connections.
pub async fn check(arm: &ResourceManager, target: &LogicAppTarget) -> Preflight {
    let needed = rights(target);
    let (mut obstacles, locks, connections) = tokio::join!(
        Box::pin(missing(arm, &target.workflow, &needed)),
        locks::read_only(arm, &target.workflow),
        Box::pin(connections(arm, target)),
    );
    obstacles.extend(locked(&locks));
    let ways_back = match connections {
        Ok(ways_back) => ways_back,
        // Observing says so too.
        Err(error) => {
            let says = format!("whether the connections of earlier versions are still there could not be checked ({error})");
            obstacles.push(Obstacle::propose(RuleId::S10, says));
            Vec::new()
        }
    };
    Preflight { obstacles, ways_back }
}

/// What stands against each way back for want of a connection.
async fn connections(arm: &ResourceManager, target: &LogicAppTarget) -> Result<Vec<(String, Vec<Obstacle>)>, PortError> {
    let (running, versions) = tokio::join!(observe::read_workflow(arm, target), observe::read_versions(arm, target));
    let (running, versions) = (running?, versions?);
    let history = History::of(&running, Some(&versions));
    let foreign: BTreeMap<String, ResourceId> = history
        .earlier
        .iter()
        .flat_map(|(version, _)| foreign_connections(version, &running))
        .filter_map(|(_, id)| connection(id))
        .map(|id| (id.canonical().to_owned(), id))
        .collect();
    let read = join_all(foreign.values().map(|id| async move {
        arm.read("read a connection", &format!("{}?{CONNECTION_API_VERSION}", resource_path(id))).await.map(|_answer| ())
    }));
    let read: BTreeMap<String, Result<(), PortError>> = foreign.keys().cloned().zip(read.await).collect();
    let against = |version: &Workflow| {
        let foreign = foreign_connections(version, &running);
        let obstacles: Vec<Obstacle> =
            foreign.into_iter().filter_map(|(name, written)| against_connection(version, name, written, &read)).collect();
        (!obstacles.is_empty()).then(|| (observe::way_name(version), obstacles))
    };
    Ok(history.earlier.iter().filter_map(|(version, _)| against(version)).collect())
}

fn against_connection(
    version: &Workflow,
    name: &str,
    written: &str,
    read: &BTreeMap<String, Result<(), PortError>>,
) -> Option<Obstacle> {
    let (name, id) = (clean(name), version.version().unwrap_or_default());
    match connection(written).map(|id| read.get(id.canonical())) {
        Some(Some(Ok(()))) => None,
        Some(Some(Err(error))) if error.kind != PortErrorKind::NotFound => Some(Obstacle::propose(
            RuleId::S10,
            format!("whether connection `{name}` of version {id} is still there could not be checked ({error})"),
        )),
        Some(Some(Err(_)) | None) | None => Some(Obstacle::page(
            RuleId::S10,
            format!("connection `{name}` of version {id} is not there any more; create it again, or roll forward"),
        )),
    }
}

/// Connections of a version which the running one does not use under the same name.
fn foreign_connections<'a>(version: &'a Workflow, running: &Workflow) -> Vec<(&'a String, &'a str)> {
    let now = running.connections();
    let known = |name: &String, id: &str| now.get(name).is_some_and(|other| other.eq_ignore_ascii_case(id));
    version.connections().into_iter().filter(|(name, id)| !known(name, id)).collect()
}

/// What a version calls a connection comes from the workflow's author: nothing else is asked for.
fn connection(id: &str) -> Option<ResourceId> {
    let id = ResourceId::parse(id).ok()?;
    (id.resource_type().as_deref() == Some("microsoft.web/connections")).then_some(id)
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
