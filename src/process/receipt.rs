//! Receipts: append-only, one after the other, each naming the hash of the one before.

use std::fmt::Write as _;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::documents::{Documents, Insert, Loaded, SIDE_BY_SIDE, keys};
use crate::{
    domain::{
        decision::DecisionKind,
        instant::whole_seconds,
        printable::printable,
        record::{DocumentRef, Entry, Record, RecordId},
        rollback::RollbackState,
        target::{TargetKey, sha256_hex},
        target_state::{TargetState, WrittenReceipt},
    },
    ports::{Key, PortError, PortErrorKind},
};

/// The one-page record of a decision, or of the end of its rollback. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub record: RecordId,
    /// The record's generation that it tells of; not there in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    pub number: u64,
    /// SHA-256 of the previous receipt's JSON in this chain; `None` for the first.
    pub previous: Option<String>,
    pub written_at: Timestamp,
    pub alert_id: Option<String>,
    pub rule: Option<String>,
    pub severity: Option<String>,
    pub resources: Vec<String>,
    pub fired_at: Option<Timestamp>,
    pub received_at: Timestamp,
    pub decision: DecisionKind,
    pub because: String,
    /// Every reason as `rule: words`, the deciding one first.
    pub reasons: Vec<String>,
    /// The rule that chose.
    pub chosen_by: Option<String>,
    pub service: Option<String>,
    pub target: Option<TargetKey>,
    /// The accused version: label, token, content.
    pub candidate: Option<String>,
    pub token: Option<String>,
    pub fingerprint: Option<String>,
    /// Where the last known good version was, and what it is.
    pub back_to: Option<String>,
    pub back_to_fingerprint: Option<String>,
    /// What was sent, in words, such as the two slots of a swap.
    pub steps: Vec<String>,
    pub rollback: Option<RollbackState>,
    pub timeline: Vec<Entry>,
    pub policy_sha256: String,
    pub approved_by: Option<String>,
}

impl Receipt {
    pub fn of(record: &Record, steps: &[String], written_at: Timestamp) -> Option<Self> {
        let decision = record.decision.as_ref()?;
        let accused = decision.accused.as_ref();
        let way = accused.and_then(|accused| accused.way_back.as_ref());
        Some(Self {
            record: record.id.clone(),
            generation: Some(record.generation),
            number: 0,
            previous: None,
            written_at,
            alert_id: record.alert.id.clone(),
            rule: record.alert.rule.clone(),
            severity: record.alert.severity.map(|severity| severity.to_string()),
            resources: record.alert.resources.clone(),
            fired_at: record.alert.fired_at,
            received_at: record.received_at,
            decision: decision.kind,
            because: decision.because.clone(),
            reasons: decision.reasons.iter().map(|reason| format!("{}: {}", reason.rule, reason.says)).collect(),
            chosen_by: decision.reasons.first().map(|reason| format!("{} ({})", reason.rule, reason.rule.words())),
            service: accused
                .map(|accused| accused.service.to_string())
                .or_else(|| record.services.first().map(ToString::to_string)),
            target: accused.map(|accused| accused.target.clone()).or_else(|| record.targets.first().cloned()),
            candidate: accused.map(|accused| accused.label.clone()),
            token: accused.map(|accused| accused.token.to_string()),
            fingerprint: accused.and_then(|accused| accused.fingerprint.as_ref()).map(ToString::to_string),
            back_to: way.map(|way| format!("{} in {}", way.label, way.name)),
            back_to_fingerprint: way.and_then(|way| way.fingerprint.as_ref()).map(ToString::to_string),
            steps: steps.to_vec(),
            rollback: record.rollback,
            timeline: record.timeline.clone(),
            policy_sha256: record.policy_sha256.clone(),
            approved_by: record.approval.as_ref().map(|approval| approval.by.clone()),
        })
    }

