//! What must hold between services: distinct targets, dependencies that exist, and no cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    read::Findings,
    suggest::nearest,
    tree::{Path, Step},
};
use crate::domain::{
    service::{Service, ServiceName},
    target::TargetKey,
};

/// Two services on one target would take the same rollout back for two reasons.
pub(super) fn distinct_targets(findings: &mut Findings<'_>, services: &BTreeMap<ServiceName, Service>) {
    let mut by_place: Vec<(Path, &Service)> =
        services.values().map(|service| (service_path(&service.name.0, &["target"]), service)).collect();
    // The later one in the file is the one too many.
    by_place.sort_by_key(|(path, _)| findings.tree.place(path).line);
    let mut seen: BTreeMap<TargetKey, (u64, &Service)> = BTreeMap::new();
    for (path, service) in by_place {
        let line = findings.tree.place(&path).line;
        match seen.get(&service.target.key()) {
            Some((first_line, first)) => findings.add(
                &path,
                format!("is the target of service `{}` too (line {first_line})", first.name),
                "give each target to one service; merge the two, or correct one target",
            ),
            None => {
                seen.insert(service.target.key(), (line, service));
            }
        }
    }
}

/// What each service says under `dependsOn`, whatever else is wrong with it.
pub(super) type Dependencies = BTreeMap<String, Vec<String>>;

/// Names in `dependsOn` that are no service. A service with problems of its own still exists.
pub(super) fn known_dependencies(findings: &mut Findings<'_>, dependencies: &Dependencies) {
    let written: BTreeSet<String> = findings
        .tree
        .get(&[Step::Key("services".to_owned())])
        .and_then(|services| services.as_object())
        .map(|services| services.keys().cloned().collect())
        .unwrap_or_default();
    for (name, upstreams) in dependencies {
        for (index, upstream) in upstreams.iter().enumerate() {
            let mut path = service_path(name, &["dependsOn"]);
            path.push(Step::Index(index));
            if !written.contains(upstream) {
                let hint = match nearest(upstream, written.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "name a service of this file, or remove it".to_owned(),
                };
                findings.add(&path, "names no service of this file", hint);
            } else if upstreams[..index].contains(upstream) {
                findings.add(&path, format!("names `{upstream}` a second time"), "remove it");
            }
        }
    }
}

/// Each cycle once, told at the entry that closes it.
pub(super) fn no_cycles(findings: &mut Findings<'_>, dependencies: &Dependencies) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in dependencies.keys() {
        // Depth first with an explicit stack: (service, index of the next dependency to follow).
        let mut stack: Vec<(&str, usize)> = if done.contains(start.as_str()) { Vec::new() } else { vec![(start, 0)] };
        while let Some((name, next)) = stack.last().copied() {
            let Some(upstream) = dependencies.get(name).and_then(|upstreams| upstreams.get(next)) else {
                done.insert(name);
                stack.pop();
                continue;
            };
            if let Some(top) = stack.last_mut() {
                top.1 += 1;
            }
            if let Some(begin) = stack.iter().position(|(on_path, _)| on_path == upstream) {
                let mut names: Vec<&str> = stack[begin..].iter().map(|(name, _)| *name).collect();
                names.push(upstream);
                let mut path = service_path(name, &["dependsOn"]);
                path.push(Step::Index(next));
                findings.add(
                    &path,
                    format!("closes a cycle: {}", names.join(" -> ")),
                    "remove one of these dependencies; a service depends on what it calls, not on its callers",
                );
            } else if !done.contains(upstream.as_str()) && dependencies.contains_key(upstream) {
                stack.push((upstream, 0));
            }
        }
    }
}

/// Path of a key of one service.
pub(super) fn service_path(name: &str, keys: &[&str]) -> Path {
    let mut path = vec![Step::Key("services".to_owned()), Step::Key(name.to_owned())];
    path.extend(keys.iter().map(|key| Step::Key((*key).to_owned())));
    path
}
