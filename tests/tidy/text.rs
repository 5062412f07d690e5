//! Rules for every file, and names that must stand in more than one place.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::sources::{SourceFile, nothing_found, text_files};

const LINES_MAX: usize = 700;

fn rust_files() -> Vec<SourceFile> {
    let files: Vec<_> = text_files("").into_iter().filter(SourceFile::is_rust).collect();
    assert!(files.len() > 40, "the scan found only {} Rust files", files.len());
    files
}

#[test]
fn exceptions_to_lints_give_a_reason() {
    // In pieces, so that this file does not find itself.
    let forbidden = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let mut found = Vec::new();
    for file in rust_files() {
        for (number, line) in file.code().filter(|(_, line)| forbidden.iter().any(|attribute| line.contains(attribute))) {
            found.push(format!("{}:{number}: {}", file.path, line.trim()));
        }
    }
    nothing_found("`#[expect(..., reason = \"...\")]` instead: it goes away when it is not needed any more", &found);
}

#[test]
fn no_source_file_tells_two_stories() {
    let long = |file: &SourceFile| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    };
    let found: Vec<_> = rust_files().iter().filter_map(long).collect();
    nothing_found("at most 700 lines a file", &found);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    // In pieces, so that this file does not find itself.
    let machine_paths = [concat!("/wo", "rk/"), concat!("/t", "mp/"), concat!("/ro", "ot/")];
    let mut found = Vec::new();
    for file in text_files("") {
        for (index, line) in file.text.lines().enumerate() {
            for path in machine_paths {
                // Preceded by a letter it is a part of another path or a URL.
                let alone = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".}_-".contains(c));
                if line.match_indices(path).any(|(at, _)| alone(at)) {
                    found.push(format!("{}:{}: {path}", file.path, index + 1));
                }
            }
        }
    }
    nothing_found("the repository works on any machine: ask for a folder, or make a temporary one", &found);
}

fn sample_settings() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("local.settings.sample.json");
    let sample: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let values = sample["Values"].as_object().unwrap();
    for (name, value) in values {
        assert!(value.as_str().is_some_and(|text| !text.is_empty()), "`{name}` is not a text: the host ignores it");
    }
    values.keys().cloned().collect()
}

/// Names in the sources' string literals.
fn settings_in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in text_files("src/settings") {
        for (_, line) in file.code() {
            for (at, _) in line.match_indices("\"BACKOUT_") {
                let name: String = line[at + 1..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                names.insert(name);
            }
        }
    }
    names
}

#[test]
fn the_sample_has_every_setting() {
    let sample = sample_settings();
    let documented = [
        "AZURE_CLIENT_ID",
        "BACKOUT_ACTOR_CLIENT_ID",
        "BACKOUT_APPROVAL_KEY",
        "BACKOUT_APPROVER_AUTH",
        "BACKOUT_ARM_ENDPOINT",
        "BACKOUT_BUS",
        "BACKOUT_BUS_ENDPOINT",
        "BACKOUT_CLOUD",
        "BACKOUT_LOGS_ENDPOINT",
        "BACKOUT_MODE",
        "BACKOUT_POLICY",
        "BACKOUT_PUBLIC_URL",
        "BACKOUT_STORE",
        "BACKOUT_TIME_SCALE",
        "BACKOUT_WEBHOOK_AUDIENCE",
        "BACKOUT_WEBHOOK_TENANT",
        "ServiceBus__clientId",
        "ServiceBus__credential",
        "ServiceBus__fullyQualifiedNamespace",
    ];
    let documented = documented.map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    let missing: Vec<_> = documented.union(&settings_in_code()).filter(|name| !sample.contains(*name)).cloned().collect();
    nothing_found("missing in local.settings.sample.json", &missing);
}

#[test]
fn the_sample_has_nothing_that_the_host_sets_and_no_secret() {
    let platform = ["FUNCTIONS_CUSTOMHANDLER_PORT", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
    let sample = sample_settings();
    for name in platform {
        assert!(!sample.contains(name), "`{name}` is set by the platform; a value of ours would only break it");
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("local.settings.sample.json")).unwrap();
    for secret in ["SharedAccessKey", "AccountKey", "sig="] {
        assert!(!text.contains(secret), "{secret}");
    }
}
