//! `platform: kubernetes`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::{ClusterAccess, KubernetesCluster, KubernetesTarget, WorkloadKind},
    policy::{
        check::{below, resource_id},
        file::words,
        read::Findings,
        tree::Step,
    },
};

/// A workload of a Kubernetes cluster, which goes back to an earlier revision.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "platform": "kubernetes", "cluster": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/prod", "namespace": "shop", "kind": "Deployment", "name": "payments" }]))]
pub struct KubernetesTargetFile {
    /// Resource id of an AKS cluster: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.ContainerService/managedClusters/{name}`. Default: none; either this or `kubeconfig`.
    pub cluster: Option<String>,
    /// How the AKS cluster is reached. Default: `direct`.
    #[schemars(extend("default" = "direct"))]
    pub access: Option<AccessWord>,
    /// Path of a kubeconfig file, for any other cluster. Default: none; either this or `cluster`.
    pub kubeconfig: Option<String>,
    /// Context of the kubeconfig file. Default: its current one.
    pub context: Option<String>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind of the workload.
    pub kind: WorkloadWord,
    /// Name of the workload.
    pub name: String,
}

words! {
    /// How an AKS cluster is reached.
    AccessWord {
        /// Its API server, with an Entra token.
        Direct = "direct",
        /// Commands that AKS runs in the cluster (`runCommand`), for private clusters. Each look takes up to half a minute and starts a pod.
        RunCommand = "run-command",
    }
}

words! {
    /// A kind of workload that keeps revisions.
    WorkloadWord {
        /// A Deployment.
        Deployment = "Deployment",
        /// A StatefulSet.
        StatefulSet = "StatefulSet",
        /// A DaemonSet.
        DaemonSet = "DaemonSet",
    }
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: KubernetesTargetFile) -> Option<KubernetesTarget> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.ContainerService/managedClusters/{name}`, as `az aks show --query id` prints it";
    if !is_object_name(&file.namespace) || file.namespace.len() > 63 || file.namespace.contains('.') {
        findings.add(
            &below(path, "namespace"),
            "is not the name of a namespace",
            "write lower-case letters, digits and `-`, as `kubectl get namespaces` prints it",
        );
    }
    if !is_object_name(&file.name) {
        findings.add(
            &below(path, "name"),
            "is not a name of Kubernetes",
            "write lower-case letters, digits, `-` and `.`, as `kubectl get` prints it",
        );
    }
    let cluster = match (file.cluster, file.kubeconfig) {
        (Some(text), None) => {
            let at = below(path, "cluster");
            let id = resource_id(findings, &at, &text, SHAPE)?;
            let kind = "microsoft.containerservice/managedclusters";
            let id =
                super::of_type(findings, &at, id, kind, "an AKS cluster (`Microsoft.ContainerService/managedClusters`)", SHAPE)?;
            let access = match file.access {
                None | Some(AccessWord::Direct) => ClusterAccess::Direct,
                Some(AccessWord::RunCommand) => ClusterAccess::RunCommand,
            };
            if file.context.is_some() {
                findings.add(&below(path, "context"), "has no meaning for an AKS cluster", "remove it");
            }
            KubernetesCluster::Aks { id, access }
        }
        (None, Some(file_path)) => {
            if file.access.is_some() {
                findings.add(&below(path, "access"), "has no meaning for a kubeconfig", "remove it");
            }
            if file_path.trim().is_empty() {
                findings.add(&below(path, "kubeconfig"), "is empty", "write the path of a kubeconfig file");
            }
            KubernetesCluster::Kubeconfig { path: file_path, context: file.context }
        }
        (Some(_), Some(_)) => {
            findings.add(path, "names both `cluster` and `kubeconfig`", "keep one of them");
            return None;
        }
        (None, None) => {
            findings.add(path, "names no cluster", "write `cluster:` and the id of an AKS cluster, or `kubeconfig:` and a path");
            return None;
        }
    };
    let kind = match file.kind {
        WorkloadWord::Deployment => WorkloadKind::Deployment,
        WorkloadWord::StatefulSet => WorkloadKind::StatefulSet,
        WorkloadWord::DaemonSet => WorkloadKind::DaemonSet,
    };
    Some(KubernetesTarget { cluster, namespace: file.namespace, kind, name: file.name })
}

/// A DNS subdomain (RFC 1123), as names of workloads are.
fn is_object_name(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || c == '-' || c == '.')
}
