//! Which change is to blame: every recent change is ranked, and only a clear winner is accused.

use jiff::{SignedDuration, Timestamp};

use super::{
    case::{Case, ServiceFacts},
    evidence::{self, Fault, SignalReading},
    history,
    serving::{self, Story},
};
use crate::domain::{
    decision::{CandidateScore, Effect, Reason},
    instant::whole_seconds,
    known::Known,
    policy::SKEW_ALLOWANCE,
    rule::RuleId,
    target::{Fingerprint, VersionToken},
    target_state::Rollout,
};

/// How long after a rollout a fault is as suspicious as at once; then suspicion halves every [`SUSPICION_HALF_LIFE`].
const SUSPICION_FULL: SignedDuration = SignedDuration::from_mins(5);
const SUSPICION_HALF_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The winner must have at least this many times the second's score (C6).
pub const CLEAR_WIN: f64 = 2.0;

/// How long after the end of a fault its alert may still fire: the rule's window, its frequency and the delivery.
pub const ALERT_LAG: SignedDuration = SignedDuration::from_mins(15);

/// How far back an earlier firing of the same rule on the same resource counts (C2).
pub const EARLIER_FIRING: SignedDuration = SignedDuration::from_hours(72);

/// One change that might have caused the alert.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub facts: &'a ServiceFacts,
    pub token: VersionToken,
    pub fingerprint: Option<Fingerprint>,
    pub label: String,
    /// The first step of its rollout that can have to do with the alert.
    pub rolled_out_at: Timestamp,
    /// Later only where the platform does not tell, and two readings of ours enclose it.
    pub rolled_out_by: Timestamp,
    /// How its content came into service, from the first users on.
    pub story: Story,
    /// It is what runs now; only then can it be taken back.
    pub running: bool,
    pub score: f64,
    /// What the score can be at least and at most, whatever the unknown signals would say.
    pub score_least: f64,
    pub score_most: f64,
    /// What it could be at most if the last repetition of its content did more than its content tells.
    pub score_repeated: f64,
    pub cleared: Option<Reason>,
    /// The same content was rolled out again before the fault, and within the window: that took nothing else into service, but
    /// a write may do more than its content tells.
    pub repeated_at: Option<Timestamp>,
    /// What the signals of the alert's own services say around this change.
    pub reading: SignalReading,
}

/// What the ranking came to.
#[derive(Debug)]
pub struct Ranking<'a> {
    /// Best first; cleared ones last.
    pub candidates: Vec<Candidate<'a>>,
    pub reasons: Vec<Reason>,
}

impl<'a> Ranking<'a> {
    /// The best candidate that was not cleared.
    pub fn winner(&self) -> Option<&Candidate<'a>> {
        self.candidates.first().filter(|candidate| candidate.cleared.is_none())
    }

    /// When the fault began, by the earliest that was measured around any of the changes.
    pub fn onset(&self) -> Option<Timestamp> {
        measured_onset(&self.candidates)
    }

    pub fn scores(&self) -> Vec<CandidateScore> {
        self.candidates
            .iter()
            .map(|candidate| CandidateScore {
                service: candidate.facts.service.name.clone(),
                token: candidate.token.clone(),
                label: candidate.label.clone(),
                rolled_out_at: Some(candidate.rolled_out_at),
                score: if candidate.cleared.is_some() { 0.0 } else { candidate.score },
                cleared_by: candidate.cleared.as_ref().map(|reason| reason.rule),
                says: candidate
                    .cleared
                    .as_ref()
                    .map_or_else(|| reading_in_words(&candidate.reading), |reason| reason.says.clone()),
            })
            .collect()
    }
}

