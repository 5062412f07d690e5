//! The emulator's judgement of answers: what the host accepts, refuses, and hangs on.

use backout::sim::host::{Verdict, judge};
use serde_json::json;

const JSON: Option<&str> = Some("application/json");

fn succeeded(body: &str) -> (Vec<String>, serde_json::Value) {
    match judge(200, JSON, body.as_bytes()) {
        Verdict::Succeeded { logs, outputs } => (logs, outputs.into()),
        other @ (Verdict::Failed { .. } | Verdict::Hangs { .. }) => panic!("{body}: {other:?}"),
    }
}

fn why_failed(status: u16, content_type: Option<&str>, body: &str) -> String {
    match judge(status, content_type, body.as_bytes()) {
        Verdict::Failed { why } => why,
        other @ (Verdict::Succeeded { .. } | Verdict::Hangs { .. }) => panic!("{body}: {other:?}"),
    }
}

#[test]
fn an_object_is_success() {
    assert_eq!(succeeded(r#"{"Outputs":{},"Logs":["a"],"ReturnValue":null}"#), (vec!["a".to_owned()], json!({})));
    assert_eq!(succeeded("{}"), (vec![], json!({})));
    assert_eq!(succeeded(r#"{"other":1}"#), (vec![], json!({})));
    assert!(matches!(judge(202, Some("text/json; charset=utf-8"), b"{}"), Verdict::Succeeded { .. }));
}

#[test]
fn names_of_members_have_no_case_and_values_are_coerced() {
    let body = r#"{"logs":["a",1,true,null],"OUTPUTS":{"Out":1},"returnValue":{"out":2}}"#;
    let logs = ["a", "1", "True", ""].map(str::to_owned).to_vec();
    assert_eq!(succeeded(body), (logs, json!({"Out": 1, "out": 2})));
    assert_eq!(succeeded(r#"{"Logs":null,"Outputs":null}"#), (vec![], json!({})));
}

#[test]
fn empty_and_null_answers_hang() {
    for status in [200, 202, 204] {
        assert!(matches!(judge(status, JSON, b""), Verdict::Hangs { .. }), "{status}");
        assert!(matches!(judge(status, None, b""), Verdict::Hangs { .. }), "{status}");
    }
    assert!(matches!(judge(200, JSON, b"null"), Verdict::Hangs { .. }));
}

#[test]
fn everything_else_fails() {
    assert_eq!(why_failed(200, Some("text/plain"), "{}"), "the answer's media type is `text/plain`, not `application/json`");
    assert_eq!(why_failed(200, None, "{}"), "the answer's media type is ``, not `application/json`");
    assert!(why_failed(200, JSON, "not json").starts_with("Invalid HttpResponseMessage: the answer is not JSON"));
    assert_eq!(why_failed(200, JSON, "[]"), "Invalid HttpResponseMessage: the answer is JSON, but not an object");
    assert_eq!(why_failed(200, JSON, r#"{"Logs":[{}]}"#), "Invalid HttpResponseMessage: an entry of `Logs` is not a string");
    assert_eq!(why_failed(200, JSON, r#"{"Logs":[["a"]]}"#), "Invalid HttpResponseMessage: an entry of `Logs` is not a string");
    assert_eq!(why_failed(200, JSON, r#"{"Logs":"a"}"#), "Invalid HttpResponseMessage: `Logs` is not a list");
    assert_eq!(why_failed(200, JSON, r#"{"Outputs":[]}"#), "Invalid HttpResponseMessage: `Outputs` is not an object");
    for status in [100, 304, 400, 404, 500, 503] {
        let why = why_failed(status, JSON, r#"{"Logs":["lost"]}"#);
        assert_eq!(why, format!("Response status code does not indicate success: {status}"));
    }
}
