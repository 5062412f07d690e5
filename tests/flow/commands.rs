//! The command line as a person meets it: the real binary, in an empty folder, with next to no settings.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::program::Program;

const SITE: &str =
    "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn backout(folder: &Path, arguments: &[&str]) -> Ran {
    let settings = [("BACKOUT_POLICY", "backout.yaml"), ("BACKOUT_STORE", "sqlite:state.db")];
    let output = Program::new(arguments).in_folder(folder).without_environment().with(settings).run();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder_with_policy(mode: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policy = format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {SITE} }}\n    mode: {mode}\n    reversible: always\n"
    );
    std::fs::write(folder.path().join("backout.yaml"), policy).unwrap();
    folder
}

/// Exactly the rights of the targets in the policy, and nothing of platforms that it does not name.
#[test]
fn check_lists_the_rights_of_the_targets_in_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = SITE.replace("Microsoft.Web/sites/checkout", "Microsoft.Logic/workflows/invoices");
    let policy = format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {SITE} }}\n  invoices:\n    target: {{ \
         platform: logic-app, workflow: {workflow} }}\n"
    );
    std::fs::write(folder.path().join("backout.yaml"), policy).unwrap();
    let checked = backout(folder.path(), &["check", "--offline", "--format", "json"]);
    let lines: Vec<Value> = checked.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rights_for = |service: &str| -> Vec<String> {
        let what = format!("rights for {service}");
        lines.iter().filter(|line| line["what"] == what).map(|line| line["says"].as_str().unwrap().to_owned()).collect()
    };
    let needs = |action: &str, scope: &str, identity: &str| format!("needs `{action}` on {scope} ({identity} identity)");
    assert_eq!(
        rights_for("checkout"),
        [
            needs("Microsoft.Web/sites/slots/slotsswap/action", SITE, "acting"),
            needs("Microsoft.Web/sites/operationresults/read", SITE, "reading"),
            needs("Microsoft.Web/sites/slots/operationresults/read", SITE, "reading"),
            needs("Microsoft.Web/sites/config/write", SITE, "acting"),
        ]
    );
    assert_eq!(
        rights_for("invoices"),
        [
            needs("Microsoft.Logic/workflows/write", &workflow, "acting"),
            needs("Microsoft.Logic/workflows/read", &workflow, "reading"),
            needs("Microsoft.Logic/workflows/versions/read", &workflow, "reading"),
            needs("Microsoft.Logic/workflows/runs/read", &workflow, "reading"),
            needs("Microsoft.Logic/workflows/triggers/read", &workflow, "reading"),
        ]
    );
    assert_eq!(lines.iter().filter(|line| line["what"].as_str().unwrap().starts_with("rights for")).count(), 9);
}

/// The result of a what-if lies at the subscription, whatever the scope of the deployments.
#[test]
fn check_names_the_right_to_follow_a_what_if() {
    let folder = tempfile::tempdir().unwrap();
    let group = SITE.split_once("/providers").unwrap().0;
    let policy = format!(
        "version: 1\nservices:\n  hub:\n    target: {{ platform: arm-deployment, scope: {group}, lineage: hub }}\n    evidence: [{{ metric: \
         Http5xx, resource: {SITE} }}]\n"
    );
    std::fs::write(folder.path().join("backout.yaml"), policy).unwrap();
    let checked = backout(folder.path(), &["check", "--offline", "--format", "json"]);
    let subscription = group.split_once("/resourceGroups").unwrap().0;
    let says = format!("needs `Microsoft.Resources/subscriptions/operationresults/read` on {subscription} (reading identity)");
    let lines: Vec<Value> = lines(&checked.out);
    assert!(lines.iter().any(|line| line["says"] == says && line["what"] == "rights for hub"), "{}", checked.out);
}