/// Ranks the changes of every service in scope (C1 to C8).
pub fn rank(case: &Case) -> Ranking<'_> {
    let mut candidates: Vec<Candidate<'_>> = case.services.iter().flat_map(|facts| changes(case, facts)).collect();
    score(case, &mut candidates);
    candidates.sort_by(|a, b| {
        a.cleared
            .is_some()
            .cmp(&b.cleared.is_some())
            .then(b.score.total_cmp(&a.score))
            .then(b.rolled_out_at.cmp(&a.rolled_out_at))
    });
    let mut reasons = Vec::new();
    let mut say = |rule, effect, says: String| reasons.push(Reason { rule, effect, says });
    let alive: Vec<&Candidate<'_>> = candidates.iter().filter(|candidate| candidate.cleared.is_none()).collect();
    match alive.as_slice() {
        [] => {
            for cleared in candidates.iter().filter_map(|candidate| candidate.cleared.clone()) {
                say(cleared.rule, Effect::Note, cleared.says);
            }
            for (facts, marker) in
                case.services.iter().flat_map(|facts| facts.state.markers.iter().map(move |marker| (facts, marker)))
            {
                let age = case.fired_at().duration_since(marker.at);
                if marker.status == crate::domain::deployment::DeploymentStatus::Failed && age <= facts.service.correlation_window
                {
                    let says = format!(
                        "the deployment of `{}` at {} failed before it changed what serves, so there is nothing to take back",
                        facts.service.name,
                        whole_seconds(marker.at)
                    );
                    say(RuleId::S8, Effect::Note, says);
                }
            }
            if let Some((facts, why)) = unread(case) {
                let effect = hold_or(case.now < case.obstruction_deadline(), Effect::Page);
                let says = format!("the state of `{}` could not be read ({why}), so its changes are unknown", facts.service.name);
                say(RuleId::E3, effect, says);
            } else {
                let effect = hold_or(case.now < case.evidence_deadline(), Effect::Page);
                let names: Vec<String> = case.services.iter().map(|facts| format!("`{}`", facts.service.name)).collect();
                say(
                    RuleId::C8,
                    effect,
                    format!("no recent change of {} is known that could have caused the alert", names.join(", ")),
                );
            }
        }
        [winner, rest @ ..] => {
            // The second is whoever could come closest; a content too old to be it too, where it was rolled out again elsewhere.
            let repeated = candidates.iter().filter(|candidate| {
                candidate.cleared.as_ref().is_some_and(|reason| reason.rule == RuleId::C3)
                    && candidate.repeated_at.is_some()
                    && !of_the_same(winner, candidate)
            });
            let rivals: Vec<&Candidate<'_>> = rest.iter().copied().chain(repeated).collect();
            let changes = rivals.len() + 1;
            let most = |rival: &Candidate<'_>| if of_the_same(winner, rival) { rival.score_most } else { rival.score_repeated };
            if let Some(second) = rivals.into_iter().max_by(|a, b| most(a).total_cmp(&most(b))) {
                let second_score = most(second);
                if winner.score_least <= 0.0 || winner.score_least < CLEAR_WIN * second_score {
                    say(
                        RuleId::C6,
                        Effect::Propose,
                        format!(
                            "two changes come into question and neither stands out: {} of `{}` ({:.2}) and {} of `{}` ({:.2})",
                            winner.label,
                            winner.facts.service.name,
                            winner.score_least,
                            second.label,
                            second.facts.service.name,
                            second_score
                        ),
                    );
                } else {
                    say(
                        RuleId::C6,
                        Effect::Note,
                        format!(
                            "{} of `{}` stands out among {} changes ({:.2} against {:.2})",
                            winner.label, winner.facts.service.name, changes, winner.score_least, second_score
                        ),
                    );
                }
            } else {
                say(
                    RuleId::C6,
                    Effect::Note,
                    format!(
                        "{} of `{}`, in service since {}, is the only recent change that could have caused the alert",
                        winner.label,
                        winner.facts.service.name,
                        whole_seconds(winner.rolled_out_at)
                    ),
                );
            }
            reasons.extend(judge_winner(case, winner));
            // A state that could not be read may hide a better candidate: nothing is done on half the picture.
            if let Some((facts, why)) = unread(case) {
                let effect = hold_or(case.now < case.obstruction_deadline(), Effect::Propose);
                reasons.push(Reason {
                    rule: RuleId::E3,
                    effect,
                    says: format!("the state of `{}` could not be read ({why})", facts.service.name),
                });
            }
        }
    }
    Ranking { candidates, reasons }
}

