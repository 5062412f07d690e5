//! A workload of a Kubernetes cluster, which goes back to an earlier revision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// One Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTarget {
    pub cluster: KubernetesCluster,
    pub namespace: String,
    pub kind: WorkloadKind,
    pub name: String,
}

/// Where the cluster is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum KubernetesCluster {
    /// An AKS cluster by its resource id.
    Aks { id: ResourceId, access: ClusterAccess },
    /// Any cluster by a kubeconfig file, and one of its contexts; `None` is the file's current one.
    Kubeconfig { path: String, context: Option<String> },
}

/// How an AKS cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterAccess {
    /// Its API server, with an Entra token.
    Direct,
    /// Commands that AKS runs in a pod of the cluster (`runCommand`), for private clusters.
    RunCommand,
}

/// The kinds of workload that keep revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl KubernetesTarget {
    pub(super) fn canonical(&self) -> String {
        format!("{}/{}/{}/{}", self.cluster.canonical(), self.namespace, self.kind, self.name)
    }
}

impl KubernetesCluster {
    pub(super) fn resource(&self) -> Option<&ResourceId> {
        match self {
            Self::Aks { id, .. } => Some(id),
            Self::Kubeconfig { .. } => None,
        }
    }

    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Aks { id, .. } => id.canonical().to_owned(),
            Self::Kubeconfig { path, context } => format!("kubeconfig:{path}#{}", context.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        })
    }
}
