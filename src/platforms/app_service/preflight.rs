//! Whether the ways back would be allowed, asked before they are needed: rights, locks, differences of the slots.
//!
//! Necessary, not sufficient: deny assignments and Azure Policy are not in the list of permissions.

use futures::future::join_all;
use serde_json::Value;

use super::{
    image, package, ramp,
    swap::slot_entity,
    wire::{API_VERSION, SiteConfig, SlotDifference, given, is_production, slot_path},
};
use crate::{
    azure::{answer::clean, locks, permissions::Permissions, resource_manager::ResourceManager},
    domain::{
        observation::{Obstacle, ObstacleWeight, Preflight},
        right::{Identity, NeededRight},
        rule::RuleId,
        target::{AppServiceTarget, AppServiceWay},
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// What the identity that acts must be allowed to do.
pub const SWAP_ACTION: &str = "Microsoft.Web/sites/slots/slotsswap/action";

/// What the identity that reads must be allowed to do, to see how the swap ended. Source: the documented list for swaps.
pub const POLLING_ACTIONS: [&str; 2] =
    ["Microsoft.Web/sites/operationresults/read", "Microsoft.Web/sites/slots/operationresults/read"];

/// What the ways back of the policy need, and the end of a ramp. Reading the site needs `Reader`, and shows whether it is there by
/// being read.
pub fn rights(target: &AppServiceTarget) -> Vec<NeededRight> {
    let mut rights = Vec::new();
    for way in &target.ways_back {
        rights.extend(to_take(target, *way));
    }
    rights.extend(to_configure(target));
    let mut distinct: Vec<NeededRight> = Vec::new();
    for right in rights {
        if !distinct.contains(&right) {
            distinct.push(right);
        }
    }
    distinct
}

fn to_take(target: &AppServiceTarget, way: AppServiceWay) -> Vec<NeededRight> {
    match way {
        AppServiceWay::Slots => to_swap(target),
        AppServiceWay::Image => to_configure(target),
        AppServiceWay::Package => [to_configure(target), to_list_settings(target)].concat(),
    }
}

const ROLE: &str = "Website Contributor";

fn to_swap(target: &AppServiceTarget) -> Vec<NeededRight> {
    let acting = NeededRight::all(Identity::Acting, &[SWAP_ACTION], &target.site, ROLE);
    [acting, NeededRight::all(Identity::Reading, &POLLING_ACTIONS, &target.site, ROLE)].concat()
}

/// To clear traffic rules, to set an image, to write app settings.
fn to_configure(target: &AppServiceTarget) -> Vec<NeededRight> {
    let action = of_the_slot(target, "Microsoft.Web/sites/config/write", "Microsoft.Web/sites/slots/config/write");
    NeededRight::all(Identity::Acting, &[action], &target.site, ROLE)
}

fn to_list_settings(target: &AppServiceTarget) -> Vec<NeededRight> {
    let action = of_the_slot(target, "Microsoft.Web/sites/config/list/action", "Microsoft.Web/sites/slots/config/list/action");
    NeededRight::all(Identity::Reading, &[action], &target.site, ROLE)
}

fn of_the_slot(target: &AppServiceTarget, site: &'static str, slot: &'static str) -> &'static str {
    if is_production(&target.serving_slot) { site } else { slot }
}

/// Reads permissions of both identities and the locks at the site, the traffic rules, and the differences of every good slot, side
/// by side.
pub async fn check(arm: &ResourceManager, target: &AppServiceTarget) -> Preflight {
    let good = join_all(target.good_slots.iter().map(|slot| differences(arm, target, slot)));
    let needed = rights(target);
    let (permissions, locks, users_are_shared, mut slots) = tokio::join!(
        Box::pin(Permissions::read(arm, &target.site, &needed)),
        Box::pin(locks::read_only(arm, &target.site)),
        users_are_shared(arm, target),
        good
    );
    let against_swap = permissions.lacking(&to_swap(target));
    for obstacles in &mut slots {
        obstacles.extend(against_swap.clone());
    }
    let mut against_clearing = permissions.lacking(&to_configure(target));
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
    let by_name = target.ways_back.iter().filter_map(|way| {
        let name = match way {
            AppServiceWay::Slots => return None,
            AppServiceWay::Image => image::WAY,
            AppServiceWay::Package => package::WAY,
        };
        Some((name.to_owned(), permissions.lacking(&to_take(target, *way))))
    });
    Preflight { obstacles: locked(&locks).into_iter().collect(), ways_back: slots.chain(ramp).chain(by_name).collect() }
}

/// A read-only lock refuses every write and every action on the site and on its slots.
fn locked(locks: &Result<Vec<String>, PortError>) -> Option<Obstacle> {
    match locks {
        Ok(locks) if !locks.is_empty() => {
            Some(Obstacle::page(RuleId::S9, "a `ReadOnly` lock refuses every way back; remove it with `az lock delete`"))
        }
        Ok(_) => None,
        // Observing says that the site is not there.
        Err(error) if error.kind == PortErrorKind::NotFound => None,
        Err(error) => {
            Some(Obstacle::propose(RuleId::S9, format!("whether a lock refuses changes could not be checked ({error})")))
        }
    }
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
