//! `platform: app-service`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::{
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, WorseWhen},
        target::{AppServiceTarget, AppServiceWay, FingerprintSource, RUN_FROM_PACKAGE},
    },
    policy::{
        check::{below, is_setting_name, resource_id},
        file::{FingerprintFile, words},
        read::Findings,
        tree::Step,
    },
};

/// An App Service site: a web app, a Function App or a Standard logic app.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "platform": "app-service", "site": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Web/sites/checkout", "goodSlots": ["last-good", "staging"] }]))]
pub struct AppServiceTargetFile {
    /// Resource id of the site: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Web/sites/{name}`, not that of a slot.
    pub site: String,
    /// The slot that serves users. Default: `production`.
    #[schemars(extend("default" = "production"))]
    pub serving_slot: Option<String>,
    /// Slots where the good build may be, in order of preference. Default: `[staging]`.
    #[schemars(length(min = 1), extend("default" = ["staging"]))]
    pub good_slots: Option<Vec<String>>,
    /// What takes a version back, in order of preference: `slots` swaps a good slot in, `image` sets the container image that served before, `package` the package that the app ran from before. A traffic ramp that came last is always ended first. Default: `slots`, then `image` (without `fingerprint:`) or `package` (with `fingerprint: { setting: WEBSITE_RUN_FROM_PACKAGE }`).
    #[schemars(length(min = 1))]
    pub ways_back: Option<Vec<WayWord>>,
}

words! {
    /// One way back of a site.
    WayWord {
        /// A swap with a good slot.
        Slots = "slots",
        /// The container image that served before, by its name.
        Image = "image",
        /// The package that the app ran from before, by its URL.
        Package = "package",
    }
}

impl From<WayWord> for AppServiceWay {
    fn from(way: WayWord) -> Self {
        match way {
            WayWord::Slots => Self::Slots,
            WayWord::Image => Self::Image,
            WayWord::Package => Self::Package,
        }
    }
}

