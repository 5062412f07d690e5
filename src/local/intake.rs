//! Takes alerts and events over HTTP and puts them, unchanged, on our own queues: 202 only when they are stored.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::{get, post},
};
use tracing::warn;

use crate::{
    host::delivery::Function,
    ports::{FollowUps, QueueMessage},
};

/// Queues that take messages from outside.
pub const INTAKE: &[Function] = &[Function::Alerts, Function::Deployments, Function::Markers];

/// A message larger than a Basic or Standard queue would take is refused here as well.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

pub fn router(queues: Arc<dyn FollowUps>) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async {
                "backout local: POST alerts to /alerts, Event Grid events to /deployments, pipeline events to /markers\n"
            }),
        )
        .route("/{queue}", post(take))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(queues)
}

async fn take(State(queues): State<Arc<dyn FollowUps>>, Path(name): Path<String>, body: Bytes) -> (StatusCode, String) {
    let Some(function) = INTAKE.iter().find(|function| function.name() == name) else {
        return (StatusCode::NOT_FOUND, "there are /alerts, /deployments and /markers\n".to_owned());
    };
    // No id: whoever sends the same bytes again may have a reason, and a duplicate only counts.
    let message = QueueMessage { queue: function.name().to_owned(), body: body.to_vec(), returns: 0, message_id: None };
    match queues.send(message, Duration::ZERO).await {
        Ok(()) => (StatusCode::ACCEPTED, "stored\n".to_owned()),
        Err(error) => {
            warn!(%error, queue = function.name(), "the intake could not store a message");
            (StatusCode::SERVICE_UNAVAILABLE, "it could not be stored; send it again\n".to_owned())
        }
    }
}
