//! What the program is made of is what was locked, by every way to build it.

use std::{collections::BTreeSet, fs, path::Path};

use super::sources::{nothing_found, text_files};

/// Commands that compile what gets shipped, tested or shown. `cargo lint` and `cargo sim` are aliases, which are among the files.
const COMPILING: [&str; 6] = ["cargo build", "cargo zigbuild", "cargo test", "cargo run", "bench --", "clippy "];

#[test]
fn whatever_builds_takes_the_lock_file_as_it_is() {
    let files = text_files("")
        .into_iter()
        .filter(|file| ["docs/workflows/", "infra/hooks/", ".ci/", ".cargo/"].iter().any(|folder| file.path.starts_with(folder)));
    let (mut found, mut commands) = (Vec::new(), 0);
    for file in files {
        for (index, line) in file.text.replace("\\\n", " ").lines().enumerate() {
            let is_comment = line.trim_start().starts_with('#');
            if is_comment || !COMPILING.iter().any(|command| line.contains(command)) {
                continue;
            }
            commands += 1;
            if !line.contains("--locked") {
                found.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    assert!(commands >= 11, "the scan found only {commands} commands");
    nothing_found("`--locked`: what was reviewed is what is built", &found);
}

#[test]
fn every_crate_is_pinned_to_a_checksum_of_the_one_registry() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(packages.len() > 200, "{}", packages.len());
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let loose = packages.iter().filter(|package| !(package.contains(registry) && package.contains("checksum = \"")));
    let names: Vec<&str> = loose.map(|package| package.trim().lines().next().unwrap()).collect();
    assert_eq!(names, ["name = \"backout\""], "only this crate itself comes from here");
}

#[test]
fn no_code_of_ours_is_unsafe_and_none_runs_at_build_time() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    assert!(!root.join("build.rs").exists() && !manifest.contains("[patch") && !manifest.contains("git = "));
    let wildcards: BTreeSet<&str> = manifest.lines().filter(|line| line.contains("= \"*\"")).collect();
    assert_eq!(wildcards, BTreeSet::new());
    let rules = fs::read_to_string(root.join("deny.toml")).unwrap();
    for rule in [
        "multiple-versions = \"deny\"",
        "wildcards = \"deny\"",
        "unknown-registry = \"deny\"",
        "unknown-git = \"deny\"",
        "yanked = \"deny\"",
    ] {
        assert!(rules.contains(rule), "deny.toml lacks `{rule}`");
    }
}
