//! The platform resource which can be taken back, and the names under which it is stored.

mod app_service;
mod arm_deployment;
mod container_app;
mod kubernetes;
mod logic_app;
mod pipeline;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use app_service::{AppServiceTarget, AppServiceWay, FingerprintSource, RUN_FROM_PACKAGE};
pub use arm_deployment::{ArmDeploymentTarget, KeyVaultSecret, Lineage};
pub use container_app::ContainerAppTarget;
pub use kubernetes::{ClusterAccess, KubernetesCluster, KubernetesTarget, WorkloadKind};
pub use logic_app::LogicAppTarget;
pub use pipeline::{PipelinePlace, PipelineTarget};

use super::resource_id::ResourceId;

/// What a service's policy names as the thing to take back. One variant a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "platform")]
pub enum Target {
    AppService(AppServiceTarget),
    Kubernetes(KubernetesTarget),
    ArmDeployment(ArmDeploymentTarget),
    LogicApp(LogicAppTarget),
    ContainerApp(ContainerAppTarget),
    Pipeline(PipelineTarget),
}

impl Target {
    /// The canonical name: equal for every spelling of one target, different for any two targets.
    pub fn key(&self) -> TargetKey {
        TargetKey(match self {
            Self::AppService(target) => target.site.canonical().to_owned(),
            Self::Kubernetes(target) => target.canonical(),
            Self::ArmDeployment(target) => target.canonical(),
            Self::LogicApp(target) => target.workflow.canonical().to_owned(),
            Self::ContainerApp(target) => target.app.canonical().to_owned(),
            Self::Pipeline(target) => target.canonical(),
        })
    }

    /// The ARM resource that holds the target; `None` where it lives outside Azure.
    pub fn resource(&self) -> Option<&ResourceId> {
        match self {
            Self::AppService(target) => Some(&target.site),
            Self::Kubernetes(target) => target.cluster.resource(),
            Self::ArmDeployment(target) => Some(&target.scope),
            Self::LogicApp(target) => Some(&target.workflow),
            Self::ContainerApp(target) => Some(&target.app),
            Self::Pipeline(_) => None,
        }
    }

    /// What shares one budget of rollbacks: the subscription, else whoever holds the target.
    pub fn budget_scope(&self) -> String {
        match (self.resource(), self) {
            (Some(resource), _) => resource.subscription().to_ascii_lowercase(),
            (None, Self::Kubernetes(target)) => target.cluster.canonical(),
            (None, Self::Pipeline(target)) => target.owner(),
            (None, Self::AppService(_) | Self::ArmDeployment(_) | Self::LogicApp(_) | Self::ContainerApp(_)) => self.key().0,
        }
    }

    /// True if an alert about `resource` speaks about what serves users here without the policy saying so.
    ///
    /// A cluster or a resource group holds more than the target, so an alert about one of these speaks about it only where
    /// `alerts:` names it.
    pub fn is_spoken_of_by(&self, resource: &ResourceId) -> bool {
        match self {
            Self::AppService(target) => target.is_spoken_of_by(resource),
            Self::LogicApp(target) => resource.is_within(&target.workflow),
            Self::ContainerApp(target) => resource.is_within(&target.app),
            Self::Kubernetes(_) | Self::ArmDeployment(_) | Self::Pipeline(_) => false,
        }
    }

    /// True if a deployment event about `resource` may change what serves users here: a swap names the other slot.
    pub fn is_changed_by(&self, resource: &ResourceId) -> bool {
        match self {
            Self::AppService(target) => resource.is_within(&target.site),
            Self::Kubernetes(target) => target.cluster.resource().is_some_and(|cluster| resource.is_within(cluster)),
            Self::ArmDeployment(target) => target.is_changed_by(resource),
            Self::LogicApp(target) => resource.is_within(&target.workflow),
            Self::ContainerApp(target) => resource.is_within(&target.app),
            Self::Pipeline(_) => false,
        }
    }

