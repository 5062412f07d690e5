//! What is counted (V8). The names are a promise: dashboards and alert rules of others use them.

use jiff::Timestamp;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use crate::domain::{
    decision::{DecisionKind, Effect},
    record::{Record, ToldOutcome},
    rollback::RollbackState,
    service::ServiceName,
};

/// One metric as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDoc {
    pub name: &'static str,
    /// In the form of UCUM, as OpenTelemetry asks.
    pub unit: &'static str,
    pub attributes: &'static [&'static str],
    pub docs: &'static str,
}

pub const DECISIONS: MetricDoc = MetricDoc {
    name: "backout.decisions",
    unit: "{decision}",
    attributes: &[DECISION_KIND, SERVICE_NAME],
    docs: "Decisions that were told: acts, proposals, holds, pages and ignored alerts. A hold that goes on counts once.",
};

pub const VETOES: MetricDoc = MetricDoc {
    name: "backout.vetoes",
    unit: "{veto}",
    attributes: &[RULE_ID, EFFECT, SERVICE_NAME],
    docs: "Rules that kept a told decision from being an act, each by its id.",
};

pub const ROLLBACKS: MetricDoc = MetricDoc {
    name: "backout.rollbacks",
    unit: "{rollback}",
    attributes: &[ROLLBACK_STATE, SERVICE_NAME],
    docs: "Rollbacks that ended: `recovered`, `not recovered` (it did not help), `failed`, `unknown`.",
};

pub const FALSE_REVERTS: MetricDoc = MetricDoc {
    name: "backout.false_reverts",
    unit: "{rollback}",
    attributes: &[SERVICE_NAME],
    docs: "Rollbacks that a person marked as false: what was taken back was not at fault.",
};

pub const TIME_TO_ACT: MetricDoc = MetricDoc {
    name: "backout.time_to_act",
    unit: "s",
    attributes: &[SERVICE_NAME],
    docs: "From the onset of the fault, as the signals show it (else from the alert's firing), to the decision to act.",
};

/// In the order of the page.
pub const ALL: &[MetricDoc] = &[DECISIONS, VETOES, ROLLBACKS, FALSE_REVERTS, TIME_TO_ACT];

const DECISION_KIND: &str = "backout.decision.kind";
const RULE_ID: &str = "backout.rule.id";
const EFFECT: &str = "backout.effect";
const ROLLBACK_STATE: &str = "backout.rollback.state";
const SERVICE_NAME: &str = "backout.service.name";

/// The target is 5 minutes (T1); people notice about 10.
const TIME_TO_ACT_BOUNDARIES_SECONDS: [f64; 10] = [30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1800.0];

#[derive(Debug)]
pub(super) struct Instruments {
    decisions: Counter<u64>,
    vetoes: Counter<u64>,
    rollbacks: Counter<u64>,
    false_reverts: Counter<u64>,
    time_to_act: Histogram<f64>,
}

impl Instruments {
    pub fn new(meter: &Meter) -> Self {
        let counter =
            |metric: MetricDoc| meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.docs).build();
        Self {
            decisions: counter(DECISIONS),
            vetoes: counter(VETOES),
            rollbacks: counter(ROLLBACKS),
            false_reverts: counter(FALSE_REVERTS),
            time_to_act: meter
                .f64_histogram(TIME_TO_ACT.name)
                .with_unit(TIME_TO_ACT.unit)
                .with_description(TIME_TO_ACT.docs)
                .with_boundaries(TIME_TO_ACT_BOUNDARIES_SECONDS.to_vec())
                .build(),
        }
    }

    pub fn marked_false(&self, record: &Record) {
        self.false_reverts.add(1, &[service_of(record)]);
    }

    /// Counts what is new in `record`'s outcome since `before`.
    pub fn outcome_told(&self, record: &Record, before: Option<&ToldOutcome>) {
        let (Some(outcome), Some(decision)) = (record.outcome(), record.decision.as_ref()) else { return };
        let accused = decision.accused.as_ref();
        let service = service_of(record);
        let is_same_decision = before.is_some_and(|before| before.decision == outcome.decision && before.rule == outcome.rule);
        if !is_same_decision {
            self.decisions.add(1, &[KeyValue::new(DECISION_KIND, decision.kind.as_str()), service.clone()]);
            let mut counted = Vec::new();
            for reason in decision.reasons.iter().filter(|reason| is_veto(decision.kind, reason.effect)) {
                if !counted.contains(&reason.rule) {
                    counted.push(reason.rule);
                    let id = KeyValue::new(RULE_ID, reason.rule.as_str());
                    self.vetoes.add(1, &[id, KeyValue::new(EFFECT, effect(reason.effect)), service.clone()]);
                }
            }
            if decision.kind == DecisionKind::Act
                && let Some(decided_at) = record.decided_at
            {
                let began = accused.and_then(|accused| accused.onset_at).unwrap_or_else(|| fired_at(record));
                let seconds = decided_at.duration_since(began).as_secs_f64().max(0.0);
                self.time_to_act.record(seconds, std::slice::from_ref(&service));
            }
        }
        if let Some(state) = outcome.rollback.filter(|_| before.is_none_or(|before| before.rollback != outcome.rollback)) {
            self.rollbacks.add(1, &[KeyValue::new(ROLLBACK_STATE, RollbackState::words(state)), service]);
        }
    }
}

fn service_of(record: &Record) -> KeyValue {
    let accused = record.decision.as_ref().and_then(|decision| decision.accused.as_ref());
    let service = accused.map(|accused| &accused.service).or(record.services.first());
    KeyValue::new(SERVICE_NAME, service.map_or_else(|| "none".to_owned(), |name: &ServiceName| name.0.clone()))
}

fn fired_at(record: &Record) -> Timestamp {
    record.alert.fired_at.unwrap_or(record.received_at)
}

/// Whether a reason with this effect kept the decision from being an act.
fn is_veto(kind: DecisionKind, effect: Effect) -> bool {
    match (kind, effect) {
        (DecisionKind::Act, _) | (_, Effect::Note) => false,
        (
            DecisionKind::Propose | DecisionKind::Hold | DecisionKind::Page | DecisionKind::Ignore,
            Effect::Propose | Effect::Hold | Effect::Page | Effect::Ignore,
        ) => true,
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Note => "note",
        Effect::Propose => "propose",
        Effect::Hold => "hold",
        Effect::Page => "page",
        Effect::Ignore => "ignore",
    }
}
