//! A person's word on a proposal, and the kill switch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::target::VersionToken;

/// Granted for one token, used once, by compare-and-set of the record (A11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    pub verdict: Verdict,
    /// The version that was proposed; an approval of another one is no approval.
    pub token: VersionToken,
    pub by: String,
    pub at: Timestamp,
    pub used: bool,
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
    /// Granted and not used yet.
    pub fn counts(&self) -> bool {
        match self.verdict {
            Verdict::Approved => !self.used,
            Verdict::Declined => false,
        }
    }
}
