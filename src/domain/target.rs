//! The platform resource which can be taken back, and the names under which it is stored.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::resource_id::ResourceId;

/// What a service's policy names as the thing to take back. One variant a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "platform")]
pub enum Target {
    AppService(AppServiceTarget),
}

/// An App Service site (web app, Function App, Standard logic app) whose slots are swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppServiceTarget {
    pub site: ResourceId,
    /// The slot that serves users: `production` unless the policy says otherwise.
    pub serving_slot: String,
    /// Where the good build may be, in order of preference.
    pub good_slots: Vec<String>,
    pub fingerprint: FingerprintSource,
}

/// What tells one build from another in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FingerprintSource {
    /// The container image of `linuxFxVersion`, else the id of the active deployment.
    Default,
    /// A non-sticky app setting that moves with the content, such as `RELEASE_ID`.
    Setting(String),
    /// A path on each slot's own host name, such as `/version`.
    Url(String),
}

impl Target {
    /// The canonical name: equal for every spelling of one target, different for any two targets.
    pub fn key(&self) -> TargetKey {
        match self {
            Self::AppService(target) => TargetKey(target.site.canonical().to_owned()),
        }
    }

    /// The ARM resource that holds the target; alerts and events about it or below it speak about the target.
    pub fn resource(&self) -> &ResourceId {
        match self {
            Self::AppService(target) => &target.site,
        }
    }

    /// True if an alert or event about `resource` speaks about what serves users here: other slots of a site do not.
    pub fn is_spoken_of_by(&self, resource: &ResourceId) -> bool {
        match self {
            Self::AppService(target) => {
                let Some(below) = resource.canonical().strip_prefix(target.site.canonical()) else { return false };
                match below.strip_prefix("/slots/") {
                    Some(slot) => slot.split('/').next().is_some_and(|slot| slot.eq_ignore_ascii_case(&target.serving_slot)),
                    None => {
                        (below.is_empty() || below.starts_with('/')) && target.serving_slot.eq_ignore_ascii_case("production")
                    }
                }
            }
        }
    }

    /// True if a deployment event about `resource` may change what serves users here: a swap names the other slot.
    pub fn is_changed_by(&self, resource: &ResourceId) -> bool {
        match self {
            Self::AppService(target) => resource.is_within(&target.site),
        }
    }

    pub fn platform(&self) -> PlatformKind {
        match self {
            Self::AppService(_) => PlatformKind::AppService,
        }
    }
}

/// The platforms of the policy file, by the word written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformKind {
    AppService,
}

impl fmt::Display for PlatformKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppService => "app-service",
        })
    }
}

/// Canonical name of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetKey(pub String);

impl TargetKey {
    /// Name for store keys: 26 characters of base32, since a resource id is no valid key everywhere.
    pub fn hash(&self) -> String {
        short_hash(&[&self.0])
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one rollout, not its content, by what the platform itself says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionToken(pub String);

impl fmt::Display for VersionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names content: the same build has the same fingerprint wherever it runs, and however often it was rolled out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// First 26 characters of the lower-case base32 of the SHA-256 of `parts`, joined by `|`.
pub fn short_hash(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("|").as_bytes());
    let mut text = data_encoding::BASE32_NOPAD.encode(&digest).to_ascii_lowercase();
    text.truncate(26);
    text
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
