//! Alert rules, and whether what they fire reaches us: metric rules, log search rules, action groups, alert processing rules.
//!
//! Sources: `Microsoft.Insights/metricAlerts` 2018-03-01, `scheduledQueryRules` 2023-12-01, `actionGroups` 2023-01-01,
//! `Microsoft.AlertsManagement/actionRules` 2021-08-08. The URL of a receiver holds a key: it is looked at here and goes nowhere.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::{
    azure::{resource_manager::ResourceManager, resource_path::encoded},
    domain::{alert::Severity, resource_id::ResourceId},
    ports::PortError,
};

/// A metric or log search rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    pub name: String,
    pub enabled: bool,
    pub severity: Option<Severity>,
    /// What it watches, as written.
    pub scopes: Vec<String>,
    action_groups: Vec<String>,
}

/// Whether a firing of a rule is brought to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Brought,
    NotBrought,
    /// An alert processing rule takes every action group away.
    TakenAway,
    /// It depends on conditions, or on an action group elsewhere.
    Unclear,
}

/// The function that takes alerts: where it answers, as far as the settings tell.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    pub site: Option<ResourceId>,
    pub public_url: Option<Url>,
}

/// What one or more subscriptions hold.
#[derive(Debug, Clone, Default)]
pub struct AlertRules {
    pub rules: Vec<AlertRule>,
    /// By canonical id, whether it reaches us.
    groups: BTreeMap<String, bool>,
    processing: Vec<ProcessingRule>,
}

#[derive(Debug, Clone)]
struct ProcessingRule {
    scopes: Vec<ResourceId>,
    /// Conditions or a schedule: it holds for some alerts, or at some times.
    sometimes: bool,
    adds: Vec<String>,
    removes: bool,
}

/// What the identity that reads must be allowed to do on the subscription.
pub const READING_ACTIONS: [&str; 4] = [
    "Microsoft.Insights/metricAlerts/read",
    "Microsoft.Insights/scheduledQueryRules/read",
    "Microsoft.Insights/actionGroups/read",
    "Microsoft.AlertsManagement/actionRules/read",
];

/// Name of the function behind the web hook.
const FUNCTION: &str = "alert-webhook";

impl AlertRules {
    /// Adds what one subscription holds, read side by side.
    pub async fn read(&mut self, arm: &ResourceManager, subscription: &str, receiver: &Receiver) -> Result<(), PortError> {
        let list = async |kind: &str, version: &str| {
            let path = format!("/subscriptions/{}/providers/{kind}?api-version={version}", encoded(subscription));
            arm.read_all("list alert rules", &path).await
        };
        let (metric, log, groups, processing) = futures::try_join!(
            list("Microsoft.Insights/metricAlerts", "2018-03-01"),
            list("Microsoft.Insights/scheduledQueryRules", "2023-12-01"),
            list("Microsoft.Insights/actionGroups", "2023-01-01"),
            list("Microsoft.AlertsManagement/actionRules", "2021-08-08"),
        )?;
        self.rules.extend(metric.iter().chain(&log).filter_map(rule));
        self.groups
            .extend(groups.iter().filter_map(|group| Some((canonical(group.get("id")?.as_str()?), reaches(group, receiver)))));
        self.processing.extend(processing.iter().filter_map(processing_rule));
        Ok(())
    }

    /// Whether a firing of `rule` is brought to us.
    pub fn reach(&self, rule: &AlertRule) -> Reach {
        let covering = self.processing.iter().filter(|processing| processing.covers(rule));
        let (mut unclear, mut brought) = (false, false);
        for processing in covering {
            if processing.removes {
                if !processing.sometimes {
                    return Reach::TakenAway;
                }
                unclear = true;
            }
            match (self.any_reaches(&processing.adds), processing.sometimes) {
                (Reach::Brought, false) => brought = true,
                (Reach::Brought, true) | (Reach::Unclear, _) => unclear = true,
                (Reach::NotBrought | Reach::TakenAway, _) => {}
            }
        }
        match (brought, self.any_reaches(&rule.action_groups)) {
            (true, _) | (false, Reach::Brought) => Reach::Brought,
            (false, Reach::Unclear) => Reach::Unclear,
            (false, Reach::NotBrought | Reach::TakenAway) if unclear => Reach::Unclear,
            (false, Reach::NotBrought | Reach::TakenAway) => Reach::NotBrought,
        }
    }

