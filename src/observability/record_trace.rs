//! The one trace of a record, from the alert's first receipt to the end, over follow-ups, crashes and instances.
//!
//! Its ids follow from the record's own, which every message and document names: so each invocation, of whatever instance and
//! before it has read anything, knows the trace that it belongs to and the root span that is its parent.

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt, TraceState},
};
use sha2::{Digest, Sha256};

use crate::domain::record::RecordId;

/// Ids in the form of W3C Trace Context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordTrace {
    pub trace_id: TraceId,
    /// The span from the alert's receipt to the record's end. It is exported at that end, when its length is known.
    pub root_id: SpanId,
}

impl RecordTrace {
    pub fn of(record: &RecordId) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(format!("trace of {record}"))[..16]);
        Self { trace_id: TraceId::from_bytes(bytes), root_id: span_id(&format!("root of {record}")) }
    }

    /// A span of this trace that was not measured by a clock of ours, by a name of its own.
    pub(super) fn span(self, id: SpanId) -> SpanContext {
        SpanContext::new(self.trace_id, id, TraceFlags::SAMPLED, true, TraceState::NONE)
    }

    /// What makes a span a child of the root.
    pub(super) fn parent(self) -> Context {
        Context::new().with_remote_span_context(self.span(self.root_id))
    }
}

/// The id of the span in which a record that had ended was judged anew and ended again; by the generation of its end.
pub(super) fn again_id(record: &RecordId, generation: u64) -> SpanId {
    span_id(&format!("{record} again {generation}"))
}

fn span_id(text: &str) -> SpanId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Sha256::digest(text)[..8]);
    SpanId::from_bytes(bytes)
}
