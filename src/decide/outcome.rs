//! Weighs every answer: the strongest effect decides, and the more careful outcome wins a tie.

use jiff::{SignedDuration, Timestamp};

use super::{
    case::{Case, ServiceFacts},
    cause::{self, Ranking},
    evidence, once, storm, way_back,
};
use crate::domain::{
    alert::Alert,
    approval::{Approval, Verdict},
    decision::{Accused, Decision, DecisionKind, Effect, Reason},
    instant::whole_seconds,
    observation::WayBack,
    rule::RuleId,
    service::{Mode, Service},
};

/// Pauses between two looks of a Hold: short at first, then longer.
const LOOK_AGAIN_SECONDS: &[i64] = &[30, 30, 60, 60, 120, 120, 300];

/// Decides an alert that means no service, or whose message alone settles it; `None` when more must be read.
pub fn decide_without_reading(alert: &Alert, meant: &[&Service], received_at: Timestamp) -> Option<Decision> {
    let mut reasons = Vec::new();
    if meant.is_empty() {
        reasons.push(Reason {
            rule: RuleId::C4,
            effect: Effect::Ignore,
            says: "no service in the policy is meant by this alert".to_owned(),
        });
    }
    let judged: Vec<Vec<Reason>> = meant.iter().map(|service| evidence::judge_alert(alert, service, received_at)).collect();
    // One service that wants to hear of it is enough to go on reading.
    if judged.iter().any(|reasons| !reasons.iter().any(|reason| matches!(reason.effect, Effect::Ignore | Effect::Page))) {
        return None;
    }
    reasons.extend(of_those_who_care(judged));
    Some(compose(reasons, None, Vec::new(), None))
}

/// Decides a case, from nothing but the case.
pub fn decide(case: &Case) -> Decision {
    let ranking = cause::rank(case);
    let mut reasons: Vec<Reason> = meant_reasons(case);
    reasons.extend(ranking.reasons.clone());
    reasons.extend(storm::judge(case, ranking.winner().map(|winner| &winner.facts.service.name)));
    let mut accused = None;
    let mut mode = case.meant().map(|facts| once::effective_mode(case, facts)).min_by_key(|(mode, _)| *mode);
    if let Some(winner) = ranking.winner() {
        mode = Some(once::effective_mode(case, winner.facts));
        reasons.extend(below_own_gate(case, winner.facts));
        let (way, judged) = way_back::choose(case, winner);
        reasons.extend(judged);
        reasons.extend(once::judge(case, winner));
        accused = Some(Accused {
            service: winner.facts.service.name.clone(),
            target: winner.facts.service.target.key(),
            token: winner.token.clone(),
            fingerprint: winner.fingerprint.clone(),
            label: winner.label.clone(),
            way_back: way,
            rolled_out_at: Some(winner.rolled_out_at),
            onset_at: ranking.onset(),
        });
    }
    if let Some(approval) = &case.approval {
        apply_approval(&mut reasons, approval, accused.as_ref());
    }
    let look_again_at = look_again_at(case);
    let mut decision = compose(reasons, accused, ranking.scores(), Some(look_again_at));
    if decision.kind == DecisionKind::Act {
        decision.because = why_act(&ranking, decision.accused.as_ref().and_then(|accused| accused.way_back.as_ref()));
    }
    match mode {
        Some((Mode::Observe, from)) => observe_only(decision, from),
        Some((Mode::Propose | Mode::Act, _)) | None => decision,
    }
}

/// What the message says, for the services meant; a service that does not care does not speak for the others.
fn meant_reasons(case: &Case) -> Vec<Reason> {
    of_those_who_care(case.meant().map(|facts| evidence::judge_alert(&case.alert, &facts.service, case.received_at)).collect())
}

/// That the accused service itself would not hear of the alert, where another one does (E2): that asks a person.
fn below_own_gate(case: &Case, accused: &ServiceFacts) -> Vec<Reason> {
    let judge = |facts: &ServiceFacts| evidence::judge_alert(&case.alert, &facts.service, case.received_at);
    if accused.distance > 0 || !case.meant().any(|facts| cares(&judge(facts))) {
        return Vec::new();
    }
    let below = judge(accused).into_iter().filter(|reason| reason.rule == RuleId::E2);
    let asks = |reason: Reason| Reason {
        effect: Effect::Propose,
        says: format!("{}, so it is not taken back without a person's yes", reason.says),
        ..reason
    };
    below.map(asks).collect()
}

fn cares(reasons: &[Reason]) -> bool {
    !reasons.iter().any(|reason| reason.effect == Effect::Ignore)
}

/// The reasons of the services that do not ignore the alert; of all if all do.
fn of_those_who_care(judged: Vec<Vec<Reason>>) -> Vec<Reason> {
    if judged.iter().any(|reasons| cares(reasons)) {
        judged.into_iter().filter(|reasons| cares(reasons)).flatten().collect()
    } else {
        judged.into_iter().flatten().collect()
    }
}

