//! Objects of apps/v1 as JSON: how they are made, changed and selected.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::SimulatedClusterWorkload;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// Kind, plural, and whether pods of it keep ReplicaSets.
pub const KINDS: [(&str, &str); 5] = [
    ("Deployment", "deployments"),
    ("StatefulSet", "statefulsets"),
    ("DaemonSet", "daemonsets"),
    ("ReplicaSet", "replicasets"),
    ("ControllerRevision", "controllerrevisions"),
];

pub fn plural_of(kind: &str) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or_else(|| panic!("`{kind}` is no simulated kind"), |(_, plural)| plural)
}

pub fn kind_of(plural: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, known)| *known == plural).map(|(kind, _)| *kind)
}

pub fn image(name: &str, build: &str) -> String {
    format!("registry.example.com/shop/{name}:{build}")
}

/// The tag of the first container's image.
pub fn build(template: &Value) -> String {
    let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    image.rsplit(':').next().unwrap_or_default().to_owned()
}

pub fn new_workload(workload: &SimulatedClusterWorkload, since: Timestamp) -> Value {
    let id = &workload.id;
    let labels = json!({ "app": id.name });
    let mut spec = json!({
        "selector": { "matchLabels": labels },
        "template": {
            "metadata": { "labels": labels },
            "spec": {
                "containers": [{ "name": "app", "image": image(&id.name, &workload.build), "imagePullPolicy": "IfNotPresent",
                    "env": [{ "name": "LEVEL", "value": "1" }], "resources": {}, "terminationMessagePolicy": "File" }],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler",
            },
        },
        "revisionHistoryLimit": 10,
    });
    match id.kind.as_str() {
        "Deployment" => {
            spec["replicas"] = json!(workload.replicas);
            spec["progressDeadlineSeconds"] = json!(600);
            spec["strategy"] =
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } });
        }
        "StatefulSet" => {
            spec["replicas"] = json!(workload.replicas);
            spec["serviceName"] = json!(id.name);
            spec["podManagementPolicy"] = json!("Parallel");
            spec["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
        }
        _ => {
            spec["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } });
        }
    }
    let mut annotations = json!({});
    if id.kind == "Deployment" {
        annotations["kubernetes.io/change-cause"] = json!(format!("release {}", workload.build));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": id.kind,
        "metadata": {
            "name": id.name, "namespace": id.namespace, "uid": Uuid::new_v4().to_string(), "creationTimestamp": since,
            "labels": labels, "annotations": annotations, "generation": 0,
        },
        "spec": spec,
        "status": if id.kind == "DaemonSet" {
            json!({ "desiredNumberScheduled": workload.replicas, "currentNumberScheduled": workload.replicas, "numberMisscheduled": 0 })
        } else {
            json!({ "replicas": workload.replicas })
        },
    })
}

/// What the API server keeps of who changed the template: one entry a manager, with the time of its last change of anything.
pub fn note_manager(object: &mut Value, manager: &str, retemplated: bool, now: Timestamp) {
    let entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": now, "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {} } } } },
    });
    let metadata = &mut object["metadata"];
    if !metadata["managedFields"].is_array() {
        metadata["managedFields"] = json!([]);
    }
    if let Some(all) = metadata["managedFields"].as_array_mut() {
        let known = all.len();
        all.retain(|known| known["manager"] != manager);
        if retemplated || all.len() < known {
            all.push(entry);
        }
    }
}

/// Eight characters that follow from the template, as a controller's hash does.
pub fn hash(template: &Value) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, template.to_string().as_bytes());
    id.simple().to_string()[..8].to_owned()
}

pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A strategic merge, as far as kubectl's commands for workloads need it: lists of objects with a `name` merge by it.
pub fn merge_strategically(target: &mut Value, patch: &Value) {
    let (Some(into), Some(changes)) = (target.as_object_mut(), patch.as_object()) else {
        target.clone_from(patch);
        return;
    };
    if changes.get("$patch").and_then(Value::as_str) == Some("replace") {
        let mut whole: Map<String, Value> = changes.clone();
        whole.remove("$patch");
        *into = whole;
        return;
    }
    for (key, change) in changes.iter().filter(|(key, _)| !key.starts_with('$')) {
        match (into.get_mut(key), change) {
            (_, Value::Null) => {
                into.remove(key);
            }
            (Some(Value::Array(list)), Value::Array(items)) if items.iter().all(|item| item["name"].is_string()) => {
                for item in items {
                    match list.iter_mut().find(|known| known["name"] == item["name"]) {
                        Some(known) => merge_strategically(known, item),
                        None => list.push(item.clone()),
                    }
                }
            }
            (Some(known), change) => merge_strategically(known, change),
            (None, change) => {
                into.insert(key.clone(), change.clone());
            }
        }
    }
}

/// Whether labels meet a selector in kubectl's spelling; `None` for one that is not understood.
pub fn selects(selector: &str, labels: &Value) -> Option<bool> {
    let mut all = true;
    for requirement in split_requirements(selector) {
        let requirement = requirement.trim();
        let value = |key: &str| labels.get(key.trim()).and_then(Value::as_str).map(str::to_owned);
        let met = if let Some((key, values)) = requirement.split_once(" notin ") {
            value(key).is_none_or(|value| !listed(values).contains(&value))
        } else if let Some((key, values)) = requirement.split_once(" in ") {
            value(key).is_some_and(|value| listed(values).contains(&value))
        } else if let Some((key, wanted)) = requirement.split_once("!=") {
            value(key).as_deref() != Some(wanted.trim())
        } else if let Some((key, wanted)) = requirement.split_once("==").or_else(|| requirement.split_once('=')) {
            value(key).as_deref() == Some(wanted.trim())
        } else if let Some(key) = requirement.strip_prefix('!') {
            value(key).is_none()
        } else if requirement.is_empty() || requirement.contains(' ') {
            return None;
        } else {
            value(requirement).is_some()
        };
        all &= met;
    }
    Some(all)
}

fn listed(values: &str) -> Vec<String> {
    values.trim().trim_matches(['(', ')']).split(',').map(|value| value.trim().to_owned()).collect()
}

/// Commas within brackets separate values.
fn split_requirements(selector: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in selector.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_writes_them() {
        let labels = json!({"app": "web", "tier": "front"});
        let rows = [
            ("app=web", Some(true)),
            ("app==web,tier=front", Some(true)),
            ("app=web,tier=back", Some(false)),
            ("app in (db, web),!gone", Some(true)),
            ("tier notin (front)", Some(false)),
            ("app!=db", Some(true)),
            ("gone", Some(false)),
            ("app", Some(true)),
            ("a b", None),
        ];
        for (selector, met) in rows {
            assert_eq!(selects(selector, &labels), met, "{selector}");
        }
    }

    #[test]
    fn a_strategic_merge_keeps_what_it_does_not_name() {
        let mut object = json!({"spec": {"template": {"a": 1, "containers": [{"name": "x", "image": "1", "env": []}]}}});
        merge_strategically(
            &mut object,
            &json!({"spec": {"template": {"containers": [{"name": "x", "image": "2"}], "a": null}}}),
        );
        assert_eq!(object, json!({"spec": {"template": {"containers": [{"name": "x", "image": "2", "env": []}]}}}));
        merge_strategically(&mut object, &json!({"spec": {"template": {"b": 2, "$patch": "replace"}}}));
        assert_eq!(object, json!({"spec": {"template": {"b": 2}}}));
    }
}
