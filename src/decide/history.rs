//! What is known about a target, kept bounded: each reading and each event adds to it.

use jiff::Timestamp;

use super::serving;
use crate::domain::{
    deployment::DeploymentEvent,
    observation::Observation,
    record::RecordId,
    target_state::{Firing, HoldRef, Marker, Rollout, TakenBack, TargetState},
};

/// Adds what a reading says. The state before is kept from the first reading of a rollout (S6); later ones change only when it was last seen.
///
/// Nothing is kept of a reading made while an operation is under way: half a swap is no version.
pub fn absorb_observation(state: &mut TargetState, observation: &Observation) {
    if observation.under_way.is_some() {
        return;
    }
    let running = &observation.running;
    if let Some(known) = state.rollouts.iter_mut().find(|rollout| rollout.token == running.token) {
        known.last_seen_at = known.last_seen_at.max(observation.observed_at);
        return;
    }
    state.rollouts.push(Rollout {
        token: running.token.clone(),
        fingerprint: running.fingerprint.clone(),
        serving_since: running.serving_since,
        first_seen_at: observation.observed_at,
        last_seen_at: observation.observed_at,
        before: observation.ways_back.iter().map(|way| (way.name.clone(), way.fingerprint.clone())).collect(),
        label: running.label.clone(),
    });
    // A version without a start of its own began before we saw it; sorted by nothing it would be the first to be dropped.
    state.rollouts.sort_by_key(|rollout| rollout.serving_since.unwrap_or(rollout.first_seen_at));
    while state.rollouts.len() > TargetState::ROLLOUTS_MAX {
        forget_a_rollout(state);
    }
}

/// A repetition goes before anything that tells since when a content served; else the oldest.
fn forget_a_rollout(state: &mut TargetState) {
    let goes_on = |at: usize| {
        let accused = |taken: &TakenBack| taken.accused == state.rollouts[at].token;
        serving::goes_on(state, &state.rollouts[at - 1], &state.rollouts[at]) && !state.taken_back.iter().any(accused)
    };
    let repetition = (1..state.rollouts.len().saturating_sub(1)).find(|at| goes_on(*at));
    let forgotten = state.rollouts.remove(repetition.unwrap_or(0));
    if let Some(at) = repetition {
        let first = &mut state.rollouts[at - 1];
        first.last_seen_at = first.last_seen_at.max(forgotten.last_seen_at);
    }
}

/// Adds what an event says about a change. The same event twice adds nothing. `trusted` events may declare reversibility.
pub fn absorb_event(state: &mut TargetState, event: &DeploymentEvent, received_at: Timestamp, trusted: bool) {
    let at = event.at.unwrap_or(received_at);
    let event_id =
        event.id.clone().unwrap_or_else(|| format!("{}|{at}|{}", event.source, event.operation.as_deref().unwrap_or_default()));
    if state
        .markers
        .iter()
        .any(|marker| marker.event_id == event_id && marker.source == event.source && marker.status == event.status)
    {
        return;
    }
    state.markers.push(Marker {
        event_id,
        source: event.source.clone(),
        at,
        status: event.status,
        version: event.version.clone(),
        reversible: event.reversible.filter(|_| trusted),
    });
    state.markers.sort_by_key(|marker| marker.at);
    // Mere progress goes first: a flood of events must not push out what a pipeline declared.
    while state.markers.len() > TargetState::MARKERS_MAX {
        let oldest = state.markers.iter().position(|marker| marker.reversible.is_none()).unwrap_or(0);
        state.markers.remove(oldest);
    }
}

pub fn add_firing(state: &mut TargetState, firing: Firing) {
    if let Some(known) = state.firings.iter_mut().find(|known| known.record == firing.record) {
        known.resolved_at = known.resolved_at.or(firing.resolved_at);
    } else {
        state.firings.push(firing);
        state.firings.sort_by_key(|firing| firing.fired_at);
        trim(&mut state.firings, TargetState::FIRINGS_MAX);
    }
}

/// Notes that a record waits until `next_step_at`, or (`None`) that it waits no more.
pub fn set_hold(state: &mut TargetState, record: &RecordId, next_step_at: Option<Timestamp>) {
    state.holds.retain(|hold| hold.record != *record);
    if let Some(next_step_at) = next_step_at {
        state.holds.push(HoldRef { record: record.clone(), next_step_at });
        trim(&mut state.holds, TargetState::HOLDS_MAX);
    }
}

pub fn trim<T>(list: &mut Vec<T>, length_max: usize) {
    if list.len() > length_max {
        list.drain(..list.len() - length_max);
    }
}
