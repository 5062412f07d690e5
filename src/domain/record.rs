//! The one record of a firing: everything that was understood, decided and done, enough to explain it from stored data alone.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    alert::Alert,
    approval::Approval,
    decision::{Decision, DecisionKind},
    rollback::RollbackState,
    rule::RuleId,
    service::ServiceName,
    target::{TargetKey, short_hash},
};

/// 26 characters of base32 of sha256(canonical alert id | fired time); without an alert id, of rule | target | fired time.
///
/// What a message or a person says is one only if a record could be kept under it: see [`RecordId::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId(pub String);

/// A text under which no record can be kept. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no record's id, which is 26 letters and digits; `backout history` lists them")]
pub struct NotARecordId;

impl RecordId {
    /// Takes 26 characters of base32 in lower case, as [`Self::of`] makes them.
    pub fn parse(text: &str) -> Result<Self, NotARecordId> {
        let is_one = text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte));
        is_one.then(|| Self(text.to_owned())).ok_or(NotARecordId)
    }

    pub fn of(alert: &Alert) -> Self {
        let fired_at = alert.fired_at.map(|at| at.to_string()).unwrap_or_default();
        Self(if let Some(id) = &alert.id {
            short_hash(&[&canonical_alert_id(id), &fired_at])
        } else {
            let rule = alert.rule.as_deref().unwrap_or_default().to_ascii_lowercase();
            let target = alert.resources.first().map(|r| r.trim_end_matches('/').to_ascii_lowercase()).unwrap_or_default();
            short_hash(&[&rule, &target, &fired_at])
        })
    }
}

/// The same for every spelling: lists may put the path of the alert's target between subscription and provider.
fn canonical_alert_id(id: &str) -> String {
    const INSTANCE: &str = "/providers/microsoft.alertsmanagement/alerts/";
    let id = id.trim_end_matches('/').to_ascii_lowercase();
    let subscription = id.strip_prefix("/subscriptions/").and_then(|rest| rest.split('/').next());
    match (subscription, id.find(INSTANCE)) {
        (Some(subscription), Some(at)) => format!("/subscriptions/{subscription}{}", &id[at..]),
        (None, _) | (_, None) => id,
    }
}

impl TryFrom<String> for RecordId {
    type Error = NotARecordId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub id: RecordId,
    pub alert: Alert,
    /// When the first copy arrived, by our clock.
    pub received_at: Timestamp,
    /// Copies after the first. A duplicate adds nothing but this count.
    pub duplicates: u32,
    /// Services that the alert means, as the policy said then.
    pub services: Vec<ServiceName>,
    /// Targets whose documents know this record.
    pub targets: Vec<TargetKey>,
    pub policy_sha256: String,
    /// `None` until the first decision is stored.
    pub decision: Option<Decision>,
    pub decided_at: Option<Timestamp>,
    /// What was read for the newest decision that was made by reading, for a replay: a document of its own, because it is most of
    /// what is kept and is never needed to go on.
    #[serde(default)]
    pub decided_from: Option<DocumentRef>,
    /// Grows with every change of the decision; a follow-up that carries an older one has no effect (A3).
    pub generation: u64,
    /// The generation for which receipt and notice are out; behind `generation` means that a crash came between.
    pub told_generation: u64,
    /// When the next step is due, by our clock; `None` when nothing is.
    pub next_step_at: Option<Timestamp>,
    /// Looks that failed or held so far; the back-off grows with it.
    pub tries: u32,
    pub approval: Option<Approval>,
    /// The other record whose rollback this one waits for.
    pub attached_to: Option<RecordId>,
    pub resolved_at: Option<Timestamp>,
    pub rollback: Option<RollbackState>,
    pub timeline: Vec<Entry>,
    /// Key and hash of the newest receipt about this record.
    pub receipt: Option<DocumentRef>,
    /// What was told last, so that metrics count each outcome once; not there in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldOutcome>,
    /// A person's word that the version which was taken back was not at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_revert: Option<PersonsMark>,
}

impl Record {
    pub const TIMELINE_MAX: usize = 100;

    /// A record as it is before any decision.
    pub fn new(
        alert: Alert,
        received_at: Timestamp,
        services: Vec<ServiceName>,
        targets: Vec<TargetKey>,
        policy_sha256: String,
    ) -> Self {
        Self {
            id: RecordId::of(&alert),
            alert,
            received_at,
            duplicates: 0,
            services,
            targets,
            policy_sha256,
            decision: None,
            decided_at: None,
            decided_from: None,
            generation: 0,
            told_generation: 0,
            next_step_at: None,
            tries: 0,
            approval: None,
            attached_to: None,
            resolved_at: None,
            rollback: None,
            timeline: Vec::new(),
            receipt: None,
            told: None,
            false_revert: None,
        }
    }

    /// Nothing more is to come, unless the alert is judged anew: decided without a wait, and no rollback under way.
    pub fn is_over(&self) -> bool {
        let rolls_back = self.rollback.is_some_and(|state| !state.is_terminal());
        let decided = self.decision.as_ref().is_some_and(|decision| match decision.kind {
            DecisionKind::Act => self.rollback.is_some(),
            DecisionKind::Propose | DecisionKind::Hold => false,
            DecisionKind::Page | DecisionKind::Ignore => true,
        });
        decided && !rolls_back
    }

    /// How it stands, in what people and metrics tell apart; `None` before the first decision.
    pub fn outcome(&self) -> Option<ToldOutcome> {
        let decision = self.decision.as_ref()?;
        Some(ToldOutcome {
            decision: decision.kind,
            rule: decision.reasons.first().map(|reason| reason.rule),
            rollback: self.rollback.filter(|state| state.is_terminal()),
            over: self.is_over(),
        })
    }

    /// Adds to the timeline; beyond its bound the middle gives way, so that begin and end stay.
    ///
    /// What was said last is not said again: two wake-ups at once see the same.
    pub fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        let what = what.into();
        if self.timeline.last().is_some_and(|last| last.what == what) {
            return;
        }
        if self.timeline.len() >= Self::TIMELINE_MAX {
            self.timeline.remove(Self::TIMELINE_MAX / 2);
        }
        self.timeline.push(Entry { at, what });
    }
}

/// An outcome of a record that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldOutcome {
    pub decision: DecisionKind,
    /// The deciding one.
    pub rule: Option<RuleId>,
    /// Once it has ended.
    pub rollback: Option<RollbackState>,
    pub over: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonsMark {
    pub by: String,
    pub at: Timestamp,
}

/// One thing that happened, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub what: String,
}

/// Another document of the store, by key and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRef {
    pub key: String,
    pub sha256: String,
}
