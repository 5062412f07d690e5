//! Whether the rollback would be allowed, asked before it is needed.
//!
//! The cluster itself is asked (`SelfSubjectAccessReview`), since that is where rights are decided, whether they come from Azure's
//! roles or the cluster's own. Necessary, not sufficient: admission webhooks and quotas are not part of the answer.

use kube::core::{Request, params::PostParams};
use serde_json::{Value, json};

use super::{
    Clusters,
    connection::As,
    wire::{plural, revisions_plural},
};
use crate::{
    domain::{
        observation::{Obstacle, Preflight},
        right::{Identity, NeededRight},
        rule::RuleId,
        target::{KubernetesCluster, KubernetesTarget},
    },
    ports::{PortError, PortErrorKind},
};

/// What a rollback needs in the cluster, in its own words.
pub fn rights(target: &KubernetesTarget) -> Vec<NeededRight> {
    const ROLE: &str = "Azure Kubernetes Service RBAC Writer";
    let place = match &target.cluster {
        KubernetesCluster::Aks { id, .. } => format!("{id}/namespaces/{}", target.namespace),
        KubernetesCluster::Kubeconfig { path, .. } => format!("namespace {} of {path}", target.namespace),
    };
    let workloads = plural(target.kind);
    let acting = NeededRight::all(Identity::Acting, &[&format!("patch {workloads}.apps")], &place, ROLE);
    let list = format!("list {}.apps", revisions_plural(target.kind));
    let get = format!("get {workloads}.apps");
    let mut reading = NeededRight::all(Identity::Reading, &[&get, &list], &place, ROLE);
    if let KubernetesCluster::Aks { id, .. } = &target.cluster {
        let action = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";
        let role = "Azure Kubernetes Service Cluster User Role";
        reading.extend(NeededRight::all(Identity::Reading, &[action], id, role));
    }
    [acting, reading].concat()
}

/// Asks for the one right of the identity that acts, and for those of the identity that reads, side by side.
pub async fn check(clusters: &Clusters, target: &KubernetesTarget) -> Result<Preflight, PortError> {
    let two = clusters.connection(&target.cluster).await?.has_two_identities();
    let acting = if two { "acting identity" } else { "identity" };
    let reading = if two { "reading identity" } else { "identity" };
    let workloads = plural(target.kind);
    let (patch, list) = tokio::join!(
        may(clusters, target, As::Actor, "patch", workloads, Some(&target.name)),
        may(clusters, target, As::Reader, "list", revisions_plural(target.kind), None),
    );
    let mut obstacles = Vec::new();
    obstacles.extend(missing(target, acting, "patch", workloads, patch));
    obstacles.extend(missing(target, reading, "list", revisions_plural(target.kind), list));
    Ok(Preflight { obstacles, ways_back: Vec::new() })
}

async fn may(
    clusters: &Clusters,
    target: &KubernetesTarget,
    who: As,
    verb: &str,
    resource: &str,
    name: Option<&str>,
) -> Result<bool, PortError> {
    const OPERATION: &str = "ask the cluster for our rights";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "group": "apps", "resource": resource, "verb": verb, "namespace": target.namespace, "name": name,
        } },
    });
    let request = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .create(&PostParams::default(), review.to_string().into_bytes())
        .map_err(|_| PortError::new(OPERATION, PortErrorKind::Invalid, "the question makes no sense"))?;
    let answer = clusters.connection(&target.cluster).await?.read_as(who, OPERATION, &request).await?;
    answer
        .pointer("/status/allowed")
        .and_then(Value::as_bool)
        .ok_or_else(|| PortError::new(OPERATION, PortErrorKind::Invalid, "the answer holds no `status.allowed`"))
}

fn missing(
    target: &KubernetesTarget,
    identity: &str,
    verb: &str,
    resource: &str,
    allowed: Result<bool, PortError>,
) -> Option<Obstacle> {
    let right = format!("`{verb}` on `{resource}` of group `apps` in namespace `{}`", target.namespace);
    match allowed {
        Ok(true) => None,
        Ok(false) => {
            let cure = match &target.cluster {
                KubernetesCluster::Aks { id, .. } => format!(
                    "assign `Azure Kubernetes Service RBAC Writer` at `{id}/namespaces/{}`, or bind a Role with this right to its \
                     object id",
                    target.namespace
                ),
                KubernetesCluster::Kubeconfig { .. } => "bind a Role with this right to it".to_owned(),
            };
            Some(Obstacle::page(RuleId::S9, format!("the {identity} lacks {right}; {cure}")))
        }
        Err(error) => {
            Some(Obstacle::propose(RuleId::S9, format!("whether the {identity} has {right} could not be checked ({error})")))
        }
    }
}
