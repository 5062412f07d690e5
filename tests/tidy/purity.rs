//! `domain` and `decide` decide from values alone: so every decision can be replayed from what is stored.

use std::{fs, path::Path};

use super::sources::{SourceFile, nothing_found, text_files};

/// Crates of `Cargo.toml` that do no IO. A new one belongs here only if it neither waits, reads, writes nor looks at a clock.
const PURE_CRATES: [&str; 9] = ["base64", "data-encoding", "jiff", "schemars", "serde", "serde_json", "sha2", "thiserror", "url"];

const IMPURE_WORDS: [&str; 24] = [
    "async ",
    ".await",
    "async_trait",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::sync",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::now",
    "new_v4",
    "println!",
    "dbg!",
    "log::",
    "crate::ports",
    "crate::process",
    "crate::platforms",
    "crate::azure",
    "crate::settings",
    "crate::telemetry",
];

#[test]
fn domain_and_decide_do_no_io() {
    let impure = impure_crates();
    let mut found = Vec::new();
    let mut files = 0;
    for file in ["src/domain", "src/decide"].into_iter().flat_map(text_files).filter(SourceFile::is_rust) {
        files += 1;
        found.extend(impurities(&file, &impure));
    }
    assert!(files >= 2, "the scan found no sources");
    nothing_found("`domain` and `decide` are pure: no IO crate, no await, no clock, no log, no environment", &found);
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    let impure = impure_crates();
    for name in ["tokio", "axum", "reqwest", "rusqlite", "tracing", "azure_core", "azure_messaging_servicebus", "async_trait"] {
        assert!(impure.contains(&name.to_owned()), "{name} passes as pure");
    }
    let file = |line: &str| SourceFile { path: "x.rs".to_owned(), text: line.to_owned() };
    let bad = [
        "use tokio::time::sleep;",
        "tracing::info!(\"x\");",
        "let x = reqwest::get(url);",
        "pub async fn decide() {}",
        "call().await",
        "let now = jiff::Timestamp::now();",
        "std::env::var(\"X\")",
        "use crate::ports::Clock;",
    ];
    for line in bad {
        assert!(!impurities(&file(line), &impure).is_empty(), "not found: {line}");
    }
    for line in ["// tokio::time is for others", "use jiff::Timestamp;", "let my_tokio::x", "use serde::Deserialize;"] {
        assert!(impurities(&file(line), &impure).is_empty(), "found: {line}");
    }
}

/// As they are named in code.
fn impure_crates() -> Vec<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let names = dependencies.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let impure = names.map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#') && !PURE_CRATES.contains(name));
    impure.map(|name| name.replace('-', "_")).collect()
}

fn impurities(file: &SourceFile, impure_crates: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.code() {
        let mut report = |what: &str| found.push(format!("{}:{number}: `{what}` in `{}`", file.path, line.trim()));
        for word in IMPURE_WORDS {
            if line.contains(word) {
                report(word);
            }
        }
        for name in impure_crates {
            if names_crate(line, name) {
                report(name);
            }
        }
    }
    found
}

/// Whether the line holds `name::` as a path's own beginning.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::"))
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':'))
}
