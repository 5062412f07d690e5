//! Everything that a decision is made from; stored with the record, so that it can be made again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{
    alert::Alert,
    approval::Approval,
    known::Known,
    observation::{Observation, Preflight},
    policy::StormRule,
    resource_id::ResourceId,
    series::Series,
    service::{Mode, Service, ServiceName},
    target_state::TargetState,
};

/// How long a wait goes on when a platform, the store or a lock is in the way, rather than evidence.
pub const OBSTRUCTED_WAIT: SignedDuration = SignedDuration::from_mins(20);

/// How long after an alert a deployment event may still change its decision; activity-log events come up to 20 min late (C8).
pub const LATE_WINDOW: SignedDuration = SignedDuration::from_mins(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    pub now: Timestamp,
    pub alert: Alert,
    /// When the first copy of the alert arrived; the evidence wait runs from here.
    pub received_at: Timestamp,
    /// Looks so far; the pause between two looks grows with it.
    pub tries: u32,
    /// `BACKOUT_MODE`.
    pub mode_ceiling: Option<Mode>,
    /// The kill switch: paused, and by whom.
    pub paused: Known<Option<String>>,
    /// A person's unused approval.
    pub approval: Option<Approval>,
    /// The services that are meant and everything upstream of them, nearest first.
    pub services: Vec<ServiceFacts>,
    pub storm_rule: StormRule,
    /// Other firings of the minutes before this one, and since.
    pub storm: Vec<StormAlert>,
    /// This handler's own site.
    pub own_site: Option<ResourceId>,
}

/// What is known about one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceFacts {
    pub service: Service,
    /// Calls between the alert's service and this one; 0 is the alert's own.
    pub distance: u32,
    pub state: TargetState,
    pub observation: Known<Observation>,
    pub preflight: Known<Preflight>,
    /// One for each entry of `service.evidence`.
    pub signals: Vec<Known<Series>>,
    /// Rollbacks of the subscription within the budget's span.
    pub budget_used: Known<u32>,
}

/// A firing nearby in time, for the storm rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StormAlert {
    /// The resource in canonical form.
    pub resource: String,
    pub at: Timestamp,
    /// The services that it means and everything upstream of them: a change of one of these would explain it.
    pub explained_by: Vec<ServiceName>,
}

impl Case {
    /// When the fault was first told; the platform's clock.
    pub fn fired_at(&self) -> Timestamp {
        self.alert.fired_at.unwrap_or(self.received_at)
    }

    /// The services that the alert means.
    pub fn meant(&self) -> impl Iterator<Item = &ServiceFacts> {
        self.services.iter().filter(|facts| facts.distance == 0)
    }

    /// Until when a Hold may wait for evidence: the longest wait of the services meant, and what the sources lag (T2).
    pub fn evidence_deadline(&self) -> Timestamp {
        let wait = self.meant().map(|facts| facts.service.evidence_wait + source_lag(facts)).max().unwrap_or_default();
        self.received_at.saturating_add(wait).unwrap_or(Timestamp::MAX)
    }

    pub fn obstruction_deadline(&self) -> Timestamp {
        self.evidence_deadline().max(self.received_at.saturating_add(OBSTRUCTED_WAIT).unwrap_or(Timestamp::MAX))
    }
}

fn source_lag(facts: &ServiceFacts) -> SignedDuration {
    facts
        .signals
        .iter()
        .filter_map(|signal| signal.value().map(|series| series.source_lag))
        .max()
        .unwrap_or(SignedDuration::from_mins(3))
}
