//! What Azure Resource Manager says about each write, delete and action. Source: `event-formats` 5.1 and 6.

use crate::domain::{deployment::DeploymentStatus, event::Event, resource_id::ResourceId};

use super::{event_grid::GridEvent, fields::Problem};

/// Of the event type in lower case, such as `microsoft.resources.resourcewritesuccess`; `None` for other types.
pub(super) fn status(event_type: &str) -> Option<DeploymentStatus> {
    let rest = event_type.strip_prefix("microsoft.resources.resource")?;
    let outcome = ["write", "delete", "action"].iter().find_map(|verb| rest.strip_prefix(verb))?;
    match outcome {
        "success" => Some(DeploymentStatus::Succeeded),
        "failure" | "cancel" => Some(DeploymentStatus::Failed),
        _ => None,
    }
}

pub(super) fn understand(event: &GridEvent<'_>, status: DeploymentStatus) -> Result<Event, Problem> {
    // Claims, and the evidence beside the action, are personal: they are not read.
    let data = event.message.required_object("data")?;
    let operation = match data.text("operationName")? {
        Some(name) => Some(name),
        None => match data.object_or_json_text("authorization") {
            Some(authorization) => authorization.text("action")?,
            None => None,
        },
    };
    let resource = match data.identifier("resourceUri")? {
        Some(id) => id,
        None => event.message.identifier("subject")?.ok_or_else(|| data.missing("resourceUri"))?,
    };
    let lower = operation.as_deref().unwrap_or_default().to_ascii_lowercase();
    if ["/whatif/action", "/validate/action"].iter().any(|dry_run| lower.ends_with(dry_run)) {
        return Ok(event.other(None));
    }
    let mut deployment = event.deployment(resource, status);
    deployment.version = if lower.starts_with("microsoft.resources/deployments/") {
        // What names one deployment for ARM, however often its name is used.
        data.text("correlationId")?
    } else if lower.starts_with("microsoft.app/containerapps/revisions/") {
        ResourceId::parse(&deployment.resources[0]).ok().map(|id| id.name().to_owned())
    } else {
        None
    };
    if operation.is_some() {
        deployment.operation = operation;
    }
    Ok(Event::Deployment(deployment))
}
