//! Is going back safe, and to what? The answer is an explicit, proven version, never "previous" (S1 to S10).

use jiff::{SignedDuration, Timestamp};

use super::{
    case::{Case, ServiceFacts},
    cause::{Candidate, hold_or},
    serving::{self, Story},
};
use crate::domain::{
    decision::{Effect, Reason},
    instant::whole_seconds,
    observation::{Obstacle, ObstacleWeight, WayBack},
    policy::SKEW_ALLOWANCE,
    rule::RuleId,
    service::Reversible,
    target::Fingerprint,
    target_state::TargetState,
};

/// A pipeline's marker belongs to a rollout that came at most this long before or after it.
pub const MARKER_REACH: SignedDuration = SignedDuration::from_mins(30);

/// Chooses the way back for the winner, and says what stands against it.
pub fn choose(case: &Case, winner: &Candidate<'_>) -> (Option<WayBack>, Vec<Reason>) {
    let facts = winner.facts;
    let mut reasons = Vec::new();
    let Some(observation) = facts.observation.value() else { return (None, reasons) };
    if !winner.running {
        let says = format!("{} does not run any more; {} does", winner.label, observation.running.label);
        reasons.push(Reason { rule: RuleId::A5, effect: Effect::Page, says });
        return (None, reasons);
    }
    reasons.extend(reversibility(facts, winner));
    let preflight = facts.preflight.value();
    reasons.extend(observation.obstacles.iter().chain(preflight.iter().flat_map(|p| &p.obstacles)).map(obstacle_reason));
    if let Some(why) = facts.preflight.why_unknown() {
        let effect = hold_or(case.now < case.obstruction_deadline(), Effect::Propose);
        reasons.push(Reason {
            rule: RuleId::S9,
            effect,
            says: format!("whether the way back is open could not be checked ({why})"),
        });
    }
    let mut closed: Vec<Reason> = Vec::new();
    let mut unproven: Option<(&WayBack, Reason, Vec<Reason>)> = None;
    for way in &observation.ways_back {
        let obstacles: Vec<Reason> = way
            .obstacles
            .iter()
            .chain(preflight.iter().flat_map(|p| &p.ways_back).filter(|(name, _)| *name == way.name).flat_map(|(_, o)| o))
            .map(obstacle_reason)
            .collect();
        if obstacles.iter().any(|reason| reason.effect == Effect::Page) {
            closed.extend(obstacles);
            continue;
        }
        match prove(facts, winner, way) {
            Proof::Good { says, steps_back } => {
                reasons.push(Reason { rule: RuleId::S5, effect: Effect::Note, says });
                if steps_back > 1 {
                    let says =
                        format!("{} lies {steps_back} deployments back, and what lies between may not be skipped", way.label);
                    reasons.push(Reason { rule: RuleId::S3, effect: Effect::Propose, says });
                }
                reasons.extend(obstacles);
                return (Some(way.clone()), reasons);
            }
            Proof::Unproven(says) => {
                unproven.get_or_insert((way, Reason { rule: RuleId::S5, effect: Effect::Propose, says }, obstacles));
            }
            // Read again while there is time to wait; no approval stands in for what a later look must compare (S5).
            Proof::Untold(says) => {
                closed.push(Reason {
                    rule: RuleId::S5,
                    effect: hold_or(case.now < case.evidence_deadline(), Effect::Page),
                    says,
                });
            }
            Proof::Impossible(says) => closed.push(Reason { rule: RuleId::S5, effect: Effect::Page, says }),
        }
    }
    if let Some((way, reason, obstacles)) = unproven {
        reasons.push(reason);
        reasons.extend(obstacles);
        return (Some(way.clone()), reasons);
    }
    if closed.is_empty() {
        reasons.push(Reason {
            rule: RuleId::S5,
            effect: Effect::Page,
            says: format!("no place holds an earlier version of `{}` to go back to", facts.service.name),
        });
    }
    reasons.extend(closed);
    (None, reasons)
}

/// Whether the team says that the change can be taken back (S1, S2).
fn reversibility(facts: &ServiceFacts, winner: &Candidate<'_>) -> Option<Reason> {
    let name = &facts.service.name;
    let reason = |rule, effect, says| Some(Reason { rule, effect, says });
    match facts.service.reversible {
        Reversible::Never => reason(
            RuleId::S1,
            Effect::Propose,
            format!("the policy says that changes of `{name}` cannot be taken back; stop further rollouts and decide by hand"),
        ),
        Reversible::Always | Reversible::Declared => {
            let declared = declared_reversible(&facts.state, &winner.story);
            match (declared, facts.service.reversible) {
                (Some(false), _) => reason(
                    RuleId::S1,
                    Effect::Propose,
                    format!("the pipeline declared {} irreversible; stop further rollouts and decide by hand", winner.label),
                ),
                (Some(true), _) => reason(RuleId::S2, Effect::Note, format!("the pipeline declared {} reversible", winner.label)),
                (None, Reversible::Always) => {
                    reason(RuleId::S2, Effect::Note, format!("the policy says that every change of `{name}` can be taken back"))
                }
                (None, Reversible::Declared | Reversible::Never) => {
                    reason(RuleId::S2, Effect::Propose, format!("nobody declared that {} can be taken back", winner.label))
                }
            }
        }
    }
}

