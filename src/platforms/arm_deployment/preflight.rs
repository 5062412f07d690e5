//! Whether the deployment would be allowed, asked before it is needed: rights of both identities, locks, and what only the
//! exported templates tell.
//!
//! Necessary, not sufficient: which rights the resources of the template need, and what Azure Policy says to them, the what-if
//! tells, which comes before anything is deployed.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::Value;

use super::{
    observe::{self, Versions},
    template,
    wire::{API_VERSION, Operation, Record, State, operations_path},
};
use crate::{
    azure::{answer::clean, locks, permissions::missing, resource_manager::ResourceManager},
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
        target::ArmDeploymentTarget,
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// Resources that are told by name.
const NAMED_MAX: usize = 5;

/// What the identity that acts must be allowed to do, besides writing each resource of the template.
pub const ACTING_ACTIONS: [&str; 2] = ["Microsoft.Resources/deployments/write", "Microsoft.Resources/deployments/whatIf/action"];

/// What the identity that reads must be allowed to do. `Reader` lacks the export.
pub const READING_ACTIONS: [&str; 4] = [
    "Microsoft.Resources/deployments/read",
    "Microsoft.Resources/deployments/exportTemplate/action",
    "Microsoft.Resources/deployments/operations/read",
    "Microsoft.Resources/deployments/operationstatuses/read",
];

/// To follow what was started, at the subscription: where Azure puts the URL of a what-if's result, whatever the scope.
pub const POLLING_ACTIONS: [&str; 1] = ["Microsoft.Resources/subscriptions/operationresults/read"];

/// What following a what-if needs. Asked for by `check` only: it lies elsewhere than all the rest, and a rollback has no time to ask twice.
pub fn polling_rights(target: &ArmDeploymentTarget) -> Vec<NeededRight> {
    let subscription = format!("/subscriptions/{}", target.scope.subscription());
    NeededRight::all(Identity::Reading, &POLLING_ACTIONS, &subscription, "Reader")
}

/// What a redeployment needs at the scope.
pub fn rights(target: &ArmDeploymentTarget) -> Vec<NeededRight> {
    const ROLE: &str = "Contributor";
    let acting = NeededRight::all(Identity::Acting, &ACTING_ACTIONS, &target.scope, ROLE);
    [acting, NeededRight::all(Identity::Reading, &READING_ACTIONS, &target.scope, ROLE)].concat()
}

/// Reads permissions of both identities, the locks at the scope and the contents, side by side.
///
/// Two trips deep, since the list of records names what is read of them; that a rollback takes more than one trip here is known
/// and wanted: its what-if, which comes first, takes long in any case.
pub async fn check(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Result<Preflight, PortError> {
    let needed = rights(target);
    let (mut obstacles, locks, contents) = tokio::join!(
        Box::pin(missing(arm, &target.scope, &needed)),
        locks::read_only(arm, &target.scope),
        Box::pin(contents(arm, target)),
    );
    obstacles.extend(locked(&locks, target));
    let contents = contents?;
    obstacles.extend(contents.obstacles);
    Ok(Preflight { obstacles, ways_back: contents.ways_back })
}

/// Looks into the earlier records, and into what a failed one changed.
async fn contents(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Result<Preflight, PortError> {
    let nothing = Preflight { obstacles: Vec::new(), ways_back: Vec::new() };
    let records = match observe::read(arm, target).await {
        Ok(records) => records,
        Err(error) if may_pass(&error) => return Err(error),
        // Observing says so.
        Err(_) => return Ok(nothing),
    };
    let Ok(versions) = Versions::of(target, &records) else { return Ok(nothing) };
    let templates = join_all(versions.earlier.iter().map(|record| async {
        let template = template::export(arm, target, &record.name).await;
        (*record, template)
    }));
    let half_done = async {
        match versions.runs.state() {
            State::Broken => half_done(arm, target, versions.runs).await.map(Some),
            State::Succeeded | State::GoesOn => Ok(None),
        }
    };
    let (templates, half_done) = tokio::join!(Box::pin(templates), Box::pin(half_done));
    let mut ways_back = Vec::new();
    for (record, template) in templates {
        let name = clean(&record.name);
        let obstacle = match template {
            Ok(template) if record.is_linked() || template.has_links() => Obstacle::propose(
                RuleId::S5,
                format!("the template of `{name}` takes in others by link, and what they hold may have changed since"),
            ),
            Ok(_) => continue,
            Err(error) if may_pass(&error) => return Err(error),
            Err(error) => Obstacle::page(RuleId::S5, format!("the template of `{name}` could not be read ({error})")),
        };
        ways_back.push((observe::way_name(record), vec![obstacle]));
    }
    Ok(Preflight { obstacles: half_done?.into_iter().collect(), ways_back })
}

/// What a failed deployment changed, by its operations.
async fn half_done(arm: &ResourceManager, target: &ArmDeploymentTarget, record: &Record) -> Result<Obstacle, PortError> {
    const OPERATIONS: &str = "read the operations of a failed deployment";
    let name = clean(&record.name);
    let path = format!("{}?{API_VERSION}", operations_path(target, &record.name));
    let all = arm.read_all(OPERATIONS, &path).await.and_then(|all| parse::<Vec<Operation>>(OPERATIONS, Value::Array(all)));
    let says = match all {
        Ok(all) => {
            let changed: BTreeSet<String> = all.iter().filter_map(Operation::may_have_changed).map(clean).collect();
            if changed.is_empty() {
                format!("by its operations `{name}` failed before it changed any resource, so what ran before it still does")
            } else {
                let named: Vec<_> = changed.iter().take(NAMED_MAX).map(|id| format!("`{id}`")).collect();
                let more = changed.len().saturating_sub(NAMED_MAX);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                format!("`{name}` ended half way; by its operations it may have changed {}{more}", named.join(", "))
            }
        }
        Err(error) if may_pass(&error) => return Err(error),
        Err(error) => format!("what `{name}` changed before it failed could not be read ({error})"),
    };
    Ok(Obstacle::propose(RuleId::S8, says))
}

/// Such a read is better done again than taken for an answer.
fn may_pass(error: &PortError) -> bool {
    match error.kind {
        PortErrorKind::Transient | PortErrorKind::Throttled => true,
        PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => false,
    }
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
