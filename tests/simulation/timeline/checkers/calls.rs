//! Invariants 1, 3, 4, 8 and 10, and that what led to a call still holds: each mutating call, when it is sent and when it takes effect.

use std::collections::BTreeMap;

use backout::domain::{
    observation::Observation,
    rollback::{StepKind, Submission},
    service::{Mode, Resubmit},
    target::{TargetKey, short_hash},
};

use super::super::{
    counts::Kind,
    platform::{Call, Serving, fingerprint},
    time::{MINUTE, Micros, SECOND},
    world::World,
};
use super::Invariant;

/// Place in the list of calls.
type CallNumber = usize;

/// A claim, or the last look, may be this old.
const FRESH: Micros = 10 * SECOND;

/// So long after it was decided, by five minutes and what an invocation takes, a call may leave without another look at alert and policy.
const DECISION_STANDS: Micros = 7 * MINUTE;

/// Two clocks differ by this much.
const SKEW: Micros = 2 * MINUTE;

#[derive(Debug)]
struct SentCall {
    call: Call,
    at: Micros,
    look_began: Micros,
    /// What the platform said, and whether its sender heard it.
    answer: Option<Answered>,
    heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Taken,
    Refused,
    Busy,
    NotProcessed,
}

/// The last look of an instance at a site.
#[derive(Debug, Clone)]
struct Look {
    start: u64,
    began: Micros,
    ended: Micros,
    token: String,
    under_way: bool,
    /// What each way back held.
    ways: Vec<(String, Option<String>)>,
}

pub struct Calls {
    sent: Vec<SentCall>,
    looks: Vec<Vec<Option<Look>>>,
    /// By claim and step: what took effect.
    effects: BTreeMap<(String, String), u32>,
    /// When somebody else last changed a site.
    changed: Vec<Micros>,
}

impl Calls {
    pub fn new(sites: usize, instances: usize) -> Self {
        Self { sent: Vec::new(), looks: vec![vec![None; sites]; instances], effects: BTreeMap::new(), changed: vec![0; sites] }
    }
}

fn answered(submission: &Submission) -> Option<Answered> {
    match submission {
        Submission::Done | Submission::Accepted { .. } => Some(Answered::Taken),
        Submission::Refused { .. } => Some(Answered::Refused),
        Submission::Busy { .. } => Some(Answered::Busy),
        Submission::NotSent { .. } => Some(Answered::NotProcessed),
        Submission::Unknown { .. } => None,
    }
}

impl World {
    /// A target was picked; invariant 8.
    pub fn target_touched(&mut self, key: &TargetKey, site: Option<usize>) {
        if site.is_none_or(|site| !self.sites[site].listed) {
            self.broken(Invariant::OnlyOurTargets, || format!("`{key}` is in no policy"));
        }
    }

    /// An instance has read a site; `None`: in vain.
    pub fn looked(&mut self, instance: usize, site: usize, began: Micros, observation: Option<&Observation>) {
        let Some(observation) = observation else {
            self.facts().reads.push((site, false));
            return;
        };
        self.facts().reads.push((site, true));
        let text = |fingerprint: &backout::domain::target::Fingerprint| fingerprint.0.clone();
        let ways = observation.ways_back.iter().map(|way| (way.name.clone(), way.fingerprint.as_ref().map(text)));
        self.checks.calls.looks[instance][site] = Some(Look {
            start: self.hosts[instance].start,
            began,
            ended: self.now,
            token: observation.running.token.0.clone(),
            under_way: observation.under_way.is_some(),
            ways: ways.collect(),
        });
    }

    pub fn preflighted(&mut self, site: usize, closed: bool) {
        self.facts().unchecked.retain(|unchecked| *unchecked != site);
        if closed {
            self.facts().unchecked.push(site);
        }
    }

    /// Somebody who is not us has changed what runs, or what could run.
    pub fn changed_by_others(&mut self, site: usize) {
        self.checks.calls.changed[site] = self.now;
    }

