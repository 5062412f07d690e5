//! Events of Flux's notification-controller. Source: `event-formats` 5.5. They carry neither an id nor, by themselves, the cluster.

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::Event,
    resource_id::ResourceId,
};

use super::fields::{Object, Problem, clean};

pub(super) fn understand(message: &Object<'_>) -> Result<Event, Problem> {
    let object = message.required_object("involvedObject")?;
    let kind = object.text("kind")?.ok_or_else(|| object.missing("kind"))?;
    let name = object.text("name")?.ok_or_else(|| object.missing("name"))?;
    let namespace = object.text("namespace")?.unwrap_or_default();
    let reason = message.text("reason")?;
    let severity = message.text("severity")?;
    let metadata = match message.object("metadata")? {
        Some(metadata) => metadata.entries()?,
        None => Vec::new(),
    };
    let valued = |word: &str| {
        let ending = format!("/{word}");
        metadata.iter().find(|(key, _)| key == word || key.ends_with(&ending)).and_then(|(_, text)| clean(text))
    };
    // Operators can add the cluster through `eventMetadata` of the Alert.
    let is_cluster = |text: &str| {
        ResourceId::parse(text)
            .is_ok_and(|id| id.resource_type().as_deref() == Some("microsoft.containerservice/managedclusters"))
    };
    let cluster = metadata.iter().map(|(_, text)| text).find(|text| is_cluster(text));
    Ok(Event::Deployment(DeploymentEvent {
        id: None,
        source: "flux".to_owned(),
        resources: cluster.cloned().into_iter().collect(),
        status: status(&kind, severity.as_deref(), reason.as_deref()),
        operation: reason,
        at: message.time("timestamp")?,
        subject: DeploymentSubject {
            environment: valued("environment"),
            subject: clean(&format!("{kind}/{namespace}/{name}")),
            ..DeploymentSubject::default()
        },
        version: valued("revision"),
        reversible: None,
        slots: None,
    }))
}

/// Only these two kinds roll something out; the others fetch, scan and notify.
fn status(kind: &str, severity: Option<&str>, reason: Option<&str>) -> DeploymentStatus {
    if !["Kustomization", "HelmRelease"].contains(&kind) {
        return DeploymentStatus::Other;
    }
    match (severity, reason.unwrap_or_default()) {
        (Some("error"), _) => DeploymentStatus::Failed,
        (_, reason) if reason.ends_with("Succeeded") => DeploymentStatus::Succeeded,
        (_, reason) if reason.starts_with("Progressing") => DeploymentStatus::Started,
        _ => DeploymentStatus::Other,
    }
}
