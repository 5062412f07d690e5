//! The table of threats names tests that exist.

use std::{fs, path::Path};

#[test]
fn every_threat_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, threats) = page.split_once("\n## Threats\n").unwrap();
    let (threats, _) = threats.split_once("\n## ").unwrap();
    let rows: Vec<&str> = threats.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [threat, _, tests] = cells.as_slice() else { panic!("three cells: {row}") };
        let names: Vec<&str> = tests.split('`').filter(|part| part.contains("::")).collect();
        if names.is_empty() {
            wrong.push(format!("no test shows: {threat}"));
        }
        wrong.extend(names.into_iter().filter(|name| !exists(root, name)).map(|name| format!("no such test: {name}")));
    }
    super::sources::nothing_found("SECURITY.md", &wrong);
}

/// `a::b::name`: in `tests/a/b.rs`, `tests/a/b/mod.rs`, or (`a::b::tests::name`) `src/a/b.rs`.
fn exists(root: &Path, name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").unwrap();
    let path = module.trim_end_matches("::tests").replace("::", "/");
    let files =
        [format!("tests/{path}.rs"), format!("tests/{path}/mod.rs"), format!("src/{path}.rs"), format!("src/{path}/mod.rs")];
    let mut texts = files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok());
    texts.any(|text| text.contains(&format!("fn {function}(")))
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(exists(root, "tidy::security::every_threat_has_a_test_that_exists"));
    assert!(exists(root, "domain::printable::tests::what_deceives_becomes_a_blank"));
    for name in
        ["tidy::security::every_threat", "tidy::gone::every_threat_has_a_test_that_exists", "domain::printable::tests::gone"]
    {
        assert!(!exists(root, name), "{name}");
    }
}
