//! The parts of the Kubernetes API that matter here (apps/v1, authorization.k8s.io/v1), and what names a template's content.
//!
//! Types of metadata and status are those of `k8s-openapi`. A pod template stays as the API server gave it: a typed one would
//! drop the fields that only a newer cluster knows, and such a template goes back to the server in a rollback.

use k8s_openapi::{
    api::apps::v1::{DaemonSetStatus, DeploymentStatus, StatefulSetStatus},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    domain::target::{Fingerprint, KubernetesTarget, WorkloadKind, sha256_hex},
    platforms::answer::parse,
    ports::PortError,
};

/// Written by the Deployment controller on Deployments and ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a ReplicaSet that was used again.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What `kubectl rollout history` shows.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// The label by which the controller tells ReplicaSets apart; no part of what a team wrote.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Set by `kubectl rollout restart`: a new rollout of the same content.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The three kinds alike, as far as they are alike.
#[derive(Debug, Clone, Deserialize)]
pub struct Workload<Status> {
    pub metadata: ObjectMeta,
    pub spec: WorkloadSpec,
    pub status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Absent in a DaemonSet.
    pub replicas: Option<i32>,
    pub selector: LabelSelector,
    pub template: Value,
    pub paused: Option<bool>,
    pub revision_history_limit: Option<i32>,
    /// `OrderedReady` (default) or `Parallel`; StatefulSets only.
    pub pod_management_policy: Option<String>,
    /// Of StatefulSets and DaemonSets.
    pub update_strategy: Option<UpdateStrategy>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` (default) or `OnDelete`.
    pub r#type: Option<String>,
    pub rolling_update: Option<RollingUpdate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RollingUpdate {
    /// StatefulSets only: ordinals below stay as they are.
    pub partition: Option<i32>,
}

/// A workload of one of the kinds, as it was read.
#[derive(Debug, Clone)]
pub enum Reading {
    Deployment(Box<Workload<DeploymentStatus>>),
    StatefulSet(Box<Workload<StatefulSetStatus>>),
    DaemonSet(Box<Workload<DaemonSetStatus>>),
}

impl Reading {
    pub fn parse(kind: WorkloadKind, answer: Value) -> Result<Self, PortError> {
        const OPERATION: &str = "read the workload";
        Ok(match kind {
            WorkloadKind::Deployment => Self::Deployment(Box::new(parse(OPERATION, answer)?)),
            WorkloadKind::StatefulSet => Self::StatefulSet(Box::new(parse(OPERATION, answer)?)),
            WorkloadKind::DaemonSet => Self::DaemonSet(Box::new(parse(OPERATION, answer)?)),
        })
    }

    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(it) => &it.metadata,
            Self::StatefulSet(it) => &it.metadata,
            Self::DaemonSet(it) => &it.metadata,
        }
    }

    pub fn spec(&self) -> &WorkloadSpec {
        match self {
            Self::Deployment(it) => &it.spec,
            Self::StatefulSet(it) => &it.spec,
            Self::DaemonSet(it) => &it.spec,
        }
    }

    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        annotation(self.metadata(), name)
    }
}

/// One kept version of a workload: a ReplicaSet, or a ControllerRevision.
#[derive(Debug, Clone)]
pub struct Revision {
    pub metadata: ObjectMeta,
    /// 0 where the controller has not numbered it.
    pub number: i64,
    /// As a workload's `spec.template` would hold it.
    pub template: Value,
    /// Whether the controller took it up again after it was out of use, so that its own age says nothing.
    pub used_again: bool,
}

impl Revision {
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn change_cause(&self) -> Option<&str> {
        annotation(&self.metadata, CHANGE_CAUSE)
    }
}

#[derive(Deserialize)]
struct ReplicaSet {
    metadata: ObjectMeta,
    spec: ReplicaSetSpec,
}

#[derive(Deserialize)]
struct ReplicaSetSpec {
    #[serde(default)]
    template: Value,
}

#[derive(Deserialize)]
struct ControllerRevision {
    metadata: ObjectMeta,
    #[serde(default)]
    revision: i64,
    /// `{"spec": {"template": {..., "$patch": "replace"}}}`.
    #[serde(default)]
    data: Value,
}

/// The versions that the workload `owner` (a uid) keeps, the newest first. One whose number cannot be read is left out, as
/// `kubectl` does.
pub fn revisions(kind: WorkloadKind, owner: &str, items: Vec<Value>) -> Result<Vec<Revision>, PortError> {
    const OPERATION: &str = "read the revisions";
    let mut all = Vec::new();
    for item in items {
        let revision = match kind {
            WorkloadKind::Deployment => {
                let set: ReplicaSet = parse(OPERATION, item)?;
                let number = match annotation(&set.metadata, REVISION) {
                    None => 0,
                    Some(text) => match text.parse() {
                        Ok(number) => number,
                        Err(_) => continue,
                    },
                };
                let mut template = set.spec.template;
                remove(&mut template, &["metadata", "labels"], TEMPLATE_HASH);
                let used_again = annotation(&set.metadata, REVISION_HISTORY).is_some_and(|earlier| !earlier.trim().is_empty());
                Revision { metadata: set.metadata, number, template, used_again }
            }
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                let mut kept: ControllerRevision = parse(OPERATION, item)?;
                let mut template = kept.data.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
                if let Some(template) = template.as_object_mut() {
                    template.remove("$patch");
                }
                Revision { metadata: kept.metadata, number: kept.revision, template, used_again: false }
            }
        };
        if is_controlled_by(&revision.metadata, owner) {
            all.push(revision);
        }
    }
    all.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    if kind != WorkloadKind::Deployment {
        // A ControllerRevision that is used again keeps its age and gets the highest number. Where a younger one is below it, that
        // is certain; elsewhere only `managedFields` tell.
        let ages: Vec<_> = all.iter().map(|revision| revision.metadata.creation_timestamp.clone()).collect();
        for (at, revision) in all.iter_mut().enumerate() {
            revision.used_again = ages[at + 1..].iter().any(|younger| *younger > ages[at]);
        }
    }
    Ok(all)
}

fn is_controlled_by(metadata: &ObjectMeta, owner: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|reference| reference.controller == Some(true) && reference.uid == owner)
}

pub fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

pub fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// The template in one form: without nulls, the controller's label and empty metadata, keys sorted.
///
/// Equal for every way in which one template comes back: from the workload, a ReplicaSet or a ControllerRevision.
pub fn canonical(template: &Value) -> Value {
    let mut template = template.clone();
    without_nulls(&mut template);
    remove(&mut template, &["metadata", "labels"], TEMPLATE_HASH);
    for part in ["labels", "annotations"] {
        if template.pointer(&format!("/metadata/{part}")).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            remove(&mut template, &["metadata"], part);
        }
    }
    if template.get("metadata").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        remove(&mut template, &[], "metadata");
    }
    template.sort_all_objects();
    template
}

/// Names what the template runs. A restart is a new rollout of the same content.
pub fn fingerprint(template: &Value) -> Fingerprint {
    let mut content = template.clone();
    remove(&mut content, &["metadata", "annotations"], RESTARTED_AT);
    Fingerprint(format!("template:{}", sha256_hex(canonical(&content).to_string().as_bytes())))
}

/// The images of all containers, those which run first included.
pub fn images(template: &Value) -> Vec<&str> {
    let of = |key: &str| template.pointer(&format!("/spec/{key}")).and_then(Value::as_array).into_iter().flatten();
    of("containers").chain(of("initContainers")).filter_map(|container| container.get("image")?.as_str()).collect()
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn remove(value: &mut Value, path: &[&str], key: &str) {
    let place = path.iter().try_fold(value, |place, step| place.get_mut(*step));
    if let Some(map) = place.and_then(Value::as_object_mut) {
        map.remove(key);
    }
}

/// Plural of a kind, as paths and rights name it.
pub fn plural(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet => "daemonsets",
    }
}

/// Where a kind keeps its revisions.
pub fn revisions_plural(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "replicasets",
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => "controllerrevisions",
    }
}

/// `/apis/apps/v1/namespaces/{namespace}/{plural}`; the names were checked when the policy was read.
pub fn collection(target: &KubernetesTarget, plural: &str) -> String {
    format!("/apis/apps/v1/namespaces/{}/{plural}", target.namespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_template_has_one_name_wherever_it_is_kept() {
        let written = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "a", "image": "r/a:1"}]}});
        let alike = [
            json!({"spec": {"containers": [{"image": "r/a:1", "name": "a"}]},
                "metadata": {"creationTimestamp": null, "labels": {"pod-template-hash": "7d9f", "app": "shop"}}}),
            json!({"metadata": {"labels": {"app": "shop"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-25T10:00:00Z"}},
                "spec": {"containers": [{"name": "a", "image": "r/a:1", "command": null}]}}),
        ];
        for other in alike {
            assert_eq!(fingerprint(&other), fingerprint(&written), "{other}");
        }
        let unlike = [
            json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "a", "image": "r/a:2"}]}}),
            json!({"metadata": {"labels": {"app": "shop"}, "annotations": {"config": "2"}},
                "spec": {"containers": [{"name": "a", "image": "r/a:1"}]}}),
            json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "a", "image": "r/a:1"}],
                "volumes": [{"name": "t", "emptyDir": {}}]}}),
        ];
        for other in unlike {
            assert_ne!(fingerprint(&other), fingerprint(&written), "{other}");
        }
    }
}
