//! Traces and metrics to Application Insights or to a collector, where a setting asks for it; else nothing of this is ever built.
//!
//! The host may freeze or kill the process as soon as an invocation has been answered, so what has gathered is sent before the answer.
//! That never fails an invocation, and delays it by at most [`FLUSH_MAX`]: an export that takes longer goes on behind the answer, and
//! until one succeeds again nobody waits for any.

mod client;
mod counted;
mod destination;
mod kept;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::{
    Resource,
    metrics::data::ResourceMetrics,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanEvents, SpanLinks},
};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::record_trace::{self, RecordTrace};
use crate::{
    azure::identity::TokenSource,
    domain::{
        record::{Record, ToldOutcome},
        rollback::RollbackState,
    },
    settings::TelemetrySetting,
};
use counted::Counted;
use destination::Destination;
use kept::KeptSpans;

/// An invocation waits at most this long for what it exports.
pub(super) const FLUSH_MAX: Duration = Duration::from_millis(500);

/// An end that was asked for waits this long.
pub(super) const FINISH_MAX: Duration = Duration::from_secs(2);

/// After this an export is given up; what it carried is tried again with the next one.
const EXPORT_MAX: Duration = Duration::from_secs(10);

/// Readings of metrics that wait for a receiver; beyond this the oldest are dropped.
const READINGS_MAX: usize = 100;

/// A receiver's refusal may hold a whole page.
const PROBLEM_CHARACTERS_MAX: usize = 300;

/// Everything that exports.
pub struct Export {
    sender: Arc<Sender>,
    provider: SdkTracerProvider,
}

struct Sender {
    destination: Destination,
    spans: KeptSpans,
    counted: Counted,
    /// Held while an export is under way, with the readings that it could not send.
    unsent: Mutex<VecDeque<ResourceMetrics>>,
    /// The last export succeeded, and none takes too long.
    answers: AtomicBool,
    outage_told: AtomicBool,
}

impl Export {
    /// `Ok(None)` where no setting asks for any. `bearer` is for Application Insights, `service_name` tells whose telemetry it is.
    pub fn of(setting: &TelemetrySetting, bearer: Option<TokenSource>, service_name: &str) -> Result<Option<Self>, String> {
        if matches!(setting, TelemetrySetting::Off) {
            return Ok(None);
        }
        let resource = resource(service_name);
        let Some(destination) = Destination::of(setting, bearer, &resource)? else { return Ok(None) };
        let spans = KeptSpans::default();
        let provider = SdkTracerProvider::builder().with_resource(resource.clone()).with_span_processor(spans.clone()).build();
        let counted = Counted::new(resource);
        let sender = Sender {
            destination,
            spans,
            counted,
            unsent: Mutex::default(),
            answers: AtomicBool::new(true),
            outage_told: AtomicBool::new(false),
        };
        Ok(Some(Self { sender: Arc::new(sender), provider }))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(env!("CARGO_PKG_NAME"))
    }

    /// Counts what is new in a record that was told, and ends its trace where it is over.
    pub(super) fn outcome_told(&self, record: &Record, before: Option<&ToldOutcome>, now: Timestamp) {
        if record.outcome().as_ref() == before {
            return;
        }
        self.sender.counted.outcome_told(record, before);
        if record.is_over() {
            self.sender.spans.add(whole_story(record, before.is_some_and(|before| before.over), now));
        }
    }

    pub(super) fn marked_false(&self, record: &Record) {
        self.sender.counted.marked_false(record);
    }

    /// Sends what has gathered; waits for it at most `wait`, and not at all while the receiver is away.
    pub(super) async fn flush(&self, wait: Duration) {
        let sender = &self.sender;
        let answers = sender.answers.load(Ordering::SeqCst);
        // While the receiver is away, one export at a time is enough to find out.
        let is_nothing_to_do = sender.is_empty() || (!answers && sender.unsent.try_lock().is_err());
        if is_nothing_to_do {
            return;
        }
        let sent = tokio::spawn(Arc::clone(sender).send());
        if answers && tokio::time::timeout(wait, sent).await.is_err() {
            sender.answers.store(false, Ordering::SeqCst);
        }
    }

    /// Tries once more to send what has gathered, for at most `wait`: the process ends.
    pub(super) async fn finish(&self, wait: Duration) {
        if !self.sender.is_empty() {
            // What is not sent by then ends with the process.
            let _ = tokio::time::timeout(wait, Arc::clone(&self.sender).send()).await;
        }
    }
}

