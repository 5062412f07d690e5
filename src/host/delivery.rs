//! One message as a trigger hands it over, free of the host's envelope.

use super::{
    envelope::EnvelopeProblem,
    http::{HttpAnswer, HttpRequest},
};
use crate::process::outcome::Outcome;

/// The functions of `function-app/` with a queue or a timer, one variant a folder; those that HTTP calls are
/// [`HttpFunction`](super::http::HttpFunction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    Alerts,
    Deployments,
    Markers,
    FollowUps,
    Sweep,
}

impl Function {
    pub const ALL: &'static [Self] = &[Self::Alerts, Self::Deployments, Self::Markers, Self::FollowUps, Self::Sweep];

    /// Name of the folder, and so of the path that the host posts to; for queue functions also the queue's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Deployments => "deployments",
            Self::Markers => "markers",
            Self::FollowUps => "followups",
            Self::Sweep => "sweep",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub function: Function,
    /// The message's body, byte for byte; empty for the timer.
    pub body: Vec<u8>,
    /// How often we put these bytes back ourselves (application property `backout-returns`); 0 if absent or unreadable.
    pub returns: u32,
    /// An earlier delivery of these bytes did not end, or this cannot be told: this one may be the last.
    pub delivered_before: bool,
    /// What was wrong with the host's envelope, with the field's name; whoever reads why the message was parked reads it too.
    pub envelope_problem: Option<EnvelopeProblem>,
    /// The host's id of this invocation, for the log only.
    pub invocation_id: String,
    /// `traceparent` of the request, if there was a valid one.
    pub trace_parent: Option<String>,
}

/// What the host server hands deliveries to.
#[async_trait::async_trait]
pub trait Deliveries: Send + Sync {
    /// Handles one delivery to its end. Called twice with the same body: the second changes nothing but a count.
    async fn deliver(&self, delivery: Delivery) -> Outcome;

    /// Answers one call over HTTP. Never 500: what is no fault of the caller's is 503.
    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        HttpAnswer::later(format!("`{}` is not available at the moment", request.function.name()))
    }
}
