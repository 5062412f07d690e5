//! The one error of all ports: its kind is the question that the caller asks.

use std::{fmt, time::Duration};

/// A call through a port that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {says}")]
pub struct PortError {
    /// What was tried, such as `read the site`.
    pub operation: &'static str,
    pub kind: PortErrorKind,
    /// What went wrong and what would help, for a person. Never a token, a claim, a body or a secret.
    pub says: String,
    /// How long the other side asked us to wait.
    pub retry_after: Option<Duration>,
}

impl PortError {
    pub fn new(operation: &'static str, kind: PortErrorKind, says: impl fmt::Display) -> Self {
        Self { operation, kind, says: says.to_string(), retry_after: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortErrorKind {
    /// Likely to work later: no connection, 5xx on a read.
    Transient,
    /// The other side asked for a pause (429, 529).
    Throttled,
    /// Not there (404).
    NotFound,
    /// No right, or no identity (401, 403).
    Denied,
    /// The request or the answer makes no sense; trying again will not help.
    Invalid,
}