/// What a rollout of the winner's own service came after, it also came after every repetition of that.
fn of_the_same(winner: &Candidate<'_>, rival: &Candidate<'_>) -> bool {
    winner.facts.service.name == rival.facts.service.name
}

/// A service in scope whose platform could not be read, or does not say since when it serves what may be a recent change.
fn unread(case: &Case) -> Option<(&ServiceFacts, &str)> {
    case.services.iter().find_map(|facts| match &facts.observation {
        Known::Unknown(why) => Some((facts, why.as_str())),
        Known::Value(observation) => {
            let running = &observation.running;
            let known = facts.state.rollouts.iter().find(|rollout| rollout.token == running.token);
            let told = history::running_since(&facts.state, running, observation.observed_at).is_some();
            let seen_before_window = known.is_some_and(|rollout| {
                case.fired_at().duration_since(rollout.first_seen_at) > facts.service.correlation_window + SKEW_ALLOWANCE
            });
            (!told && !seen_before_window).then_some((facts, "the platform does not say since when it serves what runs now"))
        }
    })
}

/// The signals' word on the winner, and earlier firings (C1, C2, E3, E8, A13).
fn judge_winner(case: &Case, winner: &Candidate<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut say = |rule, effect, says: String| reasons.push(Reason { rule, effect, says });
    let waiting = case.now < case.evidence_deadline();
    match &winner.reading {
        SignalReading::Fault(fault) => {
            say(
                RuleId::C1,
                Effect::Note,
                format!("{}; {} began to serve at {}", fault.says, winner.label, whole_seconds(winner.rolled_out_at)),
            );
            if winner.rolled_out_by > winner.rolled_out_at && fault.onset_earliest < winner.rolled_out_by - SKEW_ALLOWANCE {
                say(
                    RuleId::C1,
                    Effect::Propose,
                    format!(
                        "{} began to serve at some time between {} and {}, which may be after the fault began",
                        winner.label,
                        whole_seconds(winner.rolled_out_at),
                        whole_seconds(winner.rolled_out_by)
                    ),
                );
            }
            // A fault that came and went before may be one that has nothing to do with the rollout.
            match earlier_fault(case, winner.rolled_out_at) {
                Known::Value(None) => {}
                Known::Value(Some(says)) => {
                    say(RuleId::C1, Effect::Propose, format!("{says}, so the fault may be older than {}", winner.label));
                }
                Known::Unknown(says) => say(RuleId::E3, hold_or(waiting, Effect::Propose), says),
            }
            // A signal that could not be read might show that the fault is older than the rollout.
            if let Some((rule, says)) = unknown_signal(case, winner.rolled_out_at) {
                say(rule, hold_or(waiting, Effect::Propose), says);
            }
        }
        SignalReading::Unknown { rule: RuleId::E8, says } => {
            say(RuleId::E8, hold_or(waiting, Effect::Page), format!("{says}; monitoring itself may be broken"));
        }
        SignalReading::Unknown { rule, says } => say(*rule, hold_or(waiting, Effect::Propose), says.clone()),
        SignalReading::Brief { says } => say(RuleId::E3, hold_or(waiting, Effect::Propose), says.clone()),
        SignalReading::Quiet => say(
            RuleId::C1,
            hold_or(waiting, Effect::Propose),
            "the alert fired, but the measured signals never left their usual range, so when the fault began is not known"
                .to_owned(),
        ),
        // It was over long before the alert fired, so it is not what the alert tells of.
        SignalReading::Recovered { last_out_at, says, .. } if *last_out_at + ALERT_LAG < case.fired_at() => {
            say(RuleId::C1, hold_or(waiting, Effect::Propose), format!("{says}, long before the alert fired"));
        }
        // What the alert tells of may be yet to be measured.
        SignalReading::Recovered { measured_from, says, .. } if *measured_from < case.fired_at() => {
            say(
                RuleId::C1,
                hold_or(waiting, Effect::Propose),
                format!("{says}, but nothing is measured yet of the time since the alert fired"),
            );
        }
        SignalReading::Recovered { says, .. } => say(RuleId::A13, Effect::Ignore, says.clone()),
    }
    if let Some(fired_at) = fired_before(case, winner) {
        say(
            RuleId::C2,
            Effect::Propose,
            format!("this very alert fired at {}, before {} began to serve", whole_seconds(fired_at), winner.label),
        );
    } else if let Some(earlier) = earlier_firing(case, winner) {
        say(
            RuleId::C2,
            Effect::Propose,
            format!("the same alert fired at {}, before {} began to serve", whole_seconds(earlier), winner.label),
        );
    } else if let Some(forgotten) = forgotten_firing(case, winner) {
        say(
            RuleId::C2,
            Effect::Propose,
            format!(
                "so many alerts fired that those until {} are not all kept, so whether this one fired before {} began to serve is not \
                 known; look at its history before you approve",
                whole_seconds(forgotten),
                winner.label
            ),
        );
    }
    reasons
}

