//! Whether a run could be asked for, before it is needed.
//!
//! Neither server says cheaply whether an identity may *queue*. That both identities see the pipeline is checked, and that it
//! takes runs; a missing right to queue shows as a refusal when it is used.

use serde_json::Value;

use super::{PipelineClients, Who, azure_dev_ops, client::Connection, github, observe::server};
use crate::{
    azure::answer::clean,
    domain::{
        observation::{Obstacle, ObstacleWeight, Preflight},
        right::{Identity, NeededRight},
        rule::RuleId,
        target::{PipelinePlace, PipelineTarget},
    },
    ports::{PortError, PortErrorKind},
};

const READ_PIPELINE: &str = "read the pipeline";

/// What asking for a run and following it needs, in the server's own words.
pub fn rights(target: &PipelineTarget) -> Vec<NeededRight> {
    let all = |acting: &str, reading: &str, scope: String, role| {
        let acting = NeededRight::all(Identity::Acting, &[acting], &scope, role);
        [acting, NeededRight::all(Identity::Reading, &[reading], &scope, role)].concat()
    };
    match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, .. } => {
            let scope = format!("pipeline {pipeline} of {organization}/{project}");
            all("Queue builds", "View builds", scope, "Contributors")
        }
        PipelinePlace::GitHub { repository, workflow, .. } => {
            all("actions: write", "actions: read", format!("{workflow} of {repository}"), "a fine-grained token")
        }
    }
}

/// Reads the pipeline's definition on behalf of whoever would queue it.
pub async fn check(clients: &PipelineClients, target: &PipelineTarget) -> Preflight {
    let obstacle = match definition(clients, target).await {
        Ok(definition) => closed(target, &definition),
        Err(error) => Some(match error.kind {
            PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => stands(
                ObstacleWeight::Page,
                format!("the acting identity does not reach the pipeline in {} ({error})", server(target)),
            ),
            PortErrorKind::Transient | PortErrorKind::Throttled => {
                stands(ObstacleWeight::Propose, format!("whether the pipeline takes runs could not be checked ({error})"))
            }
        }),
    };
    Preflight { obstacles: obstacle.into_iter().collect(), ways_back: Vec::new() }
}

async fn definition(clients: &PipelineClients, target: &PipelineTarget) -> Result<Value, PortError> {
    let connection: std::sync::Arc<Connection> = clients.connection(&target.place)?;
    // Asking is what comes before acting: the client for the one call is made now, and not when seconds count.
    connection.warm_up(READ_PIPELINE).await?;
    let token = clients.token(&target.place, Who::Actor).await?;
    let path = match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, branch, .. } => {
            azure_dev_ops::Place { organization, project, pipeline: *pipeline, branch }.definition()
        }
        PipelinePlace::GitHub { repository, workflow, reference, .. } => {
            github::Place { repository, workflow, reference }.workflow()
        }
    };
    connection.read(READ_PIPELINE, &path, &token).await.map(|(value, _)| value)
}

/// Why the pipeline takes no run.
fn closed(target: &PipelineTarget, definition: &Value) -> Option<Obstacle> {
    let (status, open, hint) = match target.place {
        PipelinePlace::AzureDevOps { .. } => {
            (azure_dev_ops::queue_status(definition), "enabled", "enable it in the pipeline's settings")
        }
        PipelinePlace::GitHub { .. } => (github::workflow_state(definition), "active", "enable it on the page of the workflow"),
    };
    match status {
        Some(status) if status.eq_ignore_ascii_case(open) => None,
        Some(status) => Some(stands(
            ObstacleWeight::Page,
            format!("the pipeline is `{}` in {}, so it takes no run; {hint}", clean(status), server(target)),
        )),
        None => Some(stands(ObstacleWeight::Propose, "whether the pipeline takes runs could not be told".to_owned())),
    }
}

fn stands(weight: ObstacleWeight, says: String) -> Obstacle {
    Obstacle { rule: RuleId::S9, weight, says }
}
