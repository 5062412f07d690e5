//! The package that the app runs from (`WEBSITE_RUN_FROM_PACKAGE`): the way back is to name an earlier one again.
//!
//! Only where the policy tells builds apart by this setting: its value then names the content. App Service takes all settings of
//! an app at once, so they are read, one is changed, and all are written; the values of the others pass through memory and are
//! stored nowhere. There is no condition that App Service would check: a setting that somebody else writes in the same second
//! may get lost.
//!
//! What follows `?` in a package's URL is a signature, a secret. It is cut off as soon as the setting is read, and a package that
//! needs one is no way back: nobody has its signature any more.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{
    release_mark::ReleaseMark,
    wire::{API_VERSION, slot_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Obstacle, WayBack},
        rollback::{Step, StepKind, Submission},
        rule::RuleId,
        target::{AppServiceTarget, Fingerprint, RUN_FROM_PACKAGE},
    },
};

/// What a way back and a step remember: `{"package": "https://...", "insteadOf": "https://..."}`, both without any signature.
pub const PACKAGE: &str = "package";
const INSTEAD_OF: &str = "insteadOf";

/// Who holds earlier packages.
pub const WAY: &str = "the package store";

const FINGERPRINT: &str = "setting:";
/// Ends the name of a package whose URL had a query.
const SIGNED: char = '?';
const NAME_CHARS_MAX: usize = 512;

/// What the value of the setting says about the content, with nothing in it that is secret.
pub fn mark(value: &str) -> ReleaseMark {
    let unknown = |why: &str| ReleaseMark::Unknown(format!("setting `{RUN_FROM_PACKAGE}` {why}"));
    let value = value.trim();
    match value {
        "" => return unknown("is empty"),
        "0" => return unknown("is `0`, so the app does not run from a package"),
        "1" => return unknown("is `1`: the package lies in the app itself, which does not tell which one it is"),
        _ => {}
    }
    if value.starts_with("@Microsoft.") {
        return unknown("is a reference to a secret, which does not tell which package it names");
    }
    let Ok(mut url) = Url::parse(value) else { return unknown("is no URL") };
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return unknown("is no URL of a package");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return unknown("holds a user's name or password; let the app fetch it by a managed identity");
    }
    let is_signed = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    let mut name = url.to_string();
    if name.chars().count() > NAME_CHARS_MAX {
        return unknown("is too long");
    }
    if is_signed {
        name.push(SIGNED);
    }
    ReleaseMark::Says(name)
}

/// For people: the file's name.
pub fn label(name: &str) -> String {
    let name = name.trim_end_matches(SIGNED);
    clean(name.rsplit('/').next().filter(|file| !file.is_empty()).unwrap_or(name))
}

fn of_fingerprint(fingerprint: &Fingerprint) -> Option<&str> {
    fingerprint.0.strip_prefix(FINGERPRINT)
}

/// The proven package that served last, while a package runs that has a name; one that needs no signature if there is any.
pub fn way_back(target: &AppServiceTarget, observation: &Observation, proven: &[Fingerprint]) -> Option<WayBack> {
    target.package_setting()?;
    let runs = observation.running.fingerprint.as_ref().and_then(of_fingerprint)?;
    let names = || proven.iter().filter_map(of_fingerprint).filter(|name| *name != runs);
    let name = names().find(|name| !name.ends_with(SIGNED)).or_else(|| names().next())?;
    let mut obstacles = Vec::new();
    let label = label(name);
    if name.ends_with(SIGNED) {
        obstacles.push(Obstacle::page(
            RuleId::S5,
            format!(
                "package {label} was fetched by a URL with a signature, which backout never keeps; let the app fetch packages by a \
                 managed identity (`{RUN_FROM_PACKAGE}_BLOB_MI_RESOURCE_ID`) and a URL without a query"
            ),
        ));
    } else if runs.ends_with(SIGNED) {
        obstacles.push(Obstacle::propose(
            RuleId::S9,
            format!("the package that runs is fetched by a signature and {label} is not, so whether the app may still fetch it is not known"),
        ));
    }
    Some(WayBack {
        name: WAY.to_owned(),
        fingerprint: Some(Fingerprint(format!("{FINGERPRINT}{name}"))),
        label,
        obstacles,
        detail: json!({ PACKAGE: name, INSTEAD_OF: runs }),
    })
}

