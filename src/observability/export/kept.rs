//! Spans that have ended and are not exported yet, in a bounded list: no thread, no timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// Beyond this the newest are dropped: about a dozen rollbacks without a receiver.
const SPANS_MAX: usize = 1_000;

#[derive(Debug, Clone, Default)]
pub(super) struct KeptSpans(Arc<Mutex<Vec<SpanData>>>);

impl KeptSpans {
    pub fn add(&self, span: SpanData) {
        let mut kept = self.kept();
        if kept.len() < SPANS_MAX {
            kept.push(span);
        }
    }

    pub fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.kept())
    }

    /// Puts back what could not be exported, before what has come meanwhile.
    pub fn put_back(&self, mut spans: Vec<SpanData>) {
        let mut kept = self.kept();
        spans.append(&mut kept);
        spans.truncate(SPANS_MAX);
        *kept = spans;
    }

    pub fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<SpanData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for KeptSpans {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.add(span);
    }

    /// Exporting waits, which this must not: see [`super::Export::flush`].
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