    /// SHA-256 of the receipt's JSON: what the next one in the chain names.
    pub fn sha256(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Plain text for a person: the outcome first, the details after.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<12} {}", printable(value));
        };
        let outcome = match self.rollback {
            Some(state) => format!("{}, rollback {}", self.decision, state.words()),
            None => self.decision.to_string(),
        };
        line("decision", &outcome);
        line("because", &self.because);
        line(
            "alert",
            &format!(
                "{} ({})",
                self.rule.as_deref().unwrap_or("no rule name"),
                self.severity.as_deref().unwrap_or("no severity")
            ),
        );
        let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        line("fired", &self.fired_at.map_or_else(|| "not said".to_owned(), |at| whole_seconds(at).to_string()));
        line("service", &optional(&self.service));
        line("target", self.target.as_ref().map_or("none", |target| &target.0));
        line("candidate", &optional(&self.candidate));
        line("token", &optional(&self.token));
        line("content", &optional(&self.fingerprint));
        line("back to", &optional(&self.back_to));
        for step in &self.steps {
            line("step", step);
        }
        line("chosen by", &optional(&self.chosen_by));
        for reason in &self.reasons {
            line("rule", reason);
        }
        for entry in &self.timeline {
            line(&entry.at.strftime("%H:%M:%SZ").to_string(), &entry.what);
        }
        if let Some(by) = &self.approved_by {
            line("answered by", by);
        }
        line("policy", &self.policy_sha256);
        line("previous", &optional(&self.previous));
        line("hash", &self.sha256());
        format!("receipt {} of record {}\n{text}", self.number, self.record)
    }
}

/// Appends to the chain of the record's target, or of the record where it means none. Called again for the same generation of the
/// record, by a copy of the message or after a crash: the receipt that is there.
///
/// Crash between the receipt and the head: the next writer finds the number taken and moves on behind it.
pub async fn append(documents: &Documents, receipt: Receipt) -> Result<DocumentRef, PortError> {
    if let Some(target) = receipt.target.clone() {
        append_to_target(documents, &target, receipt).await
    } else {
        let record = receipt.record.clone();
        let appended = append_from(documents, |number| keys::record_receipt(&record, number), 0, None, receipt).await?;
        Ok(appended.reference)
    }
}

async fn append_to_target(documents: &Documents, target: &TargetKey, receipt: Receipt) -> Result<DocumentRef, PortError> {
    let key = keys::target(target);
    let state =
        documents.read::<TargetState>(&key).await?.map_or_else(|| TargetState::new(target.clone()), |loaded| loaded.value);
    let is_same = |written: &&WrittenReceipt| written.record == receipt.record && Some(written.generation) == receipt.generation;
    if let Some(written) = state.written_receipts.iter().find(is_same) {
        let at = keys::target_receipt(target, written.number);
        let found = documents.read::<Receipt>(&at).await?;
        if let Some(found) = found.filter(|found| found.value.record == receipt.record) {
            return Ok(DocumentRef { key: at.to_string(), sha256: found.value.sha256() });
        }
    }
    let previous = state.receipt_head.map(|head| head.sha256);
    let appended =
        append_from(documents, |number| keys::target_receipt(target, number), state.receipt_count, previous, receipt).await?;
    documents
        .update(
            &key,
            || Some(TargetState::new(target.clone())),
            |state: &mut TargetState| {
                let is_newest = state.receipt_count <= appended.number;
                if is_newest {
                    state.receipt_count = appended.number + 1;
                    state.receipt_head = Some(appended.reference.clone());
                }
                (note_written(state, &appended.passed) || is_newest).then_some(())
            },
        )
        .await?;
    Ok(appended.reference)
}

/// A receipt in its place.
struct Appended {
    reference: DocumentRef,
    number: u64,
    /// It, and those before it that the head did not name yet: whoever moves the head on keeps what it goes past.
    passed: Vec<WrittenReceipt>,
}

