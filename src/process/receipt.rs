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
        record::{Entry, ReceiptRef, Record, RecordId},
        rollback::RollbackState,
        target::{TargetKey, sha256_hex},
        target_state::TargetState,
    },
    ports::{Key, PortError, PortErrorKind},
};

/// The one-page record of a decision, or of the end of its rollback. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub record: RecordId,
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

/// Appends to the chain of the record's target, or of the record where it means none.
///
/// Crash between the receipt and the head: the next writer finds the number taken and moves on behind it.
pub async fn append(documents: &Documents, receipt: Receipt) -> Result<ReceiptRef, PortError> {
    if let Some(target) = receipt.target.clone() {
        append_to_target(documents, &target, receipt).await
    } else {
        let record = receipt.record.clone();
        append_from(documents, |number| keys::record_receipt(&record, number), 0, None, receipt)
            .await
            .map(|(reference, _)| reference)
    }
}

async fn append_to_target(documents: &Documents, target: &TargetKey, receipt: Receipt) -> Result<ReceiptRef, PortError> {
    let key = keys::target(target);
    let head = documents.read::<TargetState>(&key).await?.map(|loaded| (loaded.value.receipt_count, loaded.value.receipt_head));
    let (count, previous) = head.unwrap_or((0, None));
    let (reference, number) =
        append_from(documents, |number| keys::target_receipt(target, number), count, previous.map(|head| head.sha256), receipt)
            .await?;
    documents
        .update(
            &key,
            || Some(TargetState::new(target.clone())),
            |state: &mut TargetState| {
                (state.receipt_count <= number).then(|| {
                    state.receipt_count = number + 1;
                    state.receipt_head = Some(reference.clone());
                })
            },
        )
        .await?;
    Ok(reference)
}

async fn append_from(
    documents: &Documents,
    key: impl Fn(u64) -> Key,
    mut number: u64,
    mut previous: Option<String>,
    mut receipt: Receipt,
) -> Result<(ReceiptRef, u64), PortError> {
    loop {
        receipt.number = number;
        receipt.previous = previous;
        let at = key(number);
        match documents.insert(&at, receipt.clone()).await? {
            Insert::Now(_) => return Ok((ReceiptRef { key: at.to_string(), sha256: receipt.sha256() }, number)),
            Insert::Taken(Loaded { value: found, .. }) if is_same_step(&found, &receipt) => {
                return Ok((ReceiptRef { key: at.to_string(), sha256: found.sha256() }, number));
            }
            Insert::Taken(Loaded { value: found, .. }) => {
                previous = Some(found.sha256());
                number += 1;
            }
        }
    }
}

/// The receipt of the same step, written before a crash: told once only.
fn is_same_step(found: &Receipt, mine: &Receipt) -> bool {
    found.record == mine.record
        && found.decision == mine.decision
        && found.rollback == mine.rollback
        && found.because == mine.because
}

/// Reads one receipt by its reference.
pub async fn read(documents: &Documents, reference: &ReceiptRef) -> Result<Option<Receipt>, PortError> {
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
