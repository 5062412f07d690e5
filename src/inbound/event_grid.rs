//! Event Grid's events, in its own schema and as CloudEvents. Source: `event-formats` 5.1 to 5.3.
//!
//! The event's type is trusted over `data.status`: published failure events say `Succeeded` there.

use jiff::Timestamp;

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::{Event, OtherEvent},
    resource_id::ResourceId,
};

use super::{
    app_service_event, arm_event,
    fields::{Object, Problem},
};

/// What both schemas have, under one name.
pub(super) struct GridEvent<'a> {
    pub message: &'a Object<'a>,
    /// Name of the field that holds the ARM id of the topic: `topic` or `source`.
    pub source_key: &'static str,
    pub id: Option<String>,
    pub event_type: String,
    pub at: Option<Timestamp>,
}

pub(super) fn understand_event_grid_schema(message: &Object<'_>) -> Result<Event, Problem> {
    understand(&GridEvent {
        message,
        source_key: "topic",
        id: message.identifier("id")?,
        event_type: message.text("eventType")?.ok_or_else(|| message.missing("eventType"))?,
        at: message.time("eventTime")?,
    })
}

pub(super) fn understand_cloud_event(message: &Object<'_>) -> Result<Event, Problem> {
    understand(&GridEvent {
        message,
        source_key: "source",
        id: message.identifier("id")?,
        event_type: message.text("type")?.ok_or_else(|| message.missing("type"))?,
        at: message.time("time")?,
    })
}

fn understand(event: &GridEvent<'_>) -> Result<Event, Problem> {
    let event_type = event.event_type.to_ascii_lowercase();
    match event_type.as_str() {
        "microsoft.resourcenotifications.resources.createdorupdated" | "microsoft.resourcenotifications.resources.deleted" => {
            understand_resource_notification(event)
        }
        "microsoft.appconfiguration.keyvaluemodified" | "microsoft.appconfiguration.keyvaluedeleted" => {
            understand_configuration_change(event)
        }
        "microsoft.eventgrid.subscriptiondeletedevent" => understand_deleted_subscription(event),
        kind => {
            if let Some(status) = arm_event::status(kind) {
                return arm_event::understand(event, status);
            }
            match app_service_event::kind(kind) {
                Some(kind) => app_service_event::understand(event, kind),
                // Pushed images, cluster news, plan changes, health, validation, and whatever a wide filter lets in.
                None => Ok(event.other(None)),
            }
        }
    }
}

impl GridEvent<'_> {
    pub(super) fn other(&self, warning: Option<String>) -> Event {
        Event::Other(OtherEvent { id: self.id.clone(), name: self.event_type.clone(), warning })
    }

    pub(super) fn deployment(&self, resource: String, status: DeploymentStatus) -> DeploymentEvent {
        DeploymentEvent {
            id: self.id.clone(),
            source: "event-grid".to_owned(),
            resources: vec![resource],
            operation: Some(self.event_type.clone()),
            status,
            at: self.at,
            subject: DeploymentSubject::default(),
            version: None,
            reversible: None,
            slots: None,
        }
    }

    /// The ARM id of the topic, where the events of one resource have a topic of their own.
    pub(super) fn topic(&self) -> Result<String, Problem> {
        self.message.identifier(self.source_key)?.ok_or_else(|| self.message.missing(self.source_key))
    }
}

/// The resource as it is now, whatever changed: status `other`, since neither the operation nor its outcome is told.
/// It stands beside the ARM event of the same change and adds the version, where the resource carries one.
fn understand_resource_notification(event: &GridEvent<'_>) -> Result<Event, Problem> {
    let data = event.message.required_object("data")?;
    let info = data.required_object("resourceInfo")?;
    let resource = match info.identifier("id")? {
        Some(id) => id,
        None => event.message.identifier("subject")?.ok_or_else(|| info.missing("id"))?,
    };
    let mut deployment = event.deployment(resource, DeploymentStatus::Other);
    if let Some(properties) = info.object("properties")? {
        let kind = ResourceId::parse(&deployment.resources[0]).ok().and_then(|id| id.resource_type());
        deployment.version = match kind.as_deref() {
            Some("microsoft.logic/workflows") => properties.text("version")?,
            Some("microsoft.app/containerapps") => properties.text("latestRevisionName")?,
            _ => None,
        };
    }
    Ok(Event::Deployment(deployment))
}

/// A changed key: for some services that is a deployment. The store is the resource.
fn understand_configuration_change(event: &GridEvent<'_>) -> Result<Event, Problem> {
    let mut deployment = event.deployment(event.topic()?, DeploymentStatus::Succeeded);
    if let Some(data) = event.message.object("data")? {
        deployment.version = data.text("etag")?;
    }
    Ok(Event::Deployment(deployment))
}

fn understand_deleted_subscription(event: &GridEvent<'_>) -> Result<Event, Problem> {
    let named = match event.message.object("data")? {
        Some(data) => data.text("eventSubscriptionId")?,
        None => None,
    };
    let which = named.map(|id| format!(" `{id}`")).unwrap_or_default();
    Ok(event.other(Some(format!(
        "the Event Grid subscription{which} was deleted, so its events no longer arrive; create it again unless this was meant"
    ))))
}
