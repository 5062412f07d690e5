//! The HTTP server that the Functions host talks to on 127.0.0.1.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    middleware,
    response::Response,
    routing::{get, post},
    serve::ListenerExt,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use super::{
    browser,
    delivery::{Deliveries, Delivery, Function},
    envelope,
    http::{HttpAnswer, HttpFunction, HttpRequest},
    reply,
};
use crate::{observability, process::outcome::Outcome};

/// Largest request body: 200 MiB.
///
/// A premium queue's message may have 100 MB, which is 134 MB of base64, and the host adds up to 64 KB of properties
/// twice. The host itself sets no limit; axum's own would be 2 MB.
pub const REQUEST_BYTES_MAX: usize = 200 * 1024 * 1024;

/// Why serving ended although nobody asked for it. The process must then exit with another code than 0, which the host
/// takes for a graceful end: it would never start backout again.
#[derive(Debug, thiserror::Error)]
pub enum ServeProblem {
    #[error("the server failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the server stopped although nobody asked it to")]
    StoppedByItself,
}

/// Binds the port that the host chose. The host connects to 127.0.0.1, over IPv4 only.
///
/// The port is the same after a restart; tokio sets `SO_REUSEADDR`, so connections of the process before do not block it.
pub async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Serves until `asked_to_stop` is done, then finishes what is under way. `Ok` only if it was asked.
pub async fn serve(
    listener: TcpListener,
    deliveries: Arc<dyn Deliveries>,
    asked_to_stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeProblem> {
    let asked = Arc::new(AtomicBool::new(false));
    let asked_inside = Arc::clone(&asked);
    // Small replies must not wait for a full packet. Failing to say so costs time only.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, router(deliveries))
        .with_graceful_shutdown(async move {
            asked_to_stop.await;
            asked_inside.store(true, Ordering::SeqCst);
            tracing::info!("asked to stop: finishing what is under way");
        })
        .await?;
    if asked.load(Ordering::SeqCst) { Ok(()) } else { Err(ServeProblem::StoppedByItself) }
}

/// Done on SIGTERM or SIGINT: containers and Core Tools send them; the host in Azure kills without a word.
pub async fn stop_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
    }
    Ok(())
}

/// `GET /` for the host's probes, `POST /{folder}` for each function, nothing else.
pub fn router(deliveries: Arc<dyn Deliveries>) -> Router {
    let mut router = Router::new().route("/", get(async || reply::refusal(StatusCode::OK, "none: backout listens")));
    for function in Function::ALL.iter().copied() {
        let handler = move |State(deliveries), headers: HeaderMap, body: Body| invoke(deliveries, function, headers, body);
        router = router.route(&format!("/{}", function.name()), post(handler));
    }
    for function in HttpFunction::ALL.iter().copied() {
        let handler = move |State(deliveries), headers: HeaderMap, body: Body| answer(deliveries, function, headers, body);
        router = router.route(&format!("/{}", function.name()), post(handler));
    }
    router
        .fallback(async || reply::refusal(StatusCode::NOT_FOUND, "no function has this name; names are case-sensitive"))
        .method_not_allowed_fallback(async || reply::refusal(StatusCode::METHOD_NOT_ALLOWED, "functions are invoked by POST"))
        .layer(middleware::from_fn(browser::refuse_pages))
        .layer(CatchPanicLayer::custom(|_| reply::reply(&panicked())))
        .with_state(deliveries)
}

async fn invoke(deliveries: Arc<dyn Deliveries>, function: Function, headers: HeaderMap, body: Body) -> Response {
    let invocation_id = invocation_id(&headers);
    let trace_parent = observability::trace_parent(&headers);
    let span = observability::invocation_span(&invocation_id, function.name(), trace_parent.as_deref());
    let outcome = match to_bytes(body, REQUEST_BYTES_MAX).await {
        Ok(request) => {
            // A task of its own: a panic ends it alone, and a host that hangs up does not cut a delivery in half.
            let task = deliver(deliveries, function, request, invocation_id, trace_parent);
            tokio::spawn(task.instrument(span.clone()))
                .await
                .unwrap_or_else(|error| if error.is_panic() { panicked() } else { stopped() })
        }
        Err(_) => Outcome::DeliverAgain {
            says: format!("the request could not be read to its end, or has more than {REQUEST_BYTES_MAX} bytes"),
        },
    };
    span.in_scope(|| reply::log(&outcome));
    observability::flush().await;
    reply::reply(&outcome)
}

/// A caller must not read 500, which action groups do not repeat: every trouble of our own is 503.
async fn answer(deliveries: Arc<dyn Deliveries>, function: HttpFunction, headers: HeaderMap, body: Body) -> Response {
    let invocation_id = invocation_id(&headers);
    let trace_parent = observability::trace_parent(&headers);
    let span = observability::invocation_span(&invocation_id, function.name(), trace_parent.as_deref());
    let answer = match to_bytes(body, REQUEST_BYTES_MAX).await.map(|request| HttpRequest::read(function, &request)) {
        Ok(Ok(request)) => tokio::spawn(async move { deliveries.answer(request).await }.instrument(span.clone()))
            .await
            .unwrap_or_else(|_| HttpAnswer::later("backout met a bug in itself, or was stopped; send it again")),
        Ok(Err(envelope::EnvelopeProblem::BodyIsNoText)) => {
            HttpAnswer::says(StatusCode::BAD_REQUEST, "the body is no text that can be read; send it in UTF-8")
        }
        Ok(Err(problem)) => HttpAnswer::later(problem.to_string()),
        Err(_) => HttpAnswer::later("the request could not be read to its end"),
    };
    span.in_scope(|| reply::log_http(&answer));
    reply::http_reply(&answer)
}

async fn deliver(
    deliveries: Arc<dyn Deliveries>,
    function: Function,
    request: Bytes,
    invocation_id: String,
    trace_parent: Option<String>,
) -> Outcome {
    let envelope::Decoded { body, returns, delivered_before, problem } = envelope::decode(function, &request);
    // Up to 200 MiB, which need not be kept for as long as the delivery takes.
    drop(request);
    if let Some(problem) = &problem {
        tracing::warn!("{problem}");
    }
    let envelope_problem = problem;
    deliveries
        .deliver(Delivery { function, body, returns, delivered_before, envelope_problem, invocation_id, trace_parent })
        .await
}

fn panicked() -> Outcome {
    Outcome::DeliverAgain { says: "backout met a bug in itself (a panic); the log has its place in the code".to_owned() }
}

fn stopped() -> Outcome {
    Outcome::DeliverAgain { says: "backout was stopped before the delivery ended".to_owned() }
}

/// The host sends a GUID. Anything on this machine can call, so only what looks like an id gets into the log.
fn invocation_id(headers: &HeaderMap) -> String {
    headers
        .get("x-azure-functions-invocationid")
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .unwrap_or("unknown")
        .to_owned()
}
