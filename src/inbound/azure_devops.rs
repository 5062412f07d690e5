//! Azure DevOps service hooks: releases, pipeline runs and their stages. Source: `event-formats` 5.4.
//!
//! None names an Azure resource; project, pipeline and stage are mapped to a service by the policy.

use crate::domain::{
    deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
    event::{Event, OtherEvent},
};

use super::fields::{Object, Problem};

pub(super) fn understand(message: &Object<'_>) -> Result<Event, Problem> {
    let id = message.identifier("id")?;
    let event_type = message.text("eventType")?.ok_or_else(|| message.missing("eventType"))?;
    let resource = message.required_object("resource")?;
    let mut deployment = match event_type.to_ascii_lowercase().as_str() {
        "ms.vss-release.deployment-started-event" => of_release(&resource, true)?,
        "ms.vss-release.deployment-completed-event" => of_release(&resource, false)?,
        "ms.vss-pipelines.run-state-changed-event" => of_run(&resource)?,
        "ms.vss-pipelines.stage-state-changed-event" => of_stage(&resource)?,
        // Builds, jobs, approvals, pushes.
        _ => return Ok(Event::Other(OtherEvent { id, name: event_type, warning: None })),
    };
    deployment.id = id;
    deployment.operation = Some(event_type);
    deployment.at = message.time("createdDate")?;
    if deployment.subject.project.is_none() {
        deployment.subject.project = project(message, &resource)?;
    }
    Ok(Event::Deployment(deployment))
}

fn of_release(resource: &Object<'_>, started: bool) -> Result<DeploymentEvent, Problem> {
    let environment = resource.required_object("environment")?;
    let word = environment.text("status")?;
    let status = if started { DeploymentStatus::Started } else { of_result(word.as_deref()) };
    let mut deployment = blank(status);
    deployment.subject.stage = environment.text("name")?;
    // `resource.release` may be an empty shell: what stands in the environment goes first.
    for holder in [environment.object("release")?, resource.object("release")?].into_iter().flatten() {
        if deployment.version.is_none() {
            deployment.version = match holder.text("name")? {
                Some(name) => Some(name),
                None => holder.scalar("id")?,
            };
        }
        if deployment.subject.pipeline.is_none() {
            deployment.subject.pipeline = named(&holder, "releaseDefinition")?;
        }
    }
    for holder in [Some(environment), resource.object("deployment")?].into_iter().flatten() {
        if let Some(definition) = named(&holder, "releaseDefinition")? {
            deployment.subject.pipeline = Some(definition);
        }
    }
    Ok(deployment)
}

fn of_run(resource: &Object<'_>) -> Result<DeploymentEvent, Problem> {
    let run = resource.required_object("run")?;
    let mut deployment = blank(of_state(&run)?);
    fill_from_run(&mut deployment, resource, &run)?;
    Ok(deployment)
}

fn of_stage(resource: &Object<'_>) -> Result<DeploymentEvent, Problem> {
    let stage = resource.required_object("stage")?;
    let mut deployment = blank(of_state(&stage)?);
    deployment.subject.stage = match stage.text("name")? {
        Some(name) => Some(name),
        None => stage.text("displayName")?,
    };
    if let Some(run) = resource.object("run")? {
        fill_from_run(&mut deployment, resource, &run)?;
    } else {
        deployment.subject.pipeline = named(resource, "pipeline")?;
    }
    Ok(deployment)
}

fn fill_from_run(deployment: &mut DeploymentEvent, resource: &Object<'_>, run: &Object<'_>) -> Result<(), Problem> {
    deployment.version = match run.scalar("name")? {
        Some(name) => Some(name),
        None => run.scalar("id")?,
    };
    deployment.subject.pipeline = match named(resource, "pipeline")? {
        Some(name) => Some(name),
        None => named(run, "pipeline")?,
    };
    if let Some(parameters) = run.object("templateParameters")? {
        deployment.reversible = parameters.declared("reversible")?;
    }
    Ok(())
}

/// Of a run or a stage: its state, and once that is final its result.
fn of_state(fields: &Object<'_>) -> Result<DeploymentStatus, Problem> {
    let state = fields.text("state")?.ok_or_else(|| fields.missing("state"))?;
    let result = fields.text("result")?;
    Ok(match state.to_ascii_lowercase().as_str() {
        "inprogress" | "running" => DeploymentStatus::Started,
        "completed" => of_result(result.as_deref()),
        _ => DeploymentStatus::Other,
    })
}

/// `partiallySucceeded` has changed what runs; so it counts as a change that happened.
fn of_result(word: Option<&str>) -> DeploymentStatus {
    match word.unwrap_or_default().to_ascii_lowercase().as_str() {
        "succeeded" | "partiallysucceeded" => DeploymentStatus::Succeeded,
        "failed" | "rejected" | "canceled" | "abandoned" => DeploymentStatus::Failed,
        _ => DeploymentStatus::Other,
    }
}

/// Its name where the event has one, else its id: `resourceContainers` holds only that.
fn project(message: &Object<'_>, resource: &Object<'_>) -> Result<Option<String>, Problem> {
    if let Some(name) = named(resource, "project")? {
        return Ok(Some(name));
    }
    let Some(containers) = message.object("resourceContainers")? else { return Ok(None) };
    match containers.object("project")? {
        Some(project) => match project.text("name")? {
            Some(name) => Ok(Some(name)),
            None => project.text("id"),
        },
        None => Ok(None),
    }
}

fn named(fields: &Object<'_>, key: &str) -> Result<Option<String>, Problem> {
    match fields.object(key)? {
        Some(inner) => inner.text("name"),
        None => Ok(None),
    }
}

fn blank(status: DeploymentStatus) -> DeploymentEvent {
    DeploymentEvent {
        id: None,
        source: "azure-devops".to_owned(),
        resources: Vec::new(),
        operation: None,
        status,
        at: None,
        subject: DeploymentSubject::default(),
        version: None,
        reversible: None,
        slots: None,
    }
}
