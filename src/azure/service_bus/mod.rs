//! Our queues in Azure Service Bus, over its REST face: send now or later, and receive one message under a lock.
//!
//! The crate `azure_messaging_servicebus` makes the requests; [`transport`] sends them with our identity and to our endpoint.

mod namespace;
mod presence;
mod problem;
mod transport;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use azure_core_legacy::{StatusCode, headers::Headers};
use azure_messaging_servicebus::{
    prelude::QueueClient,
    service_bus::{PeekLockResponse, SendMessageOptions, SettableBrokerProperties},
};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use url::Url;

pub use namespace::BusSettingProblem;
pub use presence::QueueAnswer;

use crate::ports::{Clock, FollowUps, PortError, PortErrorKind, QueueMessage};
use namespace::{Namespace, SharedAccessKey, parse_connection_string};
use problem::{Asked, CallProblem};
use transport::{Authorization, BROKER_PROPERTIES_ASIDE, Transport, bytes_of, text_of};

/// The queues of one namespace. Nothing is connected to, and no token fetched, before the first call.
pub struct ServiceBusQueues {
    namespace: String,
    key: SharedAccessKey,
    transport: Arc<Transport>,
    clock: Arc<dyn Clock>,
}

/// A message that nobody else gets until its lock ends, is completed or is abandoned.
pub struct LockedMessage {
    pub body: Vec<u8>,
    pub message_id: Option<String>,
    /// Application property `backout-returns`; 0 if absent or unreadable.
    pub returns: u32,
    /// 1 at the first delivery.
    pub delivery_count: u32,
    pub lock: MessageLock,
}

/// The right to complete or abandon one delivery.
pub struct MessageLock {
    queue: String,
    response: PeekLockResponse,
}

/// Time for one request unless [`ServiceBusQueues::with_request_timeout`] says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const RETURNS: &str = "backout-returns";
/// Of the name of a queue, and of `MessageId` (Service Bus quotas).
const QUEUE_CHARACTERS_MAX: usize = 260;
const MESSAGE_ID_CHARACTERS_MAX: usize = 128;
const DEAD_LETTERS: &str = "/$DeadLetterQueue";

impl ServiceBusQueues {
    /// With a Microsoft Entra identity: the role `Azure Service Bus Data Sender` to send, `... Receiver` to receive.
    ///
    /// The namespace is a host in Azure (`shop.servicebus.windows.net`, or of a sovereign cloud), unless `endpoint_override`
    /// names the URL to speak to; that may be plain http on a loopback address only.
    pub fn with_identity(
        fully_qualified_namespace: &str,
        endpoint_override: Option<Url>,
        credential: Arc<dyn TokenCredential>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BusSettingProblem> {
        let namespace = Namespace::new("`ServiceBus__fullyQualifiedNamespace`", fully_qualified_namespace, endpoint_override)?;
        // The crate signs with whatever it has; the signature is thrown away.
        let unused = SharedAccessKey { name: "none".to_owned(), key: SecretString::from("none") };
        Ok(Self::new(namespace, unused, Authorization::Identity(credential), clock))
    }

    /// With a connection string of a shared access policy of the namespace; public cloud only, since the crate signs for no other.
    pub fn with_connection_string(
        text: &SecretString,
        endpoint_override: Option<Url>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BusSettingProblem> {
        let (namespace, key) = parse_connection_string(text, endpoint_override)?;
        Ok(Self::new(namespace, key, Authorization::Signature, clock))
    }

    /// Changes how long one request may take. A receive may take this much longer than its wait.
    pub fn with_request_timeout(mut self, request_timeout: Duration) -> Self {
        if let Some(transport) = Arc::get_mut(&mut self.transport) {
            transport.request_timeout = request_timeout;
        }
        self
    }

    fn new(namespace: Namespace, key: SharedAccessKey, authorization: Authorization, clock: Arc<dyn Clock>) -> Self {
        let transport =
            Transport { endpoint: namespace.endpoint, authorization, request_timeout: REQUEST_TIMEOUT, http: OnceCell::new() };
        Self { namespace: namespace.name, key, transport: Arc::new(transport), clock }
    }
}

#[async_trait::async_trait]
impl FollowUps for ServiceBusQueues {
    /// Tries a second time, once and at once, when the connection failed or the broker answered 5xx. A message is no change of
    /// a target: at worst it arrives twice, which its `message_id` prevents where the queue detects duplicates.
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let asked = Asked::Send;
        let client = self.client(asked, &message.queue)?;
        let scheduled_for = self.scheduled_for(delay)?;
        let text = text_of(&message.body);
        let try_once = async || {
            let options = send_options(&message, scheduled_for);
            client.send_message(&text, Some(options)).await.map_err(CallProblem::from_crate)
        };
        if let Some(id) = message.message_id.as_deref()
            && (id.is_empty() || id.chars().count() > MESSAGE_ID_CHARACTERS_MAX)
        {
            return Err(invalid(asked, format!("`message_id` has to have 1 to {MESSAGE_ID_CHARACTERS_MAX} characters")));
        }
        let mut sent = try_once().await;
        if sent.as_ref().is_err_and(CallProblem::deserves_a_second_try) {
            tracing::debug!(queue = message.queue, "the first try to send failed, trying once more");
            sent = try_once().await;
        }
        sent.map_err(|problem| problem.told(asked, &message.queue, self.clock.now()))
    }
}

/// Receiving, for the tools of a person. Dead letters are in the queue `NAME/$DeadLetterQueue`.
impl ServiceBusQueues {
    /// Locks the next message, waiting for one up to `wait` in whole seconds; `None` when none came. After an error a message
    /// may be locked all the same, and comes again when its lock ends.
    pub async fn peek_lock(&self, queue: &str, wait: Duration) -> Result<Option<LockedMessage>, PortError> {
        let asked = Asked::Receive;
        let client = self.client(asked, queue)?;
        let told = |problem: CallProblem| problem.told(asked, queue, self.clock.now());
        let response = client.peek_lock_message2(Some(wait)).await.map_err(|problem| told(CallProblem::from_crate(problem)))?;
        match response.status() {
            StatusCode::NoContent => Ok(None),
            StatusCode::Created => LockedMessage::read(queue, response).map(Some).map_err(told),
            _ => Err(told(CallProblem::MakesNoSense("a receive was answered with neither a message nor nothing"))),
        }
    }

