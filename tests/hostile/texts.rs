//! Text of others on its way out: a terminal, a program that reads JSON, a log line. What deceives the eye gets through nowhere.

use std::{path::Path, sync::Arc};

use backout::{
    domain::printable::{deceives, printable_json},
    local::sqlite_store::SqliteStore,
    process::Ports,
};
use serde_json::{Value, json};

use super::NASTY;
use crate::support::{kept_log::KeptLog, policy::site, program::Program, world::World};

#[track_caller]
fn is_clean(text: &str, what: &str) {
    let bad: Vec<char> = text.chars().filter(|c| *c != '\n' && deceives(*c)).collect();
    assert!(bad.is_empty(), "{what}: {bad:?} in {text:?}");
}

/// Standard output and standard error, both clean.
fn backout(folder: &Path, arguments: &[&str]) -> (String, String) {
    let settings = [("BACKOUT_POLICY", "backout.yaml"), ("BACKOUT_STORE", "sqlite:state.db")];
    let output = Program::new(arguments).in_folder(folder).without_environment().with(settings).run();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    is_clean(&out, &format!("{arguments:?}"));
    is_clean(&err, &format!("{arguments:?}, stderr"));
    (out, err)
}

fn write_policy(folder: &Path) {
    let policy = format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {} }}\n    mode: propose\n",
        site("checkout")
    );
    std::fs::write(folder.join("backout.yaml"), policy).unwrap();
}

/// The store of a handler that met nasty names everywhere, written past everything that cleans on the way in.
#[tokio::test]
async fn what_is_stored_is_shown_clean_in_text_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    write_policy(folder.path());
    let mut world = World::new();
    world.ports = Ports { store: Arc::new(SqliteStore::new(folder.path().join("state.db"))), ..world.ports };
    let mut firing = world.break_it().await;
    firing.rule = Some(NASTY.to_owned());
    firing.properties.insert(NASTY.to_owned(), NASTY.to_owned());
    world.platform.team_swaps_in(NASTY);
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run(&process, 3).await;
    process.park("alerts", NASTY.as_bytes(), NASTY).await.unwrap();
    let id = world.record(&firing).await.id.0;
    let (text, _) = backout(folder.path(), &["history"]);
    assert_eq!(text.lines().count(), 1, "one line a record: {text}");
    let (text, _) = backout(folder.path(), &["show", &id]);
    assert!(text.contains("<script>alert(1)</script>"), "plain characters stay: {text}");
    assert!(!text.lines().any(|line| line.starts_with("fake")), "no name begins a line of its own: {text}");
    let (text, _) = backout(folder.path(), &["dead-letters", "list"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    for arguments in
        [&["history", "--format", "json"][..], &["show", &id, "--format", "json"], &["dead-letters", "list", "--format", "json"]]
    {
        let (line, _) = backout(folder.path(), arguments);
        assert_eq!(line.lines().count(), 1, "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        let name = if arguments[0] == "dead-letters" { &value["reason"] } else { &value["event"]["rule"] };
        assert_eq!(name, NASTY, "the value itself is whole, for programs");
    }
}

#[test]
fn messages_and_arguments_are_shown_clean() {
    let folder = tempfile::tempdir().unwrap();
    write_policy(folder.path());
    let name = "a\u{1b}[31m\u{202e}b.json";
    let message =
        json!({ NASTY: NASTY, "schemaId": "azureMonitorCommonAlertSchema", "data": { "essentials": { "alertRule": NASTY } } });
    std::fs::write(folder.path().join(name), message.to_string()).unwrap();
    for format in ["text", "json"] {
        let (out, err) = backout(folder.path(), &["decide", name, "--format", format]);
        assert!(out.contains("monitorCondition"), "{out}{err}");
    }
    for arguments in [&["show", NASTY][..], &["approve", NASTY, "--by", "a"], &["clear", NASTY, "--by", "a"], &["decide", NASTY]]
    {
        let (out, err) = backout(folder.path(), arguments);
        assert!(!(out.is_empty() && err.is_empty()), "{arguments:?}");
    }
    let (_, err) = backout(folder.path(), &["pause", "--by", NASTY]);
    assert_eq!(err, "");
}

#[test]
fn a_policy_full_of_nasty_names_is_told_clean() {
    let folder = tempfile::tempdir().unwrap();
    let quoted = serde_json::to_string(NASTY).unwrap();
    // YAML takes the same escapes, and no bare control character.
    let quoted = printable_json(&quoted);
    std::fs::write(
        folder.path().join("backout.yaml"),
        format!(
            "version: 1\n{quoted}: 1\nservices:\n  {quoted}:\n    {quoted}: {quoted}\n    target: {{ platform: {quoted} }}\n"
        ),
    )
    .unwrap();
    for arguments in [&["check", "--offline"][..], &["check", "--offline", "--format", "json"]] {
        let (out, err) = backout(folder.path(), arguments);
        assert!(out.contains("a control character"), "{out}{err}");
    }
}

#[test]
fn settings_full_of_nasty_values_are_told_clean_and_without_the_values() {
    let settings =
        backout::settings::names::ALL.iter().map(|setting| (setting.name, format!("hunter2{NASTY}\nBACKOUT_MODE=act")));
    let source = backout::settings::MapSource::new(settings);
    let problems = backout::settings::Settings::from_source(&source).unwrap_err().to_string();
    is_clean(&problems, "settings");
    assert!(problems.lines().count() > 5, "{problems}");
    assert!(!problems.contains("hunter2") && !problems.lines().any(|line| line.starts_with("fake")), "{problems}");
}

#[test]
fn a_log_line_is_one_line_of_clean_json_with_the_whole_value() {
    let log = KeptLog::default();
    tracing::subscriber::with_default(log.subscriber("info".parse().unwrap()), || {
        let span = tracing::info_span!("invocation", rule = NASTY);
        span.in_scope(|| tracing::warn!(target: "backout::process", rule = NASTY, reason = ?NASTY, "parked: {NASTY}"));
    });
    let text = log.text();
    is_clean(&text, "log");
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&line["rule"], &line["message"], &line["span"]["rule"]),
        (&json!(NASTY), &json!(format!("parked: {NASTY}")), &json!(NASTY))
    );
}
