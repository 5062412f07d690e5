//! Payloads that publishers show in their documentation and tests, where a copy of them lies beside this repository.
//!
//! They are not part of it: the snapshots hold what was understood of them, texts cut short.

use std::{fmt::Write as _, fs, io::Write as _, path::PathBuf};

use backout::inbound::recognise;
use serde_json::Value;

/// One line an element, in the order of the file names; `None` where there are no samples.
fn understood_of(folder: &str) -> Option<String> {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/samples").join(folder);
    let Ok(entries) = fs::read_dir(&samples) else {
        // Straight to stderr: the test runner keeps back what a passing test prints by macro.
        writeln!(std::io::stderr(), "skipped: ../shared/samples is not there").expect("stderr is open");
        return None;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no sample", samples.display());
    let mut listing = String::new();
    for path in paths {
        let name = path.file_stem().expect("a file's name").to_string_lossy();
        for result in recognise(&fs::read(&path).expect("a readable file")) {
            match result {
                Ok(understood) => {
                    let mut event = serde_json::to_value(&understood.event).expect("events serialize");
                    shorten(&mut event);
                    writeln!(listing, "{name} -> {}: {event}", understood.format)
                }
                Err(refused) => writeln!(listing, "{name} -> refused: {refused}"),
            }
            .expect("writing to a text");
        }
    }
    Some(listing)
}

/// Drops what has no value and cuts long texts.
fn shorten(value: &mut Value) {
    const CHARS_MAX: usize = 140;
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null() && *inner != Value::Object(serde_json::Map::new()));
            map.values_mut().for_each(shorten);
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        Value::String(text) if text.chars().count() > CHARS_MAX => {
            *text = text.chars().take(CHARS_MAX).chain(['…']).collect();
        }
        _ => {}
    }
}

#[test]
fn alerts() {
    if let Some(listing) = understood_of("alerts") {
        insta::assert_snapshot!("alerts", listing);
    }
}

#[test]
fn deployments() {
    if let Some(listing) = understood_of("deployments") {
        insta::assert_snapshot!("deployments", listing);
    }
}
