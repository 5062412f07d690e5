//! Our queues in Azure Service Bus, over its REST face: send now or later, receive under a lock, look through dead letters.
//!
//! Nothing here needs more than the Basic tier: no topics, no sessions, no transactions.
//!
//! The crate `azure_messaging_servicebus` makes the requests; [`transport`] sends them with our identity and to our endpoint.

mod dead_letters;
mod namespace;
mod presence;
mod problem;
mod receive;
mod transport;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use azure_messaging_servicebus::{
    prelude::QueueClient,
    service_bus::{SendMessageOptions, SettableBrokerProperties},
};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use url::Url;

pub use namespace::BusSettingProblem;
pub use presence::QueueAnswer;

use crate::ports::{Clock, FollowUps, PortError, PortErrorKind, QueueMessage};
use namespace::{Namespace, SharedAccessKey, parse_connection_string};
use problem::{Asked, CallProblem};
use transport::{Authorization, Transport, text_of};

/// The queues of one namespace. Nothing is connected to, and no token fetched, before the first call. Clones share it all.
#[derive(Clone)]
pub struct ServiceBusQueues {
    namespace: String,
    key: SharedAccessKey,
    transport: Arc<Transport>,
    clock: Arc<dyn Clock>,
}

/// Time for one request unless [`ServiceBusQueues::with_request_timeout`] says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const RETURNS: &str = "backout-returns";
/// Of the name of a queue, and of `MessageId` (Service Bus quotas).
const QUEUE_CHARACTERS_MAX: usize = 260;
const MESSAGE_ID_CHARACTERS_MAX: usize = 128;
const JSON: &str = "application/json";
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
        if let Some(id) = message.message_id.as_deref()
            && (id.is_empty() || id.chars().count() > MESSAGE_ID_CHARACTERS_MAX)
        {
            return Err(invalid(asked, format!("`message_id` has to have 1 to {MESSAGE_ID_CHARACTERS_MAX} characters")));
        }
        let scheduled_for = self.scheduled_for(delay)?;
        self.send_with(&message.queue, &message.body, || send_options(&message, scheduled_for)).await
    }
}

impl ServiceBusQueues {
    async fn send_with(
        &self,
        queue: &str,
        body: &[u8],
        options: impl Fn() -> SendMessageOptions + Send + Sync,
    ) -> Result<(), PortError> {
        let asked = Asked::Send;
        let client = self.client(asked, queue)?;
        let text = text_of(body);
        let try_once = async || client.send_message(&text, Some(options())).await.map_err(CallProblem::from_crate);
        let mut sent = try_once().await;
        if sent.as_ref().is_err_and(CallProblem::deserves_a_second_try) {
            tracing::debug!(queue, "the first try to send failed, trying once more");
            sent = try_once().await;
        }
        sent.map_err(|problem| problem.told(asked, queue, self.clock.now()))
    }

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

fn send_options(message: &QueueMessage, scheduled_for: Option<OffsetDateTime>) -> SendMessageOptions {
    SendMessageOptions {
        content_type: Some(JSON.to_owned()),
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
