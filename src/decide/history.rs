//! What is known about a target, kept bounded: each reading and each event adds to it.

use jiff::{SignedDuration, Timestamp};

use super::serving;
use crate::domain::{
    deployment::DeploymentEvent,
    observation::{Observation, RunningVersion},
    record::RecordId,
    target::{Fingerprint, VersionToken},
    target_state::{Declined, Firing, ForgottenFirings, HoldRef, Marker, Rollout, TakenBack, TargetState},
};

/// Two readings further apart than this do not tell when a version between them began; the sweep reads every five minutes.
pub const READINGS_APART_MAX: SignedDuration = SignedDuration::from_mins(15);

/// When a version began to serve: after `not_before`, and by `at_the_latest`. Both are equal where the platform tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Began {
    pub not_before: Timestamp,
    pub at_the_latest: Timestamp,
}

/// When what runs began to serve: as the platform tells, else between two readings of ours; `None` if neither tells.
pub fn running_since(state: &TargetState, running: &RunningVersion, observed_at: Timestamp) -> Option<Began> {
    let known = state.rollouts.iter().find(|rollout| rollout.token == running.token);
    let told = running.serving_since.or(known.and_then(|rollout| rollout.serving_since));
    let first_seen_at =
        known.filter(|known| !came_back(state, known, observed_at)).map_or(observed_at, |known| known.first_seen_at);
    since(state, &running.token, told, first_seen_at)
}

/// The same of a version that is known.
pub fn rollout_since(state: &TargetState, rollout: &Rollout) -> Option<Began> {
    since(state, &rollout.token, rollout.serving_since, rollout.first_seen_at)
}

fn since(state: &TargetState, token: &VersionToken, told: Option<Timestamp>, first_seen_at: Timestamp) -> Option<Began> {
    if let Some(at) = told.filter(|at| is_its_own(state, token, *at, first_seen_at)) {
        return Some(Began { not_before: at, at_the_latest: at });
    }
    let others = state.rollouts.iter().filter(|rollout| rollout.token != *token);
    let last = others.map(|rollout| rollout.last_seen_at).filter(|seen| *seen <= first_seen_at).max()?;
    let close = first_seen_at.duration_since(last) <= READINGS_APART_MAX;
    close.then_some(Began { not_before: last, at_the_latest: first_seen_at })
}

/// Whether a version which the platform gives no time was away since we saw it last: an image that is set again has the name
/// that it had. A share of the users elsewhere is no time away.
fn came_back(state: &TargetState, known: &Rollout, observed_at: Timestamp) -> bool {
    let is_mix = |rollout: &Rollout| rollout.fingerprint.as_ref().is_some_and(Fingerprint::is_shared);
    let others = state.rollouts.iter().filter(|rollout| rollout.token != known.token && !is_mix(rollout));
    // A reading that is told late says nothing of what came after it.
    let away = others.map(|rollout| rollout.last_seen_at).max().is_some_and(|at| at > known.last_seen_at && at <= observed_at);
    known.serving_since.is_none() && away
}

/// Two versions do not begin at one moment. Told of both, it is that of the one which was seen first: a platform that tells of
/// a swap does not tell of an image that was set after it.
fn is_its_own(state: &TargetState, token: &VersionToken, told: Timestamp, first_seen_at: Timestamp) -> bool {
    let earlier = state.rollouts.iter().filter(|rollout| rollout.token != *token && rollout.first_seen_at < first_seen_at);
    !earlier.into_iter().any(|rollout| rollout.serving_since == Some(told))
}

/// Adds what a reading says; whether that changed the state. The state before is kept from the first reading of a rollout (S6); later
/// ones change only when it was last seen, and when it was first seen since it came back.
///
/// Nothing is kept of a reading made while an operation is under way: half a swap is no version.
pub fn absorb_observation(state: &mut TargetState, observation: &Observation) -> bool {
    if observation.under_way.is_some() {
        return false;
    }
    let is_changed = add_running(state, observation);
    while state.rollouts.len() > TargetState::ROLLOUTS_MAX {
        forget_a_rollout(state);
    }
    is_changed
}

/// Adds what a reading says of what runs, whatever is under way; whether that changed the state.
pub(super) fn add_running(state: &mut TargetState, observation: &Observation) -> bool {
    let running = &observation.running;
    if let Some(index) = state.rollouts.iter().position(|rollout| rollout.token == running.token) {
        let came_back = came_back(state, &state.rollouts[index], observation.observed_at);
        let known = &mut state.rollouts[index];
        let is_later = known.last_seen_at < observation.observed_at;
        known.last_seen_at = known.last_seen_at.max(observation.observed_at);
        if came_back {
            known.first_seen_at = observation.observed_at;
            sort(&mut state.rollouts);
        }
        return is_later || came_back;
    }
    let told = running.serving_since.filter(|at| is_its_own(state, &running.token, *at, observation.observed_at));
    state.rollouts.push(Rollout {
        token: running.token.clone(),
        fingerprint: running.fingerprint.clone(),
        serving_since: told,
        first_seen_at: observation.observed_at,
        last_seen_at: observation.observed_at,
        before: observation.ways_back.iter().map(|way| (way.name.clone(), way.fingerprint.clone())).collect(),
        label: running.label.clone(),
    });
    sort(&mut state.rollouts);
    true
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

/// A version without a start of its own began before we saw it; sorted by nothing it would be the first to be dropped.
fn sort(rollouts: &mut [Rollout]) {
    rollouts.sort_by_key(|rollout| rollout.serving_since.unwrap_or(rollout.first_seen_at));
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
        while state.firings.len() > TargetState::FIRINGS_MAX {
            let gone = state.firings.remove(0);
            state.forgotten_firings = Some(forgotten_with(state.forgotten_firings, &gone));
        }
    }
}

/// A version that an alert fired on must not become a proven one because many more fired since (S5).
fn forgotten_with(before: Option<ForgottenFirings>, gone: &Firing) -> ForgottenFirings {
    match before {
        None => ForgottenFirings { last_fired_at: gone.fired_at, over_at: gone.resolved_at },
        Some(before) => ForgottenFirings {
            last_fired_at: before.last_fired_at.max(gone.fired_at),
            over_at: before.over_at.zip(gone.resolved_at).map(|(before, gone)| before.max(gone)),
        },
    }
}

/// Keeps a person's no, once a version: the newest.
pub fn add_declined(state: &mut TargetState, declined: Declined) {
    state.declined.retain(|known| known.token != declined.token);
    state.declined.push(declined);
    trim(&mut state.declined, TargetState::DECLINED_MAX);
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