async fn append_from(
    documents: &Documents,
    key: impl Fn(u64) -> Key,
    mut number: u64,
    mut previous: Option<String>,
    mut receipt: Receipt,
) -> Result<Appended, PortError> {
    let mut passed = Vec::new();
    loop {
        receipt.number = number;
        receipt.previous = previous;
        let at = key(number);
        let (there, is_ours) = match documents.insert(&at, receipt.clone()).await? {
            Insert::Now(Loaded { value, .. }) => (value, true),
            Insert::Taken(Loaded { value: found, .. }) => {
                let is_same = found.record == receipt.record && found.generation == receipt.generation;
                (found, is_same)
            }
        };
        if let Some(generation) = there.generation {
            passed.push(WrittenReceipt { record: there.record.clone(), generation, number });
        }
        let sha256 = there.sha256();
        if is_ours {
            return Ok(Appended { reference: DocumentRef { key: at.to_string(), sha256 }, number, passed });
        }
        previous = Some(sha256);
        number += 1;
    }
}

/// `false` where all of them were known.
fn note_written(state: &mut TargetState, passed: &[WrittenReceipt]) -> bool {
    let new: Vec<WrittenReceipt> = passed.iter().filter(|written| !state.written_receipts.contains(written)).cloned().collect();
    let is_news = !new.is_empty();
    state.written_receipts.extend(new);
    state.written_receipts.sort_by_key(|written| written.number);
    let surplus = state.written_receipts.len().saturating_sub(TargetState::WRITTEN_RECEIPTS_MAX);
    state.written_receipts.drain(..surplus);
    is_news
}

/// Reads one receipt by its reference.
pub async fn read(documents: &Documents, reference: &DocumentRef) -> Result<Option<Receipt>, PortError> {
    let key = Key::parse(&reference.key).ok_or_else(|| {
        let says = "the record names a receipt by what is no key of the store; somebody changed the record";
        PortError::new("read a receipt", PortErrorKind::Invalid, says)
    })?;
    Ok(documents.read::<Receipt>(&key).await?.map(|loaded| loaded.value))
}

/// What a check of a chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainCheck {
    Sound {
        receipts: u64,
    },
    /// The first receipt that does not fit the one before.
    Broken {
        key: String,
    },
}

/// Checks the receipt that a record names, and the chain in which it stands. `None`: it is about no target, and as it was written.
pub async fn verify_named(
    documents: &Documents,
    reference: &DocumentRef,
    receipt: Option<&Receipt>,
) -> Result<Option<ChainCheck>, PortError> {
    let Some(receipt) = receipt.filter(|receipt| receipt.sha256() == reference.sha256) else {
        return Ok(Some(ChainCheck::Broken { key: reference.key.clone() }));
    };
    let Some(target) = &receipt.target else { return Ok(None) };
    Ok(Some(match verify_chain(documents, target).await? {
        // A record names its receipt after the head went past it: a chain that ends before it has lost its end.
        ChainCheck::Sound { receipts } if receipts <= receipt.number => {
            ChainCheck::Broken { key: keys::target(target).to_string() }
        }
        check @ (ChainCheck::Sound { .. } | ChainCheck::Broken { .. }) => check,
    }))
}

/// Checks a target's chain from its first receipt to its head (V7).
pub async fn verify_chain(documents: &Documents, target: &TargetKey) -> Result<ChainCheck, PortError> {
    let state = documents.read::<TargetState>(&keys::target(target)).await?;
    let count = state.as_ref().map_or(0, |loaded| loaded.value.receipt_count);
    let keys: Vec<Key> = (0..count).map(|number| keys::target_receipt(target, number)).collect();
    let reads = keys.iter().map(|key| documents.read::<Receipt>(key).boxed());
    let mut receipts = stream::iter(reads.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE).zip(stream::iter(0..));
    let mut previous = None;
    while let Some((receipt, number)) = receipts.next().await {
        let receipt = receipt?.filter(|receipt| receipt.value.previous == previous && receipt.value.number == number);
        let Some(receipt) = receipt else {
            return Ok(ChainCheck::Broken { key: keys::target_receipt(target, number).to_string() });
        };
        previous = Some(receipt.value.sha256());
    }
    let head = state.and_then(|loaded| loaded.value.receipt_head).map(|head| head.sha256);
    if head == previous {
        Ok(ChainCheck::Sound { receipts: count })
    } else {
        Ok(ChainCheck::Broken { key: keys::target(target).to_string() })
    }
}
