//! The container image (`linuxFxVersion`): the way back is to name an earlier one again.
//!
//! App Service shows the image that a slot has now and no earlier ones, so the name comes from what backout saw in service. It
//! says no word of when an image was set: the image is a part of the rollout's token, and history tells between which readings
//! it came. The same image set again by hand has the token that it had, and what was said of that holds on (A1, A2).

use reqwest::Method;
use serde_json::json;

use super::wire::{API_VERSION, slot_path};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Obstacle, WayBack},
        rollback::{Step, StepKind, Submission},
        rule::RuleId,
        target::{AppServiceTarget, Fingerprint},
    },
};

/// What a way back and a step remember: `{"image": "registry.io/shop/app@sha256:..."}`.
pub const IMAGE: &str = "image";

/// Who holds earlier images.
pub const WAY: &str = "the image registry";

const PREFIX: &str = "DOCKER|";
const FINGERPRINT: &str = "image:";

/// Longer than any registry allows: host, repository of 255, tag of 128 or digest.
const IMAGE_BYTES_MAX: usize = 700;

/// The image of a `linuxFxVersion`; `None` where code runs, or several containers.
pub fn of_config(linux_fx_version: &str) -> Option<&str> {
    let prefix = linux_fx_version.get(..PREFIX.len())?;
    let image = &linux_fx_version[PREFIX.len()..];
    (prefix.eq_ignore_ascii_case(PREFIX) && !image.is_empty()).then_some(image)
}

pub fn fingerprint(image: &str) -> Fingerprint {
    Fingerprint(format!("{FINGERPRINT}{image}"))
}

/// For people: what follows the last `/`.
pub fn label(image: &str) -> String {
    clean(image.rsplit('/').next().unwrap_or(image))
}

fn of_fingerprint(fingerprint: &Fingerprint) -> Option<&str> {
    fingerprint.0.strip_prefix(FINGERPRINT).filter(|image| is_image(image))
}

/// A reference that can be set as it is: nothing in it means something to anybody but a registry.
fn is_image(image: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./-_:@+".contains(c);
    !image.is_empty() && image.len() <= IMAGE_BYTES_MAX && image.chars().all(plain)
}

/// The proven image that served last, while an image runs.
pub fn way_back(observation: &Observation, proven: &[Fingerprint]) -> Option<WayBack> {
    let runs = observation.running.fingerprint.as_ref().and_then(of_fingerprint)?;
    let image = proven.iter().filter_map(of_fingerprint).find(|image| *image != runs)?;
    let mut obstacles = Vec::new();
    if !image.contains("@sha256:") {
        obstacles.push(Obstacle::propose(
            RuleId::S5,
            format!(
                "image `{image}` is named by a tag, which may have been pushed again since it served; deploy images by their digest \
                 (`@sha256:`)"
            ),
        ));
    }
    if registry(image) != registry(runs) {
        obstacles.push(Obstacle::propose(
            RuleId::S9,
            format!("image `{image}` lies in another registry than the one that runs, and whether the app may still pull it is not known"),
        ));
    }
    Some(WayBack {
        name: WAY.to_owned(),
        fingerprint: Some(fingerprint(image)),
        label: label(image),
        obstacles,
        detail: json!({ IMAGE: image }),
    })
}

/// The host before the first `/`, if it is one; the rest is on Docker Hub.
fn registry(image: &str) -> Option<String> {
    let (host, _) = image.split_once('/')?;
    (host.contains(['.', ':']) || host == "localhost").then(|| host.to_ascii_lowercase())
}

pub fn step(target: &AppServiceTarget, way_back: &WayBack) -> Step {
    let image = way_back.detail.get(IMAGE).and_then(|image| image.as_str()).unwrap_or_default();
    Step {
        says: format!("set image `{image}` in slot {} of `{}`", target.serving_slot, target.site.name()),
        kind: StepKind::Convergent,
        detail: json!({ IMAGE: image }),
    }
}

/// Sets the image, and nothing else of the configuration.
pub async fn submit(arm: &ResourceManager, target: &AppServiceTarget, step: &Step) -> Submission {
    let image = step.detail.get(IMAGE).and_then(|image| image.as_str()).unwrap_or_default();
    if !is_image(image) {
        return Submission::Refused { says: format!("`{}` is no image; nothing was sent", clean(image)) };
    }
    let path = format!("{}/config/web?{API_VERSION}", slot_path(target, &target.serving_slot));
    let body = json!({ "properties": { "linuxFxVersion": format!("{PREFIX}{image}") } });
    arm.submit(Method::PATCH, &path, Some(&body)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_container_has_an_image() {
        for (text, image) in [
            ("DOCKER|r.io/app:1", Some("r.io/app:1")),
            ("docker|app@sha256:12ab", Some("app@sha256:12ab")),
            ("DOCKER|", None),
            ("COMPOSE|dmVyc2lvbg==", None),
            ("SITECONTAINERS", None),
            ("NODE|22-lts", None),
            ("", None),
        ] {
            assert_eq!(of_config(text), image, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_never_set() {
        for image in ["", "a b", "a|b", "a\nb", "a?b", "https://x", &"a".repeat(701)] {
            assert_eq!(is_image(image), image == "https://x", "{image}");
        }
    }

    #[test]
    fn a_registry_is_a_host() {
        for (image, host) in [
            ("app:1", None),
            ("library/app:1", None),
            ("R.azurecr.io/shop/app:1", Some("r.azurecr.io")),
            ("localhost/app", Some("localhost")),
            ("r:5000/app", Some("r:5000")),
        ] {
            assert_eq!(registry(image).as_deref(), host, "{image}");
        }
    }
}
