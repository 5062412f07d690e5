//! The controllers of Deployments, StatefulSets and DaemonSets, by the clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Cluster, Key, Rollout, World,
    objects::{REVISION, REVISION_HISTORY, build, hash},
};

/// Annotations that belong to the Deployment itself, never to a ReplicaSet.
const NOT_COPIED: [&str; 3] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY];

/// Lets what has ended by the clock take effect.
pub fn settle(world: &mut World, now: Timestamp) {
    let mut served = Vec::new();
    for cluster in world.kubernetes.clusters.values_mut() {
        for index in 0..cluster.workloads.len() {
            while let Some(event) = next_event(cluster, index).filter(|event| event.at() <= now) {
                match event {
                    Event::Seen(at) => see(cluster, index, at),
                    Event::Complete(at) => {
                        complete(cluster, index, at);
                        let managed = &cluster.workloads[index];
                        let template = &cluster.objects[&managed.key]["spec"]["template"];
                        served.extend(managed.serves.clone().map(|workload| (workload, build(template), at)));
                    }
                    Event::Late(at) => give_up(cluster, index, at),
                }
            }
        }
    }
    for (workload, build, at) in served {
        world.serve(&workload, &build, at);
    }
}

enum Event {
    Seen(Timestamp),
    Complete(Timestamp),
    Late(Timestamp),
}

impl Event {
    fn at(&self) -> Timestamp {
        match self {
            Self::Seen(at) | Self::Complete(at) | Self::Late(at) => *at,
        }
    }
}

/// What happens first; a change that is seen ends the rollout before it.
fn next_event(cluster: &Cluster, index: usize) -> Option<Event> {
    let managed = &cluster.workloads[index];
    let seen = managed.changed_at.map(|at| Event::Seen(at + managed.observed_after));
    let rollout = managed.rollout.as_ref();
    let complete = rollout.and_then(|rollout| rollout.ends).map(Event::Complete);
    let late = rollout.and_then(|rollout| rollout.deadline).map(Event::Late);
    [seen, complete, late].into_iter().flatten().min_by_key(Event::at)
}

/// The controller looks at the object: it makes or finds the revision of its template, and begins to roll it out.
fn see(cluster: &mut Cluster, index: usize, at: Timestamp) {
    cluster.workloads[index].changed_at = None;
    let key = cluster.workloads[index].key.clone();
    let object = cluster.objects[&key].clone();
    let paused = object["spec"]["paused"] == true;
    update(cluster, &key, |object| object["status"]["observedGeneration"] = object["metadata"]["generation"].clone());
    if paused {
        return;
    }
    let (revision, changed) = if key.0 == "deployments" {
        replica_set(cluster, &key, &object, at)
    } else {
        controller_revision(cluster, &key, &object, at)
    };
    if !changed && cluster.workloads[index].rollout.is_none() {
        scale(cluster, &key, &revision);
        return;
    }
    if !changed {
        return;
    }
    let never_ready = cluster.never_ready.contains(&build(&object["spec"]["template"]));
    let takes = cluster.workloads[index].takes;
    let deadline = object["spec"]["progressDeadlineSeconds"].as_i64().map(|seconds| at + SignedDuration::from_secs(seconds));
    cluster.workloads[index].rollout =
        Some(Rollout { ends: (!never_ready).then(|| at + takes), deadline: if never_ready { deadline } else { None } });
    begin(cluster, &key, &revision, at);
}

/// Makes or finds the ReplicaSet of the template; whether it is another one than before.
fn replica_set(cluster: &mut Cluster, key: &Key, object: &Value, at: Timestamp) -> (Key, bool) {
    let template = &object["spec"]["template"];
    let owned = owned(cluster, "replicasets", object);
    let number = |set: &Key| {
        let text = cluster.objects[set]["metadata"]["annotations"][REVISION].as_str().unwrap_or_default();
        text.parse::<i64>().unwrap_or_default()
    };
    let newest = owned.iter().map(number).max().unwrap_or_default();
    let bare = |set: &Key| {
        let mut template = cluster.objects[set]["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        template
    };
    let found = owned.iter().find(|set| bare(set) == *template).cloned();
    let (set, revision, history) = if let Some(set) = found {
        let old = number(&set);
        let revision = if old < newest { newest + 1 } else { old };
        (set, revision, (old < newest).then_some(old))
    } else {
        let hash = hash(template);
        let set = ("replicasets".to_owned(), key.1.clone(), format!("{}-{hash}", key.2));
        let mut labelled = template.clone();
        labelled["metadata"]["labels"]["pod-template-hash"] = json!(hash);
        let labels = labelled["metadata"]["labels"].clone();
        let made = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": set.2, "namespace": set.1, "uid": Uuid::new_v4().to_string(), "creationTimestamp": at,
                "labels": labels, "annotations": {}, "generation": 1, "ownerReferences": [owner(object)],
            },
            "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": labelled },
            "status": { "replicas": 0 },
        });
        cluster.objects.insert(set.clone(), made);
        (set, newest + 1, None)
    };
    let changed = object["metadata"]["annotations"][REVISION].as_str() != Some(revision.to_string().as_str());
    let annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    update(cluster, &set, |set| {
        let own = &mut set["metadata"]["annotations"];
        for (name, value) in annotations.iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str())) {
            own[name] = value.clone();
        }
        own[REVISION] = json!(revision.to_string());
        if let Some(old) = history {
            let earlier = own[REVISION_HISTORY].as_str().map(|text| format!("{text},")).unwrap_or_default();
            own[REVISION_HISTORY] = json!(format!("{earlier}{old}"));
        }
    });
    update(cluster, key, |object| object["metadata"]["annotations"][REVISION] = json!(revision.to_string()));
    (set, changed)
}

