//! Metrics that are read when there is something to export.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality, data::ResourceMetrics, reader::MetricReader,
    },
};

use super::super::metrics::Instruments;
use crate::domain::record::{Record, ToldOutcome};

/// Each export carries what was counted since the one before (delta): a process lives for minutes and counts a few, of which a
/// running total would tell nothing.
#[derive(Debug)]
pub(super) struct Counted {
    instruments: Instruments,
    reader: Reader,
    is_new: AtomicBool,
    /// Holds the pipeline that the reader reads.
    _provider: SdkMeterProvider,
}

impl Counted {
    pub fn new(resource: Resource) -> Self {
        let reader = Reader(Arc::new(ManualReader::builder().with_temporality(Temporality::Delta).build()));
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        let instruments = Instruments::new(&provider.meter(env!("CARGO_PKG_NAME")));
        Self { instruments, reader, is_new: AtomicBool::new(false), _provider: provider }
    }

    pub fn outcome_told(&self, record: &Record, before: Option<&ToldOutcome>) {
        self.instruments.outcome_told(record, before);
        self.is_new.store(true, Ordering::SeqCst);
    }

    pub fn marked_false(&self, record: &Record) {
        self.instruments.marked_false(record);
        self.is_new.store(true, Ordering::SeqCst);
    }

    pub fn is_empty(&self) -> bool {
        !self.is_new.load(Ordering::SeqCst)
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Option<ResourceMetrics> {
        if !self.is_new.swap(false, Ordering::SeqCst) {
            return None;
        }
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).ok()?;
        metrics.scope_metrics().next()?;
        Some(metrics)
    }
}

/// The provider wants a reader of its own.
#[derive(Debug, Clone)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
