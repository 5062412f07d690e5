//! Whether the parts of a package fit together.

use std::path::Path;

use backout::packaging::{
    app_files::AppFiles,
    archive::EntryKind,
    contents::{check_app, check_policy, check_size, entries},
};
use serde_json::{Value, json};

fn with_host(change: impl FnOnce(&mut Value)) -> AppFiles {
    let mut app = AppFiles::built_in();
    let mut host: Value = serde_json::from_str(&app.host_json).unwrap();
    change(&mut host);
    app.host_json = host.to_string();
    app
}

fn only_refusal(app: &AppFiles) -> String {
    let refusals = check_app(app);
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    refusals[0].0.clone()
}

#[test]
fn the_built_in_files_are_those_of_the_repository_and_fit() {
    let app = AppFiles::built_in();
    assert_eq!(app, AppFiles::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap());
    assert_eq!(check_app(&app), []);
}

#[test]
fn everything_is_at_the_root_and_only_the_program_may_be_executed() {
    let app = AppFiles::built_in();
    let entries = entries(&app, b"p".to_vec(), b"version: 1".to_vec(), "{}".to_owned());
    let programs: Vec<_> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Program).map(|entry| entry.name.as_str()).collect();
    assert_eq!(programs, ["backout"]);
    for name in ["host.json", "backout.yaml", "backout.cdx.json", "alerts/function.json", "sweep/function.json"] {
        assert!(entries.iter().any(|entry| entry.name == name), "{name}");
    }
    assert!(entries.iter().all(|entry| !entry.name.contains("local.settings")));
}

#[test]
fn a_host_json_that_starts_something_else_is_refused() {
    let description =
        |key: &'static str, value: Value| only_refusal(&with_host(move |host| host["customHandler"]["description"][key] = value));
    let other = description("defaultExecutablePath", json!("handler"));
    assert!(other.starts_with("host.json starts `handler`, but the program is packed as `backout`"), "{other}");
    assert!(description("arguments", json!(["demo"])).starts_with("host.json does not start `backout serve`"));
    let timeout = only_refusal(&with_host(|host| host["functionTimeout"] = json!("00:10:00")));
    assert!(timeout.starts_with("host.json: `functionTimeout` is above 00:05:00"), "{timeout}");
    assert!(only_refusal(&with_host(|host| host["functionTimeout"] = json!("-1"))).contains("functionTimeout"));
    let bundle = only_refusal(&with_host(|host| host["extensionBundle"] = Value::Null));
    assert!(bundle.starts_with("host.json has no `extensionBundle`"), "{bundle}");
    let routes = only_refusal(&with_host(|host| host["customHandler"]["http"] = json!({ "routes": [] })));
    assert!(routes.starts_with("host.json: `customHandler.http` does not go with function folders"), "{routes}");
    let broken = only_refusal(&AppFiles { host_json: "{".to_owned(), ..AppFiles::built_in() });
    assert!(broken.starts_with("the host would refuse host.json: "), "{broken}");
}

#[test]
fn functions_that_the_program_does_not_answer_are_refused() {
    let mut more = AppFiles::built_in();
    more.functions.push(("extra".to_owned(), more.functions[0].1.clone()));
    assert_eq!(only_refusal(&more), "the folder `extra` is no function that backout answers (404): remove it");
    let mut fewer = AppFiles::built_in();
    fewer.functions.retain(|(name, _)| name != "followups");
    assert_eq!(only_refusal(&fewer), "the folder `followups` is missing: nobody would take what is meant for it");
    let mut renamed = AppFiles::built_in();
    let alerts = renamed.functions.iter_mut().find(|(name, _)| name == "alerts").unwrap();
    alerts.1 = alerts.1.replace("\"message\"", "\"msg\"");
    let says = only_refusal(&renamed);
    assert_eq!(says, "`alerts/function.json`: the binding is named `msg`, but backout reads `message`");
}

#[test]
fn a_policy_with_problems_is_refused_with_all_of_them() {
    let says = check_policy(b"version: 1\nservices:\n  a: { mode: sometimes }\n", "shop.yaml").unwrap_err().0;
    assert!(says.starts_with("the policy has problems, and every message would be parked:\nshop.yaml:3:"), "{says}");
    assert!(says.contains("services.a"), "{says}");
}

#[test]
fn a_zip_above_the_limit_is_refused() {
    check_size(12, 12).unwrap();
    let says = check_size(13, 12).unwrap_err().0;
    assert!(says.starts_with("the zip has 13 bytes, more than 12: "), "{says}");
}
