//! May we act on this target now, and at all? The cheap half of acting once; the claim is the other (A1 to A10, E9, T3).

use jiff::Timestamp;

use super::{
    case::{Case, ServiceFacts},
    cause::{Candidate, hold_or},
};
use crate::domain::{
    decision::{Effect, Reason},
    instant::whole_seconds,
    resource_id::ResourceId,
    rule::RuleId,
    service::Mode,
    target_state::TargetState,
};

/// Resource types of the monitoring plane and of our own queues: nothing there is ever taken back (E9).
pub const MONITORING_TYPES: &[&str] = &[
    "microsoft.insights/",
    "microsoft.operationalinsights/",
    "microsoft.alertsmanagement/",
    "microsoft.monitor/",
    "microsoft.eventgrid/",
    "microsoft.servicebus/",
];

/// Whether a resource belongs to monitoring or to this handler (E9).
pub fn is_off_limits(resource: &ResourceId, own_site: Option<&ResourceId>) -> bool {
    let monitoring = resource.resource_type().is_some_and(|kind| MONITORING_TYPES.iter().any(|prefix| kind.starts_with(prefix)));
    // Either way round: the handler may run in a slot of the site.
    monitoring || own_site.is_some_and(|own| resource.is_within(own) || own.is_within(resource))
}

/// What stands against acting on the winner's target at this moment.
pub fn judge(case: &Case, winner: &Candidate<'_>) -> Vec<Reason> {
    let facts = winner.facts;
    let name = &facts.service.name;
    let mut reasons = Vec::new();
    let mut say = |rule, effect, says: String| reasons.push(Reason { rule, effect, says });
    if facts.service.target.resource().is_some_and(|resource| is_off_limits(resource, case.own_site.as_ref())) {
        say(
            RuleId::E9,
            Effect::Page,
            format!("the target of `{name}` belongs to monitoring or to this handler, which is never touched"),
        );
    }
    if let Some(taken) = facts.state.taken_back.iter().find(|taken| taken.accused == winner.token) {
        say(
            RuleId::A1,
            Effect::Page,
            format!("{} was already taken back, or tried to be, by record {}", winner.label, taken.record),
        );
    }
    // Whichever alert it was about: it is the version that was not to be taken back. The approval of another record lifts it.
    if let Some(declined) = facts.state.declined.iter().find(|declined| declined.token == winner.token) {
        say(
            RuleId::A11,
            Effect::Propose,
            format!(
                "a person declined taking {} back at {} (record {}), so it is not done without a person's yes",
                winner.label,
                whole_seconds(declined.at),
                declined.record
            ),
        );
    }
    if let Some(why) = &facts.state.frozen {
        say(RuleId::A7, Effect::Page, format!("automation on `{name}` is off until a person runs `backout clear {name}`: {why}"));
    } else if is_flapping(&facts.state, facts.service.cool_down, case.now) {
        say(
            RuleId::A7,
            Effect::Page,
            format!(
                "two versions of `{name}` have taken turns twice within {} min; a person must look",
                facts.service.cool_down.as_mins()
            ),
        );
    }
    if let Some(last) =
        facts.state.taken_back.iter().filter(|taken| taken.accused != winner.token).max_by_key(|taken| taken.claimed_at)
    {
        let since = case.now.duration_since(last.claimed_at);
        let what = if last.result.is_some() { "was rolled back" } else { "was to be rolled back" };
        if since < facts.service.cool_down {
            say(
                RuleId::A6,
                Effect::Propose,
                format!(
                    "`{name}` {what} {} min ago; its cool-down is {} min",
                    since.as_mins(),
                    facts.service.cool_down.as_mins()
                ),
            );
        }
    }
    let obstructed = case.now < case.obstruction_deadline();
    match (facts.budget_used.value(), facts.budget_used.why_unknown()) {
        (Some(used), _) if *used >= facts.service.budget.rollbacks => say(
            RuleId::A6,
            Effect::Propose,
            format!(
                "the budget of {} rollbacks in {} h for this subscription is used up",
                facts.service.budget.rollbacks,
                facts.service.budget.per.as_hours()
            ),
        ),
        (Some(_), _) => {}
        (None, why) => say(
            RuleId::A6,
            hold_or(obstructed, Effect::Propose),
            format!("the rollback budget could not be read ({})", why.unwrap_or_default()),
        ),
    }
    if let Some(under_way) = facts.observation.value().and_then(|observation| observation.under_way.as_ref()) {
        say(RuleId::A4, hold_or(obstructed, Effect::Page), format!("an operation is under way on `{name}`: {under_way}"));
    }
    if let Some((busy_name, busy)) =
        case.services.iter().find_map(|facts| facts.state.busy.as_ref().map(|busy| (&facts.service.name, busy)))
    {
        say(
            RuleId::A4,
            hold_or(obstructed, Effect::Page),
            format!("a rollback of `{busy_name}` is under way for record {}", busy.record),
        );
    }
    match (case.paused.value(), case.paused.why_unknown()) {
        (Some(Some(by)), _) => {
            say(RuleId::A10, Effect::Propose, format!("backout is paused by {by}; run `backout resume` to let it act"));
        }
        (Some(None), _) => {}
        (None, why) => say(
            RuleId::A10,
            hold_or(obstructed, Effect::Page),
            format!("the kill switch could not be read ({}), so nothing is sent", why.unwrap_or_default()),
        ),
    }
    let (mode, from) = effective_mode(case, facts);
    match mode {
        Mode::Act => {}
        Mode::Propose => say(RuleId::T3, Effect::Propose, format!("the mode of `{name}` is `propose` ({from})")),
        Mode::Observe => say(RuleId::T3, Effect::Note, format!("the mode of `{name}` is `observe` ({from})")),
    }
    reasons
}

/// The lowest of the service's mode and `BACKOUT_MODE`, and which of the two it was.
pub fn effective_mode(case: &Case, facts: &ServiceFacts) -> (Mode, &'static str) {
    match case.mode_ceiling {
        Some(ceiling) if ceiling < facts.service.mode => (ceiling, "setting `BACKOUT_MODE`"),
        Some(_) | None => (facts.service.mode, "its policy"),
    }
}

/// A, B, A, B within the cool-down (A7).
pub fn is_flapping(state: &TargetState, cool_down: jiff::SignedDuration, now: Timestamp) -> bool {
    let mut recent: Vec<_> = state
        .rollouts
        .iter()
        .rev()
        .take_while(|rollout| rollout.serving_since.is_some_and(|since| now.duration_since(since) <= cool_down))
        .filter_map(|rollout| rollout.fingerprint.as_ref())
        .collect();
    // The same content again is no turn.
    recent.dedup();
    matches!(recent.as_slice(), [d, c, b, a, ..] if a == c && b == d && a != b)
}
