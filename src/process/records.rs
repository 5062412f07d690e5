//! Reading and changing the record of a firing.

use jiff::Timestamp;
use tracing::Instrument;

use super::{
    Process,
    documents::{Loaded, ReadBefore, keys},
    receipt::Receipt,
    trouble::Trouble,
};
use crate::{
    domain::{
        decision::DecisionKind,
        instant::whole_seconds,
        policy::NoticeKind,
        record::{DocumentRef, Record, RecordId},
        rollback::RollbackState,
        rule::RuleId,
    },
    observability::{self, spans},
    ports::{FollowUp, Notice, PortError, StepName},
};

impl Process {
    pub async fn record(&self, id: &RecordId) -> Result<Option<Record>, PortError> {
        Ok(self.read_record(id).await?.map(|loaded| loaded.value))
    }

    pub(super) async fn read_record(&self, id: &RecordId) -> Result<Option<Loaded<Record>>, PortError> {
        self.documents.read(&keys::record(id)).await
    }

    /// Changes the record if it is still at `generation`; `None` when somebody else went on meanwhile.
    pub(super) async fn update_record(
        &self,
        id: &RecordId,
        generation: u64,
        change: impl FnMut(&mut Record) + Send,
    ) -> Result<Option<Loaded<Record>>, PortError> {
        self.update_record_from(id, generation, ReadBefore::NotRead, change).await
    }

    /// [`Self::update_record`] whose first try starts from what was read before, and so saves the trip.
    pub(super) async fn update_record_from(
        &self,
        id: &RecordId,
        generation: u64,
        read_before: ReadBefore<Record>,
        mut change: impl FnMut(&mut Record) + Send,
    ) -> Result<Option<Loaded<Record>>, PortError> {
        let change = |record: &mut Record| (record.generation == generation).then(|| change(record));
        let updated = self.documents.update_from(&keys::record(id), read_before, || None, change).await?;
        Ok(updated.map(|(loaded, ())| loaded))
    }

    /// Writes the receipt and tells people, if that is still to do for the record's generation, and schedules what comes next.
    /// Called again after a crash, it does what is missing.
    pub(super) async fn finish_telling(&self, record: &Record, steps: &[String]) -> Result<(), Trouble> {
        if record.told_generation < record.generation {
            let receipt = self.tell_of(record, steps).await?;
            self.mark_told(&record.id, record.generation, receipt, ReadBefore::NotRead).await?;
        }
        Ok(())
    }

    /// [`Self::finish_telling`] of a record that was written just now, which saves the trip to read it again.
    pub(super) async fn finish_telling_written(&self, written: Loaded<Record>) -> Result<(), Trouble> {
        let record = &written.value;
        if record.told_generation < record.generation {
            let receipt = self.tell_of(record, &[]).await?;
            let (id, generation) = (record.id.clone(), record.generation);
            self.mark_told(&id, generation, receipt, ReadBefore::There(written)).await?;
        }
        Ok(())
    }

    async fn tell_of(&self, record: &Record, steps: &[String]) -> Result<Option<DocumentRef>, Trouble> {
        Box::pin(self.write_and_tell(record, steps).instrument(spans::tell())).await
    }

    async fn write_and_tell(&self, record: &Record, steps: &[String]) -> Result<Option<DocumentRef>, Trouble> {
        let now = self.ports.clock.now();
        let receipt = match Receipt::of(record, steps, now).filter(|receipt| receipt.decision != DecisionKind::Hold) {
            Some(receipt) => Some(super::receipt::append(&self.documents, receipt).await?),
            None => None,
        };
        self.schedule_next(record).await?;
        if let Some(notice) = notice_of(record) {
            self.tell(&outcome_id(record), notice).await?;
        }
        Ok(receipt)
    }

    async fn mark_told(
        &self,
        id: &RecordId,
        generation: u64,
        receipt: Option<DocumentRef>,
        known: ReadBefore<Record>,
    ) -> Result<(), PortError> {
        let told = |record: &mut Record| {
            (record.generation == generation).then(|| {
                record.told_generation = generation;
                record.receipt = receipt.clone().or_else(|| record.receipt.take());
                let outcome = record.outcome();
                std::mem::replace(&mut record.told, outcome)
            })
        };
        let marked = self.documents.update_from(&keys::record(id), known, || None, told).await?;
        if let Some((Loaded { value: record, .. }, before)) = marked {
            observability::outcome_told(&record, before.as_ref(), self.ports.clock.now());
        }
        Ok(())
    }