    fn any_reaches(&self, groups: &[String]) -> Reach {
        let known: Vec<Option<&bool>> = groups.iter().map(|group| self.groups.get(group)).collect();
        if known.contains(&Some(&true)) {
            Reach::Brought
        } else if known.contains(&None) {
            Reach::Unclear
        } else {
            Reach::NotBrought
        }
    }
}

impl ProcessingRule {
    fn covers(&self, rule: &AlertRule) -> bool {
        let watched = rule.scopes.iter().filter_map(|scope| ResourceId::parse(scope).ok());
        watched.into_iter().any(|watched| self.scopes.iter().any(|scope| watched.is_within(scope)))
    }
}

fn rule(element: &Value) -> Option<AlertRule> {
    let properties = element.get("properties")?;
    let severity = properties.get("severity").and_then(Value::as_u64);
    // Metric rules list objects; log search rules an object with a list of ids.
    let metric = properties
        .get("actions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|action| action.get("actionGroupId"));
    let log = properties.pointer("/actions/actionGroups").and_then(Value::as_array).into_iter().flatten();
    Some(AlertRule {
        name: element.get("name")?.as_str()?.to_owned(),
        enabled: properties.get("enabled").and_then(Value::as_bool).unwrap_or(true),
        severity: severity.and_then(|level| Severity::new(u8::try_from(level).ok()?)),
        scopes: texts(properties.get("scopes")),
        action_groups: metric.chain(log).filter_map(Value::as_str).map(canonical).collect(),
    })
}

fn processing_rule(element: &Value) -> Option<ProcessingRule> {
    let properties = element.get("properties")?;
    if properties.get("enabled").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    let actions = || properties.get("actions").and_then(Value::as_array).into_iter().flatten();
    let conditions = properties.get("conditions").and_then(Value::as_array).is_some_and(|conditions| !conditions.is_empty());
    Some(ProcessingRule {
        scopes: texts(properties.get("scopes")).iter().filter_map(|scope| ResourceId::parse(scope).ok()).collect(),
        sometimes: conditions || properties.get("schedule").is_some_and(|schedule| !schedule.is_null()),
        adds: actions().flat_map(|action| texts(action.get("actionGroupIds"))).map(|id| canonical(&id)).collect(),
        removes: actions().any(|action| action.get("actionType").and_then(Value::as_str) == Some("RemoveAllActionGroups")),
    })
}

fn reaches(group: &Value, receiver: &Receiver) -> bool {
    let Some(properties) = group.get("properties") else { return false };
    if properties.get("enabled").and_then(Value::as_bool) == Some(false) {
        return false;
    }
    let each = |kind: &str| properties.get(kind).and_then(Value::as_array).into_iter().flatten();
    let by_url = each("webhookReceivers").filter_map(|hook| Url::parse(hook.get("serviceUri")?.as_str()?).ok());
    let by_id = each("azureFunctionReceivers").filter_map(|function| function.get("functionAppResourceId")?.as_str());
    by_url.into_iter().any(|url| receiver.answers_at(&url))
        || by_id.into_iter().any(|id| ResourceId::parse(id).ok().is_some_and(|id| receiver.site.as_ref() == Some(&id)))
}

impl Receiver {
    /// By the function's name in the path, and by the host where the settings tell it.
    fn answers_at(&self, url: &Url) -> bool {
        let is_function = url.path_segments().is_some_and(|mut segments| segments.any(|segment| segment == FUNCTION));
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let by_site = self.site.as_ref().map(|site| host.split('.').next() == Some(&site.name().to_ascii_lowercase()));
        let by_url = self.public_url.as_ref().map(|public| public.host_str() == Some(host.as_str()));
        is_function
            && match (by_site, by_url) {
                (None, None) => true,
                (site, public) => site == Some(true) || public == Some(true),
            }
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn canonical(id: &str) -> String {
    id.trim_end_matches('/').to_ascii_lowercase()
}