/// The same for kinds that keep ControllerRevisions.
fn controller_revision(cluster: &mut Cluster, key: &Key, object: &Value, at: Timestamp) -> (Key, bool) {
    let mut template = object["spec"]["template"].clone();
    template["$patch"] = json!("replace");
    let data = json!({ "spec": { "template": template } });
    let owned = owned(cluster, "controllerrevisions", object);
    let number = |kept: &Key| cluster.objects[kept]["revision"].as_i64().unwrap_or_default();
    let newest = owned.iter().map(number).max().unwrap_or_default();
    let found = owned.iter().find(|kept| cluster.objects[kept]["data"] == data).cloned();
    match found {
        Some(kept) if number(&kept) == newest => (kept, false),
        Some(kept) => {
            update(cluster, &kept, |kept| {
                kept["revision"] = json!(newest + 1);
                kept["metadata"]["managedFields"] = numbered(at);
            });
            (kept, true)
        }
        None => {
            let hash = hash(&data);
            let kept = ("controllerrevisions".to_owned(), key.1.clone(), format!("{}-{hash}", key.2));
            let mut labels = object["spec"]["template"]["metadata"]["labels"].clone();
            labels["controller-revision-hash"] = json!(hash);
            let made = json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {
                    "name": kept.2, "namespace": kept.1, "uid": Uuid::new_v4().to_string(), "creationTimestamp": at,
                    "labels": labels, "ownerReferences": [owner(object)], "managedFields": numbered(at),
                },
                "data": data,
                "revision": newest + 1,
            });
            cluster.objects.insert(kept.clone(), made);
            update(cluster, &kept, |_| {});
            (kept, true)
        }
    }
}

/// Who gave a ControllerRevision its number, and when.
fn numbered(at: Timestamp) -> Value {
    json!([{
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "time": at, "fieldsType": "FieldsV1",
        "fieldsV1": { "f:data": {}, "f:metadata": { "f:ownerReferences": {} }, "f:revision": {} },
    }])
}

/// The first moment of a rollout: nothing is replaced yet, or one replica that never gets ready.
fn begin(cluster: &mut Cluster, key: &Key, revision: &Key, at: Timestamp) {
    let stuck = cluster.never_ready.contains(&build(&cluster.objects[key]["spec"]["template"]));
    let wanted = wanted(&cluster.objects[key]);
    let surge = i64::from(stuck);
    match key.0.as_str() {
        "deployments" => {
            update(cluster, revision, |set| {
                set["spec"]["replicas"] = json!(1);
                set["status"] = json!({ "replicas": surge });
            });
            let is_new = cluster.objects[revision]["metadata"]["annotations"].get(REVISION_HISTORY).is_none();
            update(cluster, key, |object| {
                let status = &mut object["status"];
                status["replicas"] = json!(wanted + surge);
                status["updatedReplicas"] = json!(surge);
                status["readyReplicas"] = json!(wanted);
                status["availableReplicas"] = json!(wanted);
                status["unavailableReplicas"] = json!(surge);
                // A ReplicaSet that is used again leaves the reason of the rollout before until something moves.
                if is_new || stuck {
                    let reason = if stuck { "ReplicaSetUpdated" } else { "NewReplicaSetCreated" };
                    progressing(status, "True", reason, at);
                }
            });
        }
        "statefulsets" => {
            let name = revision.2.clone();
            update(cluster, key, |object| {
                let status = &mut object["status"];
                status["updateRevision"] = json!(name);
                if status["currentRevision"].is_null() {
                    status["currentRevision"] = json!(name);
                }
                status["replicas"] = json!(wanted);
                status["updatedReplicas"] = json!(surge);
                status["readyReplicas"] = json!(wanted - surge);
            });
        }
        _ => update(cluster, key, |object| {
            let status = &mut object["status"];
            status["updatedNumberScheduled"] = json!(surge);
            status["numberReady"] = json!(wanted - surge);
            status["numberAvailable"] = json!(wanted - surge);
        }),
    }
}

