//! `backout package` as a person meets it. What would not start is refused, and nothing is left behind.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output};

use serde_json::Value;

use super::elf::Elf;
use crate::support::program::Program;

pub const SITE: &str =
    "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";

pub fn package(folder: &Path, arguments: &[&str]) -> Output {
    Program::new(["package"].iter().chain(arguments)).in_folder(folder).without_environment().run()
}

/// A folder with a policy of one service.
pub fn folder_with_policy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policy =
        format!("version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {SITE} }}\n    mode: observe\n");
    fs::write(folder.path().join("backout.yaml"), policy).unwrap();
    folder
}

/// What is refused when `program` is packed; every refusal.
fn refusals(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let ran = package(folder, &[arguments, &["--format", "json"]].concat());
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(!folder.join("backout.zip").exists(), "something was written");
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["packed"], false);
    told["refusals"].as_array().unwrap().iter().map(|says| says.as_str().unwrap().to_owned()).collect()
}

fn write_program(folder: &Path, bytes: &[u8], mode: u32) {
    let path = folder.join("program");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_program(folder.path(), &Elf { machine: 183, ..Elf::dynamic(&[]) }.bytes(), 0o755);
    let says = refusals(folder.path(), &["--binary", "program"]);
    assert_eq!(says.len(), 2, "{says:?}");
    assert!(says[0].contains("is built for aarch64"), "{}", says[0]);
    assert!(says[1].starts_with("there is no policy to pack: `backout.yaml`: "), "{}", says[1]);
    let text = package(folder.path(), &["--binary", "program"]);
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.starts_with("error: nothing was packed:\n- the binary is built for aarch64"), "{text}");
}

#[test]
fn a_glibc_above_the_image_is_refused_until_the_image_is_named() {
    let folder = folder_with_policy();
    write_program(folder.path(), &Elf::dynamic(&["GLIBC_2.34"]).bytes(), 0o755);
    let says = refusals(folder.path(), &["--binary", "program"]);
    assert!(says[0].contains("needs glibc 2.34, but the image has 2.31"), "{says:?}");
    // It would fit now; but it is no program that does anything.
    let says = refusals(folder.path(), &["--binary", "program", "--glibc", "2.36"]);
    assert!(says.len() == 1 && says[0].contains("program --version` "), "{says:?}");
}

#[test]
fn what_may_not_be_executed_is_refused() {
    let folder = folder_with_policy();
    write_program(folder.path(), &Elf::dynamic(&["GLIBC_2.28"]).bytes(), 0o644);
    let says = refusals(folder.path(), &["--binary", "program"]);
    assert_eq!(says, ["`program` may not be executed, so it could not be tried: `chmod +x program`"]);
}

/// A real program, static or not: whatever this system has for `true`.
#[test]
fn another_program_is_refused() {
    let folder = folder_with_policy();
    let says = refusals(folder.path(), &["--binary", "/bin/true", "--glibc", "99.0"]);
    assert!(says.len() == 1 && says[0].contains("but the functions are those of `backout "), "{says:?}");
}

#[test]
fn a_wrong_policy_is_refused_with_its_problems() {
    let folder = folder_with_policy();
    fs::write(folder.path().join("backout.yaml"), "version: 1\nservices:\n  checkout: { mode: act }\n").unwrap();
    let says = refusals(folder.path(), &["--glibc", "99.0"]);
    assert!(says.len() == 1 && says[0].contains("backout.yaml:3:"), "{says:?}");
}

#[test]
fn changed_copies_of_the_app_files_are_checked() {
    let folder = folder_with_policy();
    fs::create_dir(folder.path().join("app")).unwrap();
    fs::write(folder.path().join("app/host.json"), include_str!("../../host.json")).unwrap();
    let says = refusals(folder.path(), &["--glibc", "99.0", "--app", "app"]);
    assert_eq!(says.len(), backout::host::delivery::Function::ALL.len(), "no folder is there: {says:?}");
}
