//! CDEvents, bare or as the data of a CloudEvent. Source: `event-formats` 5.5; compared without the version in the type.
//!
//! `customData` may say what the specification has no field for: `reversible`, `version`, and for a run which `service` it
//! deploys to which `environment`. The marker step of `docs/workflows/marker` writes them.

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
    let custom = event.object_or_json_text("customData");
    let custom_identifier = |key: &str| match &custom {
        Some(custom) => custom.identifier(key),
        None => Ok(None),
    };

    let words: Vec<&str> = event_type.split('.').collect();
    let (status, names) = match words.as_slice() {
        ["dev", "cdevents", "service", "deployed" | "upgraded" | "published" | "rolledback" | "removed", ..] => {
            let environment = match told.object("environment")? {
                Some(environment) => environment.text("id")?,
                None => None,
            };
            let names = DeploymentSubject { environment, subject: subject.identifier("id")?, ..DeploymentSubject::default() };
            (DeploymentStatus::Succeeded, names)
        }
        // The environment itself changed; what runs there may have, or not.
        ["dev", "cdevents", "environment", ..] => {
            let named = subject.identifier("id")?;
            let environment = subject.text("id")?;
            (DeploymentStatus::Other, DeploymentSubject { environment, subject: named, ..DeploymentSubject::default() })
        }
        // A run deploys only if it says so; the specification has no event of its own for a deployment that begins or fails.
        ["dev", "cdevents", "pipelinerun" | "taskrun", verb @ ("started" | "finished"), ..] => {
            let Some(service) = custom_identifier("service")? else {
                return Ok(Event::Other(OtherEvent { id, name: event_type, warning: None }));
            };
            let status = if *verb == "started" {
                DeploymentStatus::Started
            } else {
                match told.text("outcome")?.as_deref() {
                    Some("success") => DeploymentStatus::Succeeded,
                    Some("failure" | "error" | "cancel") => DeploymentStatus::Failed,
                    Some(_) | None => DeploymentStatus::Other,
                }
            };
            let names = DeploymentSubject {
                pipeline: told.text("pipelineName")?,
                environment: custom_identifier("environment")?,
                subject: Some(service),
                ..DeploymentSubject::default()
            };
            (status, names)
        }
        // Incidents, builds, tests.
        _ => return Ok(Event::Other(OtherEvent { id, name: event_type, warning: None })),
    };
    // A pipeline may name the resource itself, which spares the mapping.
    let resource = names.subject.as_ref().filter(|id| ResourceId::parse(id).is_ok()).cloned();
    let (reversible, version) = match &custom {
        Some(custom) => (custom.declared("reversible")?, custom.text("version")?),
        None => (None, None),
    };
    Ok(Event::Deployment(DeploymentEvent {
        id,
        source: "cdevents".to_owned(),
        resources: resource.into_iter().collect(),
        operation: Some(event_type.clone()),
        status,
        at,
        subject: names,
        version: match version {
            Some(version) => Some(version),
            None => told.text("artifactId")?,
        },
        reversible,
        slots: None,
    }))
}
