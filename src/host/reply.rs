//! Outcome -> reply: the only place that decides what the host hears, and so what becomes of a message.

use std::collections::BTreeMap;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::Span;

use super::http::{ANSWER_BINDING, AnswerOutput, HttpAnswer};
use crate::{domain::printable::printable, process::outcome::Outcome};

/// The reply for the host: 200 completes the message, 500 makes the host deliver it again at once.
///
/// Always a JSON object with `application/json`: the host hangs until its time-out on an empty 2xx, and fails the
/// invocation on any other media type. `ReturnValue` is null, since the host merges an object there over `Outputs`.
pub fn reply(outcome: &Outcome) -> Response {
    let status = match outcome {
        Outcome::Settled { .. } | Outcome::Parked { .. } | Outcome::PutBack { .. } => StatusCode::OK,
        // The host discards the body of a failure; it is for whoever looks at the wire.
        Outcome::DeliverAgain { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(status, &InvocationResult { outputs: NoOutputs {}, logs: [log_text(outcome)], return_value: None })
}

/// The reply that carries an answer to an HTTP caller: always 200 to the host, since the caller of any other status gets 500.
pub fn http_reply(answer: &HttpAnswer) -> Response {
    let outputs = BTreeMap::from([(ANSWER_BINDING, AnswerOutput::from(answer))]);
    json(StatusCode::OK, &InvocationResult { outputs, logs: [http_log_text(answer)], return_value: None })
}

/// A reply to a request which no host sends: a path or a method that is not served.
pub fn refusal(status: StatusCode, says: &str) -> Response {
    json(status, &Refusal { error: says })
}

/// One line an invocation, in its span and at the level of its outcome; `Logs` of the reply has the same text.
pub fn log(outcome: &Outcome) {
    Span::current().record("outcome", word(outcome));
    let says = log_text(outcome);
    match outcome {
        Outcome::Settled { .. } => tracing::info!("{says}"),
        Outcome::Parked { .. } | Outcome::PutBack { .. } => tracing::warn!("{says}"),
        Outcome::DeliverAgain { .. } => tracing::error!("{says}"),
    }
}

/// One line a call, in its span: refused callers are warnings, what lies with us is an error.
pub fn log_http(answer: &HttpAnswer) {
    Span::current().record("outcome", answer.status.as_u16());
    let says = http_log_text(answer);
    if answer.status.is_server_error() {
        tracing::error!("{says}");
    } else if answer.status.is_client_error() {
        tracing::warn!("{says}");
    } else {
        tracing::info!("{says}");
    }
}

/// The outcome in one word, for the log.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Settled { .. } => "settled",
        Outcome::Parked { .. } => "parked",
        Outcome::PutBack { .. } => "put back",
        Outcome::DeliverAgain { .. } => "deliver again",
    }
}

/// What the outcome says, as one line of at most 4,000 characters.
pub fn log_text(outcome: &Outcome) -> String {
    let says = match outcome {
        Outcome::Settled { says } | Outcome::Parked { says } | Outcome::PutBack { says } | Outcome::DeliverAgain { says } => says,
    };
    one_line(says)
}

/// The status and the sentence; a page of another kind is not for the log.
fn http_log_text(answer: &HttpAnswer) -> String {
    let is_sentence = answer.headers.get("Content-Type").is_some_and(|kind| kind.starts_with("text/plain"));
    let says = if is_sentence { answer.body.trim_end() } else { "answered with a page" };
    one_line(&format!("{}: {says}", answer.status.as_u16()))
}

fn one_line(says: &str) -> String {
    printable(says).chars().take(LOG_CHARACTERS_MAX).collect()
}

const LOG_CHARACTERS_MAX: usize = 4_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InvocationResult<O> {
    outputs: O,
    /// Strings only: an object or a list among them invalidates the whole reply.
    logs: [String; 1],
    return_value: Option<()>,
}

/// No trigger of a queue has an output binding: what backout sends, it sends itself, with delay and properties.
#[derive(Serialize)]
struct NoOutputs {}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        // Plain structs of strings; were it ever to fail, a failure is what the host must hear.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "application/json")], "{}").into_response(),
    }
}
