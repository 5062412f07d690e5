//! The whole policy, valid by construction: names resolve, targets are distinct, dependencies have no cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::service::{Service, ServiceName};

/// Allowance for the clocks of two sources (C10).
pub const SKEW_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub services: BTreeMap<ServiceName, Service>,
    pub storm: StormRule,
    pub notify: Vec<NotifyRule>,
    /// SHA-256 of the file's bytes; stands in each record.
    pub sha256: String,
}

impl Policy {
    /// The services upstream of `name`, itself first, each with its distance in calls (C4).
    pub fn upstream(&self, name: &ServiceName) -> Vec<(&Service, u32)> {
        let mut found: Vec<(&Service, u32)> = Vec::new();
        let mut queue = VecDeque::from([(name.clone(), 0)]);
        while let Some((name, distance)) = queue.pop_front() {
            if found.iter().any(|(service, _)| service.name == name) {
                continue;
            }
            if let Some(service) = self.services.get(&name) {
                found.push((service, distance));
                queue.extend(service.depends_on.iter().map(|upstream| (upstream.clone(), distance + 1)));
            }
        }
        found
    }

    /// Subscriptions in which alerts about its services fire: those of targets, and of resources that `alerts:` or `evidence:` name.
    pub fn subscriptions(&self) -> BTreeSet<String> {
        let named = |service: &'_ Service| -> BTreeSet<String> {
            let alerts = service.alerts.iter().filter_map(|matcher| matcher.resource.as_ref());
            let evidence = service.evidence.iter().filter_map(|metric| metric.resource.as_ref());
            let all = alerts.chain(evidence).chain(service.target.resource());
            all.map(|resource| resource.subscription().to_ascii_lowercase()).collect()
        };
        self.services.values().flat_map(named).collect()
    }
}

/// Alerts on `resources` or more resources that share no recent change, within `within`, are bigger than us (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormRule {
    pub resources: u32,
    pub within: SignedDuration,
}

/// Where a kind of outcome is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifyRule {
    pub channel: Channel,
    /// Name of the app setting that holds the URL; the secret itself never stands in the file.
    pub url_from: Option<String>,
    pub kinds: Vec<NoticeKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Log,
    Teams,
    Slack,
    Webhook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    Act,
    Propose,
    Hold,
    Page,
    Ignore,
}
