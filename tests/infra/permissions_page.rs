//! The page that a security review reads names every action, and no other.

use std::collections::BTreeSet;

use super::{ROLE_FILES, list, lists, read};

#[test]
fn the_page_names_each_action_of_each_role_and_no_other() {
    let page = read("docs/permissions.md");
    let (_, after) = page.split_once("## The custom roles").expect("a chapter on custom roles");
    let (chapter, _) = after.split_once("\n## ").expect("a chapter after it");
    let rows = chapter.lines().filter(|line| line.starts_with("| `Microsoft."));
    let shown: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let granted: Vec<String> =
        ROLE_FILES.iter().flat_map(|file| lists(file).into_iter().flat_map(move |name| list(file, &name))).collect();
    let set = |actions: &mut dyn Iterator<Item = String>| actions.collect::<BTreeSet<String>>();
    let (shown, granted) = (set(&mut shown.into_iter().map(str::to_owned)), set(&mut granted.into_iter()));
    assert_eq!(shown.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new(), "the page shows what no role grants");
    assert_eq!(granted.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "the page hides what a role grants");
}
