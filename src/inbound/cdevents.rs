//! CDEvents, bare or as the data of a CloudEvent. Source: `event-formats` 5.5; compared without the version in the type.

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::{Event, OtherEvent},
    resource_id::ResourceId,
};

use super::fields::{Object, Problem};

pub(super) fn understand_bare(message: &Object<'_>) -> Result<Event, Problem> {
    understand(message)
}

pub(super) fn understand_in_cloud_event(message: &Object<'_>) -> Result<Event, Problem> {
    understand(&message.required_object("data")?)
}

fn understand(event: &Object<'_>) -> Result<Event, Problem> {
    let context = event.required_object("context")?;
    let id = context.identifier("id")?;
    let event_type = context.text("type")?.ok_or_else(|| context.missing("type"))?;
    let at = context.time("timestamp")?;
    let subject = event.required_object("subject")?;
    let told = subject.required_object("content")?;

    let words: Vec<&str> = event_type.split('.').collect();
    let (status, environment) = match words.as_slice() {
        ["dev", "cdevents", "service", "deployed" | "upgraded" | "published" | "rolledback" | "removed", ..] => {
            let environment = match told.object("environment")? {
                Some(environment) => environment.text("id")?,
                None => None,
            };
            (DeploymentStatus::Succeeded, environment)
        }
        // The environment itself changed; what runs there may have, or not.
        ["dev", "cdevents", "environment", ..] => (DeploymentStatus::Other, subject.text("id")?),
        // Incidents, builds, tests, runs.
        _ => return Ok(Event::Other(OtherEvent { id, name: event_type, warning: None })),
    };
    let named = subject.identifier("id")?;
    // A pipeline may name the resource itself, which spares the mapping.
    let resource = named.as_ref().filter(|id| ResourceId::parse(id).is_ok());
    let reversible = match event.object_or_json_text("customData") {
        Some(custom) => custom.declared("reversible")?,
        None => None,
    };
    Ok(Event::Deployment(DeploymentEvent {
        id,
        source: "cdevents".to_owned(),
        resources: resource.cloned().into_iter().collect(),
        operation: Some(event_type.clone()),
        status,
        at,
        subject: DeploymentSubject { environment, subject: named, ..DeploymentSubject::default() },
        version: told.text("artifactId")?,
        reversible,
        slots: None,
    }))
}
