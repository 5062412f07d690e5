//! Bytes of a policy file -> [`Policy`], or every problem at once.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    check,
    problems::{PolicyProblems, Problem},
    relations, shape,
    tree::{Path, Step, Tree, path_text},
};
use crate::domain::{policy::Policy, resource_id::ResourceId};

/// Bytes. A policy of a hundred services takes less than half of it.
pub const SIZE_MAX: usize = 256 * 1024;

/// Reads the file. `own_site` is the site that this process runs in, which must never be a target (E9).
pub fn read(bytes: &[u8], own_site: Option<&ResourceId>) -> Result<Policy, PolicyProblems> {
    let whole = |says: &str, hint: &str| {
        PolicyProblems::new(vec![Problem {
            line: 1,
            column: 1,
            path: String::new(),
            says: says.to_owned(),
            hint: hint.to_owned(),
        }])
    };
    if bytes.len() > SIZE_MAX {
        return Err(whole("the file is larger than 256 KiB", "move what is not about this handler's services elsewhere"));
    }
    let tree = Tree::parse(bytes).map_err(|problem| PolicyProblems::new(vec![problem]))?;
    if !tree.value.is_object() {
        return Err(whole("the file holds no keys with values", "begin with `version: 1` and `services:`"));
    }
    let mut findings = Findings { tree: &tree, problems: Vec::new(), misfits: Vec::new() };
    let policy = shape::fit(&mut findings).map(|file| {
        let defaults = check::version_and_defaults(&mut findings, &file);
        let mut dependencies = relations::Dependencies::new();
        let mut services = BTreeMap::new();
        for (name, service) in file.services.unwrap_or_default() {
            dependencies.insert(name.clone(), service.depends_on.clone().unwrap_or_default());
            if let Some(service) = check::service(&mut findings, &name, service, &defaults, own_site) {
                services.insert(service.name.clone(), service);
            }
        }
        relations::distinct_targets(&mut findings, &services);
        relations::known_dependencies(&mut findings, &dependencies);
        relations::no_cycles(&mut findings, &dependencies);
        let storm = check::storm(&mut findings, file.storm.unwrap_or_default());
        let notify = check::notify(&mut findings, file.notify.unwrap_or_default());
        Policy { services, storm, notify, sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)) }
    });
    match policy {
        Some(policy) if findings.problems.is_empty() => Ok(policy),
        Some(_) | None => Err(PolicyProblems::new(findings.problems)),
    }
}

/// What was found so far, and the tree that tells the places.
pub(super) struct Findings<'a> {
    pub tree: &'a Tree,
    problems: Vec<Problem>,
    /// Paths that do not fit the shape: what follows from them is not told.
    misfits: Vec<Path>,
}

impl Findings<'_> {
    /// Records what does not fit the shape.
    pub fn misfit(&mut self, path: &[Step], says: impl Into<String>, hint: impl Into<String>) {
        self.misfits.push(path.to_vec());
        self.push(path, says.into(), hint.into());
    }

    /// Whether a misfit at exactly `path` was told.
    pub fn is_misfit(&self, path: &[Step]) -> bool {
        self.misfits.iter().any(|misfit| misfit == path)
    }

    /// Records what fits the shape and makes no sense; unless it may merely follow from a misfit at or below `path`.
    pub fn add(&mut self, path: &[Step], says: impl Into<String>, hint: impl Into<String>) {
        if !self.misfits.iter().any(|misfit| misfit.starts_with(path)) {
            self.push(path, says.into(), hint.into());
        }
    }

    fn push(&mut self, path: &[Step], says: String, hint: String) {
        let place = self.tree.place(path);
        self.problems.push(Problem { line: place.line, column: place.column, path: path_text(path), says, hint });
    }
}
