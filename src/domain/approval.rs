//! A person's word on a proposal, and the kill switch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    decision::{Accused, Decision, Effect},
    observation::WayBack,
    rule::RuleId,
    target::{Fingerprint, VersionToken},
};

/// Granted for one token and one way back, used once, by compare-and-set of the record (A11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    pub verdict: Verdict,
    /// The version that was proposed; an approval of another one is no approval.
    pub token: VersionToken,
    /// What whoever answered could read. Not there in approvals of earlier versions. In a box: records are moved through many hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Box<Proposal>>,
    pub by: String,
    pub at: Timestamp,
    pub used: bool,
}

/// Enough of a proposal to know whether it still is the same: an approval of another way back is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// The place and the content to go back to.
    pub way_back: String,
    pub fingerprint: Option<Fingerprint>,
    /// For people.
    pub label: String,
    /// The rules that asked for a person.
    pub asked_by: Vec<RuleId>,
}

impl Proposal {
    pub fn goes_back_by(&self, way: &WayBack) -> bool {
        self.way_back == way.name && self.fingerprint == way.fingerprint
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Approved,
    Declined,
}

/// The kill switch as it is stored (A10). Absent means running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    pub paused: bool,
    pub by: String,
    pub since: Timestamp,
}

impl Approval {
    /// A person's word on what `decision` proposes to do about `accused`.
    pub fn new(verdict: Verdict, decision: &Decision, accused: &Accused, by: &str, at: Timestamp) -> Self {
        let asks = decision.reasons.iter().filter(|reason| reason.effect == Effect::Propose);
        let proposal = accused.way_back.as_ref().map(|way| Proposal {
            way_back: way.name.clone(),
            fingerprint: way.fingerprint.clone(),
            label: way.label.clone(),
            asked_by: asks.map(|reason| reason.rule).collect(),
        });
        Self { verdict, token: accused.token.clone(), proposal: proposal.map(Box::new), by: by.to_owned(), at, used: false }
    }

    /// Granted and not used yet.
    pub fn counts(&self) -> bool {
        match self.verdict {
            Verdict::Approved => !self.used,
            Verdict::Declined => false,
        }
    }
}