/// What a signal of the services meant says of a fault that came and went before the rollout: one that is known before one that may
/// have been, the newest first.
fn earlier_fault(case: &Case, rolled_out_at: Timestamp) -> Known<Option<String>> {
    let mut unknown = None;
    for signal in case.meant().flat_map(|facts| &facts.signals) {
        let earlier = match evidence::read_signal(signal, rolled_out_at, case.now) {
            SignalReading::Fault(fault) => fault.earlier,
            SignalReading::Unknown { .. }
            | SignalReading::Brief { .. }
            | SignalReading::Quiet
            | SignalReading::Recovered { .. } => Vec::new(),
        };
        for run in earlier.into_iter().rev() {
            match run.says {
                Known::Value(_) if ended_with_a_rollback(case, run.last_end) => {}
                Known::Value(says) => return Known::Value(Some(says)),
                Known::Unknown(why) => unknown = unknown.or(Some(why)),
            }
        }
    }
    unknown.map_or(Known::Value(None), Known::Unknown)
}

/// Whether a fault went as a rollback of ours brought the good version: then it was the fault of what was taken back.
fn ended_with_a_rollback(case: &Case, last_end: Timestamp) -> bool {
    case.services.iter().any(|facts| {
        let rollbacks = facts.state.taken_back.iter().filter(|taken| taken.result_fingerprint.is_some());
        rollbacks
            .map(|taken| last_end.duration_since(taken.claimed_at))
            .any(|after| after >= SignedDuration::ZERO - SKEW_ALLOWANCE && after <= facts.service.verify_within)
    })
}

/// A signal of the services meant which says nothing, and why.
fn unknown_signal(case: &Case, rolled_out_at: Timestamp) -> Option<(RuleId, String)> {
    case.meant().flat_map(|facts| &facts.signals).find_map(|signal| {
        match evidence::read_signal(signal, rolled_out_at, case.now) {
            SignalReading::Unknown { rule, says } => Some((rule, says)),
            SignalReading::Brief { .. } | SignalReading::Quiet | SignalReading::Fault(_) | SignalReading::Recovered { .. } => {
                None
            }
        }
    })
}

/// When the alert itself fired, where that was before the rollout: it may arrive long after, in a backlog or because a sweep found it.
fn fired_before(case: &Case, candidate: &Candidate<'_>) -> Option<Timestamp> {
    case.alert.fired_at.filter(|fired_at| *fired_at < candidate.rolled_out_at - SKEW_ALLOWANCE)
}

