//! A pipeline that deploys an earlier version when asked to: an Azure DevOps pipeline or a GitHub workflow.
//!
//! There is no resource to look at, so the pipeline's own history of runs is what is observed: what its newest successful run
//! deployed is what runs. The way back is one more run, asked for an explicit version. It carries the record's id as an input,
//! so a run whose answer was lost is found by looking at the list, and is never asked for again.

mod azure_dev_ops;
mod client;
mod github;
mod observe;
mod preflight;
mod queue;
mod run;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::SecretString;
use serde_json::Value;

use crate::{
    azure::{identity::Identities, resource_manager::Limits},
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::{PipelinePlace, PipelineTarget},
    },
    ports::{Clock, Platform, PortError, PortErrorKind},
    settings::{Source, endpoint},
};
use client::{Connection, Dialect};

/// Clients of pipeline servers; shared by all targets, and made when first used.
pub struct PipelineClients {
    identities: Arc<Identities>,
    settings: Arc<dyn Source + Send + Sync>,
    limits: Limits,
    connections: Mutex<BTreeMap<(Dialect, String), Arc<Connection>>>,
}

/// On whose behalf a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Reader,
    Actor,
}

impl PipelineClients {
    pub fn new(identities: Arc<Identities>, settings: Arc<dyn Source + Send + Sync>) -> Self {
        Self { identities, settings, limits: Limits::default(), connections: Mutex::default() }
    }

    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn connection(&self, place: &PipelinePlace) -> Result<Arc<Connection>, PortError> {
        let (dialect, server) = match place {
            PipelinePlace::AzureDevOps { server, .. } => (Dialect::AzureDevOps, server),
            PipelinePlace::GitHub { api, .. } => (Dialect::GitHub, api),
        };
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connections.get(&(dialect, server.clone())) {
            return Ok(Arc::clone(known));
        }
        let url = endpoint::parse(server).map_err(|problem| {
            PortError::new("reach the pipeline's server", PortErrorKind::Invalid, format!("its URL in the policy {problem}"))
        })?;
        let connection = Arc::new(Connection::new(dialect, url, self.limits));
        connections.insert((dialect, server.clone()), Arc::clone(&connection));
        Ok(connection)
    }

    /// Azure DevOps takes the tokens of the two identities; for GitHub the policy names a setting.
    async fn token(&self, place: &PipelinePlace, who: Who) -> Result<SecretString, PortError> {
        match place {
            PipelinePlace::AzureDevOps { .. } => {
                let source = match who {
                    Who::Reader => self.identities.reader(azure_dev_ops::SCOPE),
                    Who::Actor => self.identities.actor(azure_dev_ops::SCOPE),
                };
                source.bearer().await
            }
            PipelinePlace::GitHub { token_from, .. } => {
                let text = self.settings.get(token_from).map(|text| text.trim().to_owned()).unwrap_or_default();
                if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return Err(PortError::new(
                        "get a token",
                        PortErrorKind::Denied,
                        format!(
                            "the app setting `{token_from}`, which the policy names as `tokenFrom`, holds no token; store a GitHub token \
                             there, or a reference to a Key Vault secret that can be read"
                        ),
                    ));
                }
                Ok(SecretString::from(text))
            }
        }
    }
}

/// The adapter.
pub struct Pipeline {
    clients: Arc<PipelineClients>,
    clock: Arc<dyn Clock>,
    target: PipelineTarget,
}

impl Pipeline {
    pub fn new(clients: Arc<PipelineClients>, clock: Arc<dyn Clock>, target: PipelineTarget) -> Self {
        Self { clients, clock, target }
    }
}

#[async_trait::async_trait]
impl Platform for Pipeline {
    async fn observe(&self) -> Result<Observation, PortError> {
        let runs = observe::read(&self.clients, &self.target).await?;
        observe::interpret(&self.target, &runs, self.clock.now())
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(preflight::check(&self.clients, &self.target).await)
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        vec![queue::step(&self.target, way_back, fence)]
    }

    async fn submit(&self, step: &Step) -> Submission {
        queue::submit(&self.clients, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        queue::poll(&self.clients, &self.target, operation).await
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}