/// An approval lifts what asks for a person, but never the kill switch, and only for what was proposed: this version, going back to
/// that one (A11).
/// After a person's no, that version is not taken back without a person's yes, whatever alert asks next ([`once::judge`]).
fn apply_approval(reasons: &mut Vec<Reason>, approval: &Approval, accused: Option<&Accused>) {
    if approval.verdict == Verdict::Declined {
        if accused.is_some_and(|accused| accused.token == approval.token) {
            reasons.push(Reason {
                rule: RuleId::A11,
                effect: Effect::Propose,
                says: format!("{} declined it at {}", approval.by, whole_seconds(approval.at)),
            });
        }
        return;
    }
    if approval.used {
        return;
    }
    let Some(accused) = accused.filter(|accused| accused.token == approval.token) else {
        reasons.push(Reason {
            rule: RuleId::A11,
            effect: Effect::Page,
            says: format!(
                "{} approved another version than the one which is accused now, so the approval does not count",
                approval.by
            ),
        });
        return;
    };
    if let Some(says) = accused.way_back.as_ref().and_then(|way| not_approved(reasons, approval, way)) {
        reasons.push(Reason { rule: RuleId::A11, effect: Effect::Page, says });
        return;
    }
    for reason in reasons.iter_mut() {
        let evidence_wait = reason.effect == Effect::Hold
            && matches!(reason.rule, RuleId::E3 | RuleId::E5 | RuleId::E8 | RuleId::C1 | RuleId::C8);
        if (reason.effect == Effect::Propose && reason.rule != RuleId::A10) || evidence_wait {
            reason.effect = Effect::Note;
            reason.says = format!("{} (approved by {})", reason.says, approval.by);
        }
    }
    reasons.push(Reason {
        rule: RuleId::A11,
        effect: Effect::Note,
        says: format!("{} approved it at {}", approval.by, whole_seconds(approval.at)),
    });
}

/// What whoever approved could not read in the proposal, so that the approval does not count.
fn not_approved(reasons: &[Reason], approval: &Approval, way: &WayBack) -> Option<String> {
    let by = &approval.by;
    let Some(proposal) = &approval.proposal else {
        return Some(format!(
            "{by} approved it, but an earlier version of backout kept no note of the way back that was proposed, so the approval does \
             not count; decide by hand"
        ));
    };
    if !proposal.goes_back_by(way) {
        return Some(format!(
            "{by} approved going back to {}, held by {}; now the way back is {}, held by {}, so the approval does not count; decide by \
             hand",
            proposal.label, proposal.way_back, way.label, way.name
        ));
    }
    // That this cannot be taken back, or skips a version, is no mere doubt.
    let is_new = |reason: &&Reason| {
        let forbids = matches!(reason.rule, RuleId::S1 | RuleId::S3);
        forbids && reason.effect == Effect::Propose && !proposal.asked_by.contains(&reason.rule)
    };
    let news = reasons.iter().find(is_new)?;
    Some(format!("{by} approved it before this was known, so the approval does not count: {}", news.says))
}

fn compose(
    mut reasons: Vec<Reason>,
    accused: Option<Accused>,
    candidates: Vec<crate::domain::decision::CandidateScore>,
    look_again_at: Option<Timestamp>,
) -> Decision {
    let strongest = reasons.iter().map(|reason| reason.effect).max();
    let can_act = accused.as_ref().is_some_and(|accused| accused.way_back.is_some());
    let kind = match strongest {
        Some(Effect::Ignore) => DecisionKind::Ignore,
        Some(Effect::Hold) => DecisionKind::Hold,
        Some(Effect::Propose) if can_act => DecisionKind::Propose,
        Some(Effect::Note) | None if can_act => DecisionKind::Act,
        Some(Effect::Page | Effect::Propose | Effect::Note) | None => DecisionKind::Page,
    };
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.effect));
    let because = match reasons.first() {
        Some(reason) if reason.says.trim().is_empty() => reason.rule.words().to_owned(),
        Some(reason) => reason.says.clone(),
        None => "nothing is known".to_owned(),
    };
    Decision {
        kind,
        reasons,
        accused: accused.map(Box::new),
        candidates,
        because,
        look_again_at: look_again_at.filter(|_| kind == DecisionKind::Hold),
    }
}

/// The sentence of an Act: what, when, and to what.
fn why_act(ranking: &Ranking<'_>, way: Option<&WayBack>) -> String {
    let (Some(winner), Some(way)) = (ranking.winner(), way) else { return "nothing is known".to_owned() };
    let fault = match &winner.reading {
        evidence::SignalReading::Fault(fault) => fault.says.clone(),
        evidence::SignalReading::Unknown { .. }
        | evidence::SignalReading::Brief { .. }
        | evidence::SignalReading::Quiet
        | evidence::SignalReading::Recovered { .. } => "the alert fired".to_owned(),
    };
    format!(
        "{} began to serve at {}; {fault}; going back to {}, held by {}",
        winner.label,
        whole_seconds(winner.rolled_out_at),
        way.label,
        way.name
    )
}

/// In mode observe everything is only recorded; the record says what would have been.
fn observe_only(decision: Decision, from: &str) -> Decision {
    let would = match decision.kind {
        DecisionKind::Act => "would have rolled back",
        DecisionKind::Propose => "would have proposed a rollback",
        DecisionKind::Page => "would have told a person",
        DecisionKind::Hold | DecisionKind::Ignore => return decision,
    };
    let says = format!("the mode is `observe` ({from}): backout {would}: {}", decision.because);
    let mut reasons = vec![Reason { rule: RuleId::T3, effect: Effect::Ignore, says: says.clone() }];
    reasons.extend(decision.reasons.into_iter().filter(|reason| reason.rule != RuleId::T3));
    Decision { kind: DecisionKind::Ignore, reasons, because: says, look_again_at: None, ..decision }
}

/// The next look: soon at first, never later than the end of the wait for evidence while that still runs.
fn look_again_at(case: &Case) -> Timestamp {
    let index = (case.tries as usize).min(LOOK_AGAIN_SECONDS.len() - 1);
    let next = case.now + SignedDuration::from_secs(LOOK_AGAIN_SECONDS[index]);
    let deadline = case.evidence_deadline();
    if case.now < deadline { next.min(deadline) } else { next }
}
