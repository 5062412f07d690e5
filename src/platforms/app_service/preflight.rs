//! Whether the swap would be allowed, asked before it is needed.
//!
//! Necessary, not sufficient: locks, deny assignments and Azure Policy are not in the list of permissions.

use futures::future::join_all;
use serde_json::Value;

use super::{
    ramp,
    swap::slot_entity,
    wire::{API_VERSION, SiteConfig, SlotDifference, given, is_production, parse, slot_path},
};
use crate::{
    azure::{answer::clean, permissions::Permissions, resource_manager::ResourceManager},
    domain::{
        observation::{Obstacle, ObstacleWeight, Preflight},
        right::{Identity, NeededRight},
        rule::RuleId,
        target::AppServiceTarget,
    },
    ports::PortErrorKind,
};

/// What the identity that acts must be allowed to do.
pub const SWAP_ACTION: &str = "Microsoft.Web/sites/slots/slotsswap/action";

/// What the identity that reads must be allowed to do, to see how the swap ended. Source: the documented list for swaps.
pub const POLLING_ACTIONS: [&str; 2] =
    ["Microsoft.Web/sites/operationresults/read", "Microsoft.Web/sites/slots/operationresults/read"];

/// What a swap needs, and the end of a ramp. Reading the site needs `Reader`, and shows whether it is there by being read.
pub fn rights(target: &AppServiceTarget) -> Vec<NeededRight> {
    [to_swap(target), to_clear_rules(target)].concat()
}

const ROLE: &str = "Website Contributor";

fn to_swap(target: &AppServiceTarget) -> Vec<NeededRight> {
    let acting = NeededRight::all(Identity::Acting, &[SWAP_ACTION], &target.site, ROLE);
    [acting, NeededRight::all(Identity::Reading, &POLLING_ACTIONS, &target.site, ROLE)].concat()
}

fn to_clear_rules(target: &AppServiceTarget) -> Vec<NeededRight> {
    NeededRight::all(Identity::Acting, &[ramp::action(target)], &target.site, ROLE)
}

/// Reads permissions of both identities at the site, the traffic rules, and the differences of every good slot, side by side.
pub async fn check(arm: &ResourceManager, target: &AppServiceTarget) -> Preflight {
    let good = join_all(target.good_slots.iter().map(|slot| differences(arm, target, slot)));
    let needed = rights(target);
    let (permissions, users_are_shared, mut slots) =
        tokio::join!(Box::pin(Permissions::read(arm, &target.site, &needed)), users_are_shared(arm, target), good);
    let mut against_clearing = permissions.lacking(&to_clear_rules(target));
    if users_are_shared {
        for obstacles in &mut slots {
            obstacles.extend(against_clearing.clone());
        }
    } else {
        // Worth knowing before there is a ramp; nothing fails for want of it until then.
        for obstacle in &mut against_clearing {
            obstacle.weight = ObstacleWeight::Propose;
        }
    }
    let slots = target.good_slots.iter().map(|slot| way_name(slot)).zip(slots);
    let ramp = std::iter::once((ramp::way_name(target), against_clearing));
    Preflight { obstacles: permissions.lacking(&to_swap(target)), ways_back: slots.chain(ramp).collect() }
}

/// Rules that cannot be read are told by the observation.
async fn users_are_shared(arm: &ResourceManager, target: &AppServiceTarget) -> bool {
    const OPERATION: &str = "read the traffic rules";
    let path = format!("{}/config/web?{API_VERSION}", slot_path(target, &target.serving_slot));
    let config = arm.read(OPERATION, &path).await.and_then(|answer| parse::<SiteConfig>(OPERATION, answer));
    config.is_ok_and(|config| ramp::active_rules(&config).next().is_some())
}

fn way_name(slot: &str) -> String {
    format!("slot {slot}")
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
            vec![Obstacle::propose(
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
    Obstacle::page(
        RuleId::S10,
        format!(
            "Azure calls `{}` ({}) of slot {slot} an error for a swap; make the slots agree",
            or(properties.setting_name.as_ref(), "a setting"),
            or(properties.setting_type.as_ref(), "unknown type"),
        ),
    )
}
