//! Alerts as Alerts Management lists them, by subscription.
//!
//! Field names as in api-version 2019-03-01. Composed rather than seen on Azure: message texts, how pages are linked, and that
//! `timeRange` counts from the last change.

use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AzureSimulation,
    arm::{ArmRequest, nothing_here},
    call::Reply,
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2018-05-05", "2019-03-01", "2019-05-05-preview", "2021-08-08"];

/// Lists that hold what [`AzureSimulation::list_resources`] says; nothing at first.
const LISTED: &[&str] = &[
    "microsoft.insights/metricalerts",
    "microsoft.insights/scheduledqueryrules",
    "microsoft.insights/actiongroups",
    "microsoft.alertsmanagement/actionrules",
];

/// Default and greatest size of a page.
const PAGE_DEFAULT: usize = 25;
const PAGE_MAX: usize = 250;

/// An alert that fired about a resource, whoever was told of it.
#[derive(Debug, Clone)]
pub struct SimulatedAlert {
    /// Full id of the instance, as in the message of the same firing.
    pub id: String,
    pub target: ResourceId,
    pub rule: String,
    /// Such as `Sev1`.
    pub severity: String,
    pub fired_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// An alert processing rule kept it from being told.
    pub suppressed: bool,
}

impl SimulatedAlert {
    /// Sev1, firing still.
    pub fn new(target: ResourceId, rule: &str, fired_at: Timestamp) -> Self {
        let id =
            format!("/subscriptions/{}/providers/Microsoft.AlertsManagement/alerts/{}", target.subscription(), Uuid::new_v4());
        Self { id, target, rule: rule.to_owned(), severity: "Sev1".to_owned(), fired_at, resolved_at: None, suppressed: false }
    }

    fn changed_at(&self) -> Timestamp {
        self.resolved_at.unwrap_or(self.fired_at)
    }

    fn shown(&self) -> Value {
        let condition = if self.resolved_at.is_some() { "Resolved" } else { "Fired" };
        let mut essentials = json!({
            "severity": self.severity,
            "signalType": "Metric",
            "alertState": "New",
            "monitorCondition": condition,
            "monitorService": "Platform",
            "targetResource": self.target.canonical(),
            "targetResourceName": self.target.name(),
            "targetResourceGroup": self.target.resource_group(),
            "targetResourceType": self.target.resource_type(),
            "sourceCreatedId": Uuid::nil(),
            "alertRule": format!(
                "/subscriptions/{}/resourceGroups/{}/providers/microsoft.insights/metricAlerts/{}",
                self.target.subscription(), self.target.resource_group().unwrap_or("shop"), self.rule
            ),
            "startDateTime": self.fired_at.to_string(),
            "lastModifiedDateTime": self.changed_at().to_string(),
            "lastModifiedUserName": "System",
            "actionStatus": { "isSuppressed": self.suppressed },
            "description": "",
        });
        if let (Some(at), Some(essentials)) = (self.resolved_at, essentials.as_object_mut()) {
            essentials.insert("monitorConditionResolvedDateTime".to_owned(), json!(at.to_string()));
        }
        json!({ "properties": { "essentials": essentials }, "id": self.id, "type": "Microsoft.AlertsManagement/alerts", "name": self.rule })
    }
}

/// What fired, whether or not a message of it is sent.
impl AzureSimulation {
    /// Lists the alert from now on; in place of the one with the same id.
    pub fn list_alert(&self, alert: SimulatedAlert) {
        let mut world = self.shared().settled_world();
        world.alerts.retain(|known| known.id != alert.id);
        world.alerts.push(alert);
    }

    /// What the list of alert rules, action groups or alert processing rules of a subscription shows, in place of what it did.
    /// `kind` is such as `Microsoft.Insights/metricAlerts`.
    pub fn list_resources(&self, subscription: &str, kind: &str, shown: Vec<Value>) {
        let kind = kind.to_ascii_lowercase();
        assert!(LISTED.contains(&kind.as_str()), "the simulation lists no `{kind}`");
        self.shared().settled_world().listed.insert((subscription.to_ascii_lowercase(), kind), shown);
    }
}

/// What a list by subscription shows, as the world's script says.
pub(super) fn listed(world: &World, request: &ArmRequest<'_>, scope: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    let ["subscriptions", subscription, "providers", provider, kind] = scope else {
        return Err(nothing_here(call));
    };
    let full = format!("{provider}/{kind}");
    if call.method != Method::GET || !LISTED.contains(&full.as_str()) {
        return Err(nothing_here(call));
    }
    world.permissions.require(request.identity, &format!("/subscriptions/{subscription}"), &format!("{full}/read"))?;
    let shown = world.listed.get(&((*subscription).to_owned(), full)).cloned().unwrap_or_default();
    Ok(Reply::json(StatusCode::OK, &json!({ "value": shown })))
}

pub(super) fn answer(world: &World, request: &ArmRequest<'_>, scope: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    let ["subscriptions", subscription, "providers", "microsoft.alertsmanagement", "alerts"] = scope else {
        return listed(world, request, scope);
    };
    if call.method != Method::GET {
        return Err(nothing_here(call));
    }
    world.permissions.require(
        request.identity,
        &format!("/subscriptions/{subscription}"),
        "Microsoft.AlertsManagement/alerts/read",
    )?;
    let wrong = |name: &str| Reply::error(StatusCode::BAD_REQUEST, "BadRequest", &format!("The value of '{name}' is not valid."));
    let reach = match call.parameter("timeRange").unwrap_or("1d") {
        "1h" => SignedDuration::from_hours(1),
        "1d" => SignedDuration::from_hours(24),
        "7d" => SignedDuration::from_hours(7 * 24),
        "30d" => SignedDuration::from_hours(30 * 24),
        _ => return Err(wrong("timeRange")),
    };
    let size = match call.parameter("pageCount") {
        None => PAGE_DEFAULT,
        Some(text) => text.parse().ok().filter(|size| (1..=PAGE_MAX).contains(size)).ok_or_else(|| wrong("pageCount"))?,
    };
    let page: usize = match call.parameter("page") {
        None => 0,
        Some(text) => text.parse().map_err(|_| wrong("page"))?,
    };
    let mut listed: Vec<_> = world
        .alerts
        .iter()
        .filter(|alert| alert.target.subscription().eq_ignore_ascii_case(subscription))
        .filter(|alert| alert.fired_at <= request.now && alert.changed_at() >= request.now - reach)
        .collect();
    match call.parameter("sortBy").unwrap_or("lastModifiedDateTime") {
        "lastModifiedDateTime" => listed.sort_by_key(|alert| alert.changed_at()),
        "startDateTime" => listed.sort_by_key(|alert| alert.fired_at),
        _ => return Err(wrong("sortBy")),
    }
    match call.parameter("sortOrder").unwrap_or("desc") {
        "desc" => listed.reverse(),
        "asc" => {}
        _ => return Err(wrong("sortOrder")),
    }
    let value: Vec<Value> = listed.iter().skip(page * size).take(size).map(|alert| alert.shown()).collect();
    let mut body = json!({ "value": value });
    if listed.len() > (page + 1) * size {
        let mut next = request.here.clone();
        next.set_path(&format!("/{}", call.segments.join("/")));
        next.query_pairs_mut().extend_pairs(call.query.iter().filter(|(name, _)| name != "page"));
        next.query_pairs_mut().append_pair("page", &(page + 1).to_string());
        body["nextLink"] = json!(next.as_str());
    }
    Ok(Reply::json(StatusCode::OK, &body))
}
