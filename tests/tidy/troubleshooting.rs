//! The page that explains messages quotes them as the program says them.

use super::sources::text_files;

#[test]
fn every_message_of_the_page_is_one_of_the_program() {
    let pages = text_files("docs");
    let page = pages.iter().find(|file| file.path == "docs/troubleshooting.md").expect("the page");
    let program: String = text_files("src").iter().map(|file| unbroken(&file.text)).collect();
    let rows: Vec<&str> =
        page.text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(says, _)| says).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for says in rows {
        for part in says.split("...").map(str::trim).filter(|part| !part.is_empty()) {
            assert!(program.contains(part), "`{says}`: nothing in `src` says `{part}`");
        }
    }
}

/// Without the line breaks inside of literals.
fn unbroken(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}
