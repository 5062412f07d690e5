//! Reads everything that a decision needs, side by side: one round trip deep.

use std::time::Duration;

use futures::future::{FutureExt, join_all};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use super::{
    Process,
    documents::{Loaded, ReadBefore, keys},
};
use crate::{
    decide::{
        case::{Case, ServiceFacts},
        way_back, who,
    },
    domain::{
        approval::{Approval, Control},
        known::Known,
        observation::{Observation, WayBack},
        policy::Policy,
        record::{Record, RecordId},
        series::{EvidenceMetric, Series},
        service::{Budget, Service},
        target::TargetKey,
        target_state::TargetState,
    },
    observability::spans,
    ports::{Key, PortError, Version},
};

/// What is measured before the correlation window, so that there is a "usual".
const BASELINE: SignedDuration = SignedDuration::from_mins(60);

/// A case, and the versions of the target documents that it was made from.
pub(super) struct Gathered {
    pub case: Case,
    /// Before anything was read, by the monotonic clock: what is decided from it is as old.
    pub began: Duration,
    pub versions: Vec<(TargetKey, Option<Version>)>,
    /// Budget documents as they were read, by target.
    budgets: Vec<(TargetKey, ReadBefore<BudgetDocument>)>,
    /// The record as it was when reading began, where that is known: its next write needs no read.
    pub record: ReadBefore<Record>,
}

impl Gathered {
    pub fn version_of(&self, target: &TargetKey) -> Option<Version> {
        self.versions.iter().find(|(key, _)| key == target).and_then(|(_, version)| version.clone())
    }

    /// With the record as it stands in the store.
    pub fn about(mut self, record: Loaded<Record>) -> Self {
        self.record = ReadBefore::There(record);
        self
    }

    pub fn budget_of(&self, target: &TargetKey) -> ReadBefore<BudgetDocument> {
        self.budgets.iter().find(|(key, _)| key == target).map_or(ReadBefore::NotRead, |(_, budget)| budget.clone())
    }
}

/// What was read of one service.
struct ServiceReading {
    facts: ServiceFacts,
    version: Option<Version>,
    budget: ReadBefore<BudgetDocument>,
}

/// Rollbacks of one subscription, reserved by claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetDocument {
    pub reservations: Vec<Reservation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The claim's key.
    pub claim: String,
    /// Who gives it back; not there in places of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordId>,
    pub at: Timestamp,
}

impl BudgetDocument {
    pub const RESERVATIONS_MAX: usize = 200;

    /// Reservations within the span, other than the claim's own.
    pub fn used(&self, budget: Budget, now: Timestamp, own_claim: Option<&Key>) -> u32 {
        let used = self
            .reservations
            .iter()
            .filter(|reservation| now.duration_since(reservation.at) < budget.per)
            .filter(|reservation| own_claim.is_none_or(|own| own.as_str() != reservation.claim))
            .count();
        u32::try_from(used).unwrap_or(u32::MAX)
    }
}

impl Process {
    /// Reads the scope of `record`'s alert: documents, live platforms, signals, kill switch, budgets and the storm, all at once.
    ///
    /// A platform, a signal, a budget or the kill switch that can't be read is an unknown of the case; a target document
    /// that can't be read is the store's trouble.
    pub(super) async fn gather(&self, record: &Record, meant: &[&Service], policy: &Policy) -> Result<Gathered, PortError> {
        self.read_scope(record, meant, policy).boxed().instrument(spans::gather()).await
    }

    async fn read_scope(&self, record: &Record, meant: &[&Service], policy: &Policy) -> Result<Gathered, PortError> {
        let (now, began) = (self.ports.clock.now(), self.ports.clock.monotonic());
        let scope = who::scope(meant, policy);
        let services: Vec<_> =
            scope.iter().map(|(service, distance)| self.read_service(service, *distance, record, now).boxed()).collect();
        let (services, paused, storm) = futures::join!(
            join_all(services),
            self.read_paused(),
            self.read_storm(&record.alert, record.received_at, now, meant, policy)
        );
        let mut facts = Vec::with_capacity(services.len());
        let mut versions = Vec::with_capacity(services.len());
        let mut budgets = Vec::with_capacity(services.len());
        for reading in services {
            let reading = reading?;
            let target = reading.facts.service.target.key();
            budgets.push((target.clone(), reading.budget));
            versions.push((target, reading.version));
            facts.push(reading.facts);
        }
        let case = Case {
            now,
            alert: record.alert.clone(),
            received_at: record.received_at,
            tries: record.tries,
            mode_ceiling: self.mode_ceiling,
            paused,
            approval: record.approval.clone().filter(Approval::counts),
            services: facts,
            storm_rule: policy.storm,
            storm: storm?,
            own_site: self.own_site.clone(),
        };
        Ok(Gathered { case, began, versions, budgets, record: ReadBefore::NotRead })
    }