    pub fn platform(&self) -> PlatformKind {
        match self {
            Self::AppService(_) => PlatformKind::AppService,
            Self::Kubernetes(_) => PlatformKind::Kubernetes,
            Self::ArmDeployment(_) => PlatformKind::ArmDeployment,
            Self::LogicApp(_) => PlatformKind::LogicApp,
            Self::ContainerApp(_) => PlatformKind::ContainerApp,
            Self::Pipeline(_) => PlatformKind::Pipeline,
        }
    }
}

/// The platforms of the policy file, by the word written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformKind {
    AppService,
    Kubernetes,
    ArmDeployment,
    LogicApp,
    ContainerApp,
    Pipeline,
}

impl PlatformKind {
    pub const ALL: [Self; 6] =
        [Self::AppService, Self::Kubernetes, Self::ArmDeployment, Self::LogicApp, Self::ContainerApp, Self::Pipeline];

    pub fn word(self) -> &'static str {
        match self {
            Self::AppService => "app-service",
            Self::Kubernetes => "kubernetes",
            Self::ArmDeployment => "arm-deployment",
            Self::LogicApp => "logic-app",
            Self::ContainerApp => "container-app",
            Self::Pipeline => "pipeline",
        }
    }
}

impl fmt::Display for PlatformKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Canonical name of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetKey(pub String);

impl TargetKey {
    /// What a claim is about. What follows `|` is how the policy picks a target inside it, and no part of a claim's name:
    /// so an edited policy forgets nothing.
    pub fn claimed(&self) -> &str {
        self.0.split('|').next().unwrap_or_default()
    }

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

impl Fingerprint {
    const SHARED: &str = "shared:";
    const AND: &str = " + ";
    const WEIGHT: &str = " % ";

    /// Of several contents that serve at the same time, each an untold share of the users.
    pub fn shared(contents: &[Self]) -> Self {
        Self::mix(&contents.iter().map(Self::escaped).collect::<Vec<_>>())
    }

    /// Of several contents with their shares of the users in percent: other shares are another mix.
    pub fn weighted(shares: &[(Self, u32)]) -> Self {
        let part = |(content, weight): &(Self, u32)| format!("{weight}{}{}", Self::WEIGHT, content.escaped());
        Self::mix(&shares.iter().map(part).collect::<Vec<_>>())
    }

    /// What a mix is made of, in its order and without the shares; nothing if it is no mix.
    pub fn contents(&self) -> Vec<Self> {
        let parts = self.0.strip_prefix(Self::SHARED).into_iter().flat_map(|parts| parts.split(Self::AND));
        parts
            .map(|part| part.split_once(Self::WEIGHT).map_or(part, |(_, content)| content))
            .map(|content| Self(content.replace("%2B", "+").replace("%25", "%")))
            .collect()
    }

    fn mix(parts: &[String]) -> Self {
        Self(format!("{}{}", Self::SHARED, parts.join(Self::AND)))
    }

    /// Without the signs that set the parts of a mix apart.
    fn escaped(&self) -> String {
        self.0.replace('%', "%25").replace('+', "%2B")
    }

    /// Such a mix stands between two versions: to go past it skips nothing.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(Self::SHARED)
    }
}

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

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_mix_tells_what_it_is_made_of_whatever_that_is_called() {
        for names in [["a", "b"], ["50 % a + b", "%2B"], ["x%25", " + "], ["shared:a", "10 % b"]] {
            let contents = names.map(|name| Fingerprint(name.to_owned()));
            let weighted = Fingerprint::weighted(&[(contents[0].clone(), 10), (contents[1].clone(), 90)]);
            for mix in [Fingerprint::shared(&contents), weighted] {
                assert!(mix.is_shared());
                assert_eq!(mix.contents(), contents, "{mix}");
            }
        }
        assert_eq!(Fingerprint("a + b".to_owned()).contents(), []);
        let two = |weights: [u32; 2]| Fingerprint::weighted(&weights.map(|weight| (Fingerprint("a".to_owned()), weight)));
        assert_ne!(two([10, 90]), two([50, 50]));
    }
}