/// The word of the markers near the rollout, from its first step to its last; one "no" outweighs every "yes".
fn declared_reversible(state: &TargetState, story: &Story) -> Option<bool> {
    let moments = || story.steps.iter().chain(&story.repeats).copied();
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else { return None };
    let reach = MARKER_REACH + SKEW_ALLOWANCE;
    let near = |at: Timestamp| first.duration_since(at) <= reach && at.duration_since(last) <= reach;
    let words: Vec<bool> = state.markers.iter().filter(|marker| near(marker.at)).filter_map(|marker| marker.reversible).collect();
    if words.is_empty() { None } else { Some(words.iter().all(|word| *word)) }
}

enum Proof {
    Good {
        says: String,
        steps_back: usize,
    },
    Unproven(String),
    /// Its content cannot be told, so whether going back worked could never be told either.
    Untold(String),
    Impossible(String),
}

/// Whether the content of a way back is a proven last known good: each clause of S5.
fn prove(facts: &ServiceFacts, winner: &Candidate<'_>, way: &WayBack) -> Proof {
    let Some(fingerprint) = &way.fingerprint else {
        return Proof::Untold(format!(
            "what {} holds ({}) cannot be told from other builds, so nobody could tell whether going back to it worked; name `fingerprint:` for `{}` in the policy",
            way.name, way.label, facts.service.name
        ));
    };
    if winner.fingerprint.as_ref() == Some(fingerprint) {
        return Proof::Impossible(format!("{} holds the same build that runs now", way.name));
    }
    if winner.fingerprint.is_none() {
        return Proof::Unproven("the build that runs now cannot be told from other builds".to_owned());
    }
    if facts.state.taken_back.iter().any(|taken| taken.accused_fingerprint.as_ref() == Some(fingerprint)) {
        return Proof::Impossible(format!("{} holds {}, which was itself taken back before", way.name, way.label));
    }
    let Some((served, steps_back)) = last_served(facts, fingerprint, winner) else {
        return Proof::Unproven(format!("{} was never seen in service before, so it is not proven good", way.label));
    };
    let length = served.until.duration_since(served.since);
    if length < facts.service.healthy_for {
        return Proof::Unproven(format!(
            "{} served for {} min only; {} min are needed to call it good",
            way.label,
            length.as_mins(),
            facts.service.healthy_for.as_mins()
        ));
    }
    let healthy_from = served.until - facts.service.healthy_for;
    let troubled = facts.state.firings.iter().find(|firing| {
        let while_it_served = firing.fired_at >= served.since && firing.fired_at < served.until;
        while_it_served && firing.resolved_at.is_none_or(|resolved_at| resolved_at > healthy_from)
    });
    if let Some(firing) = troubled {
        return Proof::Unproven(format!(
            "an alert fired at {} while {} served, so it is not proven good",
            whole_seconds(firing.fired_at),
            way.label
        ));
    }
    Proof::Good {
        says: format!(
            "{}, held by {}, served from {} to {} without an alert",
            way.label,
            way.name,
            whole_seconds(served.since),
            whole_seconds(served.until)
        ),
        steps_back,
    }
}

struct Served {
    since: Timestamp,
    until: Timestamp,
}

/// When the content last served alone before the winner's first users, and how many contents ago that was.
///
/// Only a rollout that we saw ourselves counts; the end of its service is the begin of the next other content.
fn last_served(facts: &ServiceFacts, fingerprint: &Fingerprint, winner: &Candidate<'_>) -> Option<(Served, usize)> {
    let first_users_at = winner.story.steps.first().copied().unwrap_or(winner.rolled_out_at);
    let periods = serving::periods(facts);
    let earlier = periods.iter().filter(|period| !period.holds(&winner.token) && period.since() < first_users_at);
    let mut until = first_users_at;
    let mut steps_back = 0;
    for period in earlier.rev() {
        // A new build that shared the users with the old one holds nothing that lies between the two.
        if !period.is_shared() {
            steps_back += 1;
        }
        if period.fingerprint() == Some(fingerprint) {
            return Some((Served { since: period.since(), until }, steps_back));
        }
        until = period.since();
    }
    None
}

fn obstacle_reason(obstacle: &Obstacle) -> Reason {
    let effect = match obstacle.weight {
        ObstacleWeight::Propose => Effect::Propose,
        ObstacleWeight::Page => Effect::Page,
    };
    Reason { rule: obstacle.rule, effect, says: obstacle.says.clone() }
}
