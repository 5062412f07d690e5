//! The one async story: record, decide, claim, perform once, verify, tell. Nothing here is about Azure.
//!
//! [`alert`] and [`deployment`] take events in, [`gather`] reads side by side what [`crate::decide`] judges, [`inputs`] keeps it, [`settle`]
//! stores a decision, [`storm`] counts firings nearby, [`act`] is the protocol that acts once, [`answered`] what its answers mean, [`saga`] follows a rollback, [`verification`] its recovery, [`ending`] ends it, [`follow_up`] and
//! [`sweep`] keep everything moving, [`lost_alerts`] finds firings that never arrived, [`park`] and [`outbox`] see that nothing is lost
//! or silent, [`recent`] lists the newest records.

pub mod act;
pub mod alert;
mod anew;
pub mod answered;
pub mod approval;
pub mod clear;
pub mod control;
pub mod deployment;
pub mod documents;
pub mod ending;
pub mod follow_up;
pub mod gather;
pub mod hold;
pub mod inputs;
pub mod lost_alerts;
pub mod mark;
pub mod outbox;
pub mod outcome;
pub mod park;
pub mod receipt;
pub mod recent;
pub mod records;
pub mod saga;
pub mod settle;
pub mod storm;
pub mod sweep;
pub mod tombstone;
pub mod trouble;
pub mod verification;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    decide::{self, case::Case},
    domain::{decision::Decision, policy::Policy, resource_id::ResourceId, service::Mode},
    observability::spans,
    ports::{Alerts, Clock, FollowUps, Notifier, Platforms, PortError, StateStore, Telemetry},
};
use documents::Documents;

/// Everything outside, by need.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn StateStore>,
    pub follow_ups: Arc<dyn FollowUps>,
    pub platforms: Arc<dyn Platforms>,
    pub telemetry: Arc<dyn Telemetry>,
    pub alerts: Arc<dyn Alerts>,
    pub notifier: Arc<dyn Notifier>,
    pub clock: Arc<dyn Clock>,
}

/// The judgement, as a step of the record's trace.
fn decide(case: &Case) -> Decision {
    let span = spans::decide();
    let decision = span.in_scope(|| decide::decide(case));
    spans::decided(&span, &decision);
    decision
}

/// Where the policy comes from. Loading is cheap when nothing changed.
#[async_trait::async_trait]
pub trait Policies: Send + Sync {
    async fn load(&self) -> Result<Arc<Policy>, PolicyTrouble>;
}

/// Why there is no policy now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyTrouble {
    /// It is missing or wrong, with every problem in one text: what arrives is parked.
    #[error("{0}")]
    Wrong(String),
    /// It could not be fetched: what arrives is put back.
    #[error("the policy could not be fetched: {0}")]
    Unreachable(PortError),
}

pub struct Process {
    ports: Ports,
    documents: Documents,
    policy: Arc<dyn Policies>,
    /// The policy as it was last loaded: whom to tell is not worth another look at the file or blob.
    policy_at_hand: Mutex<Option<Arc<Policy>>>,
    /// `BACKOUT_MODE`.
    mode_ceiling: Option<Mode>,
    /// This handler's own site, which is never touched (E9).
    own_site: Option<ResourceId>,
}

impl Process {
    pub fn new(ports: Ports, policy: Arc<dyn Policies>, mode_ceiling: Option<Mode>, own_site: Option<ResourceId>) -> Self {
        let documents = Documents::new(ports.store.clone());
        Self { ports, documents, policy, policy_at_hand: Mutex::default(), mode_ceiling, own_site }
    }

    /// The policy in force, or what keeps it from being one.
    pub async fn load_policy(&self) -> Result<Arc<Policy>, PolicyTrouble> {
        let loaded = self.policy.load().await?;
        *self.policy_at_hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The policy of the message at hand, else the one in force; `None` where there is none.
    async fn policy_at_hand(&self) -> Option<Arc<Policy>> {
        let at_hand = self.policy_at_hand.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match at_hand {
            Some(policy) => Some(policy),
            None => self.load_policy().await.ok(),
        }
    }
}
