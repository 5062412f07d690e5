//! Whether the rollback would be allowed, asked before it is needed.
//!
//! The cluster itself is asked (`SelfSubjectAccessReview`), since that is where rights are decided, whether they come from Azure's
//! roles or the cluster's own. Necessary, not sufficient: admission webhooks and quotas are not part of the answer.

use super::{
    Clusters,
    cluster::Cluster,
    connection::As,
    direct, managed_cluster,
    run_command::{RESULT_ACTION, RUN_ACTION},
    wire::{plural, revisions_plural},
};
use crate::{
    azure::permissions::Permissions,
    domain::{
        observation::{Obstacle, Preflight},
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        rule::RuleId,
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget},
    },
    ports::PortError,
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
    match &target.cluster {
        KubernetesCluster::Aks { id, access: ClusterAccess::Direct } => {
            let action = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";
            let role = "Azure Kubernetes Service Cluster User Role";
            reading.extend(NeededRight::all(Identity::Reading, &[action], id, role));
        }
        KubernetesCluster::Aks { id, access: ClusterAccess::RunCommand } => reading.extend(to_run_commands(id)),
        KubernetesCluster::Kubeconfig { .. } => {}
    }
    [acting, reading].concat()
}

/// What resource manager asks of both identities: one reads by commands, one patches by a command.
fn to_run_commands(id: &ResourceId) -> Vec<NeededRight> {
    const ROLE: &str = "Azure Kubernetes Service Contributor Role";
    let acting = NeededRight::all(Identity::Acting, &[RUN_ACTION], id, ROLE);
    let reading = NeededRight::all(Identity::Reading, &[managed_cluster::READ_ACTION, RUN_ACTION, RESULT_ACTION], id, ROLE);
    [acting, reading].concat()
}

/// Asks for the one right of the identity that acts, and for those of the identity that reads, side by side.
pub async fn check(clusters: &Clusters, target: &KubernetesTarget) -> Result<Preflight, PortError> {
    let cluster = clusters.cluster(&target.cluster).await?;
    let workloads = plural(target.kind);
    let mut obstacles = Vec::new();
    match &*cluster {
        Cluster::Direct(connection) => {
            let two = connection.has_two_identities();
            let acting = if two { "acting identity" } else { "identity" };
            let reading = if two { "reading identity" } else { "identity" };
            let revisions = revisions_plural(target.kind);
            let (patch, list) = tokio::join!(
                direct::may(connection, target, As::Actor, "patch", workloads, Some(&target.name)),
                direct::may(connection, target, As::Reader, "list", revisions, None),
            );
            obstacles.extend(missing(target, acting, "patch", workloads, patch));
            obstacles.extend(missing(target, reading, "list", revisions, list));
        }
        Cluster::RunCommand(commands) => {
            let needed = to_run_commands(commands.id());
            let (permissions, patch) =
                tokio::join!(Box::pin(Permissions::read(commands.arm(), commands.id(), &needed)), commands.may_patch(target));
            obstacles.extend(permissions.lacking(&needed));
            // What reads the revisions is a command as well, and shows by itself whether it may.
            let acting = if commands.arm().has_two_identities() { "acting identity" } else { "identity" };
            obstacles.extend(missing(target, acting, "patch", workloads, patch));
        }
    }
    Ok(Preflight { obstacles, ways_back: Vec::new() })
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