/// A firing of the same rule on the same resource before the rollout, at most 72 h before.
fn earlier_firing(case: &Case, candidate: &Candidate<'_>) -> Option<Timestamp> {
    let rule = case.alert.rule.as_deref()?;
    case.meant()
        .flat_map(|facts| &facts.state.firings)
        .filter(|firing| firing.rule.eq_ignore_ascii_case(rule))
        .filter(|firing| case.alert.resources.iter().any(|resource| same_resource(resource, &firing.resource)))
        .map(|firing| firing.fired_at)
        .filter(|fired_at| {
            *fired_at < candidate.rolled_out_at - SKEW_ALLOWANCE
                && candidate.rolled_out_at.duration_since(*fired_at) <= EARLIER_FIRING
        })
        .max()
}

/// Until when firings are not all kept, where one of them may have been an earlier firing in the sense of C2.
fn forgotten_firing(case: &Case, candidate: &Candidate<'_>) -> Option<Timestamp> {
    case.alert.rule.as_deref()?;
    case.meant()
        .filter_map(|facts| facts.state.forgotten_firings)
        .map(|forgotten| forgotten.last_fired_at)
        .filter(|last_fired_at| candidate.rolled_out_at.duration_since(*last_fired_at) <= EARLIER_FIRING)
        .max()
}

fn same_resource(a: &str, b: &str) -> bool {
    a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'))
}

/// The changes of one service that could matter: what runs now, and what ran before within the window.
fn changes<'a>(case: &'a Case, facts: &'a ServiceFacts) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    let observation = facts.observation.value();
    let periods = serving::periods(&facts.state, observation);
    let taken_back = &facts.state.taken_back;
    let mut told: Vec<std::ops::RangeInclusive<usize>> = Vec::new();
    if let Some(observation) = observation
        && let running = &observation.running
        && let Some(place) = periods.iter().position(|period| period.holds(&running.token))
    {
        let story = serving::story(&periods, place, true, taken_back);
        told.push(story.first..=place);
        // A start that nobody tells makes no candidate; that it is unknown is said elsewhere.
        if history::running_since(&facts.state, running, observation.observed_at).is_some() {
            candidates.push(weigh(case, facts, &running.token, running.fingerprint.as_ref(), &running.label, story, true));
        }
    }
    for (place, period) in periods.iter().enumerate().rev() {
        // A mix that has ended: each of its builds serves everybody now, which is a rollout of its own, or nobody.
        if period.is_shared() || told.iter().any(|places| places.contains(&place)) {
            continue;
        }
        let story = serving::story(&periods, place, false, taken_back);
        told.push(story.first..=place);
        // Far older ones would only fill the record.
        let last = story.steps.last().copied().unwrap_or_else(|| period.since());
        if period.is_told && case.fired_at().duration_since(last) <= facts.service.correlation_window {
            let Rollout { token, fingerprint, label, .. } = period.newest();
            candidates.push(weigh(case, facts, token, fingerprint.as_ref(), label, story, false));
        }
    }
    candidates
}

fn weigh<'a>(
    case: &'a Case,
    facts: &'a ServiceFacts,
    token: &VersionToken,
    fingerprint: Option<&Fingerprint>,
    label: &str,
    story: Story,
    running: bool,
) -> Candidate<'a> {
    let rolled_out_at = first_step_that_matters(case, facts, &story);
    let rolled_out_by = if story.steps.last() == Some(&rolled_out_at) { story.last_step_by } else { rolled_out_at };
    let reading = strongest_reading(case.meant(), rolled_out_at, case.now);
    let fault = match &reading {
        SignalReading::Fault(fault) => Some(fault),
        SignalReading::Unknown { .. } | SignalReading::Brief { .. } | SignalReading::Quiet | SignalReading::Recovered { .. } => {
            None
        }
    };
    let own_reading =
        if facts.distance == 0 { reading.clone() } else { strongest_reading(std::iter::once(facts), rolled_out_at, case.now) };
    let repeated_at = repeated_before_the_fault(case, facts, fault, &story);
    let cleared = clear(case, facts, fault, label, rolled_out_at, &story, repeated_at)
        .or_else(|| own_result(facts, token, fingerprint, label))
        .map(|(rule, says)| Reason { rule, effect: Effect::Note, says });
    // An upstream change whose own signals are in range is a weak suspect; unknown lies between.
    let (score, score_least, score_most) = match (facts.distance, &own_reading) {
        (0, _) | (_, SignalReading::Fault(_)) => (1.0, 1.0, 1.0),
        (_, SignalReading::Unknown { .. }) => (0.5, 0.25, 1.0),
        (_, SignalReading::Brief { .. } | SignalReading::Quiet | SignalReading::Recovered { .. }) => (0.25, 0.25, 0.25),
    };
    Candidate {
        facts,
        token: token.clone(),
        fingerprint: fingerprint.cloned(),
        label: label.to_owned(),
        rolled_out_at,
        rolled_out_by,
        story,
        running,
        score,
        score_least,
        score_most,
        score_repeated: score_most,
        cleared,
        repeated_at,
        reading,
    }
}

