//! The steps of a record's trace: every name and attribute, in one place. They are `tracing` spans for the export only; the log does
//! not see them, and where nothing is exported they are not even made.
//!
//! Names in the terms of OpenTelemetry's semantic conventions where there are any (`messaging.*`, `faas.*`, `error.type`), else under
//! `backout.`. Values are ids, words of ours and names out of the policy: never a text of somebody else, a URL, a token or a person.

use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceState},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::record_trace::RecordTrace;
use crate::{
    decide::recovery::Recovery,
    domain::{
        decision::Decision,
        record::RecordId,
        rollback::{OperationState, Submission},
        service::Service,
    },
    ports::PortError,
};

/// The `tracing` target of every step.
pub(super) const STEP: &str = "backout::step";

macro_rules! step {
    ($name:literal $(, $($field:tt)*)?) => {
        tracing::info_span!(target: STEP, $name, otel.status_code = Empty, error.type = Empty $(, $($field)*)?)
    };
}

/// A message about a record is handled: a child of the record's root, with a link to the host's own trace of this invocation.
pub fn handled(record: &RecordId, queue: &'static str, invocation_id: &str, trace_parent: Option<&str>) -> Span {
    let span = step!(
        "process",
        otel.name = format_args!("process {queue}"),
        otel.kind = "consumer",
        messaging.system = "servicebus",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = queue,
        faas.trigger = "pubsub",
        faas.invocation_id = invocation_id,
        backout.record.id = %record,
    );
    join(&span, record);
    if let Some(host) = trace_parent.and_then(span_context) {
        span.add_link(host);
    }
    span
}

/// A late deployment event has an alert judged anew.
pub fn judged_again(record: &RecordId) -> Span {
    let span = step!("judge again", backout.record.id = %record);
    join(&span, record);
    span
}

/// Everything that a decision needs is read, side by side.
pub fn gather() -> Span {
    step!("gather")
}

pub fn decide() -> Span {
    step!("decide", backout.decision.kind = Empty, backout.rule.id = Empty)
}

pub fn decided(span: &Span, decision: &Decision) {
    span.record("backout.decision.kind", decision.kind.as_str());
    if let Some(reason) = decision.reasons.first() {
        span.record("backout.rule.id", reason.rule.as_str());
    }
}

/// The claim is inserted, while live state and kill switch are read once more.
pub fn claim() -> Span {
    step!("claim")
}

/// The one mutating call of a step.
pub fn submit(service: &Service, step: usize) -> Span {
    step!(
        "submit",
        otel.kind = "client",
        backout.service.name = %service.name,
        backout.platform = %service.target.platform(),
        backout.rollback.step = step,
        backout.submission = Empty,
    )
}

pub fn submitted(span: &Span, submission: &Submission) {
    let (word, failed) = match submission {
        Submission::Done => ("done", false),
        Submission::Accepted { .. } => ("accepted", false),
        Submission::Refused { .. } => ("refused", true),
        Submission::Busy { .. } => ("busy", true),
        Submission::NotSent { .. } => ("not_sent", true),
        Submission::Unknown { .. } => ("unknown", true),
    };
    span.record("backout.submission", word);
    if failed {
        fail(span, word);
    }
}

/// An operation that the platform accepted is asked about.
pub fn poll(service: &Service) -> Span {
    step!(
        "poll",
        otel.kind = "client",
        backout.service.name = %service.name,
        backout.platform = %service.target.platform(),
        backout.operation.state = Empty,
    )
}

pub fn polled(span: &Span, polled: &Result<OperationState, PortError>) {
    let word = match polled {
        Ok(OperationState::Running { .. }) => "running",
        Ok(OperationState::WaitsForAPerson { .. }) => "waits_for_a_person",
        Ok(OperationState::Succeeded) => "succeeded",
        Ok(OperationState::Failed { .. }) => "failed",
        Ok(OperationState::Unknown { .. }) => "unknown",
        Err(_) => return fail(span, "unreadable"),
    };
    span.record("backout.operation.state", word);
    if word == "failed" {
        fail(span, word);
    }
}

/// The target is looked at, to learn what became of a call.
pub fn look(service: &Service) -> Span {
    step!("look", backout.service.name = %service.name, backout.platform = %service.target.platform())
}

/// Platform and signals are read, to see whether the service recovered.
pub fn verify(service: &Service) -> Span {
    step!(
        "verify",
        backout.service.name = %service.name,
        backout.platform = %service.target.platform(),
        backout.recovery = Empty,
    )
}

pub fn verified(span: &Span, recovery: &Recovery) {
    let word = match recovery {
        Recovery::Recovered(_) => "recovered",
        Recovery::Worse(_) => "worse",
        Recovery::StillBad(_) => "still_bad",
        Recovery::Unknown(_) => "unknown",
    };
    span.record("backout.recovery", word);
}

/// The receipt is written and people are told.
pub fn tell() -> Span {
    step!("tell")
}

/// Marks a step as failed; `error_type` is one word of few.
pub fn fail(span: &Span, error_type: &'static str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

fn join(span: &Span, record: &RecordId) {
    if !span.is_disabled() {
        // An error means that nothing is exported.
        let _ = span.set_parent(RecordTrace::of(record).parent());
    }
}

/// Of a valid `traceparent`.
fn span_context(trace_parent: &str) -> Option<SpanContext> {
    let mut parts = trace_parent.split('-').skip(1);
    let (trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?);
    Some(SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    ))
}
