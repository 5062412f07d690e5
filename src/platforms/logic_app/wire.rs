//! The parts of Microsoft.Logic's answers that matter here, api-version 2019-05-01 (still the newest), and what they mean.
//!
//! Source: the generated client azure-mgmt-logic 10.0.0 and the examples of the published specification.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    azure::answer::time,
    domain::target::{Fingerprint, sha256_hex},
};

pub const API_VERSION: &str = "api-version=2019-05-01";
/// Of `Microsoft.Web/connections`, where the connections of logic apps live.
pub const CONNECTION_API_VERSION: &str = "api-version=2016-06-01";

/// `GET workflows/{name}`, and one of its versions, which has no `identity`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Workflow {
    pub name: Option<String>,
    pub location: Option<String>,
    pub tags: Option<Value>,
    pub identity: Option<Identity>,
    pub properties: WorkflowProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Identity {
    pub r#type: Option<String>,
    /// By resource id; the values are read-only.
    pub user_assigned_identities: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkflowProperties {
    pub version: Option<String>,
    pub changed_time: Option<String>,
    /// `Enabled`, `Disabled`, `Suspended`, ...
    pub state: Option<String>,
    pub provisioning_state: Option<String>,
    pub definition: Value,
    pub parameters: Option<Map<String, Value>>,
    pub integration_account: Option<Reference>,
    pub integration_service_environment: Option<Reference>,
    pub access_control: Option<Value>,
    pub endpoints_configuration: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reference {
    pub id: Option<String>,
}

/// The first page of `GET .../versions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VersionPage {
    pub value: Vec<Workflow>,
    pub next_link: Option<String>,
}

/// The first page of `GET .../runs`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RunPage {
    pub value: Vec<Run>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    pub name: Option<String>,
    pub properties: RunProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RunProperties {
    /// `Succeeded`, `Failed`, `TimedOut`, `Aborted`, `Cancelled`, `Running`, ...
    pub status: Option<String>,
    /// The version that ran.
    pub workflow: RunVersion,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RunVersion {
    pub id: Option<String>,
    pub name: Option<String>,
}

/// One of `GET .../triggers`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Trigger {
    pub name: Option<String>,
    pub properties: TriggerProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TriggerProperties {
    pub provisioning_state: Option<String>,
    pub state: Option<String>,
}

impl Workflow {
    /// The id of this version. Old answers name a version by `name`, which elsewhere is the workflow's own.
    pub fn version(&self) -> Option<&str> {
        let named = self.name.as_deref().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        self.properties.version.as_deref().or(named).filter(|id| is_version_id(id))
    }

    /// When this version was saved: as the platform says, else as the id tells.
    pub fn saved_at(&self) -> Option<Timestamp> {
        let said = self.properties.changed_time.as_deref().and_then(time);
        said.or_else(|| saved_at(self.version()?))
    }

    /// Names the definition and the parameters that can be read, in whatever order they are written; `None` without a definition.
    ///
    /// Secure values are never shown, so they are no part of it; what a save keeps from the running version is none either.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        if !self.properties.definition.is_object() {
            return None;
        }
        let secure = self.secure_parameters();
        let told: BTreeMap<&String, Value> = self
            .parameters()
            .filter(|(name, _)| !secure.contains(name))
            .map(|(name, entry)| {
                let mut entry = entry.clone();
                if let Value::Object(entry) = &mut entry {
                    entry.retain(|key, _| key != "type" && key != "metadata");
                }
                (name, entry)
            })
            .collect();
        let mut content = json!({ "definition": self.properties.definition, "parameters": told });
        content.sort_all_objects();
        Some(Fingerprint(format!("definition:{}", sha256_hex(content.to_string().as_bytes()))))
    }

    pub fn parameters(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.properties.parameters.iter().flatten()
    }

    /// Names of the parameters whose values nobody can read.
    pub fn secure_parameters(&self) -> Vec<&String> {
        let is_secure = |entry: &Value| {
            let kind = entry["type"].as_str().unwrap_or_default();
            kind.eq_ignore_ascii_case("securestring") || kind.eq_ignore_ascii_case("secureobject")
        };
        let declared = self.properties.definition["parameters"].as_object().into_iter().flatten();
        let mut names: Vec<&String> =
            declared.chain(self.parameters()).filter(|(_, entry)| is_secure(entry)).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The managed connections by the name that the definition uses: their resource ids, as written.
    pub fn connections(&self) -> BTreeMap<&String, &str> {
        let all = self.properties.parameters.as_ref().and_then(|all| all.get("$connections")?.get("value")?.as_object());
        all.into_iter().flatten().map(|(name, entry)| (name, entry["connectionId"].as_str().unwrap_or_default())).collect()
    }
}

impl Run {
    pub fn version(&self) -> Option<&str> {
        let version = &self.properties.workflow;
        version.name.as_deref().filter(|name| is_version_id(name)).or_else(|| version.id.as_deref()?.rsplit('/').next())
    }
}

/// Ids go into paths: letters and digits only.
pub fn is_version_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A version's id counts down: the largest signed 64-bit number less .NET's ticks (100 ns since the year 1), as 20 digits.
fn saved_at(version: &str) -> Option<Timestamp> {
    const TICKS_TO_1970: i64 = 621_355_968_000_000_000;
    let ticks = i64::MAX.checked_sub(version.parse::<i64>().ok()?)?.checked_sub(TICKS_TO_1970)?;
    Timestamp::from_nanosecond(i128::from(ticks) * 100).ok()
}

/// Compares enums of Azure, which are written in changing case.
pub fn is(text: Option<&String>, word: &str) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::answer::parse;

    #[test]
    fn a_version_tells_when_it_was_saved() {
        // Published example: changedTime 2018-08-09T22:54:54.353Z.
        assert_eq!(saved_at("08586677515911718341").unwrap().to_string(), "2018-08-09T22:54:54.3057466Z");
        assert_eq!(saved_at("99999999999999999999"), None);
        assert_eq!(saved_at("production"), None);
    }

    #[test]
    fn equal_content_has_an_equal_fingerprint_and_secure_values_are_no_part_of_it() {
        let of = |definition: Value, parameters: Value| {
            parse::<Workflow>("", json!({"properties": {"definition": definition, "parameters": parameters}}))
                .unwrap()
                .fingerprint()
        };
        let definition = json!({"actions": {"a": [1, 2], "b": {}}, "parameters": {"key": {"type": "SecureString"}}});
        let base = of(definition.clone(), json!({"url": {"value": "x"}}));
        assert!(base.is_some());
        assert_eq!(base, of(definition.clone(), json!({"url": {"type": "String", "value": "x"}, "key": {"value": "hunter2"}})));
        assert_ne!(base, of(definition.clone(), json!({"url": {"value": "y"}})));
        assert_ne!(base, of(json!({"actions": {"a": [2, 1], "b": {}}}), json!({"url": {"value": "x"}})));
        assert_eq!(of(Value::Null, json!({})), None);
        let turned = r#"{"parameters": {"key": {"type": "SecureString"}}, "actions": {"b": {}, "a": [1, 2]}}"#;
        assert_eq!(
            base,
            of(serde_json::from_str(turned).unwrap(), json!({"url": {"value": "x"}})),
            "whatever order the keys have"
        );
    }
}