/// The share of failed requests, by the site's own metrics.
pub(super) fn evidence() -> Vec<EvidenceMetric> {
    vec![EvidenceMetric {
        metric: "Http5xx".to_owned(),
        of: Some("Requests".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Unknown,
        resource: None,
    }]
}

pub(super) fn check(
    findings: &mut Findings<'_>,
    path: &[Step],
    file: AppServiceTargetFile,
    fingerprint: FingerprintSource,
    own_site: Option<&ResourceId>,
) -> Option<AppServiceTarget> {
    let serving_slot = file.serving_slot.unwrap_or_else(|| "production".to_owned());
    if !is_slot_name(&serving_slot) {
        findings.add(&below(path, "servingSlot"), "is not the name of a slot", "write its name, such as `production`");
    }
    let ways_back = ways_back(findings, &below(path, "waysBack"), file.ways_back, &fingerprint);
    let at = below(path, "goodSlots");
    let swaps = ways_back.contains(&AppServiceWay::Slots);
    if !swaps && file.good_slots.is_some() {
        findings.add(&at, "names slots, but `waysBack` has no `slots`", "add `slots` to `waysBack`, or remove this");
    }
    let staging = || if swaps { vec!["staging".to_owned()] } else { Vec::new() };
    let slots_are_named = file.good_slots.is_some();
    let good_slots = file.good_slots.unwrap_or_else(staging);
    if slots_are_named && good_slots.is_empty() {
        findings.add(&at, "is empty, so there is no way back", "name the slots where the good build may be, such as `[staging]`");
    }
    for (index, slot) in good_slots.iter().enumerate() {
        let mut at = at.clone();
        at.push(Step::Index(index));
        if !is_slot_name(slot) {
            findings.add(&at, "is not the name of a slot", "write its name alone, such as `staging`");
        } else if slot.eq_ignore_ascii_case(&serving_slot) {
            findings.add(&at, "is the slot that serves", "name another slot; a slot cannot be swapped with itself");
        } else if good_slots[..index].iter().any(|known| known.eq_ignore_ascii_case(slot)) {
            findings.add(&at, format!("names `{slot}` a second time"), "remove it");
        }
    }
    let site = site(findings, &below(path, "site"), &file.site, own_site)?;
    Some(AppServiceTarget { site, serving_slot, good_slots, ways_back, fingerprint })
}

/// Without a list: every way that the fingerprint can name, what still runs somewhere before what has to be started anew (S7).
fn ways_back(
    findings: &mut Findings<'_>,
    at: &[Step],
    file: Option<Vec<WayWord>>,
    fingerprint: &FingerprintSource,
) -> Vec<AppServiceWay> {
    let Some(file) = file else {
        return AppServiceWay::ALL.into_iter().filter(|way| way.fits(fingerprint)).collect();
    };
    let ways: Vec<AppServiceWay> = file.into_iter().map(AppServiceWay::from).collect();
    if ways.is_empty() {
        findings.add(at, "is empty, so there is no way back", "name at least one, such as `[slots]`");
    }
    for (index, way) in ways.iter().enumerate() {
        let mut at = at.to_vec();
        at.push(Step::Index(index));
        let word = way.word();
        if ways[..index].contains(way) {
            findings.add(&at, format!("names `{word}` a second time"), "remove it");
        } else if !way.fits(fingerprint) {
            let cure = match way {
                AppServiceWay::Package => format!("write `fingerprint: {{ setting: {RUN_FROM_PACKAGE} }}`, or remove `package`"),
                AppServiceWay::Image | AppServiceWay::Slots => "remove `fingerprint:`, or remove `image`".to_owned(),
            };
            findings.add(&at, format!("is `{word}`, which the service's `fingerprint:` does not name"), cure);
        }
    }
    ways
}

fn site(findings: &mut Findings<'_>, path: &[Step], text: &str, own_site: Option<&ResourceId>) -> Option<ResourceId> {
    const SHAPE: &str = "write `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Web/sites/{name}`, as `az webapp show --query id` prints it";
    let id = resource_id(findings, path, text, SHAPE)?;
    if id.resource_type().as_deref() == Some("microsoft.web/sites/slots") {
        findings.add(
            path,
            "is a slot, not a site",
            "cut it before `/slots/`, and name the slot under `goodSlots` or `servingSlot`",
        );
        return None;
    }
    let id = super::of_type(findings, path, id, "microsoft.web/sites", "an App Service site (`Microsoft.Web/sites`)", SHAPE)?;
    if own_site == Some(&id) {
        findings.add(
            path,
            "is the site that backout itself runs in (E9)",
            "remove this service; take changes of backout back by hand",
        );
    }
    Some(id)
}

pub(super) fn fingerprint(findings: &mut Findings<'_>, path: &[Step], file: FingerprintFile) -> FingerprintSource {
    match (file.setting, file.url) {
        (Some(setting), None) => {
            if !is_setting_name(&setting) {
                findings.add(&below(path, "setting"), "is not the name of an app setting", "write a name such as `RELEASE_ID`");
            }
            FingerprintSource::Setting(setting)
        }
        (None, Some(url)) => {
            // It is appended to each slot's own host name; anything else could lead the request elsewhere.
            let plain = url.starts_with('/')
                && !url.starts_with("//")
                && url.chars().all(|c| c.is_ascii_graphic() && !"\\#@".contains(c));
            if !plain {
                findings.add(
                    &below(path, "url"),
                    "is not a path",
                    "write a path that begins with one `/`, such as `/version`; it is asked on each slot's own host name",
                );
            }
            FingerprintSource::Url(url)
        }
        (Some(_), Some(_)) => {
            findings.add(path, "says both `setting` and `url`", "keep one of them");
            FingerprintSource::Default
        }
        (None, None) => {
            findings.add(path, "says nothing", "write `setting: NAME` or `url: /PATH`, or remove it for the default");
            FingerprintSource::Default
        }
    }
}

/// Source: naming rules of `Microsoft.Web/sites/slots`: 2 to 59 letters, digits and hyphens.
fn is_slot_name(name: &str) -> bool {
    (1..=59).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
