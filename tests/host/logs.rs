//! What gets into the log, and in which form.

use backout::observability::invocation_span;
use serde_json::Value;

use crate::support::kept_log::KeptLog;

/// The lines that `speak` leads to, each of which must be one JSON object.
fn logged(filter: &str, speak: impl FnOnce()) -> Vec<Value> {
    let kept = KeptLog::default();
    tracing::subscriber::with_default(kept.subscriber(filter.parse().unwrap()), speak);
    kept.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_line_break_does_not_make_a_second_record() {
    let lines = logged("info", || tracing::info!("first\nsecond\r\u{1b}[31m"));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], "first\nsecond\r\u{1b}[31m");
    assert_eq!(lines[0]["level"], "INFO");
}

#[test]
fn other_crates_speak_from_warning_upward_only() {
    let speak = || {
        tracing::debug!(target: "backout::process", "ours in detail");
        tracing::debug!(target: "hyper::proto", "authorization: Bearer composed");
        tracing::info!(target: "azure_core::http", "composed body");
        tracing::trace!(target: "backout_like::x", "another crate with a like name");
        tracing::warn!(target: "hyper::proto", "their warning");
    };
    let messages = |filter| {
        let lines = logged(filter, speak);
        lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages("trace"), ["ours in detail", "their warning"]);
    assert_eq!(messages("info"), ["their warning"]);
    assert_eq!(messages("error"), Vec::<String>::new());
}

#[test]
fn the_span_of_an_invocation_names_it() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let id = "6f9f3c1e-0000-4000-8000-000000000001";
    let lines = logged("info", || {
        invocation_span(id, "alerts", Some(parent)).in_scope(|| tracing::info!("with a parent"));
        invocation_span(id, "sweep", None).in_scope(|| tracing::info!("without"));
        invocation_span("unknown", "sweep", None).in_scope(|| tracing::info!("without anything"));
    });
    let field = |line: usize, name: &str| lines[line]["span"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!((field(0, "invocation.id"), field(0, "function")), (id.to_owned(), "alerts".to_owned()));
    assert_eq!(field(0, "trace.id"), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(field(1, "trace.id"), "6f9f3c1e000040008000000000000001", "a trace of its own, keyed by the invocation");
    assert_eq!(field(2, "trace.id").len(), 32);
}
