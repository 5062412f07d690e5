//! The documentation says what the program says: pages that are made from it, and names in the others.

mod commands;
mod costs;
mod generated;
mod links;
mod names;
mod pages;
mod policy_page;
mod quick_start;

use std::{fs, path::Path};

use backout::settings::{Environment, Source};

use crate::tidy::sources::{SourceFile, text_files};

/// What people read: the pages at the root and below `docs`.
fn pages() -> Vec<SourceFile> {
    let is_page = |file: &SourceFile| Path::new(&file.path).extension().is_some_and(|extension| extension == "md");
    let at_the_root = |file: &SourceFile| !file.path.contains('/');
    let pages: Vec<SourceFile> = text_files("")
        .into_iter()
        .filter(|file| is_page(file) && (at_the_root(file) || file.path.starts_with("docs/")))
        .collect();
    assert!(pages.len() > 12, "the scan found only {} pages", pages.len());
    pages
}

/// Fails if the page in the repository is not the one that was made just now; `UPDATE_PAGES=1` writes it instead.
#[track_caller]
fn held(path: &str, made: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if Environment.get("UPDATE_PAGES").is_some() {
        fs::write(&place, made).unwrap();
    }
    let kept = fs::read_to_string(&place).unwrap_or_default();
    let first_difference = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "`{path}` is not what the program says (first difference in line {}): `UPDATE_PAGES=1 cargo test docs::` writes it anew",
        first_difference.map_or_else(|| "after the end of one".to_owned(), |index| (index + 1).to_string())
    );
}