    /// Sends the wake-up for `nextStepAt` of a hold or a proposal.
    pub(super) async fn schedule_next(&self, record: &Record) -> Result<(), Trouble> {
        let (Some(due_at), Some(decision)) = (record.next_step_at, &record.decision) else { return Ok(()) };
        let step = match decision.kind {
            DecisionKind::Hold => StepName::LookAgain,
            DecisionKind::Propose => StepName::Expire,
            DecisionKind::Act | DecisionKind::Page | DecisionKind::Ignore => return Ok(()),
        };
        self.schedule(&FollowUp { v: 1, record: record.id.clone(), target: None, step, generation: record.generation, due_at })
            .await
    }

    /// The newest receipt about a record.
    pub async fn receipt(&self, reference: &DocumentRef) -> Result<Option<Receipt>, PortError> {
        super::receipt::read(&self.documents, reference).await
    }
}

/// The same for the same outcome of a record, whoever tells it and however often the record was touched since.
fn outcome_id(record: &Record) -> String {
    let decision = record.decision.as_ref();
    let kind = decision.map_or("none", |decision| decision.kind.as_str());
    let rule = decision.and_then(|decision| decision.reasons.first()).map_or("none", |reason| reason.rule.as_str());
    let rollback = record.rollback.filter(|state| state.is_terminal()).map_or("open", RollbackState::words);
    format!("{} {kind} {rule} {rollback}", record.id)
}

/// What people are told of a record, in plain words first.
fn notice_of(record: &Record) -> Option<Notice> {
    let decision = record.decision.as_ref()?;
    let service = decision
        .accused
        .as_ref()
        .map(|accused| accused.service.to_string())
        .or_else(|| record.services.first().map(ToString::to_string))
        .unwrap_or_else(|| "no service".to_owned());
    let (kind, title) = match (decision.kind, record.rollback) {
        (DecisionKind::Act, Some(RollbackState::Recovered)) => {
            (NoticeKind::Act, format!("{service}: rolled back, and recovered"))
        }
        (_, Some(RollbackState::NotRecovered)) if decision.reasons.iter().any(|reason| reason.rule == RuleId::V4) => {
            (NoticeKind::Page, format!("{service}: rolled back, and it got worse; a person must look now"))
        }
        (_, Some(RollbackState::NotRecovered)) => (NoticeKind::Page, format!("{service}: rolled back, but it did not help")),
        (DecisionKind::Page, Some(RollbackState::Failed)) => {
            (NoticeKind::Page, format!("{service}: the rollback was not sent; a person must look"))
        }
        (_, Some(RollbackState::Failed)) => {
            (NoticeKind::Page, format!("{service}: the rollback failed; the accused version still runs"))
        }
        (_, Some(RollbackState::Unknown)) => (NoticeKind::Page, format!("{service}: a person must look at the rollback")),
        (DecisionKind::Act, _) => (NoticeKind::Act, format!("{service}: rolling back")),
        (DecisionKind::Propose, _) => (
            NoticeKind::Propose,
            format!("{service}: a rollback is proposed; `backout approve {}` or `backout decline {}`", record.id, record.id),
        ),
        (DecisionKind::Hold, _) => (
            NoticeKind::Hold,
            match &record.attached_to {
                Some(other) => format!("{service}: waiting for the rollback of record {other}"),
                None => format!("{service}: waiting for evidence"),
            },
        ),
        (DecisionKind::Page, _) => (NoticeKind::Page, format!("{service}: an alert needs a person")),
        (DecisionKind::Ignore, _) => (NoticeKind::Ignore, format!("{service}: nothing done")),
    };
    let rules: Vec<&str> = decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    let last = record.timeline.last().map(|entry| format!("\n{}", entry.what)).unwrap_or_default();
    let text = format!(
        "{}{last}\nalert {}; rules {}",
        decision.because,
        record.alert.rule.as_deref().unwrap_or("without a rule name"),
        rules.join(", ")
    );
    Some(Notice { kind, title, text, record: Some(record.id.to_string()) })
}

/// Text for the timeline: how a decision reads.
pub(super) fn decision_in_words(record: &Record, at: Timestamp) -> String {
    record.decision.as_ref().map_or_else(
        || format!("no decision at {}", whole_seconds(at)),
        |decision| format!("decided {}: {}", decision.kind, decision.because),
    )
}
