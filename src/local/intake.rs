//! Takes alerts and events over HTTP and puts them, unchanged, on the embedded queue: 202 only when they are stored.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::{get, post},
};
use tracing::warn;

use super::embedded_queue::EmbeddedQueue;
use crate::host::delivery::Function;

/// Queues that take messages from outside.
pub const INTAKE: &[Function] = &[Function::Alerts, Function::Deployments, Function::Markers];

/// A message larger than a Standard queue would take is refused here as well.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

pub fn router(queue: Arc<EmbeddedQueue>) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async {
                "backout local: POST alerts to /alerts, Event Grid events to /deployments, pipeline events to /markers\n"
            }),
        )
        .route("/{queue}", post(take))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(queue)
}

async fn take(State(queue): State<Arc<EmbeddedQueue>>, Path(name): Path<String>, body: Bytes) -> (StatusCode, String) {
    let Some(function) = INTAKE.iter().find(|function| function.name() == name) else {
        return (StatusCode::NOT_FOUND, "there are /alerts, /deployments and /markers\n".to_owned());
    };
    match queue.send_now(function.name(), &body).await {
        Ok(()) => (StatusCode::ACCEPTED, "stored\n".to_owned()),
        Err(error) => {
            warn!(%error, queue = function.name(), "the intake could not store a message");
            (StatusCode::SERVICE_UNAVAILABLE, "it could not be stored; send it again\n".to_owned())
        }
    }
}
