//! Settings, files, queues and parameters that the pages name are there.

use std::{collections::BTreeSet, path::Path};

use backout::settings::names;

use super::{
    pages,
    pages::{Code, code},
};
use crate::tidy::sources::{nothing_found, text_files};

/// Words of letters, digits and `_` that begin with `start`.
fn words_with<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(start) && word.len() > start.len()).collect()
}

#[test]
fn every_setting_of_the_pages_is_one_of_the_program_or_of_the_infrastructure() {
    let mut known: BTreeSet<&str> = names::ALL.iter().map(|setting| setting.name).collect();
    // Outputs and variables of the deployment itself.
    let infra: String = ["infra", "docs/workflows"].into_iter().flat_map(text_files).map(|file| file.text + "\n").collect();
    known.extend(words_with(&infra, names::PREFIX));
    let mut found = Vec::new();
    for page in pages() {
        let unknown = words_with(&page.text, names::PREFIX).into_iter().chain(words_with(&page.text, "ServiceBus__"));
        found.extend(unknown.filter(|word| !known.contains(word)).map(|word| format!("{}: `{word}`", page.path)));
    }
    nothing_found("a page names a setting that does not exist", &found);
}

#[test]
fn every_file_of_the_pages_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["infra/", "docs/", "tests/", "src/", "function-app/", ".ci/", "benches/"];
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for part in code(&page.text) {
            let (Code::Line { number, text } | Code::Span { number, text }) = part;
            let words = text.split(|c: char| c.is_whitespace() || "\"'`(),;=:".contains(c));
            for word in words.filter(|word| folders.iter().any(|folder| word.starts_with(folder))) {
                seen += 1;
                let path = word.trim_end_matches(['.', '/']).trim_end_matches("/*");
                if !path.contains(['*', '<', '{', '$']) && !root.join(path).exists() {
                    found.push(format!("{}:{number}: `{word}`", page.path));
                }
            }
        }
    }
    assert!(seen > 10, "the scan found only {seen} files");
    nothing_found("a page names a file that is not there", &found);
}

/// After the word "queue".
#[test]
fn every_queue_of_the_pages_is_one_that_a_function_listens_on() {
    let functions = text_files("function-app");
    let is_queue = |name: &str| functions.iter().any(|file| file.text.contains(&format!("\"queueName\": \"{name}\"")));
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for (index, line) in page.text.lines().enumerate() {
            for (at, _) in line.match_indices("queue `") {
                let name = line[at + "queue `".len()..].split('`').next().unwrap_or_default();
                seen += 1;
                if !is_queue(name) {
                    found.push(format!("{}:{}: `{name}`", page.path, index + 1));
                }
            }
        }
    }
    assert!(seen > 5, "the scan found only {seen} queues");
    nothing_found("a page names a queue that does not exist", &found);
}
