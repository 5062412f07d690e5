//! From a body that may come in to a message in its queue: well-formed, small enough, sent, and only then accepted.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde::de::IgnoredAny;
use tracing::{error, warn};

use super::shrink::{self, Shrunk};
use crate::{
    domain::{alert::Alert, event::Event, target::sha256_hex},
    host::{delivery::Function, http::HttpAnswer},
    inbound,
    ports::{FollowUps, PortErrorKind, QueueMessage},
};

/// Largest body that is read at all: what is larger nobody could understand later.
pub const BODY_BYTES_MAX: usize = inbound::BODY_BYTES_MAX;

/// Largest message: what a queue takes in the Basic and Standard tiers (256 KB), less room for properties and headers.
pub const MESSAGE_BYTES_MAX: usize = 240 * 1024;

/// The sender waits as long, and may give up soon after; it has its own retries.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Puts what came in from outside on a queue.
#[derive(Clone)]
pub struct Acceptance {
    follow_ups: Arc<dyn FollowUps>,
}

impl Acceptance {
    pub fn new(follow_ups: Arc<dyn FollowUps>) -> Self {
        Self { follow_ups }
    }

    /// 202 when the body is in the queue, byte for byte unless it had to be made smaller; 400 and 413 when it never can be; 503 when
    /// the queue fails. `delivery_id` names what was sent, where the sender says so: a repeat of it is the same message.
    pub async fn accept(&self, queue: Function, body: Vec<u8>, delivery_id: Option<&str>) -> HttpAnswer {
        if let Err(refusal) = well_formed(&body) {
            return refusal;
        }
        let message_id = message_id(&body, delivery_id);
        let Shrunk { body, dropped } = match queue {
            Function::Alerts => shrink::to_fit(body, MESSAGE_BYTES_MAX),
            // Nothing in them could be left out.
            Function::Deployments | Function::Markers | Function::FollowUps | Function::Sweep => Shrunk { body, dropped: None },
        };
        if let Some(dropped) = dropped {
            warn!(queue = queue.name(), dropped, "an alert was too big for its queue");
        }
        let bytes = body.len();
        let message = QueueMessage { queue: queue.name().to_owned(), body, returns: 0, message_id: Some(message_id) };
        match tokio::time::timeout(SEND_WITHIN, self.follow_ups.send(message, Duration::ZERO)).await {
            Ok(Ok(())) => HttpAnswer::says(StatusCode::ACCEPTED, format!("it is on the queue `{}`", queue.name())),
            // A larger tier would have taken it.
            Ok(Err(error)) if error.kind == PortErrorKind::Invalid && bytes > MESSAGE_BYTES_MAX => {
                error!(%error, queue = queue.name(), bytes, "a message is too big for its queue");
                HttpAnswer::says(StatusCode::PAYLOAD_TOO_LARGE, format!("{bytes} bytes are more than the queue takes"))
            }
            Ok(Err(error)) => {
                error!(%error, queue = queue.name(), "a message could not be put on its queue");
                HttpAnswer::later("the queue does not take it now; send it again")
            }
            Err(_) => {
                error!(queue = queue.name(), "a message was not put on its queue in time");
                HttpAnswer::later("the queue did not answer in time; send it again")
            }
        }
    }
}

/// JSON of a size that can be handled. What the JSON means is judged where it can be kept for a person.
fn well_formed(body: &[u8]) -> Result<(), HttpAnswer> {
    if body.len() > BODY_BYTES_MAX {
        return Err(HttpAnswer::says(StatusCode::PAYLOAD_TOO_LARGE, format!("a body may have {BODY_BYTES_MAX} bytes")));
    }
    let refuse = |why: String| Err(HttpAnswer::says(StatusCode::BAD_REQUEST, why));
    if body.trim_ascii().is_empty() {
        return refuse("the body is empty".to_owned());
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => refuse(format!("the body is not JSON: broken at line {}, column {}", error.line(), error.column())),
    }
}

/// What a queue with duplicate detection knows a repeat by.
fn message_id(body: &[u8], delivery_id: Option<&str>) -> String {
    if let Some(id) = delivery_id {
        return format!("delivery-{}", sha256_hex(id.as_bytes()));
    }
    let events = inbound::recognise(body);
    if let [Ok(inbound::Understood { event: Event::Alert(Alert { id: Some(id), condition, fired_at, resolved_at, .. }), .. })] =
        events.as_slice()
    {
        let firing = format!("{}|{condition:?}|{fired_at:?}|{resolved_at:?}", id.to_ascii_lowercase());
        return format!("alert-{}", sha256_hex(firing.as_bytes()));
    }
    format!("body-{}", sha256_hex(body))
}