fn complete(cluster: &mut Cluster, index: usize, at: Timestamp) {
    cluster.workloads[index].rollout = None;
    let key = cluster.workloads[index].key.clone();
    let object = cluster.objects[&key].clone();
    let wanted = wanted(&object);
    match key.0.as_str() {
        "deployments" => {
            let revision = object["metadata"]["annotations"][REVISION].clone();
            for set in owned(cluster, "replicasets", &object) {
                let is_current = cluster.objects[&set]["metadata"]["annotations"][REVISION] == revision;
                let replicas = if is_current { wanted } else { 0 };
                update(cluster, &set, |set| {
                    set["spec"]["replicas"] = json!(replicas);
                    set["status"] = json!({ "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas });
                });
            }
            update(cluster, &key, |object| {
                let status = &mut object["status"];
                for name in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
                    status[name] = json!(wanted);
                }
                if let Some(status) = status.as_object_mut() {
                    status.remove("unavailableReplicas");
                }
                progressing(status, "True", "NewReplicaSetAvailable", at);
            });
        }
        "statefulsets" => update(cluster, &key, |object| {
            let status = &mut object["status"];
            status["currentRevision"] = status["updateRevision"].clone();
            for name in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "currentReplicas"] {
                status[name] = json!(wanted);
            }
        }),
        _ => update(cluster, &key, |object| {
            let status = &mut object["status"];
            for name in ["updatedNumberScheduled", "numberReady", "numberAvailable", "currentNumberScheduled"] {
                status[name] = json!(wanted);
            }
        }),
    }
    prune(cluster, &object);
}

/// The progress deadline has passed; nothing is undone.
fn give_up(cluster: &mut Cluster, index: usize, at: Timestamp) {
    cluster.workloads[index].rollout = None;
    let key = cluster.workloads[index].key.clone();
    update(cluster, &key, |object| progressing(&mut object["status"], "False", "ProgressDeadlineExceeded", at));
}

/// Another number of replicas of the revision that runs.
fn scale(cluster: &mut Cluster, key: &Key, revision: &Key) {
    if key.0 == "daemonsets" || cluster.objects[key]["status"]["updatedReplicas"].is_null() {
        return;
    }
    let wanted = wanted(&cluster.objects[key]);
    if key.0 == "deployments" {
        update(cluster, revision, |set| {
            set["spec"]["replicas"] = json!(wanted);
            set["status"] = json!({ "replicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted });
        });
    }
    update(cluster, key, |object| {
        for name in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            object["status"][name] = json!(wanted);
        }
    });
}

/// Keeps as many old revisions as the workload asks for.
fn prune(cluster: &mut Cluster, object: &Value) {
    let limit = object["spec"]["revisionHistoryLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10);
    for plural in ["replicasets", "controllerrevisions"] {
        let number = |kept: &Value| {
            let text = kept["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok());
            text.or_else(|| kept["revision"].as_i64()).unwrap_or_default()
        };
        let mut kept = owned(cluster, plural, object);
        kept.sort_by_key(|key| std::cmp::Reverse(number(&cluster.objects[key])));
        for old in kept.into_iter().skip(limit + 1) {
            cluster.objects.remove(&old);
        }
    }
}

fn owned(cluster: &Cluster, plural: &str, owner: &Value) -> Vec<Key> {
    let uid = &owner["metadata"]["uid"];
    let is_owned = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == *uid;
    cluster.objects.iter().filter(|(key, object)| key.0 == plural && is_owned(object)).map(|(key, _)| key.clone()).collect()
}

fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": object["kind"], "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Replicas, or nodes of a DaemonSet.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().or_else(|| object["status"]["desiredNumberScheduled"].as_i64()).unwrap_or(1)
}

fn progressing(status: &mut Value, value: &str, reason: &str, at: Timestamp) {
    let before = status["conditions"].as_array().and_then(|all| all.iter().find(|known| known["type"] == "Progressing")).cloned();
    let since =
        before.filter(|known| known["status"] == value).map_or_else(|| json!(at), |known| known["lastTransitionTime"].clone());
    status["conditions"] = json!([
        { "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastUpdateTime": at, "lastTransitionTime": at,
            "message": "Deployment has minimum availability." },
        { "type": "Progressing", "status": value, "reason": reason, "lastUpdateTime": at, "lastTransitionTime": since,
            "message": format!("simulated: {reason}") },
    ]);
}

/// A controller's own write: no new generation.
fn update(cluster: &mut Cluster, key: &Key, change: impl FnOnce(&mut Value)) {
    cluster.resource_version += 1;
    let version = cluster.resource_version.to_string();
    if let Some(object) = cluster.objects.get_mut(key) {
        change(object);
        object["metadata"]["resourceVersion"] = json!(version);
    }
}