pub fn step(target: &AppServiceTarget, way_back: &WayBack) -> Step {
    Step {
        says: format!("let slot {} of `{}` run from package {}", target.serving_slot, target.site.name(), way_back.label),
        kind: StepKind::Convergent,
        detail: way_back.detail.clone(),
    }
}

/// Reads all settings, and writes them all with the earlier package's name. Sends nothing unless the accused package still runs.
pub async fn submit(arm: &ResourceManager, target: &AppServiceTarget, step: &Step) -> Submission {
    let refused = |says: &str| Submission::Refused { says: format!("{says}; nothing was sent") };
    let text = |key: &str| step.detail.get(key).and_then(Value::as_str).unwrap_or_default();
    let (package, instead_of) = (text(PACKAGE), text(INSTEAD_OF));
    let Some(setting) = target.package_setting() else {
        return refused(&format!("the policy does not tell builds apart by `{RUN_FROM_PACKAGE}`"));
    };
    if mark(package) != ReleaseMark::Says(package.to_owned()) || package.ends_with(SIGNED) {
        return refused("what to go back to is no URL of a package");
    }
    let slot = slot_path(target, &target.serving_slot);
    let list = format!("{slot}/config/appsettings/list?{API_VERSION}");
    let mut settings = match arm.read_by_post("read the app settings", &list, None).await {
        Ok(mut answer) => match answer.get_mut("properties").map(Value::take) {
            Some(Value::Object(settings)) => settings,
            Some(_) | None => return refused("the answer with the app settings makes no sense"),
        },
        Err(error) => {
            let wait = error.retry_after.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX));
            return Submission::NotSent { says: error.to_string(), retry_after_seconds: wait };
        }
    };
    match settings.get(setting).and_then(Value::as_str).map(mark) {
        Some(ReleaseMark::Says(runs)) if runs == package => return Submission::Done,
        Some(ReleaseMark::Says(runs)) if runs == instead_of => {}
        Some(ReleaseMark::Says(_) | ReleaseMark::Unknown(_) | ReleaseMark::Unread(_)) | None => {
            return refused("another package runs than a moment ago");
        }
    }
    settings.insert(setting.to_owned(), json!(package));
    let body = json!({ "properties": settings });
    arm.submit(Method::PUT, &format!("{slot}/config/appsettings?{API_VERSION}"), Some(&body)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_never_gets_into_a_mark() {
        let rows = [
            ("https://a.blob.core.windows.net/p/app-43.zip", "https://a.blob.core.windows.net/p/app-43.zip"),
            (" https://a.net/app.zip?sv=1&sig=hunter2 ", "https://a.net/app.zip?"),
            ("https://a.net/app.zip#hunter2", "https://a.net/app.zip"),
            ("https://a.net/app.zip?", "https://a.net/app.zip?"),
        ];
        for (value, name) in rows {
            assert_eq!(mark(value), ReleaseMark::Says(name.to_owned()), "{value}");
        }
        let long = format!("https://a.net/app.zip?sig={}", "x".repeat(4000));
        assert_eq!(mark(&long), ReleaseMark::Says("https://a.net/app.zip?".to_owned()), "the length of a signature says nothing");
        for value in [
            "",
            "0",
            "1",
            "app.zip",
            "ftp://a.net/hunter2",
            "https://u:hunter2@a.net/app.zip",
            "@Microsoft.KeyVault(SecretUri=https://v/secrets/hunter2)",
            &format!("https://a.net/{}", "x".repeat(600)),
        ] {
            let ReleaseMark::Unknown(why) = mark(value) else { panic!("{value} is no name") };
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
