//! What the story needs from outside, in domain words. Each doc line is a promise; one contract suite holds fakes and real ones to it.

mod alerts;
mod clock;
mod dead_letters;
mod error;
mod follow_ups;
mod incoming;
mod notifier;
mod platform;
mod send_by;
mod signing_keys;
mod store;
mod telemetry;

pub use alerts::{Alerts, KeptAlert};
pub use clock::Clock;
pub use dead_letters::{DeadLetter, DeadLetters, Fate, Walk, WalkEnd, Wanted};
pub use error::{PortError, PortErrorKind};
pub use follow_ups::{FollowUp, FollowUps, QueueMessage, StepName};
pub use incoming::{Incoming, LockProblem, MessageLock, Received};
pub use notifier::{Notice, Notifier};
pub use platform::{Platform, Platforms};
pub use send_by::SendBy;
pub use signing_keys::{SigningKey, SigningKeySource};
pub use store::{Inserted, Key, Replaced, StateStore, Stored, Version};
pub use telemetry::Telemetry;
