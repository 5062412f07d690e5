//! Links inside of the repository lead somewhere.

use std::path::Path;

use backout::policy::reference::anchor;

use super::{
    pages,
    pages::{headings, links},
};
use crate::tidy::sources::nothing_found;

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut seen = 0;
    for page in &pages {
        for (number, to) in links(&page.text).into_iter().filter(|(_, to)| !to.contains("://")) {
            seen += 1;
            let (path, heading) = to.split_once('#').map_or((to.as_str(), None), |(path, heading)| (path, Some(heading)));
            let place = match path {
                "" => page.path.clone(),
                path => joined(&page.path, path),
            };
            if !root.join(&place).exists() {
                found.push(format!("{}:{number}: there is no `{place}`", page.path));
            } else if let Some(heading) = heading {
                let target = pages.iter().find(|file| file.path == place);
                if !target.is_some_and(|file| headings(&file.text).iter().any(|title| anchor(title) == heading)) {
                    found.push(format!("{}:{number}: `{place}` has no heading `#{heading}`", page.path));
                }
            }
        }
    }
    assert!(seen > 60, "the scan found only {seen} links");
    nothing_found("a link that leads nowhere", &found);
}

/// `docs/a.md` and `../b.md` -> `b.md`.
fn joined(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// For who changes the code, or checks what is said of it.
const ABOUT_THE_CODE: [&str; 3] = ["CONTRIBUTING.md", "SECURITY.md", "docs/reliability.md"];

/// Somebody who only uses it needs no Rust.
#[test]
fn a_reader_of_the_pages_is_never_sent_to_source_code() {
    let mut found = Vec::new();
    for page in pages().iter().filter(|page| !ABOUT_THE_CODE.contains(&page.path.as_str())) {
        let lines = page.text.lines().enumerate().filter(|(_, line)| line.contains("src/") || line.contains(".rs`"));
        found.extend(lines.map(|(index, line)| format!("{}:{}: {}", page.path, index + 1, line.trim())));
    }
    nothing_found("say it on the page, or on one that is made from the code", &found);
}