    /// A mutating call leaves an instance.
    pub fn call_sent(&mut self, instance: usize, call: &Call) -> CallNumber {
        self.count(Kind::Sent);
        self.tell(|| {
            format!("  instance {instance} sends `{}` to site {} ({}) for record {}", call.step, call.site, call.way, call.record)
        });
        let look_began = self.checks.calls.looks[instance][call.site].as_ref().map_or(0, |look| look.began);
        self.sent_for(&call.record);
        self.judge_earlier_calls(call);
        self.judge_look(instance, call);
        self.judge_kill_switch(call);
        self.judge_policy(call);
        self.judge_alert(call);
        self.checks.calls.sent.push(SentCall { call: call.clone(), at: self.now, look_began, answer: None, heard: false });
        self.checks.calls.sent.len() - 1
    }

    /// Invariant 3.
    fn judge_look(&mut self, instance: usize, call: &Call) {
        let (now, start) = (self.now, self.hosts[instance].start);
        let claimed = self.sites[call.site].key.claimed().to_owned();
        let look = self.checks.calls.looks[instance][call.site].clone().filter(|look| look.start == start);
        let problem = match look {
            _ if call.way.is_empty() || call.good.is_none() => Some("it names no explicit version".to_owned()),
            None => Some("nobody looked at what runs before it".to_owned()),
            Some(look) => {
                let since = match call.kind {
                    StepKind::Toggle => look.began,
                    StepKind::Convergent => look.ended,
                };
                let holds = look.ways.iter().find(|(name, _)| *name == call.way).and_then(|(_, held)| held.clone());
                if now - since > FRESH {
                    Some(format!("the last look is {} s old", (now - since) / SECOND))
                } else if short_hash(&[&claimed, &look.token]) != call.claim {
                    Some(format!("the last look showed `{}`, which is not the accused version", look.token))
                } else if look.under_way {
                    Some("the last look showed something under way".to_owned())
                } else if holds != call.good {
                    Some(format!("the last look showed {holds:?} in `{}`, and not {:?}", call.way, call.good))
                } else {
                    None
                }
            }
        };
        if let Some(problem) = problem {
            self.broken(Invariant::ExplicitAndReRead, || format!("a call to `{claimed}` was sent, but {problem}"));
        }
    }

    /// Invariant 10.
    fn judge_kill_switch(&mut self, call: &Call) {
        let now = self.now;
        let problem = match self.facts().paused {
            None => Some("the kill switch was not read".to_owned()),
            Some((_, true)) => Some("backout is paused".to_owned()),
            Some((at, false)) if now - at > FRESH => Some(format!("the kill switch was read {} s ago", (now - at) / SECOND)),
            Some((_, false)) => None,
        };
        if let Some(problem) = problem {
            self.broken(Invariant::KillSwitch, || format!("a call for record {} was sent, but {problem}", call.record));
        }
    }

    /// Invariant 8, and that the policy still lets it: as it is, or was a moment ago.
    fn judge_policy(&mut self, call: &Call) {
        let Some(name) = self.story.services.get(call.site).map(|service| service.name.clone()) else { return };
        let last = self.story.policy_at(self.now);
        let first = self.story.policy_at(self.now.saturating_sub(DECISION_STANDS));
        let modes: Vec<Option<Mode>> = self.story.policies[first..=last]
            .iter()
            .map(|file| file.policy.services.get(&name).map(|service| service.mode))
            .collect();
        let (approved, _) = self.stands_of(&call.record);
        let lets = |mode: &Option<Mode>| match mode {
            Some(Mode::Act) => true,
            Some(Mode::Propose) => approved,
            Some(Mode::Observe) | None => false,
        };
        if modes.iter().any(|mode| !lets(mode)) {
            self.count(Kind::SentBesidePolicy);
        }
        if modes.iter().all(Option::is_none) {
            self.broken(Invariant::OnlyOurTargets, || {
                format!("a call for record {} was sent, and the policy has not had `{name}` for a while", call.record)
            });
        }
        // After a first step there is no way but on.
        if call.is_first && !modes.iter().any(lets) {
            self.broken(Invariant::Stands, || {
                format!("a call for record {} was sent, and the policy has not let `{name}` be acted on for a while", call.record)
            });
        }
    }

