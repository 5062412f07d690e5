//! Invariant 6, and that nothing is silent: the record of each firing, its decisions, its receipts.

use std::{collections::BTreeMap, sync::Arc};

use backout::domain::{
    decision::DecisionKind,
    policy::{NoticeKind, NotifyRule},
    record::Record,
    rollback::RollbackState,
    target::{TargetKey, sha256_hex},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{counts::Kind, story::Story, time::Micros, world::World};
use super::{Invariant, StoredDocuments, text_after};

/// One record, as it was last written.
#[derive(Debug, Clone, Default)]
struct Seen {
    decision: String,
    rollback: String,
    waits: bool,
    approved: bool,
    read_by_a_person: bool,
    /// A decision to act was stored.
    acted: bool,
    /// A call was sent for it.
    sent: bool,
    /// When it was first stored that its alert is resolved.
    resolved_at: Option<Micros>,
    /// Its rollback has ended.
    ended: bool,
}

pub struct Records {
    seen: BTreeMap<String, Seen>,
    /// Records that the story's firings have.
    expected: BTreeMap<String, Option<usize>>,
}

impl Records {
    pub fn of(story: &Story) -> Self {
        let expected = story.firings.iter().map(|firing| (firing.record.0.clone(), firing.service)).collect();
        Self { seen: BTreeMap::new(), expected }
    }

    pub fn has_failed(&self, record: &str) -> bool {
        self.seen.get(record).is_some_and(|seen| seen.rollback == "failed")
    }

    pub fn is_there(&self, record: &str) -> bool {
        self.seen.contains_key(record)
    }
}

fn is_end(rollback: &str) -> bool {
    matches!(rollback, "recovered" | "notRecovered" | "failed" | "unknown")
}

impl World {
    pub(super) fn record_written(&mut self, key: &str, text: &str) {
        let id = key.trim_start_matches("records/");
        let decision = text_after(text, "\"decision\":{\"kind\":\"").unwrap_or_default();
        // Behind the decision, whose words are a person's or an alert's.
        let rest = &text[text.rfind("\"toldGeneration\":").unwrap_or(0)..];
        let rollback = text_after(rest, "\"rollback\":\"").unwrap_or_default();
        let waits = !rest.contains("\"nextStepAt\":null");
        let approved = text_after(rest, "\"approval\":{\"verdict\":\"") == Some("approved");
        let resolved_at = rest.contains("\"resolvedAt\":\"").then_some(self.now);
        let Some(service) = self.checks.records.expected.get(id).copied() else {
            self.broken(Invariant::OneRecord, || format!("record {id} belongs to no firing"));
            return;
        };
        let before = self.checks.records.seen.get(id).cloned().unwrap_or_default();
        let changed = before.decision != decision || before.rollback != rollback;
        if changed {
            self.tell(|| format!("  record {id}: {decision} {rollback}"));
            self.judge_change(id, &before, decision, rollback);
        }
        let acts = decision == "act" && !before.acted;
        let recovered = rollback == "recovered" && before.rollback != "recovered";
        self.checks.records.seen.insert(
            id.to_owned(),
            Seen {
                decision: decision.to_owned(),
                rollback: rollback.to_owned(),
                waits,
                approved: approved || before.approved,
                read_by_a_person: before.read_by_a_person,
                acted: before.acted || decision == "act",
                sent: before.sent,
                resolved_at: before.resolved_at.or(resolved_at),
                ended: before.ended || is_end(rollback),
            },
        );
        if acts && !approved && !before.approved && self.facts_are_known() {
            match service {
                Some(service) => self.judge_act(id, service),
                None => {
                    self.broken(Invariant::OnlyOurTargets, || {
                        format!("record {id} acts, and its alert is about nothing of ours")
                    });
                }
            }
        }
        if let Some(service) = service.filter(|_| recovered && self.facts_are_known()) {
            self.judge_recovery(id, service);
        }
    }

    /// Whether a person said yes to it; and when it was stored that its alert is resolved.
    pub(super) fn stands_of(&self, record: &str) -> (bool, Option<Micros>) {
        self.checks.records.seen.get(record).map_or((false, None), |seen| (seen.approved, seen.resolved_at))
    }

    pub(super) fn sent_for(&mut self, record: &str) {
        if let Some(seen) = self.checks.records.seen.get_mut(record) {
            seen.sent = true;
        }
    }

    /// What is final stays as it is.
    fn judge_change(&mut self, id: &str, before: &Seen, decision: &str, rollback: &str) {
        let kind = match decision {
            "act" => Kind::Act,
            "propose" => Kind::Propose,
            "hold" => Kind::Hold,
            "page" => Kind::Page,
            _ => Kind::Ignore,
        };
        if before.decision != decision {
            self.count(kind);
        }
        let ends = is_end(rollback) && before.rollback != rollback;
        if ends {
            self.count(match rollback {
                "recovered" => Kind::Recovered,
                "notRecovered" => Kind::NotRecovered,
                "failed" => Kind::Failed,
                _ => Kind::Unknown,
            });
        }
        if before.ended && before.rollback != rollback {
            let was = &before.rollback;
            self.broken(Invariant::OneRecord, || {
                format!("the rollback of record {id} had ended as {was}, and is {rollback} now")
            });
        }
        // What was never sent is told as a page; everything else that acted stays an act.
        let unsent = rollback == "failed" && decision == "page" || rollback.is_empty() && matches!(decision, "page" | "hold");
        if before.acted && before.decision == "act" && decision != "act" && !unsent {
            self.broken(Invariant::OneRecord, || format!("record {id} had decided to act, and is {decision} now"));
        }
        if before.sent && before.decision != "act" && decision == "act" {
            self.broken(Invariant::OneRecord, || format!("record {id} decides to act for the second time"));
        }
    }

    /// Whether no record waits for anything, and no rollback is under way.
    pub fn is_at_rest(&self) -> bool {
        let records =
            self.checks.records.seen.values().all(|seen| !seen.waits && seen.decision != "hold" && !seen.decision.is_empty());
        records && self.checks.rollbacks.busy.values().all(|busy| busy.left_to_a_person)
    }

    /// Open proposals with a person's answer, targets that a person frees, and whether to look after what was parked.
    pub fn for_a_person(&mut self) -> (Vec<(String, bool)>, Vec<TargetKey>, bool) {
        let open: Vec<String> = self
            .checks
            .records
            .seen
            .iter()
            .filter(|(_, seen)| seen.decision == "propose" && seen.waits && !seen.approved && !seen.read_by_a_person)
            .map(|(id, _)| id.clone())
            .collect();
        let mut answers = Vec::new();
        for id in open {
            // Many read it and do nothing.
            let answered = self.chance.percent(60);
            let approves = self.chance.percent(75);
            if let Some(seen) = self.checks.records.seen.get_mut(&id) {
                seen.read_by_a_person = true;
            }
            if answered {
                answers.push((id, approves));
            }
        }
        let left: Vec<TargetKey> =
            self.checks.rollbacks.busy.values().filter(|busy| busy.left_to_a_person).map(|busy| busy.target.clone()).collect();
        let left = left.into_iter().filter(|_| self.chance.percent(30)).collect();
        (answers, left, self.chance.percent(50))
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

fn value<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Option<T> {
    let document: Document<'_> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(document.value.get()).ok()
}

pub fn judge(world: &mut World, documents: &StoredDocuments) {
    for (key, body) in documents.range("records/".to_owned()..).take_while(|(key, _)| key.starts_with("records/")) {
        let Some(record) = value::<Record>(body) else {
            world.broken(Invariant::OneRecord, || format!("`{key}` is not readable"));
            return;
        };
        judge_record(world, &record, documents);
    }
    judge_firings(world, documents);
    judge_receipts(world, documents);
}

/// It has ended, was told, and can be explained.
fn judge_record(world: &mut World, record: &Record, documents: &StoredDocuments) {
    let id = &record.id;
    let Some(decision) = &record.decision else {
        world.broken(Invariant::OneRecord, || format!("record {id} was never decided"));
        return;
    };
    let open = match decision.kind {
        DecisionKind::Hold => Some("still waits"),
        DecisionKind::Propose if record.next_step_at.is_some() => Some("is an open proposal that never expires"),
        DecisionKind::Act if !record.rollback.is_some_and(RollbackState::is_terminal) => Some("acts for ever"),
        DecisionKind::Act | DecisionKind::Propose | DecisionKind::Page | DecisionKind::Ignore => None,
    };
    if let Some(open) = open {
        world.broken(Invariant::OneRecord, || format!("record {id} {open}: {:?}", record.timeline.last()));
    }
    if record.told_generation != record.generation {
        world.broken(Invariant::Told, || {
            format!("record {id} is at {}, and {} was told", record.generation, record.told_generation)
        });
    }
    let expected = match (decision.kind, record.rollback) {
        (_, Some(RollbackState::NotRecovered | RollbackState::Failed | RollbackState::Unknown)) | (DecisionKind::Page, _) => {
            NoticeKind::Page
        }
        (DecisionKind::Act, _) => NoticeKind::Act,
        (DecisionKind::Propose, _) => NoticeKind::Propose,
        (DecisionKind::Hold, _) => NoticeKind::Hold,
        (DecisionKind::Ignore, _) => NoticeKind::Ignore,
    };
    // Channels are what no edit changes.
    let policy = Arc::clone(&world.story.policies[0].policy);
    let channels: Vec<&NotifyRule> = policy.notify.iter().filter(|rule| rule.kinds.contains(&expected)).collect();
    let told = |channel: Option<&NotifyRule>| world.checks.notices.was_told(&id.0, expected, channel.map(|rule| rule.channel));
    let untold = if channels.is_empty() { !told(None) } else { channels.iter().any(|channel| !told(Some(channel))) };
    if untold {
        world.broken(Invariant::Told, || format!("record {id} ended as {expected:?}, and a channel for that was never told"));
    }
    // Whatever was decided by reading can be decided again from what is stored.
    match &record.decided_from {
        Some(inputs) => {
            let stored = documents.get(&inputs.key).and_then(|body| serde_json::from_slice::<Document<'_>>(body).ok());
            if stored.is_none_or(|stored| sha256_hex(stored.value.get().as_bytes()) != inputs.sha256) {
                let key = &inputs.key;
                world
                    .broken(Invariant::OneRecord, || format!("record {id} was decided from `{key}`, which does not stand there"));
            }
        }
        None if decision.kind == DecisionKind::Act => {
            world.broken(Invariant::OneRecord, || format!("record {id} acts, and nothing stored explains it"));
        }
        None => {}
    }
    if record.receipt.is_none() {
        world.broken(Invariant::OneRecord, || format!("record {id} ended without a receipt"));
    }
}

/// Each firing of which a message was handled has its record.
fn judge_firings(world: &mut World, documents: &StoredDocuments) {
    let missing: Vec<String> = world
        .checks
        .messages
        .handled_firings()
        .map(|firing| world.story.firings[firing].record.0.clone())
        .filter(|record| !documents.contains_key(&format!("records/{record}")))
        .collect();
    if let Some(record) = missing.first() {
        world.broken(Invariant::OneRecord, || format!("a firing's message was handled, and it has no record {record}"));
    }
}

#[derive(Deserialize)]
struct ReceiptLink {
    number: u64,
    previous: Option<String>,
}

/// Each chain is whole: every receipt names the hash of the one before, as it is stored.
fn judge_receipts(world: &mut World, documents: &StoredDocuments) {
    let mut chain = "";
    let (mut next, mut previous): (u64, Option<String>) = (0, None);
    for (key, body) in documents.range("receipts/".to_owned()..).take_while(|(key, _)| key.starts_with("receipts/")) {
        let name = key.rsplit_once('/').map_or("", |(name, _)| name);
        if name != chain {
            (chain, next, previous) = (name, 0, None);
        }
        let document: Option<Document<'_>> = serde_json::from_slice(body).ok();
        let link: Option<ReceiptLink> = document.as_ref().and_then(|document| serde_json::from_str(document.value.get()).ok());
        let fits = link.is_some_and(|link| link.number == next && link.previous == previous);
        if !fits {
            world.broken(Invariant::OneRecord, || format!("receipt `{key}` does not follow the one before it"));
            return;
        }
        next += 1;
        previous = document.map(|document| sha256_hex(document.value.get().as_bytes()));
    }
}
