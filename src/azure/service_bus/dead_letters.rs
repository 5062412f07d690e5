//! Dead letters: looked at by receiving them, since the REST face has no other way, and sent again to their queue.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use azure_core_legacy::headers::Headers;
use azure_messaging_servicebus::service_bus::{SendMessageOptions, SettableBrokerProperties};
use futures::stream::{self, StreamExt};
use serde_json::Value;

use super::{DEAD_LETTERS, JSON, ServiceBusQueues, receive::LockedMessage, transport::ascii_json};
use crate::{
    domain::target::short_hash,
    ports::{DeadLetter, DeadLetters, Fate, LockProblem, MessageLock, PortError, PortErrorKind, Walk, WalkEnd, Wanted},
};

/// Requests at a time when the locks are given back.
const SIDE_BY_SIDE: usize = 8;

/// What the broker adds when it gives a message up; they would tell lies about the new one.
const REASON: &str = "deadletterreason";
const DESCRIPTION: &str = "deadlettererrordescription";

/// Headers that an answer has of HTTP, or of Azure, and not of the message.
const NOT_PROPERTIES: &[&str] = &[
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "location",
    "pragma",
    "received-brokerproperties",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "via",
];

#[async_trait::async_trait]
impl DeadLetters for ServiceBusQueues {
    /// Letters that are left stay locked until the end, or else they would come round again at once.
    async fn walk(&self, queue: &str, limit: usize, wanted: &Wanted<'_>) -> Walk {
        let source = format!("{queue}{DEAD_LETTERS}");
        let (mut letters, mut held, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        let end = loop {
            let locked = match self.peek_lock(&source, Duration::ZERO).await {
                Ok(Some(locked)) => locked,
                Ok(None) => break WalkEnd::All,
                Err(error) => break WalkEnd::Failed(error),
            };
            let letter = letter(queue, &locked);
            if letters.len() >= limit || !seen.insert(letter.id.clone()) {
                held.push(locked.lock);
                break WalkEnd::Limit;
            }
            let fate = if wanted(&letter) { self.queue_again(&letter, &locked).await } else { Fate::Left };
            if !matches!(fate, Fate::QueuedAgain) {
                held.push(locked.lock);
            }
            letters.push((letter, fate));
        };
        stream::iter(held)
            .for_each_concurrent(SIDE_BY_SIDE, |lock| async move {
                if let Err(error) = lock.abandon().await {
                    tracing::debug!(%error, "the lock on a dead letter was not given back; it ends by itself");
                }
            })
            .await;
        Walk { letters, end }
    }
}

impl ServiceBusQueues {
    async fn queue_again(&self, letter: &DeadLetter, locked: &LockedMessage) -> Fate {
        if let Err(error) = self.send_with(&letter.queue, &letter.body, || options(letter, locked)).await {
            return Fate::Failed(error);
        }
        match locked.lock.complete().await {
            Ok(()) => Fate::QueuedAgain,
            Err(problem) => Fate::Failed(not_taken_away(problem)),
        }
    }
}

fn letter(queue: &str, locked: &LockedMessage) -> DeadLetter {
    let broker = &locked.broker;
    let number = broker.sequence_number.map(|number| number.to_string());
    DeadLetter {
        id: format!("{queue}:{}", number.or_else(|| broker.message_id.clone()).unwrap_or_default()),
        queue: queue.to_owned(),
        body: locked.body.clone(),
        message_id: broker.message_id.clone(),
        returns: locked.returns,
        delivery_count: broker.delivery_count,
        reason: text(&locked.headers, REASON).unwrap_or_else(|| "the broker gives no reason".to_owned()),
        description: text(&locked.headers, DESCRIPTION),
        enqueued_at: broker.enqueued_at(),
        dead_since: None,
    }
}

/// As it was sent, but with an id of its own: with the old one, a queue that detects duplicates would drop it. The same letter
/// sent twice has the same new id, and arrives once there.
fn options(letter: &DeadLetter, locked: &LockedMessage) -> SendMessageOptions {
    let message_id = short_hash(&["replay", &letter.id, letter.message_id.as_deref().unwrap_or_default()]);
    let content_type = locked.headers.iter().find(|(name, _)| name.as_str() == "content-type");
    SendMessageOptions {
        content_type: Some(content_type.map_or_else(|| JSON.to_owned(), |(_, value)| value.as_str().to_owned())),
        broker_properties: Some(SettableBrokerProperties {
            message_id: Some(message_id),
            label: locked.broker.label.clone(),
            correlation_id: locked.broker.correlation_id.clone(),
            ..SettableBrokerProperties::default()
        }),
        custom_properties: Some(application_properties(&locked.headers)),
    }
}

/// Values are JSON, and go out as they came.
fn application_properties(headers: &Headers) -> HashMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !NOT_PROPERTIES.contains(name) && !name.starts_with("x-ms-") && ![REASON, DESCRIPTION].contains(name))
        .map(|(name, value)| (name.to_owned(), ascii_json(value)))
        .collect()
}

fn text(headers: &Headers, wanted: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(name, _)| name.as_str() == wanted)?;
    let written = value.as_str().trim();
    Some(
        serde_json::from_str::<Value>(written)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or(written.to_owned()),
    )
}

fn not_taken_away(problem: LockProblem) -> PortError {
    let (kind, says) = match problem {
        LockProblem::Lost => (PortErrorKind::NotFound, "its lock had ended".to_owned()),
        LockProblem::Failed(error) => (error.kind, error.says),
    };
    PortError::new(
        "take the dead letter away",
        kind,
        format!("it is queued again, but the letter may still lie there ({says}); replayed once more, it does no harm"),
    )
}
