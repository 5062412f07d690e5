//! The steps of the quick start that need no Azure, done as the page says.

use std::{fs, path::Path};

use crate::{support::program::Program, tidy::sources::text_files};

fn page() -> String {
    text_files("docs").into_iter().find(|file| file.path == "docs/quick-start.md").expect("the page").text
}

/// What the page prints into `backout.yaml`, with the sample's id.
fn policy(page: &str) -> String {
    let (_, after) = page.split_once("cat > backout.yaml <<END\n").unwrap();
    let (text, _) = after.split_once("END\n").unwrap();
    let (_, id) = page.split_once("\nAPP_ID=").unwrap();
    text.replace("$APP_ID", id.lines().next().unwrap())
}

fn backout(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let run = Program::new(arguments).in_folder(folder).without_environment().with([("BACKOUT_BUS", "local:")]).run();
    (run.status.code(), String::from_utf8(run.stdout).unwrap())
}

#[test]
fn the_policy_is_good_and_the_samples_end_as_the_page_says() {
    let page = page();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backout.yaml"), policy(&page)).unwrap();
    let samples = folder.path().join("docs/samples");
    fs::create_dir_all(&samples).unwrap();
    for name in ["deployment.json", "alert.json"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples").join(name), samples.join(name)).unwrap();
    }

    let (code, checked) = backout(folder.path(), &["check", "--offline", "--policy", "backout.yaml"]);
    assert_eq!(code, Some(0), "{checked}");
    assert_eq!(checked.lines().filter(|line| line.starts_with("ok ")).count(), 2, "{checked}");
    assert!(checked.lines().skip(2).all(|line| line.starts_with("not checked ")), "{checked}");

    let files = ["docs/samples/deployment.json", "docs/samples/alert.json"];
    let (code, decided) = backout(folder.path(), &["decide", "--policy", "backout.yaml", files[0], files[1]]);
    assert_eq!(code, Some(0), "{decided}");
    assert!(page.contains(&format!("```text\n{decided}```\n")), "the page shows another output than\n{decided}");
}
