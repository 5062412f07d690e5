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
#[schemars(extend("examples" = [{ "platform": "arm-deployment", "scope": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop", "lineage": "hub-*" }]))]
pub struct ArmDeploymentTargetFile {
    /// Resource group (`/subscriptions/{id}/resourceGroups/{group}`) or subscription (`/subscriptions/{id}`).
    pub scope: String,
    /// Name of the deployments that belong together; `*` stands for any run of characters. Default: none; either this or `tag`.
    pub lineage: Option<String>,
    /// The one tag, with its value, of the deployments that belong together. Default: none; either this or `lineage`.
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
            lineage_name(findings, &below(path, "lineage"), &pattern);
            Lineage::Name(pattern)
        }
        (None, Some(tag)) => {
            let mut tags = tag.into_iter();
            match (tags.next(), tags.next()) {
                (Some((name, value)), None) if !name.trim().is_empty() && !value.trim().is_empty() => {
                    Lineage::Tag { name, value }
                }
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
            if !is_secret_name(&file.secret) {
                findings.add(
                    &below(&below(&below(path, "secureParameters"), &name), "secret"),
                    "is not the name of a secret",
                    "write its name alone, such as `admin-password`; the newest version is taken",
                );
            }
            secure_parameters.insert(name, KeyVaultSecret { vault, secret: file.secret });
        }
    }
    Some(ArmDeploymentTarget { scope, lineage, secure_parameters })
}

fn lineage_name(findings: &mut Findings<'_>, path: &[Step], pattern: &str) {
    if pattern.trim().is_empty() || pattern.trim_matches('*').is_empty() {
        findings.add(
            path,
            "fits every deployment of the scope",
            "write the part of the name that these deployments share, such as `hub-*`",
        );
    } else if !is_deployment_name(pattern) {
        findings.add(
            path,
            "fits no deployment: names hold letters, digits, `-`, `_`, `.` and parentheses, at most 64",
            "write their name, with `*` for what differs, such as `hub-*`",
        );
    } else if pattern.to_lowercase().starts_with("rb-") {
        findings.add(
            path,
            "fits the deployments that backout makes itself, which belong to the lineage that they restore",
            "name your own deployments, such as `hub-*`",
        );
    }
}

/// Source: naming rules of `Microsoft.Resources/deployments`; `*` is ours.
fn is_deployment_name(pattern: &str) -> bool {
    let without = pattern.replace('*', "");
    without.chars().count() <= 64 && without.chars().all(|c| c.is_alphanumeric() || "-_.()".contains(c))
}

/// Source: naming rules of Key Vault: 1 to 127 letters, digits and hyphens.
fn is_secret_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