/// Steps from long before the window caused nothing of now, and what was measured before them is not read. The last step stays,
/// however old.
fn first_step_that_matters(case: &Case, facts: &ServiceFacts, story: &Story) -> Timestamp {
    let reach = facts.service.correlation_window + ALERT_LAG;
    let matters = |step: &&Timestamp| case.fired_at().duration_since(**step) <= reach;
    let step = story.steps.iter().find(matters).or(story.steps.last());
    step.copied().unwrap_or_else(|| case.fired_at())
}

/// The last of these moments that is not after the onset; none of them came before it: the earliest known.
fn moment_before(moments: &[Timestamp], onset: Timestamp, first: Timestamp) -> Timestamp {
    moments.iter().rev().copied().find(|moment| *moment <= onset + SKEW_ALLOWANCE).map_or(first, |moment| moment.max(first))
}

/// When the content was rolled out again without another share, where that may have to do with the fault.
fn repeated_before_the_fault(case: &Case, facts: &ServiceFacts, fault: Option<&Fault>, story: &Story) -> Option<Timestamp> {
    let onset = fault.map_or_else(|| case.fired_at(), |fault| fault.onset_latest);
    let near = |moment: &Timestamp| {
        *moment <= onset + SKEW_ALLOWANCE && onset.duration_since(*moment) <= facts.service.correlation_window
    };
    story.repeats.iter().rev().copied().find(near)
}

