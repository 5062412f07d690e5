//! `platform: arm-deployment`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::{ArmDeploymentTarget, KeyVaultSecret, Lineage},
    policy::{
        check::{below, resource_id},
        read::Findings,
        tree::Step,
    },
};

/// A line of ARM deployment records, of which the last good one is deployed again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmDeploymentTargetFile {
    /// Resource group (`/subscriptions/{id}/resourceGroups/{group}`) or subscription (`/subscriptions/{id}`).
    pub scope: String,
    /// Name of the deployments that belong together; `*` stands for any run of characters. Either this or `tag`.
    pub lineage: Option<String>,
    /// The one tag, with its value, of the deployments that belong together. Either this or `lineage`.
    pub tag: Option<BTreeMap<String, String>>,
    /// Key Vault secrets for secure parameters, which no record holds. Default: none, and a template that needs one is refused.
    pub secure_parameters: Option<BTreeMap<String, KeyVaultSecretFile>>,
}

/// A secret by reference.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyVaultSecretFile {
    /// Resource id of the vault: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}`.
    pub vault: String,
    /// Name of the secret.
    pub secret: String,
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: ArmDeploymentTargetFile) -> Option<ArmDeploymentTarget> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}` or `/subscriptions/{id}`";
    const VAULT: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}`";
    let at = below(path, "scope");
    let scope = resource_id(findings, &at, &file.scope, SHAPE)?;
    if scope.resource_type().is_some() {
        findings.add(&at, "is a resource, not a scope of deployments", SHAPE);
    }
    let lineage = match (file.lineage, file.tag) {
        (Some(pattern), None) => {
            if pattern.trim().is_empty() || pattern.trim_matches('*').is_empty() {
                findings.add(
                    &below(path, "lineage"),
                    "fits every deployment of the scope",
                    "write the part of the name that these deployments share, such as `hub-*`",
                );
            }
            Lineage::Name(pattern)
        }
        (None, Some(tag)) => {
            let mut tags = tag.into_iter();
            match (tags.next(), tags.next()) {
                (Some((name, value)), None) => Lineage::Tag { name, value },
                _ => {
                    findings.add(&below(path, "tag"), "is not one tag", "write one, such as `{ product: hub }`");
                    return None;
                }
            }
        }
        (Some(_), Some(_)) => {
            findings.add(path, "says both `lineage` and `tag`", "keep one of them");
            return None;
        }
        (None, None) => {
            findings.add(
                path,
                "does not say which deployments belong together",
                "write `lineage:` with their name, such as `hub-*`, or `tag:`",
            );
            return None;
        }
    };
    let mut secure_parameters = BTreeMap::new();
    for (name, file) in file.secure_parameters.unwrap_or_default() {
        let at = below(&below(&below(path, "secureParameters"), &name), "vault");
        let Some(vault) = resource_id(findings, &at, &file.vault, VAULT) else { continue };
        let kind = "microsoft.keyvault/vaults";
        if let Some(vault) = super::of_type(findings, &at, vault, kind, "a key vault (`Microsoft.KeyVault/vaults`)", VAULT) {
            secure_parameters.insert(name, KeyVaultSecret { vault, secret: file.secret });
        }
    }
    Some(ArmDeploymentTarget { scope, lineage, secure_parameters })
}
