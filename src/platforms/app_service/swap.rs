//! The swap.

use reqwest::Method;
use serde_json::json;

use super::wire::{API_VERSION, PRODUCTION, is_production, slot_path};
use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::WayBack,
        rollback::{Step, StepKind, Submission},
        target::AppServiceTarget,
    },
};

/// What an observation and a step remember: `{"slot": "staging"}`. Paths are made from the policy's own ids, never stored.
pub const SLOT: &str = "slot";

pub fn step(target: &AppServiceTarget, way_back: &WayBack) -> Step {
    let slot = way_back.detail.get(SLOT).and_then(|slot| slot.as_str()).unwrap_or_default();
    Step {
        says: format!("swap slot {slot} with {} of `{}`", target.serving_slot, target.site.name()),
        kind: StepKind::Toggle,
        detail: json!({ SLOT: slot }),
    }
}

/// Sends the swap once. A slot that the policy does not name is refused here: nothing stored can widen what is touched.
pub async fn submit(arm: &ResourceManager, target: &AppServiceTarget, step: &Step) -> Submission {
    let slot = step.detail.get(SLOT).and_then(|slot| slot.as_str()).unwrap_or_default();
    let Some(slot) = target.good_slots.iter().find(|good| good.eq_ignore_ascii_case(slot)) else {
        return Submission::Refused { says: format!("`{slot}` is none of the policy's `goodSlots`; nothing was sent") };
    };
    if is_production(slot) || slot.eq_ignore_ascii_case(&target.serving_slot) {
        return Submission::Refused {
            says: format!("`{slot}` must not be the source of a swap, since the source is restarted; nothing was sent"),
        };
    }
    let path = format!("{}/slotsswap?{API_VERSION}", slot_path(target, slot));
    arm.submit(Method::POST, &path, Some(&slot_entity(target))).await
}

/// CsmSlotEntity: both fields are required; `preserveVnet` is true as in every official client.
pub fn slot_entity(target: &AppServiceTarget) -> serde_json::Value {
    let serving = if is_production(&target.serving_slot) { PRODUCTION } else { &target.serving_slot };
    json!({ "targetSlot": serving, "preserveVnet": true })
}