    /// That its alert goes on, or did a moment ago; or a person has said yes.
    fn judge_alert(&mut self, call: &Call) {
        let (approved, resolved_at) = self.stands_of(&call.record);
        let now = self.now;
        let since = resolved_at.map(|at| now - at).filter(|since| *since > DECISION_STANDS && !approved && call.is_first);
        if let Some(since) = since {
            self.broken(Invariant::Stands, || {
                format!("a call for record {} was sent, and its alert was resolved {} s before", call.record, since / SECOND)
            });
        }
    }

    /// Invariant 4.
    fn judge_earlier_calls(&mut self, call: &Call) {
        let service = self.story.services.get(call.site);
        let Some(service) = service else { return };
        let quiet = Micros::try_from(service.quiet_time.as_micros()).unwrap_or(0);
        let allowed = call.kind == StepKind::Convergent || service.resubmit == Resubmit::Once;
        let (now, mut blind, mut problem, mut last) = (self.now, 0, None, None);
        let same = |sent: &&SentCall| sent.call.claim == call.claim && sent.call.step == call.step;
        for sent in self.checks.calls.sent.iter().filter(same) {
            // Also what was heard counts: it may be lost again with its instance, and of an operation that cannot be read only the
            // target tells.
            if (sent.answer, sent.heard) != (Some(Answered::NotProcessed), true) {
                blind += 1;
                last = Some(sent.at);
            }
        }
        if let Some(last) = last {
            self.count(Kind::SentAgain);
            if blind > 1 {
                problem = Some(format!("{blind} before it never told"));
            } else if !allowed {
                problem = Some("the policy allows no second one".to_owned());
            } else if now - last + SKEW < quiet {
                problem = Some(format!("the one before it never told, and is only {} s old", (now - last) / SECOND));
            }
        }
        if let Some(problem) = problem {
            self.broken(Invariant::SentOnce, || {
                format!("the call `{}` of record {} was sent again: {problem}", call.step, call.record)
            });
        }
    }

    /// What the platform said.
    pub fn call_answered(&mut self, number: CallNumber, submission: Option<&Submission>) {
        let answer = submission.and_then(answered);
        self.tell(|| format!("  the platform: {submission:?}"));
        let provable = matches!(answer, Some(Answered::NotProcessed | Answered::Refused));
        let sent = &mut self.checks.calls.sent[number];
        sent.answer = answer;
        // These two are told at once, to whoever still listens.
        if provable {
            sent.heard = true;
        }
        match answer {
            Some(Answered::Taken) => self.count(Kind::CallAccepted),
            Some(Answered::Refused) => self.count(Kind::CallRefused),
            Some(Answered::Busy) => self.count(Kind::CallBusy),
            Some(Answered::NotProcessed) => self.count(Kind::CallNotSent),
            None => {}
        }
    }

    /// What its sender heard.
    pub fn call_heard(&mut self, number: CallNumber, submission: Option<&Submission>) {
        self.checks.calls.sent[number].heard = submission.is_some();
        if submission.is_none() {
            self.count(Kind::CallLost);
        }
    }

    /// A call of ours has changed what serves.
    pub fn effect_of_ours(&mut self, site: usize, call: &Call, before: &Serving) {
        let (claim, step) = (&call.claim, &call.step);
        self.count(Kind::Effect);
        let serving = self.sites[site].serving.clone();
        let times = {
            let times = self.checks.calls.effects.entry((claim.clone(), step.clone())).or_default();
            *times += 1;
            *times
        };
        if times > 1 {
            self.broken(Invariant::OnceOnly, || {
                format!("the version of record {} was taken back {times} times; build-{} serves", call.record, serving.build)
            });
        }
        let look_began =
            self.checks.calls.sent.iter().rev().find(|sent| sent.call.claim == *claim).map_or(0, |sent| sent.look_began);
        let changed = self.checks.calls.changed[site];
        if call.good.as_deref() != Some(fingerprint(serving.build).0.as_str()) && changed < look_began {
            self.broken(Invariant::ExplicitAndReRead, || {
                format!("the call of record {} led to build-{}, and not to {:?}", call.record, serving.build, call.good)
            });
        }
        self.result_of_ours(site, claim, before, &serving);
    }
}
