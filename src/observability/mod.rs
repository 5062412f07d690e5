//! Log lines, and the span that ties them to an invocation; traces and metrics, where a setting has them exported.

mod export;
mod json_line;
pub mod metrics;
mod person;
mod record_trace;
pub mod spans;
mod trace_parent;

use std::{io::IsTerminal, panic, sync::OnceLock};

use jiff::Timestamp;

use tracing::{Level, Metadata, Span, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};
use uuid::Uuid;

pub use export::Export;
pub use record_trace::RecordTrace;
pub use trace_parent::{trace_id, trace_parent};

use export::{FINISH_MAX, FLUSH_MAX};

use crate::domain::record::{Record, RecordId, ToldOutcome};

use json_line::{JsonLine, Members};
use person::Shown;

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// The Functions host: one JSON object a line on stdout. Of stderr it would make errors, line by line.
    Host,
    /// A person at a terminal: stderr, since a command's own output is on stdout.
    Person,
}

/// What this process exports with; not set where it exports nothing.
static EXPORT: OnceLock<Export> = OnceLock::new();

/// Starts logging for this process, and exporting where there is something to export with; the second call is an error. The level
/// comes from `RUST_LOG` (`debug`, or `info,backout::process=debug`), default `info`.
pub fn init(format: LogFormat, export: Option<Export>) -> Result<(), TryInitError> {
    #[expect(clippy::disallowed_methods, reason = "logging starts before the settings are read")]
    let levels = std::env::var("RUST_LOG").ok();
    let filter = || {
        let targets: Targets = levels.as_deref().and_then(|levels| levels.parse().ok()).unwrap_or_default();
        if targets.default_level().is_some() { targets } else { targets.with_default(Level::INFO) }
    };
    let steps = export.as_ref().map(step_layer);
    match format {
        LogFormat::Host => tracing_subscriber::registry().with(steps).with(host_layer(std::io::stdout, filter())).try_init()?,
        LogFormat::Person => {
            let colors = std::io::stderr().is_terminal();
            let layer = fmt::layer().with_writer(|| Shown(std::io::stderr())).with_target(false).with_ansi(colors);
            let layer = layer.with_filter(filter().and(spoken_filter()));
            tracing_subscriber::registry().with(steps).with(layer).try_init()?;
        }
    }
    panic::set_hook(Box::new(log_panic));
    if let Some(export) = export {
        export_with(export);
    }
    Ok(())
}

/// Exports without logging, as a command of a person does. The first one stands.
pub fn export_with(export: Export) {
    let _ = EXPORT.set(export);
}

/// One JSON object a line, with the fields of the innermost span under `span`.
pub fn host_layer<S, W>(writer: W, filter: Targets) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt::layer()
        .fmt_fields(Members)
        .event_format(JsonLine)
        .with_ansi(false)
        .with_writer(writer)
        .with_filter(filter.and(spoken_filter()))
}

/// The root span of one invocation. The host's own records know its id; nothing else links our lines to them.
pub fn invocation_span(invocation_id: &str, function: &'static str, trace_parent: Option<&str>) -> Span {
    let trace_id = trace_parent.map_or_else(|| fresh_trace_id(invocation_id), |parent| trace_id(parent).to_owned());
    tracing::info_span!(
        "invocation",
        invocation.id = invocation_id,
        function,
        trace.id = trace_id,
        record.id = tracing::field::Empty,
        record.trace_id = tracing::field::Empty,
        outcome = tracing::field::Empty,
    )
}

/// Names the record that an invocation is about in each of its further log lines. Once an invocation.
pub fn name_record(record: &RecordId) {
    let span = Span::current();
    span.record("record.id", tracing::field::display(record));
    span.record("record.trace_id", tracing::field::display(RecordTrace::of(record).trace_id));
}

/// Counts what is new in a record that was told, and ends its trace where it is over. `before` is what was told of it last.
pub fn outcome_told(record: &Record, before: Option<&ToldOutcome>, now: Timestamp) {
    if let Some(export) = EXPORT.get() {
        export.outcome_told(record, before, now);
    }
}

/// Counts that a person marked a rollback as false.
pub fn marked_false(record: &Record) {
    if let Some(export) = EXPORT.get() {
        export.marked_false(record);
    }
}

/// Sends what is to be exported before an invocation is answered; waits at most [`FLUSH_MAX`] for it, and never fails.
pub async fn flush() {
    if let Some(export) = EXPORT.get() {
        export.flush(FLUSH_MAX).await;
    }
}

/// The same at the end of the process: waits for up to 2 s, also for a receiver that was away.
pub async fn finish() {
    if let Some(export) = EXPORT.get() {
        export.finish(FINISH_MAX).await;
    }
}

/// The steps of records' traces, and nothing else: what is logged is on stdout, from where the host takes it.
fn step_layer<S>(export: &Export) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(export.tracer())
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_context_activation(false)
        .with_filter(filter_fn(|metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == spans::STEP))
}

/// Other crates speak from warning upward only, whatever `RUST_LOG` says: their debug lines show headers and bodies. Steps are for
/// the export: the log's innermost span stays the invocation.
fn spoken_filter<S: Subscriber>() -> impl tracing_subscriber::layer::Filter<S> {
    filter_fn(|metadata: &Metadata<'_>| {
        let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        (ours || *metadata.level() <= Level::WARN) && metadata.target() != spans::STEP
    })
}

/// A trace of its own, keyed by the invocation: a GUID without dashes has the form of a trace id.
fn fresh_trace_id(invocation_id: &str) -> String {
    Uuid::try_parse(invocation_id).unwrap_or_else(|_| Uuid::new_v4()).simple().to_string()
}

/// The place of a panic, and its text only where that is a literal of the code: a formatted one may quote a message's body.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let literal = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("text withheld, it may quote input");
    tracing::error!(panic.place = place, "panic at {place}: {literal}");
}
