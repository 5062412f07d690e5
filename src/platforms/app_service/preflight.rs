//! Whether the swap would be allowed, asked before it is needed.
//!
//! Necessary, not sufficient: locks, deny assignments and Azure Policy are not in the list of permissions.

use futures::future::join_all;
use serde_json::Value;

use super::{
    observe::{page, propose},
    ramp,
    swap::slot_entity,
    wire::{API_VERSION, SiteConfig, SlotDifference, given, is_production, parse, slot_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Obstacle, ObstacleWeight, Preflight},
        rule::RuleId,
        target::AppServiceTarget,
    },
    ports::{PortError, PortErrorKind},
};

/// What the identity that acts must be allowed to do.
pub const SWAP_ACTION: &str = "Microsoft.Web/sites/slots/slotsswap/action";

/// What the identity that reads must be allowed to do, to see how the swap ended. Source: the documented list for swaps.
pub const POLLING_ACTIONS: [&str; 2] =
    ["Microsoft.Web/sites/operationresults/read", "Microsoft.Web/sites/slots/operationresults/read"];

/// Whether a list of permissions grants an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Granted,
    Missing,
    /// Only under a condition, which we cannot evaluate.
    Conditional,
}

/// Reads permissions of both identities at the site, the traffic rules, and the differences of every good slot, side by side.
pub async fn check(arm: &ResourceManager, target: &AppServiceTarget) -> Preflight {
    let good = join_all(target.good_slots.iter().map(|slot| differences(arm, target, slot)));
    let (rights, users_are_shared, mut slots) = tokio::join!(Box::pin(rights(arm, target)), users_are_shared(arm, target), good);
    let mut to_clear_rules = rights.to_clear_rules;
    if users_are_shared {
        for obstacles in &mut slots {
            obstacles.extend(to_clear_rules.clone());
        }
    } else {
        // Worth knowing before there is a ramp; nothing fails for want of it until then.
        for obstacle in &mut to_clear_rules {
            obstacle.weight = ObstacleWeight::Propose;
        }
    }
    let slots = target.good_slots.iter().map(|slot| way_name(slot)).zip(slots);
    let ramp = std::iter::once((ramp::way_name(target), to_clear_rules));
    Preflight { obstacles: rights.to_swap, ways_back: slots.chain(ramp).collect() }
}

/// Rules that cannot be read are told by the observation.
async fn users_are_shared(arm: &ResourceManager, target: &AppServiceTarget) -> bool {
    const OPERATION: &str = "read the traffic rules";
    let path = format!("{}/config/web?{API_VERSION}", slot_path(target, &target.serving_slot));
    let config = arm.read(OPERATION, &path).await.and_then(|answer| parse::<SiteConfig>(OPERATION, answer));
    config.is_ok_and(|config| ramp::active_rules(&config).next().is_some())
}

/// What stands against each of the calls.
struct Rights {
    to_swap: Vec<Obstacle>,
    to_clear_rules: Vec<Obstacle>,
}

fn way_name(slot: &str) -> String {
    format!("slot {slot}")
}

async fn rights(arm: &ResourceManager, target: &AppServiceTarget) -> Rights {
    const OPERATION: &str = "read our permissions";
    let path = format!("{}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01", resource_path(&target.site));
    let reading = async { if arm.has_two_identities() { Some(arm.read_all(OPERATION, &path).await) } else { None } };
    let (acting, reading) = tokio::join!(arm.read_all_as_actor(OPERATION, &path), reading);
    let reading = reading.as_ref().unwrap_or(&acting);
    let (mut to_swap, mut to_clear_rules) = (Vec::new(), Vec::new());
    missing("acting", &acting, &[SWAP_ACTION], target, &mut to_swap);
    missing("reading", reading, &POLLING_ACTIONS, target, &mut to_swap);
    missing("acting", &acting, &[ramp::action(target)], target, &mut to_clear_rules);
    Rights { to_swap, to_clear_rules }
}

fn missing(
    identity: &str,
    permissions: &Result<Vec<Value>, PortError>,
    actions: &[&str],
    target: &AppServiceTarget,
    obstacles: &mut Vec<Obstacle>,
) {
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
        let scope = &target.site;
        match granted(permissions, action) {
            Right::Granted => {}
            Right::Missing => obstacles.push(page(
                RuleId::S9,
                format!(
                    "the {identity} identity lacks `{action}` on `{scope}`; grant it with `az role assignment create --assignee \
                     <principal id> --role \"Website Contributor\" --scope {scope}`, or by a custom role"
                ),
            )),
            Right::Conditional => obstacles.push(propose(
                RuleId::S9,
                format!("the {identity} identity has `{action}` on `{scope}` only under a condition, which could not be checked"),
            )),
        }
    }
}

/// Whether some entry's `actions` match and none of the *same* entry's `notActions` do.
///
/// `notActions` subtracts from its own role and is no deny: another entry may grant what it takes away.
pub fn granted(permissions: &[Value], action: &str) -> Right {
    let matches = |entry: &Value, key: &str| {
        let patterns = entry.get(key).and_then(Value::as_array);
        patterns.is_some_and(|all| all.iter().filter_map(Value::as_str).any(|pattern| is_match(pattern, action)))
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

/// `*` stands for any run of characters, `/` included; case does not matter.
fn is_match(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// What Azure itself says against swapping `slot` with the serving one. Only names of settings are told, never values.
async fn differences(arm: &ResourceManager, target: &AppServiceTarget, slot: &str) -> Vec<Obstacle> {
    const OPERATION: &str = "compare the slots";
    if is_production(slot) {
        return Vec::new(); // Observing says why this is no way back.
    }
    let path = format!("{}/slotsdiffs?{API_VERSION}", slot_path(target, slot));
    let answer = arm.read_all_by_post(OPERATION, &path, &slot_entity(target)).await;
    match answer.and_then(|all| parse::<Vec<SlotDifference>>(OPERATION, Value::Array(all))) {
        Ok(all) => all.iter().filter(|difference| is_error(difference)).map(|difference| blocks(slot, difference)).collect(),
        Err(error) if error.kind == PortErrorKind::NotFound => Vec::new(),
        Err(error) => {
            vec![propose(
                RuleId::S10,
                format!("what differs between slot {slot} and the serving one could not be checked ({error})"),
            )]
        }
    }
}

fn is_error(difference: &SlotDifference) -> bool {
    given(difference.properties.level.as_ref()).is_some_and(|level| level.eq_ignore_ascii_case("error"))
}

fn blocks(slot: &str, difference: &SlotDifference) -> Obstacle {
    let or = |text: Option<&String>, other: &str| given(text).map_or_else(|| other.to_owned(), clean);
    let properties = &difference.properties;
    page(
        RuleId::S10,
        format!(
            "Azure calls `{}` ({}) of slot {slot} an error for a swap; make the slots agree",
            or(properties.setting_name.as_ref(), "a setting"),
            or(properties.setting_type.as_ref(), "unknown type"),
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rights_follow_the_rules_of_role_definitions() {
        let granted = |entries: Value| granted(entries.as_array().unwrap(), SWAP_ACTION);
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

    #[test]
    fn patterns_do_not_overlap_themselves() {
        assert!(is_match("a*b*c", "a-b-c"));
        assert!(is_match("a**c", "ac"));
        assert!(!is_match("ab*ba", "aba"));
        assert!(!is_match("", "a"));
        assert!(is_match("*", ""));
    }
}
