//! Takes alerts and events over HTTP and puts them on our own queues, as `alert-webhook` does in Azure: 202 only when they are
//! stored. No key and no token: whatever program reaches this machine's port may send.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    host::{
        browser,
        delivery::Function,
        http::HttpAnswer,
        webhook::acceptance::{Acceptance, BODY_BYTES_MAX},
    },
    ports::FollowUps,
};

/// Queues that take messages from outside.
pub const INTAKE: &[Function] = &[Function::Alerts, Function::Deployments, Function::Markers];

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
        .layer(middleware::from_fn(browser::refuse_pages))
        .with_state(Acceptance::new(queues))
}

async fn take(State(acceptance): State<Acceptance>, Path(name): Path<String>, body: Bytes) -> Response {
    let answer = match INTAKE.iter().find(|function| function.name() == name) {
        Some(function) => acceptance.accept(*function, body.to_vec(), None).await,
        None => HttpAnswer::says(StatusCode::NOT_FOUND, "there are /alerts, /deployments and /markers"),
    };
    (answer.status, answer.body).into_response()
}
