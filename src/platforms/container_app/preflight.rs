//! Whether the rollback would be allowed, asked before it is needed: rights of the identity that acts, and locks.
//!
//! Necessary, not sufficient: deny assignments and Azure Policy are not in the list of permissions. Rights to read
//! operations are not asked for: they lie at the subscription's location, and the app itself tells how an operation ended.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    observe::{Mode, mode_of},
    wire::{App, app_path},
};
use crate::{
    azure::{
        answer::clean,
        locks,
        permissions::{Permissions, missing},
        resource_manager::ResourceManager,
    },
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
        target::ContainerAppTarget,
    },
    platforms::answer::parse,
    ports::PortErrorKind,
};

/// What the identity that acts must be allowed to do on the app.
pub const WRITE: &str = "Microsoft.App/containerApps/write";
/// In multiple-revision mode also this.
pub const ACTIVATE: &str = "Microsoft.App/containerApps/revisions/activate/action";
/// On the environment that the app runs in: asked of whoever writes an app.
pub const JOIN: &str = "Microsoft.App/managedEnvironments/join/action";
/// What the identity that reads must be allowed to do on the app.
pub const READS: [&str; 2] = ["Microsoft.App/containerApps/read", "Microsoft.App/containerApps/revisions/read"];
/// To follow a change, at the subscription: by `Azure-AsyncOperation`, or by `Location` where that is all there is.
pub const POLLING_ACTIONS: [&str; 2] =
    ["Microsoft.App/locations/containerappOperationStatuses/read", "Microsoft.App/locations/containerappOperationResults/read"];

const ROLE: &str = "Container Apps Contributor";

/// What a change of the app needs, in either mode.
pub fn rights(target: &ContainerAppTarget) -> Vec<NeededRight> {
    let environment = format!("the environment of {}", target.app);
    [on_the_app(target, Mode::Multiple), NeededRight::all(Identity::Acting, &[JOIN], &environment, ROLE)].concat()
}

fn on_the_app(target: &ContainerAppTarget, mode: Mode) -> Vec<NeededRight> {
    let acting: &[&str] = match mode {
        Mode::Multiple => &[WRITE, ACTIVATE],
        Mode::Single => &[WRITE],
    };
    let acting = NeededRight::all(Identity::Acting, acting, &target.app, ROLE);
    [acting, NeededRight::all(Identity::Reading, &READS, &target.app, ROLE)].concat()
}

/// The environment of each app that was looked at, shared by all targets. An app never moves to another one; only the app itself
/// tells its own.
#[derive(Debug, Default)]
pub struct Environments {
    known: Mutex<BTreeMap<ResourceId, ResourceId>>,
}

impl Environments {
    /// Notes what an app's own answer tells.
    pub fn note(&self, target: &ContainerAppTarget, app: &App) -> Option<ResourceId> {
        let id = app.properties.environment_id.as_ref().or(app.properties.managed_environment_id.as_ref())?;
        let environment = ResourceId::parse(id).ok()?;
        self.locked().insert(target.app.clone(), environment.clone());
        Some(environment)
    }

    fn of(&self, target: &ContainerAppTarget) -> Option<ResourceId> {
        self.locked().get(&target.app).cloned()
    }

    /// Whoever panicked while holding it left nothing half-written.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<ResourceId, ResourceId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One trip deep, once the app's environment is known; two before that, and where the app tells another one.
pub async fn check(arm: &ResourceManager, environments: &Environments, target: &ContainerAppTarget) -> Preflight {
    const OPERATION: &str = "read the container app";
    let expected = environments.of(target);
    let app_path = app_path(target, "");
    // What either mode needs is asked of one list.
    let either_mode = on_the_app(target, Mode::Multiple);
    let (mut obstacles, app, on_the_app_allowed, join) = tokio::join!(
        Box::pin(locked(arm, target)),
        arm.read(OPERATION, &app_path),
        Box::pin(Permissions::read(arm, &target.app, &either_mode)),
        Box::pin(may_not_join(arm, expected.as_ref())),
    );
    let app = app.and_then(|answer| parse::<App>(OPERATION, answer));
    let (mode, environment) = match &app {
        Ok(app) => (mode_of(&app.configuration()).unwrap_or(Mode::Single), environments.note(target, app)),
        Err(_) => (Mode::Single, expected.clone()),
    };
    obstacles.extend(on_the_app_allowed.lacking(&on_the_app(target, mode)));
    obstacles.extend(if environment == expected { join } else { may_not_join(arm, environment.as_ref()).await });
    // Observing says so too; what is not known here is the mode and the environment.
    obstacles
        .extend(app.err().map(|error| Obstacle::propose(RuleId::S9, format!("rights could not be checked in full ({error})"))));
    Preflight { obstacles, ways_back: Vec::new() }
}

async fn may_not_join(arm: &ResourceManager, environment: Option<&ResourceId>) -> Vec<Obstacle> {
    match environment {
        Some(environment) => missing(arm, environment, &NeededRight::all(Identity::Acting, &[JOIN], environment, ROLE)).await,
        None => Vec::new(),
    }
}

/// A read-only lock on the app or on anything that it lies in refuses every write.
async fn locked(arm: &ResourceManager, target: &ContainerAppTarget) -> Vec<Obstacle> {
    let named = |id: &str| if id.is_empty() { "without id".to_owned() } else { clean(id) };
    let says = |id: &String| format!("the read-only lock `{}` refuses every change; take it away", named(id));
    match locks::read_only(arm, &target.app).await {
        Ok(locks) => locks.iter().map(|lock| Obstacle::page(RuleId::S9, says(lock))).collect(),
        Err(error) if error.kind == PortErrorKind::NotFound => Vec::new(),
        Err(error) => vec![Obstacle::propose(RuleId::S9, format!("locks could not be checked ({error})"))],
    }
}
