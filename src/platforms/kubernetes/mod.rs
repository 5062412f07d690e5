//! Kubernetes workloads (Deployment, StatefulSet, DaemonSet): the way back is an earlier revision that the cluster keeps.
//!
//! The step names an explicit revision and is sent only if the accused one is still there, so it is convergent: sent again, it
//! changes nothing.

pub mod wire;
pub mod kubeconfig;
pub mod connection;
pub mod progress;
pub mod owners;
pub mod observe;
pub mod preflight;
pub mod undo;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    azure::{identity::Identities, resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::{Observation, Preflight, WayBack},
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target},
    },
    ports::{Clock, Platform, PortError, PortErrorKind},
};
use connection::Connection;
use observe::Readings;

/// Connections to clusters, and the credentials that AKS gave; shared by all targets, and got when first used.
pub struct Clusters {
    arm: Arc<ResourceManager>,
    identities: Arc<Identities>,
    connections: Mutex<BTreeMap<String, Arc<OnceCell<Arc<Connection>>>>>,
    /// The last reading of each target: a rollback is made from it. Pod templates may hold secrets, so they are stored nowhere.
    kept: Mutex<BTreeMap<String, Readings>>,
}

/// Readings that are kept at most.
const KEPT_MAX: usize = 64;

/// The newest revisions of a reading: more than are offered as ways back.
const REVISIONS_KEPT_MAX: usize = 12;

const CREDENTIAL_ACTION: &str = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";

impl Clusters {
    pub fn new(arm: Arc<ResourceManager>, identities: Arc<Identities>) -> Self {
        Self { arm, identities, connections: Mutex::default(), kept: Mutex::default() }
    }

    /// The connection to a cluster: made when first used, by one caller at a time.
    async fn connection(&self, cluster: &KubernetesCluster) -> Result<Arc<Connection>, PortError> {
        let cell = Arc::clone(locked(&self.connections).entry(name(cluster)).or_default());
        cell.get_or_try_init(|| self.connect(cluster)).await.cloned()
    }

    /// The next caller connects anew.
    fn forget(&self, cluster: &KubernetesCluster) {
        locked(&self.connections).remove(&name(cluster));
    }

    async fn connect(&self, cluster: &KubernetesCluster) -> Result<Arc<Connection>, PortError> {
        let connection = match cluster {
            KubernetesCluster::Aks { id, access: ClusterAccess::Direct } => self.aks(id).await?,
            KubernetesCluster::Aks { access: ClusterAccess::RunCommand, .. } => {
                return Err(PortError::new(
                    "connect to the cluster",
                    PortErrorKind::Invalid,
                    "`access: run-command` is not available in this version",
                ));
            }
            KubernetesCluster::Kubeconfig { path, context } => from_file(path, context.as_deref()).await?,
        };
        Ok(Arc::new(connection))
    }

    /// Address and certificate as AKS tells them. The token is an Entra identity's, unless the cluster knows certificates only.
    async fn aks(&self, id: &ResourceId) -> Result<Connection, PortError> {
        const OPERATION: &str = "get the cluster's address";
        let invalid = |says: String| PortError::new(OPERATION, PortErrorKind::Invalid, says);
        // `format=exec`: an Entra cluster's file then names a program for its user, which stands for our own identity.
        let path = format!("{}/listClusterUserCredential?api-version=2025-05-01&format=exec", resource_path(id));
        let answer = self.arm.read_by_post(OPERATION, &path, None).await.map_err(|error| match error.kind {
            PortErrorKind::Denied => {
                PortError { says: format!("{}; the reading identity needs `{CREDENTIAL_ACTION}` on `{id}`", error.says), ..error }
            }
            PortErrorKind::Transient | PortErrorKind::Throttled | PortErrorKind::NotFound | PortErrorKind::Invalid => error,
        })?;
        let text = answer
            .pointer("/kubeconfigs/0/value")
            .and_then(Value::as_str)
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| invalid("the answer holds no kubeconfig".to_owned()))?;
        let access = kubeconfig::read(&text, None, None).map_err(invalid)?;
        Connection::new(access, Some(&self.identities)).map_err(invalid)
    }

    fn keep(&self, target: &KubernetesTarget, mut readings: Readings) {
        readings.revisions.truncate(REVISIONS_KEPT_MAX);
        for revision in &mut readings.revisions {
            revision.metadata.managed_fields = None;
        }
        let mut kept = locked(&self.kept);
        let key = key(target);
        if kept.len() >= KEPT_MAX && !kept.contains_key(&key) {
            kept.pop_first();
        }
        kept.insert(key, readings);
    }

    /// Looks at the last reading of a target; `None` when there is none.
    fn with_kept<T>(&self, target: &KubernetesTarget, look: impl FnOnce(&Readings) -> T) -> Option<T> {
        locked(&self.kept).get(&key(target)).map(look)
    }
}

async fn from_file(path: &str, context: Option<&str>) -> Result<Connection, PortError> {
    const OPERATION: &str = "read the kubeconfig";
    let invalid = |says: String| PortError::new(OPERATION, PortErrorKind::Invalid, says);
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| invalid(format!("`{path}` cannot be read ({}); check `kubeconfig:` in the policy", error.kind())))?;
    let access = kubeconfig::read(&text, context, Path::new(path).parent()).map_err(invalid)?;
    Connection::new(access, None).map_err(invalid)
}

fn name(cluster: &KubernetesCluster) -> String {
    match cluster {
        KubernetesCluster::Aks { id, .. } => id.canonical().to_owned(),
        KubernetesCluster::Kubeconfig { path, context } => format!("{path}#{}", context.as_deref().unwrap_or_default()),
    }
}

fn key(target: &KubernetesTarget) -> String {
    Target::Kubernetes(target.clone()).key().0
}

/// Whoever panicked while holding it left nothing half-written.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The adapter.
pub struct Kubernetes {
    clusters: Arc<Clusters>,
    clock: Arc<dyn Clock>,
    target: KubernetesTarget,
}

impl Kubernetes {
    pub fn new(clusters: Arc<Clusters>, clock: Arc<dyn Clock>, target: KubernetesTarget) -> Self {
        Self { clusters, clock, target }
    }

    async fn look(&self) -> Result<Observation, PortError> {
        let selector = self.clusters.with_kept(&self.target, |readings| readings.selector.clone());
        let readings = observe::read(&self.clusters, &self.target, selector).await?;
        let observation = observe::interpret(&self.target, &readings, self.clock.now());
        self.clusters.keep(&self.target, readings);
        Ok(observation)
    }
}

#[async_trait::async_trait]
impl Platform for Kubernetes {
    async fn observe(&self) -> Result<Observation, PortError> {
        self.look().await
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        preflight::check(&self.clusters, &self.target).await
    }

    fn steps(&self, way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        vec![undo::step(&self.target, way_back)]
    }

    async fn submit(&self, step: &Step) -> Submission {
        undo::submit(&self.clusters, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        undo::poll(&self.clusters, &self.target, operation).await
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.look().await
    }
}
