//! What a cluster, or `kubectl` in it, says: workloads, revisions, printed answers; and the file that says where a cluster is.

use backout::{
    domain::{
        resource_id::ResourceId,
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, WorkloadKind},
    },
    platforms::kubernetes::{
        command_line::{self, Failure},
        direct, kubeconfig,
        wire::{self, Reading},
    },
    settings::endpoint,
};
use serde_json::Value;

use super::{choose, is_sentence};

pub fn holds(input: &[u8]) {
    let words = ["Deployment", "StatefulSet", "DaemonSet", "template", "printed", "line", "kubeconfig"];
    let (kind, rest) = choose(&words, input);
    match kind {
        "Deployment" => workload(WorkloadKind::Deployment, rest),
        "StatefulSet" => workload(WorkloadKind::StatefulSet, rest),
        "DaemonSet" => workload(WorkloadKind::DaemonSet, rest),
        "template" => template(rest),
        "printed" => printed(&String::from_utf8_lossy(rest)),
        "line" => line(&String::from_utf8_lossy(rest)),
        "kubeconfig" => config(&String::from_utf8_lossy(rest)),
        other => unreachable!("{other}"),
    }
}

/// `{"workload": ..., "owner": ..., "revisions": [...]}`
fn workload(kind: WorkloadKind, json: &[u8]) {
    let Ok(all) = serde_json::from_slice::<Value>(json) else { return };
    match Reading::parse(kind, all["workload"].clone()) {
        Ok(reading) => {
            assert_eq!(reading.uid(), all["workload"]["metadata"]["uid"].as_str().unwrap_or_default());
            let _ = (reading.annotation(wire::REVISION), reading.spec().replicas);
            images_are_named(&reading.spec().template);
        }
        Err(error) => is_sentence(&error.says, 500),
    }
    let owner = all["owner"].as_str().unwrap_or_default();
    let items = all["revisions"].as_array().cloned().unwrap_or_default();
    let count = items.len();
    match wire::revisions(kind, owner, items) {
        Ok(revisions) => {
            assert!(revisions.len() <= count);
            assert!(revisions.is_sorted_by(|newer, older| newer.number >= older.number));
            for revision in &revisions {
                let owners = revision.metadata.owner_references.iter().flatten();
                assert!(owners.into_iter().any(|of| of.uid == owner && of.controller == Some(true)), "somebody else's revision");
                let _ = (revision.uid(), revision.change_cause());
                is_stable(&revision.template);
            }
        }
        Err(error) => is_sentence(&error.says, 500),
    }
    let _ = direct::allowed("ask", &all);
}

fn template(json: &[u8]) {
    if let Ok(template) = serde_json::from_slice::<Value>(json) {
        is_stable(&template);
        images_are_named(&template);
    }
}

/// One content has one name: made canonical twice it is the same, and the order of members tells nothing.
fn is_stable(template: &Value) {
    let canonical = wire::canonical(template);
    assert_eq!(wire::canonical(&canonical), canonical);
    assert_eq!(wire::fingerprint(&canonical), wire::fingerprint(template));
    let mut turned = template.clone();
    turn(&mut turned);
    assert_eq!(wire::fingerprint(&turned), wire::fingerprint(template));
}

fn turn(value: &mut Value) {
    match value {
        Value::Object(map) => {
            *map = std::mem::take(map).into_iter().rev().collect();
            map.values_mut().for_each(turn);
        }
        Value::Array(list) => list.iter_mut().for_each(turn),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn images_are_named(template: &Value) {
    let mut texts = Vec::new();
    super::texts(template, &mut texts);
    assert!(wire::images(template).iter().all(|image| texts.iter().any(|text| text == image)));
}

/// A command's output is whole, or it tells nothing.
fn printed(output: &str) {
    let whole = output.trim_end().ends_with(command_line::END);
    match command_line::values("read", output) {
        Ok(_) => assert!(whole),
        Err(error) => is_sentence(&error.says, 300),
    }
    if let Some((uid, generation)) = command_line::patched(output) {
        assert!(whole && output.contains(&uid) && !uid.contains(char::is_whitespace), "{uid:?} {generation}");
    }
    is_sentence(&command_line::reason(output), 300);
    for code in [0, 1, 126, 127, 137] {
        let failure = command_line::failure(code, output);
        assert!(code != 127 || failure == Failure::Refused);
    }
}

/// A name that reaches a shell is one plain word.
fn line(text: &str) {
    let (namespace, name) = text.split_once('\n').unwrap_or((text, text));
    let id = "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/a";
    let target = KubernetesTarget {
        cluster: KubernetesCluster::Aks { id: ResourceId::parse(id).unwrap(), access: ClusterAccess::RunCommand },
        namespace: namespace.to_owned(),
        kind: WorkloadKind::Deployment,
        name: name.to_owned(),
    };
    for line in [command_line::get_workload, command_line::get_workload_and_revisions, command_line::patch] {
        match line(&target) {
            Ok(line) => {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
                assert!(namespace.chars().all(plain) && name.chars().all(plain) && !name.starts_with('-'), "{line}");
                assert!(line.starts_with("kubectl ") && line.ends_with(command_line::END));
            }
            Err(says) => is_sentence(&says, 500),
        }
    }
}

fn config(text: &str) {
    // Files that it names are read, which a property must not.
    if ["/dev", "/proc", "/sys"].iter().any(|folder| text.contains(folder)) {
        return;
    }
    for context in [None, Some("b")] {
        match kubeconfig::read(text, context, None) {
            Ok(access) => {
                let server = &access.server;
                assert!(server.scheme() == "https" || server.scheme() == "http" && endpoint::is_loopback(server), "{server}");
                assert!(server.username().is_empty() && server.password().is_none());
                let _ = format!("{access:?}");
            }
            Err(says) => is_sentence(&says, 700),
        }
    }
}
