//! Whether the rollback would be allowed, asked before it is needed: rights of the identity that acts, and locks.
//!
//! Necessary, not sufficient: deny assignments and Azure Policy are not in the list of permissions. Rights to read
//! operations are not asked for: they lie at the subscription's location, and the app itself tells how an operation ended.

use serde_json::Value;

use super::{
    observe::{Mode, mode_of, page, propose},
    wire::{App, app_path, parse},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        rule::RuleId,
        target::ContainerAppTarget,
    },
    platforms::app_service::preflight::{Right, granted},
    ports::{PortError, PortErrorKind},
};

/// What the identity that acts must be allowed to do on the app.
pub const WRITE: &str = "Microsoft.App/containerApps/write";
/// In multiple-revision mode also this.
pub const ACTIVATE: &str = "Microsoft.App/containerApps/revisions/activate/action";
/// On the environment that the app runs in: asked of whoever writes an app.
pub const JOIN: &str = "Microsoft.App/managedEnvironments/join/action";
/// What the identity that reads must be allowed to do on the app.
pub const READS: [&str; 2] = ["Microsoft.App/containerApps/read", "Microsoft.App/containerApps/revisions/read"];

/// Two trips deep: only the app knows its environment.
pub async fn check(arm: &ResourceManager, target: &ContainerAppTarget) -> Preflight {
    let reading = async {
        if !arm.has_two_identities() {
            return None;
        }
        Some(arm.read_all(PERMISSIONS, &permissions_path(&target.app)).await)
    };
    let (app, acting, reading, locks) =
        tokio::join!(Box::pin(app(arm, target)), permissions(arm, &target.app), reading, Box::pin(locks(arm, target)));
    let mut obstacles = locks;
    let mut actions = vec![WRITE];
    match app {
        Ok((app, environment)) => {
            if mode_of(&app.configuration()) == Some(Mode::Multiple) {
                actions.push(ACTIVATE);
            }
            if let Some((environment, permissions)) = environment {
                missing("acting", &permissions, &[JOIN], &environment, &mut obstacles);
            }
        }
        // Observing says so too; what is not known here is the mode and the environment.
        Err(error) => obstacles.push(propose(RuleId::S9, format!("rights could not be checked in full ({error})"))),
    }
    missing("acting", &acting, &actions, &target.app, &mut obstacles);
    missing("reading", reading.as_ref().unwrap_or(&acting), &READS, &target.app, &mut obstacles);
    Preflight { obstacles, ways_back: Vec::new() }
}

const PERMISSIONS: &str = "read our permissions";

fn permissions_path(scope: &ResourceId) -> String {
    format!("{}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01", resource_path(scope))
}

type Permissions = Result<Vec<Value>, PortError>;

async fn permissions(arm: &ResourceManager, scope: &ResourceId) -> Permissions {
    arm.read_all_as_actor(PERMISSIONS, &permissions_path(scope)).await
}

async fn app(arm: &ResourceManager, target: &ContainerAppTarget) -> Result<(App, Option<(ResourceId, Permissions)>), PortError> {
    const OPERATION: &str = "read the container app";
    let app: App = parse(OPERATION, arm.read(OPERATION, &app_path(target, "")).await?)?;
    let id = app.properties.environment_id.as_ref().or(app.properties.managed_environment_id.as_ref());
    let environment = match id.and_then(|id| ResourceId::parse(id).ok()) {
        Some(environment) => {
            let permissions = permissions(arm, &environment).await;
            Some((environment, permissions))
        }
        None => None,
    };
    Ok((app, environment))
}

fn missing(identity: &str, permissions: &Permissions, actions: &[&str], scope: &ResourceId, obstacles: &mut Vec<Obstacle>) {
    let permissions = match permissions {
        Ok(permissions) => permissions,
        Err(error) => {
            obstacles.push(propose(
                RuleId::S9,
                format!("whether the {identity} identity may `{}` could not be checked ({error})", actions.join("`, `")),
            ));
            return;
        }
    };
    for action in actions {
        match granted(permissions, action) {
            Right::Granted => {}
            Right::Missing => obstacles.push(page(
                RuleId::S9,
                format!(
                    "the {identity} identity lacks `{action}` on `{scope}`; grant it with `az role assignment create --assignee \
                     <principal id> --role \"Container Apps Contributor\" --scope {scope}`, or by a custom role"
                ),
            )),
            Right::Conditional => obstacles.push(propose(
                RuleId::S9,
                format!("the {identity} identity has `{action}` on `{scope}` only under a condition, which could not be checked"),
            )),
        }
    }
}

/// A read-only lock on the app or on anything that it lies in refuses every write.
async fn locks(arm: &ResourceManager, target: &ContainerAppTarget) -> Vec<Obstacle> {
    const OPERATION: &str = "read the locks";
    let path = format!("{}/providers/Microsoft.Authorization/locks?api-version=2020-05-01", resource_path(&target.app));
    match arm.read_all(OPERATION, &path).await {
        Ok(locks) => {
            let read_only = |lock: &&Value| {
                lock.pointer("/properties/level").and_then(Value::as_str).is_some_and(|l| l.eq_ignore_ascii_case("ReadOnly"))
            };
            let id = |lock: &Value| clean(lock.get("id").and_then(Value::as_str).unwrap_or("without id"));
            let says = |lock: &Value| format!("the read-only lock `{}` refuses every change; take it away", id(lock));
            locks.iter().filter(read_only).map(|lock| page(RuleId::S9, says(lock))).collect()
        }
        Err(error) if error.kind == PortErrorKind::NotFound => Vec::new(),
        Err(error) => vec![propose(RuleId::S9, format!("locks could not be checked ({error})"))],
    }
}
