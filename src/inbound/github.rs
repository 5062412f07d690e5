//! GitHub web hooks. Source: `event-formats` 5.5. The delivery's id stands in a header, so the object's own id serves here.

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::{Event, OtherEvent},
};

use super::fields::{Object, Problem};

pub(super) fn understand_deployment_status(message: &Object<'_>) -> Result<Event, Problem> {
    let told = message.required_object("deployment_status")?;
    let state = told.text("state")?.ok_or_else(|| told.missing("state"))?;
    let mut deployment = understand_parts(message, "deployment_status")?;
    deployment.id = told.scalar("id")?;
    deployment.status = match state.to_ascii_lowercase().as_str() {
        "success" => DeploymentStatus::Succeeded,
        "failure" | "error" => DeploymentStatus::Failed,
        "in_progress" => DeploymentStatus::Started,
        // `queued`, `pending` and `waiting` have changed nothing yet; `inactive` is set on the previous deployment by a newer one.
        _ => DeploymentStatus::Other,
    };
    deployment.at = told.time("created_at")?;
    if let Some(environment) = told.text("environment")? {
        deployment.subject.environment = Some(environment);
    }
    Ok(Event::Deployment(deployment))
}

pub(super) fn understand_deployment(message: &Object<'_>) -> Result<Event, Problem> {
    understand_parts(message, "deployment").map(Event::Deployment)
}

/// A run alone deploys nothing.
pub(super) fn understand_workflow_run(message: &Object<'_>) -> Result<Event, Problem> {
    let run = message.required_object("workflow_run")?;
    Ok(Event::Other(OtherEvent { id: run.scalar("id")?, name: "workflow_run".to_owned(), warning: None }))
}

fn understand_parts(message: &Object<'_>, operation: &str) -> Result<DeploymentEvent, Problem> {
    let deployment = message.required_object("deployment")?;
    let repository = message.required_object("repository")?;
    let workflow = match message.object("workflow")? {
        Some(workflow) => workflow.text("name")?,
        None => None,
    };
    let reversible = match deployment.object_or_json_text("payload") {
        Some(payload) => payload.declared("reversible")?,
        None => None,
    };
    Ok(DeploymentEvent {
        id: deployment.scalar("id")?,
        source: "github".to_owned(),
        resources: Vec::new(),
        operation: Some(operation.to_owned()),
        status: DeploymentStatus::Started,
        at: deployment.time("created_at")?,
        subject: DeploymentSubject {
            pipeline: workflow,
            repository: repository.text("full_name")?,
            environment: deployment.text("environment")?,
            ..DeploymentSubject::default()
        },
        version: deployment.text("sha")?,
        reversible,
        slots: None,
    })
}