    async fn read_service(
        &self,
        service: &Service,
        distance: u32,
        record: &Record,
        now: Timestamp,
    ) -> Result<ServiceReading, PortError> {
        let target = &service.target;
        let key = target.key();
        let document_key = keys::target(&key);
        let platform = self.ports.platforms.of(target);
        let from = record.alert.fired_at.unwrap_or(record.received_at).min(now) - service.correlation_window - BASELINE;
        let budget_key = keys::budget(&target.budget_scope());
        let (document, observation, preflight, signals, budget) = futures::join!(
            self.documents.read::<TargetState>(&document_key),
            platform.observe(),
            platform.preflight(),
            self.read_signals(service, from, now),
            self.documents.read::<BudgetDocument>(&budget_key),
        );
        let (state, version) = match document? {
            Some(Loaded { value, version }) => (value, Some(version)),
            None => (TargetState::new(key), None),
        };
        // Named from our own history before anything is decided, so that the stored case tells every way that was weighed.
        let observation = observation.map(|mut observation| {
            observation.ways_back = platform.ways_back(&observation, &way_back::proven(service, &state, &observation));
            observation
        });
        // A place that was taken for taking back what runs is this very rollback's, from before a restart.
        let own_claim = observation.as_ref().ok().map(|observation| keys::claim(&state.target, &observation.running.token));
        let facts = ServiceFacts {
            service: service.clone(),
            distance,
            state,
            observation: known(observation),
            preflight: known(preflight),
            signals,
            budget_used: match &budget {
                Ok(document) => {
                    Known::Value(document.as_ref().map_or(0, |loaded| loaded.value.used(service.budget, now, own_claim.as_ref())))
                }
                Err(error) => Known::Unknown(error.to_string()),
            },
        };
        Ok(ServiceReading { facts, version, budget: budget.map_or(ReadBefore::NotRead, ReadBefore::from) })
    }

    /// The ways back from what was observed of a service, those included that only our own history names.
    pub async fn ways_back(&self, service: &Service, observation: &Observation) -> Result<Vec<WayBack>, PortError> {
        let key = service.target.key();
        let state = self.documents.read::<TargetState>(&keys::target(&key)).await?;
        let state = state.map_or_else(|| TargetState::new(key), |loaded| loaded.value);
        let platform = self.ports.platforms.of(&service.target);
        Ok(platform.ways_back(observation, &way_back::proven(service, &state, observation)))
    }

    /// Every signal of a service between two times.
    pub(super) async fn read_signals(&self, service: &Service, from: Timestamp, to: Timestamp) -> Vec<Known<Series>> {
        let read = |metric: &EvidenceMetric| {
            let resource = metric.resource.as_ref().or(service.target.resource()).cloned();
            let metric = metric.clone();
            async move {
                match resource {
                    Some(resource) => known(self.ports.telemetry.series(&metric, &resource, from, to).await),
                    None => Known::Unknown(format!("`{}` names no `resource`, and the target is none of Azure's", metric.name())),
                }
            }
        };
        join_all(service.evidence.iter().map(read)).await
    }

    /// Who paused, if anybody did.
    pub(super) async fn read_paused(&self) -> Known<Option<String>> {
        match self.documents.read::<Control>(&keys::control()).await {
            Ok(control) => {
                Known::Value(control.map(|loaded| loaded.value).filter(|control| control.paused).map(|control| control.by))
            }
            Err(error) => Known::Unknown(error.to_string()),
        }
    }
}

/// A failed read is an unknown, in the error's words.
pub(super) fn known<T>(result: Result<T, PortError>) -> Known<T> {
    match result {
        Ok(value) => Known::Value(value),
        Err(error) => Known::Unknown(error.to_string()),
    }
}
