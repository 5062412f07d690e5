//! What served when, by content. A token names one rollout, for claims; people met contents.
//!
//! The same content rolled out again, with nothing else in between, goes on with its service. A rollout in shares is one story from
//! when its content first got users: the mixes that it is in come before it serves alone. Content that is not known breaks
//! either, and so does a rollback of ours.

use jiff::Timestamp;

use super::history::{self, Began};
use crate::domain::{
    observation::Observation,
    policy::SKEW_ALLOWANCE,
    target::{Fingerprint, VersionToken},
    target_state::{Rollout, TakenBack, TargetState},
};

/// One content, from its rollout until the next other one.
#[derive(Debug, Clone)]
pub struct Period {
    /// Never empty; the oldest first.
    pub rollouts: Vec<Rollout>,
    /// When the oldest began; `None` where neither the platform nor two readings of ours tell.
    began: Option<Began>,
    /// Whether the begin of any of them is told.
    pub is_told: bool,
}

impl Period {
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.newest().fingerprint.as_ref()
    }

    /// It served since then at least.
    pub fn since(&self) -> Timestamp {
        self.began.map_or(self.rollouts[0].first_seen_at, |began| began.at_the_latest)
    }

    pub fn last_seen_at(&self) -> Timestamp {
        self.rollouts.iter().map(|rollout| rollout.last_seen_at).max().unwrap_or_else(|| self.since())
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
    /// The last step came by then; later than it only where two readings of ours enclose it.
    pub last_step_by: Timestamp,
    /// When the same content was rolled out again after its last step, or without another share.
    pub repeats: Vec<Timestamp>,
}

/// When the rollout began to serve; when we first saw it, if the platform cannot say: it served since then at least.
pub(super) fn began(rollout: &Rollout) -> Timestamp {
    rollout.serving_since.unwrap_or(rollout.first_seen_at)
}

/// Everything that is known to have served, what runs now included, the oldest first.
pub fn periods(state: &TargetState, observation: Option<&Observation>) -> Vec<Period> {
    let mut state = TargetState {
        rollouts: state.rollouts.clone(),
        taken_back: state.taken_back.clone(),
        ..TargetState::new(state.target.clone())
    };
    if let Some(observation) = observation {
        let running = &observation.running;
        history::add_running(&mut state, observation);
        if let Some(known) = state.rollouts.iter_mut().find(|rollout| rollout.token == running.token) {
            known.serving_since = running.serving_since.or(known.serving_since);
            // What is read now counts: content once read is no proof that it can still be told.
            known.fingerprint.clone_from(&running.fingerprint);
        }
    }
    let with_begin = |rollout: &Rollout| (history::rollout_since(&state, rollout), rollout.clone());
    let mut rollouts: Vec<(Option<Began>, Rollout)> = state.rollouts.iter().map(with_begin).collect();
    rollouts.sort_by_key(|(began, rollout)| began.map_or(rollout.first_seen_at, |began| began.at_the_latest));
    let mut periods: Vec<Period> = Vec::new();
    for (began, rollout) in rollouts {
        match periods.last_mut() {
            Some(period) if goes_on(&state, period.newest(), &rollout) => {
                period.is_told |= began.is_some();
                period.rollouts.push(rollout);
            }
            Some(_) | None => periods.push(Period { rollouts: vec![rollout], began, is_told: began.is_some() }),
        }
    }
    periods
}

/// Whether the later of two neighbours is the same content again, with nothing else in between.
pub fn goes_on(state: &TargetState, earlier: &Rollout, later: &Rollout) -> bool {
    later.fingerprint.is_some() && earlier.fingerprint == later.fingerprint && !was_taken_back(&state.taken_back, &earlier.token)
}

/// Whether a version may have come of a rollback that nobody followed to its end: the first service after the accused version of what
/// was to come, or of what cannot be read. What comes once something else served in between is the team's own doing.
pub fn came_of(state: &TargetState, observation: Option<&Observation>, rollback: &TakenBack, token: &VersionToken) -> bool {
    let Some(expected) = rollback.expected.as_ref().filter(|_| rollback.result_fingerprint.is_none()) else { return false };
    let periods = periods(state, observation);
    let accused = periods.iter().rposition(|period| period.holds(&rollback.accused));
    // Nobody looks at a target between the claim and its call without seeing the accused version; a later one may be forgotten.
    let is_after = |(place, period): &(usize, &Period)| match accused {
        Some(accused) => *place > accused,
        None => period.since() >= rollback.claimed_at - SKEW_ALLOWANCE,
    };
    let may_be = |(_, period): &(usize, &Period)| period.fingerprint().is_none_or(|fingerprint| fingerprint == expected);
    for (_, period) in periods.iter().enumerate().filter(is_after).filter(may_be) {
        if period.holds(token) {
            return true;
        }
        if period.fingerprint().is_some() {
            return false;
        }
    }
    false
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
    let steps: Vec<Timestamp> = (0..told.len()).map(|at| told[at..].iter().copied().min().unwrap_or(told[at])).collect();
    let last_step = steps.last().copied().unwrap_or_else(|| period.since());
    let last_step_by = periods[alone].began.map_or(last_step, |began| began.at_the_latest.max(last_step));
    let repeats = (first..=place)
        .flat_map(|at| periods[at].rollouts.iter().skip(usize::from(at <= alone)))
        .filter(|rollout| rollout.fingerprint.as_ref() == period.fingerprint())
        .map(began)
        .collect();
    Story { first, steps, last_step_by, repeats }
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
    let since = period.began.map_or_else(|| period.since(), |began| began.not_before);
    other_last_seen.filter(|_| period.is_shared()).map_or(since, |seen| seen.max(since))
}

fn was_taken_back(taken_back: &[TakenBack], token: &VersionToken) -> bool {
    taken_back.iter().any(|taken| taken.accused == *token)
}
