//! Is going back safe, and to what? The answer is an explicit, proven version, never "previous" (S1 to S10).

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::{
    case::{Case, ServiceFacts},
    cause::{Candidate, hold_or},
    serving::{self, Period},
};
use crate::domain::{
    decision::{Effect, Reason},
    instant::whole_seconds,
    observation::{Observation, Obstacle, ObstacleWeight, WayBack},
    policy::SKEW_ALLOWANCE,
    rule::RuleId,
    service::{Reversible, Service},
    target::{Fingerprint, Target, VersionToken},
    target_state::{Rollout, TargetState},
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
    let mut far: Option<(&WayBack, Vec<Reason>)> = None;
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
        match prove(case, winner, way) {
            Proof::Good { says, steps_back } => {
                let proof = Reason { rule: RuleId::S5, effect: Effect::Note, says };
                if steps_back <= 1 {
                    reasons.push(proof);
                    reasons.extend(obstacles);
                    return (Some(way.clone()), reasons);
                }
                // Another place may hold what came between.
                let says = format!("{} lies {steps_back} deployments back, and what lies between may not be skipped", way.label);
                let skips = Reason { rule: RuleId::S3, effect: Effect::Propose, says };
                far.get_or_insert_with(|| (way, [vec![proof, skips], obstacles].concat()));
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
    if let Some((way, of_it)) = far {
        reasons.extend(of_it);
        return (Some(way.clone()), reasons);
    }
    if let Some((way, reason, obstacles)) = unproven {
        reasons.push(reason);
        reasons.extend(obstacles);
        // Whoever decides reads why there is no better one.
        reasons.extend(closed.into_iter().map(|reason| Reason { effect: Effect::Note, ..reason }));
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
            let declared = declared_reversible(facts, winner);
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

/// The word of the markers near the rollout, from its first step to its last; one "no" outweighs every "yes". A yes with another
/// content's rollout nearer to it is about that one.
fn declared_reversible(facts: &ServiceFacts, winner: &Candidate<'_>) -> Option<bool> {
    let story = &winner.story;
    let moments = || story.steps.iter().chain(&story.repeats).copied();
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else { return None };
    let periods = serving::periods(&facts.state, facts.observation.value());
    let place = periods.iter().position(|period| period.holds(&winner.token));
    let of_the_story = |at: usize| place.is_some_and(|place| (story.first..=place).contains(&at));
    let others: Vec<Timestamp> = periods
        .iter()
        .enumerate()
        .filter(|(at, _)| !of_the_story(*at))
        .flat_map(|(_, period)| &period.rollouts)
        .map(serving::began)
        .collect();
    let distance = |at: Timestamp| first.duration_since(at).max(at.duration_since(last)).max(SignedDuration::ZERO);
    let is_another_ones = |at: Timestamp| others.iter().any(|other| other.duration_since(at).abs() < distance(at));
    let words: Vec<bool> = facts
        .state
        .markers
        .iter()
        .filter(|marker| distance(marker.at) <= MARKER_REACH + SKEW_ALLOWANCE)
        .filter_map(|marker| marker.reversible.filter(|word| !word || !is_another_ones(marker.at)))
        .collect();
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

/// The version to go back from, as far as a proof needs to know it.
struct Accused<'a> {
    token: &'a VersionToken,
    fingerprint: Option<&'a Fingerprint>,
    first_users_at: Timestamp,
    /// What served when, on its target.
    periods: &'a [Period],
    /// When the alert that is judged fired, where it is about this target: its first look does not find it among the stored ones.
    fired_at: Option<Timestamp>,
}

/// Contents that are proven good to go back to from what runs now, the last to serve first: each may be asked for by name of a
/// platform that holds none of them any more.
pub fn proven(service: &Service, state: &TargetState, observation: &Observation) -> Vec<Fingerprint> {
    let running = &observation.running;
    let periods = serving::periods(state, Some(observation));
    let place = periods.iter().position(|period| period.holds(&running.token));
    let first = place.and_then(|place| serving::story(&periods, place, true, &state.taken_back).steps.first().copied());
    let accused = Accused {
        token: &running.token,
        fingerprint: running.fingerprint.as_ref(),
        first_users_at: first.unwrap_or(observation.observed_at),
        periods: &periods,
        fired_at: None,
    };
    let mut rollouts: Vec<&Rollout> = state.rollouts.iter().collect();
    rollouts.sort_by_key(|rollout| Reverse(rollout.last_seen_at));
    let mut proven: Vec<Fingerprint> = Vec::new();
    for fingerprint in rollouts.into_iter().filter_map(|rollout| rollout.fingerprint.as_ref()) {
        if fingerprint.is_shared() || proven.contains(fingerprint) {
            continue;
        }
        match prove_content(service, state, &accused, fingerprint, "", "") {
            Proof::Good { .. } => proven.push(fingerprint.clone()),
            Proof::Unproven(_) | Proof::Untold(_) | Proof::Impossible(_) => {}
        }
    }
    proven
}

/// Whether the content of a way back is a proven last known good.
fn prove(case: &Case, winner: &Candidate<'_>, way: &WayBack) -> Proof {
    let facts = winner.facts;
    let Some(fingerprint) = &way.fingerprint else {
        // Elsewhere the platform itself tells one version from another, or nobody does.
        let cure = match facts.service.target {
            Target::AppService(_) => format!("; name `fingerprint:` for `{}` in the policy", facts.service.name),
            Target::Kubernetes(_)
            | Target::ArmDeployment(_)
            | Target::LogicApp(_)
            | Target::ContainerApp(_)
            | Target::Pipeline(_) => String::new(),
        };
        return Proof::Untold(format!(
            "what {} holds ({}) cannot be told from other builds, so nobody could tell whether going back to it worked{cure}",
            way.name, way.label
        ));
    };
    let accused = Accused {
        token: &winner.token,
        fingerprint: winner.fingerprint.as_ref(),
        first_users_at: winner.story.steps.first().copied().unwrap_or(winner.rolled_out_at),
        periods: &serving::periods(&facts.state, facts.observation.value()),
        fired_at: case.alert.fired_at.filter(|_| facts.distance == 0),
    };
    prove_content(&facts.service, &facts.state, &accused, fingerprint, &way.label, &way.name)
}

/// Each clause of S5. `label` and `place` are for people.
fn prove_content(
    service: &Service,
    state: &TargetState,
    accused: &Accused<'_>,
    fingerprint: &Fingerprint,
    label: &str,
    place: &str,
) -> Proof {
    let Some(runs) = accused.fingerprint else {
        return Proof::Unproven("the build that runs now cannot be told from other builds".to_owned());
    };
    if runs == fingerprint {
        return Proof::Impossible(format!("{place} holds the same build that runs now"));
    }
    if state.taken_back.iter().any(|taken| taken.accused_fingerprint.as_ref() == Some(fingerprint)) {
        return Proof::Impossible(format!("{place} holds {label}, which was itself taken back before"));
    }
    let Some((served, steps_back)) = last_served(fingerprint, accused) else {
        return Proof::Unproven(format!("{label} was never seen in service before, so it is not proven good"));
    };
    let length = served.until.duration_since(served.since);
    if length < service.healthy_for {
        return Proof::Unproven(format!(
            "{label} served for {} min only; {} min are needed to call it good",
            length.as_mins(),
            service.healthy_for.as_mins()
        ));
    }
    let healthy_from = served.until - service.healthy_for;
    let stored = state.firings.iter().map(|firing| (firing.fired_at, firing.resolved_at));
    let mut firings = stored.chain(accused.fired_at.map(|fired_at| (fired_at, None)));
    if let Some(troubled) = firings.find(|(fired_at, resolved_at)| served.is_troubled(*fired_at, *resolved_at, healthy_from)) {
        return Proof::Unproven(match troubled {
            (fired_at, Some(resolved_at)) if fired_at < served.since => format!(
                "an alert that fired at {} was not over until {}, while {label} served, so it is not proven good",
                whole_seconds(fired_at),
                whole_seconds(resolved_at)
            ),
            (fired_at, _) => {
                format!("an alert fired at {} while {label} served, so it is not proven good", whole_seconds(fired_at))
            }
        });
    }
    // Whether one of those was its trouble is not known, and unknown is not good.
    let forgotten = state
        .forgotten_firings
        .filter(|forgotten| forgotten.over_at.map_or(forgotten.last_fired_at >= served.since, |over_at| over_at > healthy_from));
    if let Some(forgotten) = forgotten {
        return Proof::Unproven(format!(
            "so many alerts fired that those until {} are not all kept, and {label} may have served during one, so it is not \
             proven good; look at its alerts before you approve",
            whole_seconds(forgotten.last_fired_at)
        ));
    }
    Proof::Good {
        says: format!(
            "{label}, held by {place}, served from {} to {} without an alert",
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

impl Served {
    /// Whether a firing was trouble of what served: one that came before it, too, if it was not over in time. Many a firing is never
    /// told to be over; those count where they came only.
    fn is_troubled(&self, fired_at: Timestamp, resolved_at: Option<Timestamp>, healthy_from: Timestamp) -> bool {
        fired_at < self.until && resolved_at.map_or(fired_at >= self.since, |resolved_at| resolved_at > healthy_from)
    }
}

/// When the content last served alone before the accused version's first users, and how many contents ago that was.
///
/// Only a rollout that we saw ourselves counts; the end of its service is the begin of the next other content. What came between
/// and was gone again when the content was last seen lies between no more: it was taken back.
fn last_served(fingerprint: &Fingerprint, accused: &Accused<'_>) -> Option<(Served, usize)> {
    let before = |period: &&Period| !period.holds(accused.token) && period.since() < accused.first_users_at;
    let earlier: Vec<&Period> = accused.periods.iter().filter(before).collect();
    let mut until = accused.first_users_at;
    for (index, period) in earlier.iter().enumerate().rev() {
        if period.fingerprint() == Some(fingerprint) {
            // A new build that shared the users with the old one holds nothing that lies between the two.
            let between = |other: &&&Period| !other.is_shared() && other.last_seen_at() >= period.last_seen_at();
            return Some((Served { since: period.since(), until }, 1 + earlier[index + 1..].iter().filter(between).count()));
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
