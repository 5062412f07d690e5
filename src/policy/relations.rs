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
        services.values().map(|service| (service_path(&service.name.0, &["target", "site"]), service)).collect();
    // The later one in the file is the one too many.
    by_place.sort_by_key(|(path, _)| findings.tree.place(path).line);
    let mut seen: BTreeMap<TargetKey, (u64, &Service)> = BTreeMap::new();
    for (path, service) in by_place {
        let line = findings.tree.place(&path).line;
        match seen.get(&service.target.key()) {
            Some((first_line, first)) => findings.add(
                &path,
                format!("is the target of service `{}` too (line {first_line})", first.name),
                "give each target to one service; merge the two, or correct the site",
            ),
            None => {
                seen.insert(service.target.key(), (line, service));
            }
        }
    }
}

/// Names in `dependsOn` that are no service. A service with problems of its own still exists.
pub(super) fn known_dependencies(findings: &mut Findings<'_>, services: &BTreeMap<ServiceName, Service>) {
    let written: BTreeSet<String> = findings
        .tree
        .get(&[Step::Key("services".to_owned())])
        .and_then(|services| services.as_object())
        .map(|services| services.keys().cloned().collect())
        .unwrap_or_default();
    for service in services.values() {
        for (index, upstream) in service.depends_on.iter().enumerate() {
            let mut path = service_path(&service.name.0, &["dependsOn"]);
            path.push(Step::Index(index));
            if !written.contains(&upstream.0) {
                let hint = match nearest(&upstream.0, written.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "name a service of this file, or remove it".to_owned(),
                };
                findings.add(&path, "names no service of this file", hint);
            } else if service.depends_on[..index].contains(upstream) {
                findings.add(&path, format!("names `{upstream}` a second time"), "remove it");
            }
        }
    }
}

/// Each cycle once, told at the entry that closes it.
pub(super) fn no_cycles(findings: &mut Findings<'_>, services: &BTreeMap<ServiceName, Service>) {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    for start in services.keys() {
        // Depth first with an explicit stack: (service, index of the next dependency to follow).
        let mut stack: Vec<(&ServiceName, usize)> = if done.contains(start) { Vec::new() } else { vec![(start, 0)] };
        while let Some((name, next)) = stack.last().copied() {
            let Some(upstream) = services.get(name).and_then(|service| service.depends_on.get(next)) else {
                done.insert(name);
                stack.pop();
                continue;
            };
            if let Some(top) = stack.last_mut() {
                top.1 += 1;
            }
            if let Some(begin) = stack.iter().position(|(on_path, _)| *on_path == upstream) {
                let mut names: Vec<&str> = stack[begin..].iter().map(|(name, _)| name.0.as_str()).collect();
                names.push(&upstream.0);
                let mut path = service_path(&name.0, &["dependsOn"]);
                path.push(Step::Index(next));
                findings.add(
                    &path,
                    format!("closes a cycle: {}", names.join(" -> ")),
                    "remove one of these dependencies; a service depends on what it calls, not on its callers",
                );
            } else if !done.contains(upstream) && services.contains_key(upstream) {
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
