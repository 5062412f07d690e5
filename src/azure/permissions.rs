//! Whether both identities have the rights that a rollback needs, by resource manager's permissions API (2022-04-01).
//!
//! Necessary, not sufficient: locks, deny assignments and Azure Policy are not in the list of permissions.

use serde_json::Value;

use super::{resource_manager::ResourceManager, resource_path::resource_path};
use crate::{
    domain::{
        glob,
        observation::Obstacle,
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
    },
    ports::PortError,
};

/// Whether a list of permissions grants an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Granted,
    Missing,
    /// Only under a condition, which we cannot evaluate.
    Conditional,
}

/// What stands against a rollback for want of rights at `scope`.
pub async fn missing(arm: &ResourceManager, scope: &ResourceId, needed: &[NeededRight]) -> Vec<Obstacle> {
    Permissions::read(arm, scope, needed).await.lacking(needed)
}

/// What the identities may do at one scope, as far as it could be read.
pub struct Permissions {
    acting: Result<Vec<Value>, PortError>,
    /// `None` where one identity is both, or nothing is needed of the one that reads.
    reading: Option<Result<Vec<Value>, PortError>>,
}

impl Permissions {
    /// Each identity is asked once, side by side; one that is both is asked once.
    pub async fn read(arm: &ResourceManager, scope: &ResourceId, needed: &[NeededRight]) -> Self {
        const OPERATION: &str = "read our permissions";
        let path = format!("{}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01", resource_path(scope));
        let asked_apart = arm.has_two_identities() && needed.iter().any(|right| right.identity == Identity::Reading);
        let reading = async { if asked_apart { Some(arm.read_all(OPERATION, &path).await) } else { None } };
        let (acting, reading) = tokio::join!(arm.read_all_as_actor(OPERATION, &path), reading);
        Self { acting, reading }
    }

    /// Whether one right is there, by the answer to its identity.
    pub fn of(&self, right: &NeededRight) -> Result<Right, &PortError> {
        let answer = match right.identity {
            Identity::Acting => &self.acting,
            Identity::Reading => self.reading.as_ref().unwrap_or(&self.acting),
        };
        answer.as_ref().map(|permissions| granted(permissions, &right.action))
    }

    /// What stands against a call that needs these rights.
    pub fn lacking(&self, needed: &[NeededRight]) -> Vec<Obstacle> {
        let mut obstacles = against(Identity::Acting, &self.acting, needed);
        obstacles.extend(against(Identity::Reading, self.reading.as_ref().unwrap_or(&self.acting), needed));
        obstacles
    }
}

fn against(identity: Identity, permissions: &Result<Vec<Value>, PortError>, needed: &[NeededRight]) -> Vec<Obstacle> {
    let needed: Vec<&NeededRight> = needed.iter().filter(|right| right.identity == identity).collect();
    let permissions = match permissions {
        Ok(permissions) => permissions,
        Err(_) if needed.is_empty() => return Vec::new(),
        Err(error) => {
            let actions: Vec<&str> = needed.iter().map(|right| right.action.as_str()).collect();
            let says = format!("whether the {identity} identity may `{}` could not be checked ({error})", actions.join("`, `"));
            return vec![Obstacle::propose(RuleId::S9, says)];
        }
    };
    needed.iter().filter_map(|right| lacking(right, granted(permissions, &right.action))).collect()
}

fn lacking(right: &NeededRight, granted: Right) -> Option<Obstacle> {
    let NeededRight { identity, action, scope, role } = right;
    match granted {
        Right::Granted => None,
        Right::Missing => Some(Obstacle::page(
            RuleId::S9,
            format!(
                "the {identity} identity lacks `{action}` on `{scope}`; grant it with `az role assignment create --assignee \
                 <principal id> --role \"{role}\" --scope {scope}`, or by a custom role"
            ),
        )),
        Right::Conditional => Some(Obstacle::propose(
            RuleId::S9,
            format!("the {identity} identity has `{action}` on `{scope}` only under a condition, which could not be checked"),
        )),
    }
}

/// Whether some entry's `actions` match and none of the *same* entry's `notActions` do.
///
/// `notActions` subtracts from its own role and is no deny: another entry may grant what it takes away.
pub fn granted(permissions: &[Value], action: &str) -> Right {
    let matches = |entry: &Value, key: &str| {
        let patterns = entry.get(key).and_then(Value::as_array);
        patterns.is_some_and(|all| all.iter().filter_map(Value::as_str).any(|pattern| glob::fits(pattern, action)))
    };
    let mut found = Right::Missing;
    for entry in permissions.iter().filter(|entry| matches(entry, "actions") && !matches(entry, "notActions")) {
        match entry.get("condition").and_then(Value::as_str) {
            Some(condition) if !condition.trim().is_empty() => found = Right::Conditional,
            Some(_) | None => return Right::Granted,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rights_follow_the_rules_of_role_definitions() {
        let granted = |entries: Value| granted(entries.as_array().unwrap(), "Microsoft.Web/sites/slots/slotsswap/action");
        let entry = |actions: &[&str], not: &[&str]| json!({"actions": actions, "notActions": not, "dataActions": ["*"]});
        let rows = [
            (json!([]), Right::Missing),
            (json!([entry(&["*"], &[])]), Right::Granted),
            (json!([entry(&["*/read"], &[])]), Right::Missing),
            (json!([entry(&["microsoft.web/sites/SLOTS/slotsswap/Action"], &[])]), Right::Granted),
            (json!([entry(&["Microsoft.Web/*"], &[])]), Right::Granted),
            (json!([entry(&["Microsoft.Web/*/slotsswap/*"], &[])]), Right::Granted),
            (json!([entry(&["*/action"], &[])]), Right::Granted),
            (json!([entry(&["Microsoft.Web/sites/slotsswap/action"], &[])]), Right::Missing),
            (json!([entry(&["Microsoft.Web/sites/slots/slotsswap"], &[])]), Right::Missing),
            (json!([entry(&["*"], &["Microsoft.Web/sites/slots/*"])]), Right::Missing),
            (json!([entry(&["*"], &["Microsoft.Web/*"]), entry(&["*slotsswap*"], &[])]), Right::Granted),
            (json!([entry(&["*/read"], &[]), entry(&["*"], &["*/slotsswap/action"])]), Right::Missing),
            (json!([{"actions": [], "dataActions": ["*"]}]), Right::Missing),
            (json!([{"actions": ["*"]}]), Right::Granted),
            (json!([{"actions": ["*"], "condition": "@Resource[x] == 'y'"}]), Right::Conditional),
            (json!([{"actions": ["*"], "condition": "x"}, {"actions": ["*"]}]), Right::Granted),
            (json!([{"actions": ["*"], "condition": " "}]), Right::Granted),
            (json!(["text", {"actions": "*"}]), Right::Missing),
        ];
        for (entries, right) in rows {
            assert_eq!(granted(entries.clone()), right, "{entries}");
        }
    }
}