    /// Takes the message out of its queue for good.
    pub async fn complete(&self, lock: &MessageLock) -> Result<(), PortError> {
        let done = lock.response.delete_message().await;
        self.ended(Asked::Complete, lock, done.map(drop))
    }

    /// Gives the message back; it can be received again at once, or is dead-lettered after its last delivery.
    pub async fn abandon(&self, lock: &MessageLock) -> Result<(), PortError> {
        let done = lock.response.unlock_message().await;
        self.ended(Asked::Abandon, lock, done)
    }

    fn ended(&self, asked: Asked, lock: &MessageLock, done: azure_core_legacy::Result<()>) -> Result<(), PortError> {
        done.map_err(|problem| CallProblem::from_crate(problem).told(asked, &lock.queue, self.clock.now()))
    }
}

impl ServiceBusQueues {
    /// The name becomes part of a URL; only what a queue can be called gets there.
    fn client(&self, asked: Asked, queue: &str) -> Result<QueueClient, PortError> {
        let name = queue.strip_suffix(DEAD_LETTERS).unwrap_or(queue);
        let is_name = name.len() <= QUEUE_CHARACTERS_MAX
            && name.split('/').all(|segment| {
                segment.bytes().any(|byte| byte.is_ascii_alphanumeric())
                    && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte))
            });
        if !is_name {
            return Err(invalid(asked, format!("`{}` is not the name of a queue", queue.escape_default())));
        }
        let http: Arc<dyn azure_core_legacy::HttpClient> = self.transport.clone();
        let key = self.key.key.expose_secret().to_owned();
        QueueClient::new(http, self.namespace.as_str(), queue, self.key.name.as_str(), key)
            .map_err(|problem| CallProblem::from_crate(problem).told(asked, queue, self.clock.now()))
    }

    /// The broker counts whole seconds: rounded up, so that nothing arrives early.
    fn scheduled_for(&self, delay: Duration) -> Result<Option<OffsetDateTime>, PortError> {
        if delay.is_zero() {
            return Ok(None);
        }
        let due = SignedDuration::try_from(delay).ok().and_then(|delay| self.clock.now().checked_add(delay).ok());
        let seconds = due.map(|due: Timestamp| due.as_second() + i64::from(due.subsec_nanosecond() > 0));
        seconds
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .map(Some)
            .ok_or_else(|| invalid(Asked::Send, "`delay` is so long that it has no date; send with a shorter one".to_owned()))
    }
}

impl LockedMessage {
    fn read(queue: &str, response: PeekLockResponse) -> Result<Self, CallProblem> {
        let Ok(headers) = response.custom_properties::<Headers>();
        let header = |name: &'static str| headers.get_optional_str(&azure_core_legacy::headers::HeaderName::from_static(name));
        if header("location").is_none_or(str::is_empty) {
            return Err(CallProblem::MakesNoSense("a message came without `Location`, so that it cannot be completed"));
        }
        let broker: ReceivedBrokerProperties = headers
            .get_optional_str(&BROKER_PROPERTIES_ASIDE)
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(CallProblem::MakesNoSense("a message came without `BrokerProperties` that can be read"))?;
        Ok(Self {
            body: bytes_of(response.body().as_bytes())?,
            message_id: broker.message_id,
            returns: header(RETURNS).and_then(|text| text.trim().trim_matches('"').parse().ok()).unwrap_or_default(),
            delivery_count: broker.delivery_count,
            lock: MessageLock { queue: queue.to_owned(), response },
        })
    }
}

/// What we read of the `BrokerProperties` header of a received message.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedBrokerProperties {
    message_id: Option<String>,
    delivery_count: u32,
}

fn send_options(message: &QueueMessage, scheduled_for: Option<OffsetDateTime>) -> SendMessageOptions {
    SendMessageOptions {
        content_type: Some("application/json".to_owned()),
        broker_properties: Some(SettableBrokerProperties {
            message_id: message.message_id.clone(),
            scheduled_enqueue_time_utc: scheduled_for,
            ..SettableBrokerProperties::default()
        }),
        // The value is JSON: a number stays a number.
        custom_properties: Some(HashMap::from([(RETURNS.to_owned(), message.returns.to_string())])),
    }
}

fn invalid(asked: Asked, says: String) -> PortError {
    PortError::new(asked.operation(), PortErrorKind::Invalid, says)
}

impl fmt::Debug for ServiceBusQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBusQueues").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Without the body, which is not ours to show.
impl fmt::Debug for LockedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedMessage")
            .field("message_id", &self.message_id)
            .field("returns", &self.returns)
            .field("delivery_count", &self.delivery_count)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MessageLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageLock").field("queue", &self.queue).finish_non_exhaustive()
    }
}
