//! Kubernetes workloads (Deployment, StatefulSet, DaemonSet): the way back is an earlier revision that the cluster keeps.
//!
//! The step names an explicit revision and is sent only if the accused one is still there, so it is convergent: sent again, it
//! changes nothing. A cluster is reached over the network (`direct`), or by commands that AKS runs in it (`run_command`); all
//! judgement is the same for both.

pub mod wire;
pub mod kubeconfig;
pub mod connection;
pub mod direct;
pub mod managed_cluster;
pub mod command_line;
pub mod run_command;
pub mod cluster;
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
use cluster::Cluster;
use connection::Connection;
use observe::Readings;
use run_command::RunCommand;

/// The clusters, with connections and credentials that AKS gave; shared by all targets, and got when first used.
pub struct Clusters {
    arm: Arc<ResourceManager>,
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    reached: Mutex<BTreeMap<String, Arc<OnceCell<Arc<Cluster>>>>>,
    /// The last reading of each target: a rollback is made from it. Pod templates may hold secrets, so they are stored nowhere.
    kept: Mutex<BTreeMap<String, Readings>>,
}

/// Readings that are kept at most.
const KEPT_MAX: usize = 64;

/// The newest revisions of a reading: more than are offered as ways back.
const REVISIONS_KEPT_MAX: usize = 12;

const CREDENTIAL_ACTION: &str = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";

impl Clusters {
    pub fn new(arm: Arc<ResourceManager>, identities: Arc<Identities>, clock: Arc<dyn Clock>) -> Self {
        Self { arm, identities, clock, reached: Mutex::default(), kept: Mutex::default() }
    }

    /// A cluster: made ready when first used, by one caller at a time.
    async fn cluster(&self, cluster: &KubernetesCluster) -> Result<Arc<Cluster>, PortError> {
        let cell = Arc::clone(locked(&self.reached).entry(name(cluster)).or_default());
        cell.get_or_try_init(|| self.reach(cluster)).await.cloned()
    }

    /// Asks a cluster something that changes nothing. After a failure that a new address, certificate or credential may end, the next
    /// caller gets these anew.
    async fn ask<T>(
        &self,
        named: &KubernetesCluster,
        question: impl AsyncFnOnce(&Cluster) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        let cluster = self.cluster(named).await?;
        let answer = question(&cluster).await;
        match answer {
            Err(error) if matches!(error.kind, PortErrorKind::Transient | PortErrorKind::Denied) => {
                self.forget(named);
                Err(self.explained(named, error).await)
            }
            Ok(_) | Err(_) => answer,
        }
    }

    /// The next caller reaches the cluster anew.
    fn forget(&self, cluster: &KubernetesCluster) {
        locked(&self.reached).remove(&name(cluster));
    }

    /// Why the API server of an AKS cluster cannot be reached, as far as resource manager knows it.
    async fn explained(&self, cluster: &KubernetesCluster, error: PortError) -> PortError {
        let KubernetesCluster::Aks { id, access: ClusterAccess::Direct } = cluster else { return error };
        if error.kind != PortErrorKind::Transient {
            return error;
        }
        match managed_cluster::read(&self.arm, id).await {
            Ok(managed) if managed.is_stopped => managed_cluster::stopped(error.operation),
            Ok(managed) if managed.is_private => {
                let says = format!(
                    "{}; the cluster is private: let backout into its network (VNet integration), or write `access: run-command`",
                    error.says
                );
                PortError { says, ..error }
            }
            Ok(_) | Err(_) => error,
        }
    }

    async fn reach(&self, cluster: &KubernetesCluster) -> Result<Arc<Cluster>, PortError> {
        Ok(Arc::new(match cluster {
            KubernetesCluster::Aks { id, access: ClusterAccess::Direct } => Cluster::Direct(self.aks(id).await?),
            KubernetesCluster::Aks { id, access: ClusterAccess::RunCommand } => {
                let (arm, clock) = (Arc::clone(&self.arm), Arc::clone(&self.clock));
                Cluster::RunCommand(RunCommand::new(arm, clock, &self.identities, id.clone()))
            }
            KubernetesCluster::Kubeconfig { path, context } => Cluster::Direct(from_file(path, context.as_deref()).await?),
        }))
    }

    /// Address and certificate as AKS tells them. The token is an Entra identity's, unless the cluster knows certificates only.
    async fn aks(&self, id: &ResourceId) -> Result<Connection, PortError> {
        const OPERATION: &str = "get the cluster's address";
        let invalid = |says: String| PortError::new(OPERATION, PortErrorKind::Invalid, says);
        // `format=exec`: an Entra cluster's file then names a program for its user, which stands for our own identity.
        let path = format!("{}/listClusterUserCredential?{}&format=exec", resource_path(id), managed_cluster::API_VERSION);
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
        KubernetesCluster::Aks { id, access: ClusterAccess::Direct } => id.canonical().to_owned(),
        KubernetesCluster::Aks { id, access: ClusterAccess::RunCommand } => format!("{}#run-command", id.canonical()),
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
