//! What must hold for every input, one file a family of parsers. Each has `holds`, which panics where it does not.
//!
//! The fuzz targets and the test binary (`tests/fuzzing`) call the same functions; `super::support` is the same as there.

pub mod azure;
pub mod documents;
pub mod host;
pub mod identifiers;
pub mod inbound;
pub mod kubernetes;
pub mod packaging;
pub mod policy;
pub mod process;
pub mod settings;
pub mod webhook;

pub mod change;

use serde_json::Value;

/// A family: its name (of the target, and of its folders under `corpus` and `regressions`) and what must hold.
pub type Family = (&'static str, fn(&[u8]));

pub const FAMILIES: &[Family] = &[
    ("azure", azure::holds),
    ("documents", documents::holds),
    ("host", host::holds),
    ("identifiers", identifiers::holds),
    ("inbound", inbound::holds),
    ("kubernetes", kubernetes::holds),
    ("packaging", packaging::holds),
    ("policy", policy::holds),
    ("process", process::holds),
    ("settings", settings::holds),
    ("webhook", webhook::holds),
];

/// A sentence for a person: something is said, on one line, nothing that would repaint a terminal, and not without end.
#[track_caller]
fn is_sentence(text: &str, characters_max: usize) {
    assert!(!text.trim().is_empty(), "an empty sentence");
    assert!(!text.contains(char::is_control), "a control character in {text:?}");
    let characters = text.chars().count();
    assert!(characters <= characters_max, "{characters} characters: {text:?}");
}

/// Input that begins with a line of its own: a word of `words` says what the rest is. Any other line picks one all the same, so
/// that a changed first line is no waste.
fn choose<'a>(words: &[&'static str], input: &'a [u8]) -> (&'static str, &'a [u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, rest) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let named = words.iter().find(|word| word.as_bytes() == line);
    let sum = line.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    (named.copied().unwrap_or(words[sum % words.len()]), rest)
}

/// Every text in a JSON value, names of members included, also those in JSON that is a text itself.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
                texts(&inner, into);
            }
            into.push(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, into)),
        Value::Object(map) => map.iter().for_each(|(name, inner)| {
            into.push(name.clone());
            texts(inner, into);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One thread and its timers, for what awaits.
fn run<F: Future>(work: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// As a log shows it.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
