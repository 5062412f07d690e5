//! The reference of the policy file, and every example on it.

use backout::policy::{self, reference};
use serde_json::{Value, json};

use super::{
    held,
    pages::{headings, links},
};

#[test]
fn the_page_is_what_the_schema_says() {
    held("docs/policy.md", &reference::markdown());
}

#[test]
fn the_example_is_a_policy_without_problems() {
    let policy = policy::read(reference::EXAMPLE.as_bytes(), None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(policy.services.len(), 2);
    assert!(reference::markdown().contains(reference::EXAMPLE));
}

#[test]
fn links_of_the_page_lead_to_one_heading_each() {
    let page = reference::markdown();
    let anchors: Vec<String> = headings(&page).iter().map(|heading| reference::anchor(heading)).collect();
    let own: Vec<(usize, String)> = links(&page).into_iter().filter(|(_, to)| to.starts_with('#')).collect();
    assert!(own.len() > 40, "{own:?}");
    for (number, to) in own {
        assert_eq!(anchors.iter().filter(|anchor| **anchor == to[1..]).count(), 1, "line {number}: {to}");
    }
}

/// Sets of keys and the keys in them, wherever the schema has them.
fn shapes(schema: &Value) -> Vec<(&str, &Value)> {
    let definitions = schema["$defs"].as_object().unwrap();
    let named = definitions.iter().map(|(name, shape)| (name.as_str(), shape));
    let variants = definitions["TargetFile"]["oneOf"].as_array().unwrap().iter().map(|shape| ("TargetFile", shape));
    named.chain(variants).chain([("", schema)]).filter(|(_, shape)| shape.get("properties").is_some()).collect()
}

/// What holds without a key, or that it cannot be left out, stands at each key.
#[test]
fn every_key_that_can_be_left_out_says_what_holds_then() {
    let schema = policy::json_schema();
    let mut seen = 0;
    for (name, shape) in shapes(&schema) {
        let required = shape["required"].as_array().cloned().unwrap_or_default();
        for (key, property) in shape["properties"].as_object().unwrap() {
            let says = property["description"].as_str().unwrap_or_default();
            let is_required = required.iter().any(|required| required == key);
            assert_eq!(says.contains("Default: "), !is_required, "`{key}` of {name}: {says}");
            if let Some(default) = property.get("default") {
                let written = default.to_string().replace('"', "").replace(',', ", ");
                assert!(says.ends_with(&format!("Default: `{written}`.")) || default.is_array(), "`{key}` of {name}: {says}");
            }
            seen += 1;
        }
    }
    assert!(seen > 70, "{seen}");
}

/// A whole policy with `example` where `shape` belongs.
fn policy_with(shape: &str, example: &Value) -> Value {
    let site = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Web/sites/a";
    let mut policy = json!({
        "version": 1,
        "services": { "a": {
            "target": { "platform": "app-service", "site": site },
            "evidence": [{ "metric": "Http5xx", "of": "Requests", "resource": site }],
        } },
    });
    let place = match shape {
        "AlertFile" => "/services/a/alerts",
        "DeploymentFile" => "/services/a/deployments",
        "EvidenceFile" => "/services/a/evidence",
        "NotifyFile" => "/notify",
        "FingerprintFile" => "/services/a/fingerprint",
        "BudgetFile" => "/services/a/budget",
        "StormFile" => "/storm",
        "TargetFile" => "/services/a/target",
        other => panic!("where does an example of {other} belong?"),
    };
    let is_list = matches!(shape, "AlertFile" | "DeploymentFile" | "EvidenceFile" | "NotifyFile");
    let (parent, key) = place.rsplit_once('/').unwrap();
    policy.pointer_mut(parent).unwrap()[key] = if is_list { json!([example]) } else { example.clone() };
    policy
}

#[test]
fn every_example_of_the_schema_is_one_that_the_reader_takes() {
    let schema = policy::json_schema();
    let mut seen = Vec::new();
    for (name, shape) in shapes(&schema) {
        for example in shape.get("examples").and_then(Value::as_array).into_iter().flatten() {
            let policy = policy_with(name, example).to_string();
            policy::read(policy.as_bytes(), None).unwrap_or_else(|problems| panic!("{name}: {policy}: {problems}"));
            seen.push(name);
        }
    }
    assert_eq!(seen.iter().filter(|name| **name == "TargetFile").count(), 6, "one a platform: {seen:?}");
    assert!(seen.len() >= 13, "{seen:?}");
}
