//! What a record deployed: its template by the platform's hash, and its parameters; told apart, and sent again.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{template::Template, wire::Record};
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

/// Equal for equal templates and equal plain parameters; `None` where the record names no hash of its template.
///
/// Secrets are no part of it: nobody can read them.
pub fn fingerprint(record: &Record) -> Option<Fingerprint> {
    let template = record.properties.template_hash.as_deref().filter(|hash| !hash.is_empty())?;
    let given: Map<String, Value> = parameters(record)
        .map(|(name, parameter)| {
            let value = match parameter {
                Parameter::Plain(value) => json!({ "value": value }),
                Parameter::Secret { .. } => json!("secret"),
            };
            (name.to_lowercase(), value)
        })
        .collect();
    let mut given = Value::Object(given);
    given.sort_all_objects();
    Some(Fingerprint(format!("template:{}", short_hash(&[template, &given.to_string()]))))
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

/// The body of a deployment or a what-if.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// Of a subscription's deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Value>,
    pub properties: BodyProperties,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyProperties {
    mode: &'static str,
    template: Template,
    parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_if_settings: Option<Value>,
}

/// The body that deploys the record's content again: always `Incremental`, never with `onErrorDeployment`, which would run in `Complete`.
///
/// Every parameter is given as the record holds it, defaults included, so that what was evaluated then is not evaluated anew.
/// The error says in words what is missing.
pub fn body(target: &ArmDeploymentTarget, record: &Record, template: Template) -> Result<Body, String> {
    let missing = missing_secrets(target, record);
    if !missing.is_empty() {
        return Err(lacks_secrets(&record.name, &missing));
    }
    let parameters: Map<String, Value> = parameters(record)
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
    let location = if target.scope.resource_group().is_some() {
        None
    } else {
        let named = record.location.clone().filter(|location| !location.is_empty());
        Some(named.ok_or_else(|| lacks_location(&record.name))?)
    };
    let properties = BodyProperties { mode: "Incremental", template, parameters, what_if_settings: None };
    Ok(Body { location, tags: None, properties })
}

pub fn lacks_location(name: &str) -> String {
    format!(
        "deployment `{name}` names no location, which a subscription's deployment needs; deploy that version from its pipeline"
    )
}

pub fn lacks_secrets(name: &str, missing: &[String]) -> String {
    format!(
        "no record holds the secure parameters of `{name}`: `{}`; name a Key Vault secret for each under `secureParameters`",
        missing.join("`, `")
    )
}