/// Composed after the published schemas: an Event Grid swap event, and a common-schema metric alert five minutes later.
fn write_messages(folder: &Path) {
    let swap = json!({
        "id": "e1", "topic": SITE, "subject": "/Microsoft.Web/sites/checkout", "eventType": "Microsoft.Web.SlotSwapCompleted",
        "eventTime": "2026-03-02T10:02:31Z", "data": { "name": "checkout", "sourceSlot": "staging", "targetSlot": "production" },
        "dataVersion": "2", "metaDataVersion": "1"
    });
    let alert = json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": { "essentials": {
            "alertId": "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/providers/Microsoft.AlertsManagement/alerts/a1",
            "alertRule": "checkout-5xx", "severity": "Sev1", "signalType": "Metric", "monitorCondition": "Fired",
            "monitoringService": "Platform", "alertTargetIDs": [SITE.to_lowercase()], "firedDateTime": "2026-03-02T10:07:00Z"
        }, "alertContext": null }
    });
    std::fs::write(folder.join("swap.json"), swap.to_string()).unwrap();
    std::fs::write(folder.join("alert.json"), alert.to_string()).unwrap();
    std::fs::write(folder.join("noise.json"), r#"{"text":"hello"}"#).unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn decide_explains_offline_with_earlier_files_as_history() {
    let folder = folder_with_policy("act");
    write_messages(folder.path());
    let ran = backout(folder.path(), &["decide", "--format", "json", "swap.json", "alert.json", "noise.json"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let lines = lines(&ran.out);
    let keys = ["because", "decision", "event", "format", "input", "rules", "service", "target"];
    for line in &lines {
        assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    }
    assert_eq!(
        (&lines[0]["format"], &lines[0]["decision"], &lines[0]["service"]),
        (&json!("Event Grid schema"), &Value::Null, &json!("checkout"))
    );
    assert_eq!(lines[0]["event"]["status"], "succeeded");
    assert_eq!(
        (&lines[1]["decision"], &lines[1]["rules"][0]),
        (&json!("hold"), &json!("E3")),
        "nothing was measured, so nothing is done"
    );
    assert_eq!((&lines[2]["format"], &lines[2]["event"]), (&Value::Null, &Value::Null));
    assert!(
        lines[2]["because"].as_str().unwrap().starts_with("refused, and would be parked: `body`:"),
        "{}",
        lines[2]["because"]
    );
    assert!(!folder.path().join("state.db").exists(), "no effects");
}

#[test]
fn a_missing_policy_is_told_with_what_to_do_and_the_messages_are_understood_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_messages(folder.path());
    let ran = backout(folder.path(), &["decide", "--format", "json", "alert.json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("`BACKOUT_POLICY`"), "{}", ran.err);
    assert_eq!(lines(&ran.out)[0]["event"]["kind"], "alert");
    let checked = backout(folder.path(), &["check", "--offline"]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("PROBLEM      policy: the policy file `backout.yaml` is not there"), "{}", checked.out);
}

#[test]
fn a_wrong_policy_is_told_with_every_line() {
    let folder = folder_with_policy("akt");
    let ran = backout(folder.path(), &["check", "--offline"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("backout.yaml:5:") && ran.out.contains("did you mean `act`?"), "{}", ran.out);
}

#[test]
fn the_kill_switch_and_the_lists_work_without_a_queue() {
    let folder = folder_with_policy("act");
    assert_eq!(backout(folder.path(), &["history"]).out, "no alert was seen yet\n");
    assert_eq!(backout(folder.path(), &["dead-letters", "list"]).out, "nothing is parked, and there are no dead letters\n");
    let nobody = backout(folder.path(), &["pause"]);
    assert_eq!(
        (nobody.code, nobody.err.as_str()),
        (Some(1), "error: who are you? Say `--by NAME`; it is kept with the record\n")
    );
    assert!(backout(folder.path(), &["pause", "--by", "ana"]).out.starts_with("paused:"));
    assert_eq!(backout(folder.path(), &["pause", "--by", "ben"]).out, "it was paused already, and stays so\n");
    assert!(backout(folder.path(), &["resume", "--by", "ana"]).out.starts_with("resumed:"));
    assert_eq!(backout(folder.path(), &["clear", "checkout", "--by", "ana"]).out, "nothing was blocked there\n");
    assert_eq!(
        backout(folder.path(), &["show", "nonsense"]).err,
        "error: this is no record's id, which is 26 letters and digits; `backout history` lists them\n"
    );
}
