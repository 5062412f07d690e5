//! The workflows to copy say what this repository does.

use std::{fs, path::Path};

use backout::packaging::BUILD_COMMAND;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_way_to_build_is_the_one_that_refusals_name() {
    for path in ["docs/workflows/github-actions.yml", "docs/workflows/azure-pipelines.yml", "docs/packaging.md"] {
        assert!(read(path).contains(BUILD_COMMAND), "{path}");
    }
    // With the same versions of the tools.
    for path in ["docs/workflows/github-actions.yml", "docs/workflows/azure-pipelines.yml", "docs/packaging.md", ".ci/full"] {
        assert!(read(path).contains("ziglang==0.17.1 cargo-zigbuild==0.24.1"), "{path}");
    }
    let rust = format!("\"{}\"", "1.95");
    assert!(read("Cargo.toml").contains(&format!("rust-version = {rust}")), "the workflows install 1.95.0");
}

#[test]
fn the_marker_steps_give_the_script_what_it_reads() {
    let script = read("docs/workflows/marker/send-marker.sh");
    let action = yaml("docs/workflows/marker/action.yml");
    let template = yaml("docs/workflows/marker/azure-pipelines-step.yml");
    for step in [&action["runs"]["steps"][0], &template["steps"][0]] {
        let given = step["env"].as_object().unwrap();
        for name in given.keys() {
            assert!(script.contains(&format!("#   {name} ")), "the script does not know `{name}`");
        }
        for name in ["NAMESPACE", "STATE", "SERVICE", "RUN", "VERSION", "ENVIRONMENT", "REVERSIBLE"] {
            assert!(given.contains_key(&format!("MARKER_{name}")), "{name}");
        }
    }
}

#[test]
fn the_workflows_test_before_they_package_and_package_before_they_deploy() {
    let github = yaml("docs/workflows/github-actions.yml");
    assert_eq!(github["jobs"]["deploy"]["needs"], "package");
    assert_eq!(github["jobs"]["deploy"]["permissions"]["id-token"], "write");
    let devops = yaml("docs/workflows/azure-pipelines.yml");
    assert_eq!((&devops["stages"][0]["stage"], &devops["stages"][1]["stage"]), (&"package".into(), &"deploy".into()));
    for path in ["docs/workflows/github-actions.yml", "docs/workflows/azure-pipelines.yml"] {
        let text = read(path);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{path}: no `{part}`"));
        assert!(at("cargo test --locked") < at("cargo zigbuild"), "{path}");
        assert!(at("cargo zigbuild --release") < at("backout package --policy"), "{path}");
        assert!(at("backout package --policy") < at("config-zip"), "{path}");
    }
}
