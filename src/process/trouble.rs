//! What keeps a message from being handled now; the entry points turn it into an [`super::outcome::Outcome`].

use crate::ports::PortError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// State could not be read or written: the message goes back on its queue with a delay.
    #[error("the store: {0}")]
    Store(PortError),
    /// A platform could not be read where nothing can be concluded without: the message goes back likewise.
    #[error("the platform: {0}")]
    Platform(PortError),
    /// A follow-up could not be sent: the invocation waits a while, then asks for the message again.
    #[error("the queue: {0}")]
    Bus(PortError),
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}
