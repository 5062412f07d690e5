//! What the files in `infra/` say, held against the code: settings, queues, and the actions of every role.

mod permissions_page;
mod queues;
mod roles;
mod settings;

use std::{fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The quoted entries of `var NAME = [ ... ]`.
fn list(file: &str, variable: &str) -> Vec<String> {
    let text = read(file);
    let start = format!("var {variable} = [\n");
    let (_, after) = text.split_once(&start).unwrap_or_else(|| panic!("{file} has no `{variable}`"));
    let (body, _) = after.split_once("\n]").unwrap_or_else(|| panic!("`{variable}` of {file} has no end"));
    body.lines().map(|line| line.split('\'').nth(1).unwrap_or_else(|| panic!("{file}: `{line}`")).to_owned()).collect()
}

/// The names of all lists of actions in a file.
fn lists(file: &str) -> Vec<String> {
    let text = read(file);
    let names = text.lines().filter_map(|line| line.strip_prefix("var ")?.strip_suffix(" = ["));
    names.filter(|name| name.ends_with("Actions")).map(str::to_owned).collect()
}

const ROLE_FILES: [&str; 6] = [
    "infra/roles/app-service.bicep",
    "infra/roles/arm-deployment.bicep",
    "infra/roles/container-app.bicep",
    "infra/roles/kubernetes.bicep",
    "infra/roles/logic-app.bicep",
    "infra/roles/observation.bicep",
];
