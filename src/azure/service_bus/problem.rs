//! What can go wrong with a call to the queues, and what that means to the caller.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};

use crate::ports::{PortError, PortErrorKind};

/// Why there is no good answer. Travels through the crate inside its own error type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallProblem {
    #[error("answered {status}")]
    Refused { status: u16, retry_after: Option<String> },
    #[error("not reached")]
    NotReached,
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke")]
    Broken,
    /// The identity cannot be asked at the moment.
    #[error("no token at the moment")]
    IdentityBusy,
    #[error("no token")]
    NoIdentity,
    #[error("{0}")]
    MakesNoSense(&'static str),
}

/// What was asked for: it names the operation, the right that it takes, and what it is that cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Send,
    Receive,
    Renew,
    Complete,
    Abandon,
    /// Whether the queue is there and may be received from.
    Presence,
}

impl Asked {
    pub fn operation(self) -> &'static str {
        match self {
            Self::Send => "send to the queue",
            Self::Receive => "receive from the queue",
            Self::Renew => "renew the lock of the message",
            Self::Complete => "complete the message",
            Self::Abandon => "give the message back",
            Self::Presence => "ask about the queue",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Self::Send => "Azure Service Bus Data Sender",
            Self::Receive | Self::Renew | Self::Complete | Self::Abandon | Self::Presence => "Azure Service Bus Data Receiver",
        }
    }
}

impl CallProblem {
    /// Our own problem out of the crate's error; everything else is the crate failing before or after the call.
    pub fn from_crate(error: azure_core_legacy::Error) -> Self {
        // The text of the crate's error may quote a body, so it is not carried on.
        error
            .into_downcast::<Self>()
            .unwrap_or(Self::MakesNoSense("the Service Bus client could not handle the request or its answer"))
    }

    pub fn into_crate(self) -> azure_core_legacy::Error {
        azure_core_legacy::Error::new(azure_core_legacy::error::ErrorKind::Other, self)
    }

    /// Whether a second try at once may help. After a time-out it would take as long again, so that is left to the caller.
    pub fn deserves_a_second_try(&self) -> bool {
        match self {
            Self::NotReached | Self::Broken => true,
            Self::Refused { status, .. } => *status != 503 && (500..600).contains(status),
            Self::TimedOut | Self::IdentityBusy | Self::NoIdentity | Self::MakesNoSense(_) => false,
        }
    }

    pub fn told(&self, asked: Asked, queue: &str, now: Timestamp) -> PortError {
        let (kind, says) = match self {
            Self::Refused { status: 401 | 403, .. } => (
                PortErrorKind::Denied,
                format!(
                    "Service Bus refuses us the queue `{queue}` (`{}`); give the identity the role `{}` there, \
                     or use a shared access policy with that right",
                    self,
                    asked.role()
                ),
            ),
            Self::Refused { status: 404 | 410, .. } => (PortErrorKind::NotFound, not_found(asked, queue)),
            Self::Refused { status: 429 | 503, .. } => (
                PortErrorKind::Throttled,
                format!("Service Bus asks for a pause ({self}) on the queue `{queue}`; try again later"),
            ),
            Self::Refused { status: 413, .. } => (
                PortErrorKind::Invalid,
                format!("the message is larger than the queue `{queue}` takes; send less, or use the Premium tier"),
            ),
            Self::Refused { status: 408 | 500..=599, .. } => {
                (PortErrorKind::Transient, format!("Service Bus failed ({self}) on the queue `{queue}`; try again later"))
            }
            Self::Refused { status: 300..=399, .. } => (
                PortErrorKind::Invalid,
                format!("the queue `{queue}` sent us elsewhere ({self}), which is not followed; check `BACKOUT_BUS_ENDPOINT`"),
            ),
            Self::Refused { .. } => (
                PortErrorKind::Invalid,
                format!("Service Bus does not take the request ({self}) on the queue `{queue}`; check the queue's settings"),
            ),
            Self::NotReached => (
                PortErrorKind::Transient,
                format!("Service Bus cannot be reached for the queue `{queue}`; check the namespace, its firewall and DNS"),
            ),
            Self::TimedOut => {
                (PortErrorKind::Transient, format!("Service Bus did not answer in time on the queue `{queue}`; try again later"))
            }
            Self::Broken => (
                PortErrorKind::Transient,
                format!("the connection to Service Bus broke before the answer on the queue `{queue}`; try again later"),
            ),
            Self::IdentityBusy => (
                PortErrorKind::Transient,
                "the managed identity gives no token for Service Bus at the moment; try again later".to_owned(),
            ),
            Self::NoIdentity => (
                PortErrorKind::Denied,
                format!(
                    "there is no token for Service Bus; assign the managed identity to the app (`ServiceBus__clientId`) \
                     and give it the role `{}`",
                    asked.role()
                ),
            ),
            Self::MakesNoSense(why) => (PortErrorKind::Invalid, format!("{why} (queue `{queue}`)")),
        };
        let retry_after = match self {
            Self::Refused { retry_after: Some(written), .. } => retry_after(written, now),
            _ => None,
        };
        PortError { retry_after, ..PortError::new(asked.operation(), kind, says) }
    }
}

fn not_found(asked: Asked, queue: &str) -> String {
    match asked {
        Asked::Send | Asked::Receive | Asked::Presence => {
            format!("there is no queue `{queue}` in the namespace; create it, or check `ServiceBus__fullyQualifiedNamespace`")
        }
        Asked::Renew | Asked::Complete | Asked::Abandon => {
            format!("the lock on the message in `{queue}` is lost; the message comes again, and has to be received anew")
        }
    }
}

/// `Retry-After` in seconds or as an HTTP date; what is neither says nothing.
fn retry_after(written: &str, now: Timestamp) -> Option<Duration> {
    let written = written.trim();
    if let Ok(seconds) = written.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::DateTimeParser::new().parse_timestamp(written).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}
