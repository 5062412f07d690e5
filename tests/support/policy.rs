//! A policy as the tests use it: `checkout`, which may act.

use std::{collections::BTreeMap, sync::Arc};

use backout::{
    domain::{
        alert::{Alert, AlertSchema, AlertSignal, Condition, Severity},
        policy::{Policy, StormRule},
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, WorseWhen},
        service::{Budget, Mode, Resubmit, Reversible, Service, ServiceName},
        target::{AppServiceTarget, AppServiceWay, FingerprintSource, Target},
    },
    process::{Policies, PolicyTrouble},
};
use jiff::{SignedDuration, Timestamp};

pub const SUBSCRIPTION: &str = "6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20";

pub fn site(name: &str) -> ResourceId {
    ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-prod/providers/Microsoft.Web/sites/{name}"))
        .unwrap()
}

pub fn service(name: &str) -> Service {
    Service {
        name: ServiceName(name.to_owned()),
        target: Target::AppService(AppServiceTarget {
            site: site(name),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots, AppServiceWay::Image],
            fingerprint: FingerprintSource::Default,
        }),
        alerts: Vec::new(),
        deployments: Vec::new(),
        depends_on: Vec::new(),
        reversible: Reversible::Always,
        mode: Mode::Act,
        severity_at_least: Severity::new(2).unwrap(),
        correlation_window: SignedDuration::from_mins(60),
        evidence_wait: SignedDuration::from_secs(120),
        healthy_for: SignedDuration::from_mins(30),
        cool_down: SignedDuration::from_mins(30),
        budget: Budget { rollbacks: 3, per: SignedDuration::from_hours(24) },
        quiet_time: SignedDuration::from_mins(10),
        verify_within: SignedDuration::from_mins(15),
        resubmit: Resubmit::Never,
        evidence: vec![EvidenceMetric {
            metric: "Http5xx".to_owned(),
            of: Some("Requests".to_owned()),
            worse_when: WorseWhen::Higher,
            no_data: NoData::Unknown,
            resource: None,
        }],
    }
}

pub fn policy(services: Vec<Service>) -> Policy {
    Policy {
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect::<BTreeMap<_, _>>(),
        storm: StormRule { resources: 5, within: SignedDuration::from_mins(5) },
        notify: Vec::new(),
        sha256: "0".repeat(64),
    }
}

/// The same policy for ever.
pub struct FixedPolicy(pub Arc<Policy>);

#[async_trait::async_trait]
impl Policies for FixedPolicy {
    async fn load(&self) -> Result<Arc<Policy>, PolicyTrouble> {
        Ok(Arc::clone(&self.0))
    }
}

/// A firing about `service`'s site.
pub fn alert(id: &str, service: &str, fired_at: Timestamp) -> Alert {
    Alert {
        id: Some(format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{id}")),
        rule: Some(format!("{service}-5xx")),
        severity: Severity::new(1),
        condition: Condition::Fired,
        resources: vec![site(service).canonical().to_owned()],
        fired_at: Some(fired_at),
        resolved_at: None,
        schema: AlertSchema::Common,
        signal: AlertSignal::Metric,
        window: None,
        dimensions: BTreeMap::new(),
        properties: BTreeMap::new(),
    }
}
