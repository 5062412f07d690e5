//! What was decided, with every reason.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    observation::WayBack,
    rule::RuleId,
    service::ServiceName,
    target::{Fingerprint, TargetKey, VersionToken},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub kind: DecisionKind,
    /// The deciding one first.
    pub reasons: Vec<Reason>,
    /// The accused, if one stands out.
    pub accused: Option<Box<Accused>>,
    /// Every change that was weighed, best first, with its score.
    pub candidates: Vec<CandidateScore>,
    /// One sentence for a person, without rule ids.
    pub because: String,
    /// For a Hold: when to look again.
    pub look_again_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecisionKind {
    Act,
    Propose,
    Hold,
    Page,
    Ignore,
}

impl DecisionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Propose => "propose",
            Self::Hold => "hold",
            Self::Page => "page",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One rule's word on the case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    pub rule: RuleId,
    pub effect: Effect,
    /// For a person, without the rule id.
    pub says: String,
}

/// What a reason does to the outcome. The strongest wins; the order here is from the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Speaks for it, or merely explains.
    Note,
    /// A person must agree; an approval lifts it.
    Propose,
    /// Wait, bounded; afterwards the decision is made without.
    Hold,
    /// Nothing is done; a person is told.
    Page,
    /// Nothing is done, and nobody is woken.
    Ignore,
}

/// The version that is to be taken back, and the version to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accused {
    pub service: ServiceName,
    pub target: TargetKey,
    pub token: VersionToken,
    pub fingerprint: Option<Fingerprint>,
    pub label: String,
    pub way_back: Option<WayBack>,
    /// The first step of its rollout that can have to do with the alert: what was measured before it is usual. Not there in decisions
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_out_at: Option<Timestamp>,
    /// When the fault began at the earliest, as the signals show it; `None` where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateScore {
    pub service: ServiceName,
    pub token: VersionToken,
    pub label: String,
    pub rolled_out_at: Option<Timestamp>,
    /// 0 for a cleared one.
    pub score: f64,
    /// The rule that cleared it.
    pub cleared_by: Option<RuleId>,
    pub says: String,
}
