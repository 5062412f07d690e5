//! Every way back in the policy's order, and the steps of each.

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, WayBack},
        rollback::{Step, Submission},
        target::{AppServiceTarget, AppServiceWay, Fingerprint},
    },
};

use super::{
    image::{self, IMAGE},
    package::{self, PACKAGE},
    ramp::{self, RAMP},
    swap::{self, SLOT},
};

/// The end of a ramp first, where that is what came last; then as the policy prefers.
///
/// Two ways may hold the same content, a slot and its image: the second one counts where the first is closed.
pub fn in_order(target: &AppServiceTarget, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
    let (slots, ramp): (Vec<&WayBack>, Vec<&WayBack>) =
        observation.ways_back.iter().partition(|way| way.detail.get(SLOT).is_some());
    let mut ways: Vec<WayBack> = ramp.into_iter().cloned().collect();
    for way in &target.ways_back {
        match way {
            AppServiceWay::Slots => ways.extend(slots.iter().copied().cloned()),
            AppServiceWay::Image => ways.extend(image::way_back(observation, proven)),
            AppServiceWay::Package => ways.extend(package::way_back(target, observation, proven)),
        }
    }
    ways
}

/// Traffic rules are cleared before a swap, where there are any: a swap leaves them with the serving slot.
pub fn steps(target: &AppServiceTarget, way_back: &WayBack) -> Vec<Step> {
    let has = |key: &str| way_back.detail.get(key).is_some();
    if has(IMAGE) {
        return vec![image::step(target, way_back)];
    }
    if has(PACKAGE) {
        return vec![package::step(target, way_back)];
    }
    let ramp = has(RAMP).then(|| ramp::off(target));
    let swap = (ramp.is_none() || has(SLOT)).then(|| swap::step(target, way_back));
    ramp.into_iter().chain(swap).collect()
}

/// Sends one step once. What the policy does not list is refused here: nothing stored can widen what is touched.
pub async fn submit(arm: &ResourceManager, target: &AppServiceTarget, step: &Step) -> Submission {
    let has = |key: &str| step.detail.get(key).is_some();
    let refused = |way: AppServiceWay| {
        let says = format!("`waysBack` of the policy has no `{}`; nothing was sent", way.word());
        Submission::Refused { says }
    };
    let is_listed = |way: AppServiceWay| target.ways_back.contains(&way);
    if has(RAMP) {
        return ramp::submit_off(arm, target).await;
    }
    if has(IMAGE) {
        return if is_listed(AppServiceWay::Image) {
            image::submit(arm, target, step).await
        } else {
            refused(AppServiceWay::Image)
        };
    }
    if has(PACKAGE) {
        return if is_listed(AppServiceWay::Package) {
            package::submit(arm, target, step).await
        } else {
            refused(AppServiceWay::Package)
        };
    }
    if is_listed(AppServiceWay::Slots) { swap::submit(arm, target, step).await } else { refused(AppServiceWay::Slots) }
}