/// Suspicion fades with the time between a rollout and the fault.
///
/// There is one fault, so one onset counts for all: the earliest that was measured around any of the changes.
fn score(case: &Case, candidates: &mut [Candidate<'_>]) {
    let began = measured_onset(candidates).unwrap_or_else(|| case.fired_at());
    for candidate in candidates {
        let step = moment_before(&candidate.story.steps, began, candidate.rolled_out_at);
        candidate.score *= timing(began, step);
        candidate.score_least *= timing(began, step);
        candidate.score_repeated =
            candidate.score_most * timing(began, candidate.repeated_at.map_or(step, |repeated_at| repeated_at.max(step)));
        candidate.score_most *= timing(began, step);
    }
}

fn measured_onset(candidates: &[Candidate<'_>]) -> Option<Timestamp> {
    let onset = |candidate: &Candidate<'_>| match &candidate.reading {
        SignalReading::Fault(fault) => Some(fault.onset_earliest),
        SignalReading::Unknown { .. } | SignalReading::Brief { .. } | SignalReading::Quiet | SignalReading::Recovered { .. } => {
            None
        }
    };
    candidates.iter().filter_map(onset).min()
}

fn timing(onset: Timestamp, moment: Timestamp) -> f64 {
    let delay = onset.duration_since(moment);
    if delay <= SUSPICION_FULL {
        return 1.0;
    }
    0.5_f64.powf((delay - SUSPICION_FULL).as_secs_f64() / SUSPICION_HALF_LIFE.as_secs_f64())
}

/// Why the change cannot be the cause (C1, C3).
fn clear(
    case: &Case,
    facts: &ServiceFacts,
    fault: Option<&Fault>,
    label: &str,
    rolled_out_at: Timestamp,
    story: &Story,
    repeated_at: Option<Timestamp>,
) -> Option<(RuleId, String)> {
    let name = &facts.service.name;
    let since = whole_seconds(rolled_out_at);
    if let Some(fault) = fault
        && fault.onset_latest < rolled_out_at - SKEW_ALLOWANCE
    {
        return Some((RuleId::C1, format!("{}, which is before {label} of `{name}` began to serve at {since}", fault.says)));
    }
    // Without a measured onset the firing itself bounds it: what was rolled out after the alert fired did not cause it.
    let latest_onset = fault.map_or_else(|| case.fired_at(), |fault| fault.onset_latest);
    if latest_onset < rolled_out_at - SKEW_ALLOWANCE {
        return Some((
            RuleId::C1,
            format!(
                "the alert fired at {}, before {label} of `{name}` began to serve at {since}",
                whole_seconds(case.fired_at())
            ),
        ));
    }
    let age = latest_onset.duration_since(moment_before(&story.steps, latest_onset, rolled_out_at));
    if age > facts.service.correlation_window {
        let window = facts.service.correlation_window.as_mins();
        let again = repeated_at
            .map(|at| {
                format!("; the same content was rolled out again at {}, which going back would not undo", whole_seconds(at))
            })
            .unwrap_or_default();
        return Some((
            RuleId::C3,
            format!(
                "{label} of `{name}` has served since {since}, longer than the correlation window of {window} min before the fault{again}"
            ),
        ));
    }
    None
}

/// A version which our own rollback produced, or may have, or whose content equals one, is never a candidate (A2).
fn own_result(
    facts: &ServiceFacts,
    token: &VersionToken,
    fingerprint: Option<&Fingerprint>,
    label: &str,
) -> Option<(RuleId, String)> {
    let ours = facts.state.taken_back.iter().find(|taken| {
        taken.result.as_ref() == Some(token)
            || (taken.result_fingerprint.is_some() && taken.result_fingerprint.as_ref() == fingerprint)
            || serving::came_of(&facts.state, facts.observation.value(), taken, token)
    })?;
    let is = if ours.result_fingerprint.is_some() { "is" } else { "may be" };
    Some((RuleId::A2, format!("{label} of `{}` {is} the result of an earlier rollback of ours", facts.service.name)))
}

/// The reading that says most: a fault, else a recovery, else an unknown, else quiet.
fn strongest_reading<'a>(
    services: impl Iterator<Item = &'a ServiceFacts>,
    rollout_at: Timestamp,
    now: Timestamp,
) -> SignalReading {
    let mut strongest: Option<SignalReading> = None;
    for signal in services.flat_map(|facts| &facts.signals) {
        let reading = evidence::read_signal(signal, rollout_at, now);
        strongest = Some(match (strongest, reading) {
            (None, reading) => reading,
            (Some(SignalReading::Fault(a)), SignalReading::Fault(b)) => {
                SignalReading::Fault(if b.onset_earliest < a.onset_earliest { b } else { a })
            }
            (Some(a), b) => {
                if strength(&b) > strength(&a) {
                    b
                } else {
                    a
                }
            }
        });
    }
    strongest.unwrap_or_else(|| SignalReading::Unknown { rule: RuleId::E3, says: "no signal is configured".to_owned() })
}

fn strength(reading: &SignalReading) -> u8 {
    match reading {
        SignalReading::Fault(_) => 3,
        SignalReading::Unknown { .. } | SignalReading::Brief { .. } => 2,
        SignalReading::Recovered { .. } => 1,
        SignalReading::Quiet => 0,
    }
}

fn reading_in_words(reading: &SignalReading) -> String {
    match reading {
        SignalReading::Fault(fault) => fault.says.clone(),
        SignalReading::Unknown { says, .. } | SignalReading::Brief { says } | SignalReading::Recovered { says, .. } => {
            says.clone()
        }
        SignalReading::Quiet => "the measured signals never left their usual range".to_owned(),
    }
}

/// Hold while there is time to wait, then the given effect.
pub fn hold_or(waiting: bool, then: Effect) -> Effect {
    if waiting { Effect::Hold } else { then }
}
