//! Receiving under a lock: the peek-lock of the REST face, and what ends it.

use std::time::Duration;

use azure_core_legacy::{
    StatusCode,
    headers::{HeaderName, Headers},
};
use azure_messaging_servicebus::service_bus::PeekLockResponse;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use serde::Deserialize;

use super::{
    RETURNS, ServiceBusQueues,
    problem::{Asked, CallProblem},
    transport::{BROKER_PROPERTIES_ASIDE, bytes_of},
};
use crate::ports::{Incoming, LockProblem, MessageLock, PortError, PortErrorKind, Received};

/// A message under a lock, with everything that the broker says about it.
pub(super) struct LockedMessage {
    pub body: Vec<u8>,
    pub returns: u32,
    pub broker: ReceivedBrokerProperties,
    /// Of the whole answer; application properties are among them.
    pub headers: Headers,
    pub lock: Lock,
}

/// What we read of the `BrokerProperties` header of a received message.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceivedBrokerProperties {
    pub message_id: Option<String>,
    pub delivery_count: u32,
    /// Above 2^32 where the queue is partitioned.
    pub sequence_number: Option<i64>,
    pub label: Option<String>,
    pub correlation_id: Option<String>,
    /// RFC 2822.
    enqueued_time_utc: Option<String>,
    locked_until_utc: Option<String>,
}

/// One delivery at the broker.
pub(super) struct Lock {
    queues: ServiceBusQueues,
    queue: String,
    response: PeekLockResponse,
}

/// What a lock holds where the broker does not say until when: half of the usual minute.
const LOCK_UNTOLD: SignedDuration = SignedDuration::from_secs(30);

#[async_trait::async_trait]
impl Incoming for ServiceBusQueues {
    /// Waits in whole seconds, at the broker.
    async fn receive(&self, queue: &str, wait: Duration) -> Result<Option<Received>, PortError> {
        let Some(locked) = self.peek_lock(queue, wait).await? else { return Ok(None) };
        Ok(Some(Received {
            locked_until: locked.broker.locked_until().unwrap_or(self.clock.now() + LOCK_UNTOLD),
            body: locked.body,
            message_id: locked.broker.message_id,
            returns: locked.returns,
            delivery_count: locked.broker.delivery_count,
            lock: Box::new(locked.lock),
        }))
    }
}

#[async_trait::async_trait]
impl MessageLock for Lock {
    async fn renew(&self) -> Result<(), LockProblem> {
        self.ended(Asked::Renew, self.response.renew_message_lock().await)
    }

    async fn complete(&self) -> Result<(), LockProblem> {
        self.ended(Asked::Complete, self.response.delete_message().await.map(drop))
    }

    async fn abandon(&self) -> Result<(), LockProblem> {
        self.ended(Asked::Abandon, self.response.unlock_message().await)
    }
}

impl Lock {
    fn ended(&self, asked: Asked, done: azure_core_legacy::Result<()>) -> Result<(), LockProblem> {
        let Err(problem) = done else { return Ok(()) };
        let error = CallProblem::from_crate(problem).told(asked, &self.queue, self.queues.clock.now());
        Err(match error.kind {
            // The broker answers 404 or 410 for a lock that it does not know any more.
            PortErrorKind::NotFound => LockProblem::Lost,
            PortErrorKind::Transient | PortErrorKind::Throttled | PortErrorKind::Denied | PortErrorKind::Invalid => {
                LockProblem::Failed(error)
            }
        })
    }
}

impl ServiceBusQueues {
    /// Dead letters are in the queue `NAME/$DeadLetterQueue`.
    pub(super) async fn peek_lock(&self, queue: &str, wait: Duration) -> Result<Option<LockedMessage>, PortError> {
        let asked = Asked::Receive;
        let client = self.client(asked, queue)?;
        let told = |problem: CallProblem| problem.told(asked, queue, self.clock.now());
        let response = client.peek_lock_message2(Some(wait)).await.map_err(|problem| told(CallProblem::from_crate(problem)))?;
        match response.status() {
            StatusCode::NoContent => Ok(None),
            StatusCode::Created => self.read(queue, response).map(Some).map_err(told),
            _ => Err(told(CallProblem::MakesNoSense("a receive was answered with neither a message nor nothing"))),
        }
    }

    fn read(&self, queue: &str, response: PeekLockResponse) -> Result<LockedMessage, CallProblem> {
        let Ok(headers) = response.custom_properties::<Headers>();
        let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
        if header("location").is_none_or(str::is_empty) {
            return Err(CallProblem::MakesNoSense("a message came without `Location`, so that it cannot be completed"));
        }
        let broker: ReceivedBrokerProperties = headers
            .get_optional_str(&BROKER_PROPERTIES_ASIDE)
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(CallProblem::MakesNoSense("a message came without `BrokerProperties` that can be read"))?;
        Ok(LockedMessage {
            body: bytes_of(response.body().as_bytes())?,
            returns: header(RETURNS).and_then(|text| text.trim().trim_matches('"').parse().ok()).unwrap_or_default(),
            broker,
            headers,
            lock: Lock { queues: self.clone(), queue: queue.to_owned(), response },
        })
    }
}

impl ReceivedBrokerProperties {
    pub fn enqueued_at(&self) -> Option<Timestamp> {
        time(self.enqueued_time_utc.as_deref())
    }

    fn locked_until(&self) -> Option<Timestamp> {
        time(self.locked_until_utc.as_deref())
    }
}

fn time(written: Option<&str>) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(written?).ok()
}
