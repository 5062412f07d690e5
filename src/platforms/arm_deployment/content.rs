//! What a record deployed: its template and its parameters, told apart by a hash of our own, and sent again.
//!
//! The platform's `templateHash` is left alone: it may depend on the order of keys, which a template that went through here has lost.

use serde_json::{Map, Value, json};

use super::wire::Record;
use crate::domain::target::{ArmDeploymentTarget, Fingerprint, KeyVaultSecret, short_hash};

/// One parameter, as a record shows it.
enum Parameter<'a> {
    Plain(&'a Value),
    /// The record does not hold the value; at most where it lies.
    Secret {
        reference: Option<&'a Value>,
    },
}

fn parameters(record: &Record) -> impl Iterator<Item = (&str, Parameter<'_>)> {
    record.properties.parameters.iter().flatten().map(|(name, entry)| {
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        let secure = ["securestring", "secureobject"].iter().any(|secure| secure.eq_ignore_ascii_case(kind));
        let parameter = match entry.get("value") {
            Some(value) if !secure => Parameter::Plain(value),
            Some(_) | None => Parameter::Secret { reference: entry.get("reference").filter(|reference| reference.is_object()) },
        };
        (name.as_str(), parameter)
    })
}

/// Equal for equal templates and equal plain parameters. Secrets are no part of it: nobody can read them.
pub fn fingerprint(record: &Record, template: &Value) -> Fingerprint {
    let given: Map<String, Value> = parameters(record)
        .map(|(name, parameter)| {
            let value = match parameter {
                Parameter::Plain(value) => json!({ "value": value }),
                Parameter::Secret { .. } => json!("secret"),
            };
            (name.to_lowercase(), value)
        })
        .collect();
    let mut text = String::new();
    canonical(&json!({ "template": template, "parameters": given }), &mut text);
    Fingerprint(format!("template:{}", short_hash(&[&text])))
}

/// JSON with sorted keys, whatever order the map keeps.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            text.push('{');
            for key in keys {
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                canonical(&map[key], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(all) => {
            text.push('[');
            for value in all {
                canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// Parameters whose values no record holds and for which the policy names no secret.
pub fn missing_secrets(target: &ArmDeploymentTarget, record: &Record) -> Vec<String> {
    parameters(record)
        .filter(|(name, parameter)| match parameter {
            Parameter::Plain(_) => false,
            Parameter::Secret { reference } => reference.is_none() && secret_of(target, name).is_none(),
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Names of parameters are compared without case, as in templates.
fn secret_of<'a>(target: &'a ArmDeploymentTarget, name: &str) -> Option<&'a KeyVaultSecret> {
    target.secure_parameters.iter().find(|(known, _)| known.to_lowercase() == name.to_lowercase()).map(|(_, secret)| secret)
}

/// Whether the content is fetched from elsewhere each time it is deployed, and so may have changed since.
pub fn has_links(record: &Record, template: &Value) -> bool {
    record.properties.template_link.as_ref().is_some_and(|link| !link.is_null()) || links_within(template)
}

fn links_within(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            let nests = map
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.eq_ignore_ascii_case("Microsoft.Resources/deployments"));
            let links = map.get("properties").is_some_and(|properties| {
                ["templateLink", "parametersLink"].iter().any(|key| properties.get(key).is_some_and(Value::is_object))
            });
            (nests && links) || map.values().any(links_within)
        }
        Value::Array(all) => all.iter().any(links_within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The body that deploys the record's content again: always `Incremental`, never with `onErrorDeployment`, which would run in `Complete`.
///
/// Every parameter is given as the record holds it, defaults included, so that what was evaluated then is not evaluated anew.
/// The error says in words what is missing.
pub fn body(target: &ArmDeploymentTarget, record: &Record, template: &Value) -> Result<Value, String> {
    let missing = missing_secrets(target, record);
    if !missing.is_empty() {
        return Err(lacks_secrets(&record.name, &missing));
    }
    let given: Map<String, Value> = parameters(record)
        .map(|(name, parameter)| {
            let value = match (parameter, secret_of(target, name)) {
                (Parameter::Plain(value), _) => json!({ "value": value }),
                (Parameter::Secret { .. }, Some(secret)) => {
                    json!({ "reference": { "keyVault": { "id": secret.vault.as_written() }, "secretName": secret.secret } })
                }
                (Parameter::Secret { reference }, None) => json!({ "reference": reference }),
            };
            (name.to_owned(), value)
        })
        .collect();
    let mut body = json!({ "properties": { "mode": "Incremental", "template": template, "parameters": given } });
    if target.scope.resource_group().is_none() {
        let Some(location) = record.location.as_deref().filter(|location| !location.is_empty()) else {
            return Err(format!("deployment `{}` names no location, which a subscription's deployment needs", record.name));
        };
        body["location"] = json!(location);
    }
    Ok(body)
}

pub fn lacks_secrets(name: &str, missing: &[String]) -> String {
    format!(
        "no record holds the secure parameters of `{name}`: `{}`; name a Key Vault secret for each under `secureParameters`",
        missing.join("`, `")
    )
}
