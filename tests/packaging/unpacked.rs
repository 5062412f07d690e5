//! The zip, unpacked into an empty folder, under the host emulator: as `host.json` says, with the settings of
//! `local.settings.sample.json` and nothing else.
//!
//! The program is the one of this build, which is a debug build: larger than the limit, and for the glibc of this machine.

use std::{fs, io::Cursor, os::unix::fs::PermissionsExt, path::Path, process::Command, sync::Arc};

use backout::{
    local::clock::SystemClock,
    ports::Clock,
    sim::host::{HandlerLine, HostOptions, InvocationOutcome, ServiceBusMessage},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::command::{SITE, folder_with_policy, package};
use crate::support::program;

const NO_TOKEN: &str = "there is no token for Service Bus; assign the managed identity to the app";

/// Composed after the common alert schema.
fn alert(rule: &str, resource: &str) -> String {
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": { "essentials": {
            "alertId": format!("/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/providers/Microsoft.AlertsManagement/alerts/{rule}"),
            "alertRule": rule, "severity": "Sev1", "signalType": "Metric", "monitorCondition": "Fired",
            "monitoringService": "Platform", "alertTargetIDs": [resource], "firedDateTime": SystemClock::new().now()
        }, "alertContext": null }
    })
    .to_string()
}

fn sample_settings() -> Vec<(String, String)> {
    let sample: Value = serde_json::from_str(include_str!("../../local.settings.sample.json")).unwrap();
    let values = sample["Values"].as_object().unwrap();
    values.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// Runs the unpacked program as a person would, beside the handler.
fn ask(app: &Path, arguments: &[&str], exit: i32) -> String {
    let ran =
        Command::new(app.join("backout")).args(arguments).current_dir(app).env_clear().envs(sample_settings()).output().unwrap();
    assert_eq!(ran.status.code(), Some(exit), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test]
async fn it_runs_with_the_sample_settings_alone() {
    let made = folder_with_policy();
    let ran = package(made.path(), &["--glibc", "99.0", "--bytes-max", "1000000000", "--format", "json"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let zip = fs::read(made.path().join("backout.zip")).unwrap();
    assert_eq!(told["sha256"], data_encoding::HEXLOWER.encode(&Sha256::digest(&zip)));
    assert_eq!(
        (&told["bytes"], &told["tried"]),
        (&json!(zip.len()), &json!(cfg!(all(target_os = "linux", target_arch = "x86_64"))))
    );

    let folder = tempfile::tempdir().unwrap();
    let app = folder.path();
    zip::ZipArchive::new(Cursor::new(zip)).unwrap().extract(app).unwrap();
    let permissions = |name: &str| fs::metadata(app.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((permissions("backout"), permissions("host.json")), (0o755, 0o644));

    let root = Some(app.to_owned());
    let told_of_trouble = Arc::new(Notify::new());
    let notify = Arc::clone(&told_of_trouble);
    let on_line = move |line: &HandlerLine| {
        if line.text.contains(NO_TOKEN) {
            notify.notify_one();
        }
    };
    let options = HostOptions {
        root,
        environment: sample_settings(),
        settings_only: true,
        on_line: Some(Arc::new(on_line)),
        ..HostOptions::default()
    };
    let host = program::host(options).await.unwrap();
    assert_eq!(host.app().executable, fs::canonicalize(app.join("backout")).unwrap());
    let deliver = async |function: &str, body: &str| {
        let message = ServiceBusMessage::new(body, format!("{function}-{}", body.len()), jiff::Timestamp::UNIX_EPOCH);
        let invocation = host.invoke(function, &message).await;
        assert_eq!(invocation.outcome, InvocationOutcome::Succeeded, "{body}: {:#?}", host.lines());
        invocation.logs.join("\n")
    };

    // An alert about nothing in the policy is recorded and ignored.
    let ignored = deliver("alerts", &alert("elsewhere", &SITE.replace("checkout", "elsewhere"))).await;
    assert!(ignored.contains("gnore"), "{ignored}");
    let history: Value = serde_json::from_str(ask(app, &["history", "--format", "json"], 0).lines().next().unwrap()).unwrap();
    assert_eq!((&history["decision"], &history["service"]), (&json!("ignore"), &Value::Null), "{history}");

    // What is no alert is parked with its reason.
    let parked = deliver("alerts", "{\"text\": \"hello\"}").await;
    assert!(parked.contains("parked"), "{parked}");
    // The queues of the placeholders cannot be looked at, which is told; what is parked is shown all the same.
    let listed = ask(app, &["dead-letters", "list"], 1);
    assert!(listed.contains("`body`"), "{listed}");

    // The placeholders name no real Azure: an alert about a service waits for evidence, but nobody takes the wake-up. It is kept,
    // what is missing is told with the way to get it, and the host keeps the message (after a minute, which is not waited for).
    let message = ServiceBusMessage::new(alert("checkout-5xx", SITE), "m-3", jiff::Timestamp::UNIX_EPOCH);
    let (unjudged, ()) = tokio::join!(host.invoke("alerts", &message), async {
        told_of_trouble.notified().await;
        host.kill().await;
    });
    assert!(matches!(unjudged.outcome, InvocationOutcome::Failed { .. }), "{unjudged:?}");
    assert!(host.lines().iter().any(|line| line.text.contains(NO_TOKEN)), "{:#?}", host.lines());
    let decided = ask(app, &["history", "--format", "json"], 0);
    let kept: Vec<Value> = decided.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(kept.iter().any(|line| line["service"] == "checkout" && line["decision"] == "hold"), "{decided}");
}
