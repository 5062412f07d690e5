//! What served when, by content. A token names one rollout, for claims; people met contents.
//!
//! The same content rolled out again, with nothing else in between, goes on with its service. A rollout in shares is one story from
//! when its content first got users: the mixes that it is in come before it serves alone. Content that is not known breaks
//! either, and so does a rollback of ours.

use jiff::Timestamp;

use super::case::ServiceFacts;
use crate::domain::{
    target::{Fingerprint, VersionToken},
    target_state::{Rollout, TakenBack, TargetState},
};

/// One content, from its rollout until the next other one.
#[derive(Debug, Clone)]
pub struct Period {
    /// Never empty; the oldest first.
    pub rollouts: Vec<Rollout>,
}

impl Period {
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.newest().fingerprint.as_ref()
    }

    pub fn since(&self) -> Timestamp {
        began(&self.rollouts[0])
    }

    pub fn newest(&self) -> &Rollout {
        &self.rollouts[self.rollouts.len() - 1]
    }

    pub fn holds(&self, token: &VersionToken) -> bool {
        self.rollouts.iter().any(|rollout| rollout.token == *token)
    }

    /// Several contents served side by side.
    pub fn is_shared(&self) -> bool {
        self.fingerprint().is_some_and(Fingerprint::is_shared)
    }
}

/// How one content came into service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Place of its oldest period.
    pub first: usize,
    /// When it first got users, then each change of the shares, until it served alone. Never empty, in order of time.
    pub steps: Vec<Timestamp>,
    /// When the same content was rolled out again after its last step, or without another share.
    pub repeats: Vec<Timestamp>,
}

/// When the rollout began to serve; when we first saw it, if the platform cannot say: it served since then at least.
pub fn began(rollout: &Rollout) -> Timestamp {
    rollout.serving_since.unwrap_or(rollout.first_seen_at)
}

/// Everything that is known to have served, what runs now included, the oldest first.
pub fn periods(facts: &ServiceFacts) -> Vec<Period> {
    let mut rollouts = facts.state.rollouts.clone();
    if let Some(observation) = facts.observation.value() {
        let running = &observation.running;
        if let Some(known) = rollouts.iter_mut().find(|rollout| rollout.token == running.token) {
            known.serving_since = running.serving_since.or(known.serving_since);
            // What is read now counts: content once read is no proof that it can still be told.
            known.fingerprint.clone_from(&running.fingerprint);
        } else {
            rollouts.push(Rollout {
                token: running.token.clone(),
                fingerprint: running.fingerprint.clone(),
                serving_since: running.serving_since,
                first_seen_at: observation.observed_at,
                last_seen_at: observation.observed_at,
                before: Vec::new(),
                label: running.label.clone(),
            });
        }
    }
    rollouts.sort_by_key(began);
    let mut periods: Vec<Period> = Vec::new();
    for rollout in rollouts {
        match periods.last_mut() {
            Some(period) if goes_on(&facts.state, period.newest(), &rollout) => period.rollouts.push(rollout),
            Some(_) | None => periods.push(Period { rollouts: vec![rollout] }),
        }
    }
    periods
}

/// Whether the later of two neighbours is the same content again, with nothing else in between.
pub fn goes_on(state: &TargetState, earlier: &Rollout, later: &Rollout) -> bool {
    later.fingerprint.is_some() && earlier.fingerprint == later.fingerprint && !was_taken_back(&state.taken_back, &earlier.token)
}

/// How the content of the period at `place` came into service.
///
/// `runs`: it serves now, so whatever else was seen was seen before it.
pub fn story(periods: &[Period], place: usize, runs: bool, taken_back: &[TakenBack]) -> Story {
    let period = &periods[place];
    let mut first = place;
    while first > 0 && period.fingerprint().is_some_and(|own| leads_to(&periods[first - 1], own, taken_back)) {
        first -= 1;
    }
    // A mix that a content is in after it had served alone is somebody else's rollout.
    let alone = if period.is_shared() {
        place
    } else {
        (first..=place).find(|at| periods[*at].fingerprint() == period.fingerprint()).unwrap_or(place)
    };
    let others = periods.iter().enumerate().filter(|(other, _)| *other < first || (runs && *other > place));
    let other_last_seen = others.flat_map(|(_, period)| &period.rollouts).map(|rollout| rollout.last_seen_at).max();
    let told: Vec<Timestamp> = periods[first..=alone].iter().map(|period| step(period, other_last_seen)).collect();
    // A mix whose begin is known by our own looks only cannot have begun after what followed it.
    let steps = (0..told.len()).map(|at| told[at..].iter().copied().min().unwrap_or(told[at])).collect();
    let repeats = (first..=place)
        .flat_map(|at| periods[at].rollouts.iter().skip(usize::from(at <= alone)))
        .filter(|rollout| rollout.fingerprint.as_ref() == period.fingerprint())
        .map(began)
        .collect();
    Story { first, steps, repeats }
}

/// Whether what served before is an earlier part of a content's story.
fn leads_to(before: &Period, own: &Fingerprint, taken_back: &[TakenBack]) -> bool {
    if was_taken_back(taken_back, &before.newest().token) {
        return false;
    }
    before.fingerprint().is_some_and(|fingerprint| {
        if own.is_shared() {
            fingerprint.contents() == own.contents()
        } else {
            fingerprint == own || fingerprint.contents().contains(own)
        }
    })
}

/// When a period of a story began. No platform need tell exactly when users began to be sent to another build; so a mix did not
/// begin before we last saw what is no part of the story.
fn step(period: &Period, other_last_seen: Option<Timestamp>) -> Timestamp {
    let since = period.since();
    other_last_seen.filter(|_| period.is_shared()).map_or(since, |seen| seen.max(since))
}

fn was_taken_back(taken_back: &[TakenBack], token: &VersionToken) -> bool {
    taken_back.iter().any(|taken| taken.accused == *token)
}
