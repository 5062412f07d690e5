//! An App Service site, and the ways on which it is taken back.

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// An App Service site (web app, Function App, Standard logic app).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppServiceTarget {
    pub site: ResourceId,
    /// The slot that serves users: `production` unless the policy says otherwise.
    pub serving_slot: String,
    /// Where the good build may be, in order of preference.
    pub good_slots: Vec<String>,
    /// In order of preference. The end of a ramp is none of them: where a ramp came last, nothing else takes it back.
    pub ways_back: Vec<AppServiceWay>,
    pub fingerprint: FingerprintSource,
}

/// Where an earlier build of a site may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppServiceWay {
    /// A slot that holds it.
    Slots,
    /// The container image by its name.
    Image,
    /// The package that the app runs from, by its URL.
    Package,
}

impl AppServiceWay {
    pub const ALL: [Self; 3] = [Self::Slots, Self::Image, Self::Package];

    /// As the policy writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::Image => "image",
            Self::Package => "package",
        }
    }

    /// Whether the content that `fingerprint` tells apart names what this way sets.
    pub fn fits(self, fingerprint: &FingerprintSource) -> bool {
        match (self, fingerprint) {
            (Self::Slots, _) | (Self::Image, FingerprintSource::Default) => true,
            (Self::Package, FingerprintSource::Setting(name)) => name.eq_ignore_ascii_case(RUN_FROM_PACKAGE),
            (Self::Image, FingerprintSource::Setting(_) | FingerprintSource::Url(_))
            | (Self::Package, FingerprintSource::Default | FingerprintSource::Url(_)) => false,
        }
    }
}

/// The app setting that names the package. Source: "Run your app directly from a ZIP package".
pub const RUN_FROM_PACKAGE: &str = "WEBSITE_RUN_FROM_PACKAGE";

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

impl AppServiceTarget {
    /// The setting that names the package, where the policy tells builds apart by it.
    pub fn package_setting(&self) -> Option<&str> {
        match &self.fingerprint {
            FingerprintSource::Setting(name) if AppServiceWay::Package.fits(&self.fingerprint) => Some(name),
            FingerprintSource::Setting(_) | FingerprintSource::Default | FingerprintSource::Url(_) => None,
        }
    }

    /// True if `resource` is what serves users: other slots of the site are not.
    pub(super) fn is_spoken_of_by(&self, resource: &ResourceId) -> bool {
        let Some(below) = resource.canonical().strip_prefix(self.site.canonical()) else { return false };
        match below.strip_prefix("/slots/") {
            Some(slot) => slot.split('/').next().is_some_and(|slot| slot.eq_ignore_ascii_case(&self.serving_slot)),
            None => (below.is_empty() || below.starts_with('/')) && self.serving_slot.eq_ignore_ascii_case("production"),
        }
    }
}
