//! How the handling of one message ended, in the words of the queue.

/// What becomes of a message. The host's reply follows from this alone (`host/reply.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every effect is stored; the message is done.
    Settled { says: String },
    /// Kept in the store with its body and the reason, for a person; the message is done.
    Parked { says: String },
    /// The same bytes are back on the queue, with a delay; this copy is done.
    PutBack { says: String },
    /// Nothing was kept: deliver the same message again.
    DeliverAgain { says: String },
}