impl Sender {
    fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.counted.is_empty()
    }

    async fn send(self: Arc<Self>) {
        let mut unsent = self.unsent.lock().await;
        unsent.extend(self.counted.take());
        while unsent.len() > READINGS_MAX {
            unsent.pop_front();
        }
        let sent = tokio::time::timeout(EXPORT_MAX, self.send_all(&mut unsent)).await;
        let problem = match sent {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(format!("no answer within {} s", EXPORT_MAX.as_secs())),
        };
        self.answers.store(problem.is_none(), Ordering::SeqCst);
        let was_told = self.outage_told.swap(problem.is_some(), Ordering::SeqCst);
        match problem {
            Some(problem) if !was_told => {
                let problem: String = problem.chars().take(PROBLEM_CHARACTERS_MAX).collect();
                warn!(problem, "telemetry could not be exported; it is kept, within bounds, and tried again");
            }
            None if was_told => info!("telemetry is exported again"),
            Some(_) | None => {}
        }
    }

    async fn send_all(&self, readings: &mut VecDeque<ResourceMetrics>) -> Result<(), String> {
        let mut batch = Unsent { spans: self.spans.take(), kept: &self.spans };
        if !batch.spans.is_empty() {
            self.destination.export_spans(batch.spans.clone()).await.map_err(|error| error.to_string())?;
            batch.spans.clear();
        }
        while let Some(reading) = readings.front() {
            self.destination.export_metrics(reading).await.map_err(|error| error.to_string())?;
            readings.pop_front();
        }
        Ok(())
    }
}

/// Spans on their way; what did not arrive goes back, also when the wait for it was given up.
struct Unsent<'a> {
    spans: Vec<SpanData>,
    kept: &'a KeptSpans,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if !self.spans.is_empty() {
            self.kept.put_back(std::mem::take(&mut self.spans));
        }
    }
}

/// Who speaks; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win and add.
fn resource(service_name: &str) -> Resource {
    let own = Resource::builder_empty().with_service_name(service_name.to_owned()).with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ]);
    let own = own.build();
    let attributes = own.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(attributes)
        .with_detector(Box::new(opentelemetry_sdk::resource::EnvResourceDetector::new()))
        .build()
}

/// The root of a record's trace: from the alert's receipt to now. A record that was over before gets a child of it instead, from its
/// new decision on: a span is exported once.
fn whole_story(record: &Record, was_over: bool, now: Timestamp) -> SpanData {
    let trace = RecordTrace::of(&record.id);
    let (name, kind, id, parent_span_id, start) = if was_over {
        let id = record_trace::again_id(&record.id, record.generation);
        ("alert again", SpanKind::Internal, id, trace.root_id, record.decided_at.unwrap_or(record.received_at))
    } else {
        ("alert", SpanKind::Consumer, trace.root_id, SpanId::INVALID, record.received_at)
    };
    let start_time = SystemTime::from(start);
    SpanData {
        span_context: trace.span(id),
        parent_span_id,
        parent_span_is_remote: false,
        span_kind: kind,
        name: name.into(),
        start_time,
        end_time: SystemTime::from(now).max(start_time),
        attributes: attributes(record),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(record),
        instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build(),
    }
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("backout.record.id", record.id.to_string())];
    let decision = record.decision.as_ref();
    if let Some(decision) = decision {
        attributes.push(KeyValue::new("backout.decision.kind", decision.kind.as_str()));
        attributes.extend(decision.reasons.first().map(|reason| KeyValue::new("backout.rule.id", reason.rule.as_str())));
    }
    let accused = decision.and_then(|decision| decision.accused.as_ref());
    let service = accused.map(|accused| &accused.service).or(record.services.first());
    attributes.extend(service.map(|service| KeyValue::new("backout.service.name", service.to_string())));
    attributes.extend(record.rollback.map(|state| KeyValue::new("backout.rollback.state", state.words())));
    attributes
}

/// An alert that nothing had to be done about is no error; a rollback that did not bring the service back is.
fn status(record: &Record) -> Status {
    match record.rollback {
        Some(RollbackState::Recovered) => Status::Ok,
        Some(state @ (RollbackState::NotRecovered | RollbackState::Failed | RollbackState::Unknown)) => {
            Status::error(format!("rollback {}", state.words()))
        }
        Some(RollbackState::Claimed | RollbackState::Submitting | RollbackState::Accepted | RollbackState::Verifying) | None => {
            Status::Unset
        }
    }
}
