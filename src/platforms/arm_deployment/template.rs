//! The template of a record: exported, proven to be the one that the record names by its hash, and kept letter by letter.
//!
//! The platform's hash depends on the order of keys, so a template that went through a parser here would be another one to it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::wire::{API_VERSION, Record, record_path};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::target::ArmDeploymentTarget,
    ports::{PortError, PortErrorKind},
};

/// A template as the platform stored it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(Box<RawValue>);

impl Template {
    /// Whether it takes in others by link: these are fetched each time that it is deployed, and may have changed since.
    pub fn has_links(&self) -> bool {
        // It is whole JSON by its type; what nests deeper than any parser goes is not known to be without links.
        serde_json::from_str(self.0.get()).map_or(true, |template: Value| links_within(&template))
    }
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

/// Reads the template of a record.
pub async fn export(arm: &ResourceManager, target: &ArmDeploymentTarget, name: &str) -> Result<Template, PortError> {
    const EXPORT: &str = "export the deployment's template";
    #[derive(Deserialize)]
    struct Exported {
        template: Template,
    }
    let path = format!("{}/exportTemplate?{API_VERSION}", record_path(target, name));
    let answer = arm.read_text_by_post(EXPORT, &path, None).await?;
    let exported = serde_json::from_str::<Exported>(&answer).ok().map(|exported| exported.template);
    exported
        .filter(|template| template.0.get().starts_with('{'))
        .ok_or_else(|| PortError::new(EXPORT, PortErrorKind::Invalid, "the answer holds no `template`"))
}

/// Asks the platform for the hash of an exported template; an error of the kind `Invalid` where the record names another one.
///
/// So what is about to be deployed is what was deployed then, and its record will be told as the same content.
pub async fn prove(arm: &ResourceManager, record: &Record, template: &Template) -> Result<(), PortError> {
    const HASH: &str = "calculate the template's hash";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hashed {
        template_hash: String,
    }
    // Of the tenant, not of a scope.
    let path = format!("/providers/Microsoft.Resources/calculateTemplateHash?{API_VERSION}");
    let answer = arm.read_text_by_post(HASH, &path, Some(template.0.get().to_owned())).await?;
    let invalid = |says: String| Err(PortError::new(HASH, PortErrorKind::Invalid, says));
    let Ok(Hashed { template_hash }) = serde_json::from_str(&answer) else {
        return invalid("the answer holds no `templateHash`".to_owned());
    };
    if record.properties.template_hash.as_ref() == Some(&template_hash) {
        return Ok(());
    }
    invalid(format!(
        "the template that Azure exports for `{}` is not the one that was deployed (their hashes differ); deploy that version from \
         its pipeline",
        clean(&record.name)
    ))
}
