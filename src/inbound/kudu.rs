//! The deployment notice of an App Service site's own deployment service. Source: `event-formats` 5.5.

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::Event,
};

use super::fields::{Object, Problem};

pub(super) fn understand(message: &Object<'_>) -> Result<Event, Problem> {
    let complete = message.declared("complete")?.unwrap_or_default();
    let word = message.text("status")?.ok_or_else(|| message.missing("status"))?;
    let status = match (complete, word.to_ascii_lowercase().as_str()) {
        (false, _) => DeploymentStatus::Started,
        (true, "success") => DeploymentStatus::Succeeded,
        (true, "failed") => DeploymentStatus::Failed,
        (true, _) => DeploymentStatus::Other,
    };
    // The deployment's id is the commit's where it came from a repository.
    let id = message.identifier("id")?;
    Ok(Event::Deployment(DeploymentEvent {
        id: id.clone(),
        source: "kudu".to_owned(),
        resources: Vec::new(),
        operation: None,
        status,
        at: match message.time("endTime")? {
            Some(at) => Some(at),
            None => message.time("startTime")?,
        },
        subject: DeploymentSubject { subject: message.text("siteName")?, ..DeploymentSubject::default() },
        version: id,
        reversible: None,
        slots: None,
    }))
}
