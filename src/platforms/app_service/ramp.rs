//! Traffic rules (`rampUpRules`): a share of the serving slot's users is sent to another slot.
//!
//! Where that slot holds a build that came later than the serving slot's own, the ramp is the latest rollout, and clearing the rules
//! takes it back. Its token names the serving slot's rollout and what was pushed where, not the percentages: those move while a
//! ramp goes on. Cleared, the serving slot's own rollout is left, by its own token.
//!
//! App Service does not tell when a ramp began. It serves nobody before its build was pushed, so that is its start: too early
//! perhaps, never too late. The same build ramped up again after a rollback therefore has the same token, and is left to a person (A1).
//!
//! Which build came later is told by times of the platform alone, so that reading content badly never makes it another rollout.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use super::{
    observe::{Base, Content, Readings, SlotReading, active, at, content},
    wire::{API_VERSION, RampUpRule, SiteConfig, given, is_production, normalised, slot_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{RunningVersion, WayBack},
        rollback::{Step, StepKind, Submission},
        target::{AppServiceTarget, Fingerprint, VersionToken},
    },
    ports::{PortError, PortErrorKind},
};

/// What a way back and a step remember when rules are to be cleared: `{"ramp": "off"}`.
pub const RAMP: &str = "ramp";

/// Slots that rules may name beyond those of the policy.
const SLOTS_MAX: usize = 4;

/// What the traffic rules of the serving slot mean.
pub enum Ramp<'a> {
    /// Nobody is sent elsewhere.
    Off,
    /// Users are sent to builds that came before the serving slot's own.
    Older,
    /// Users are sent elsewhere, and which build came later is not told: why.
    Untold(String),
    /// Users are sent to newer builds, by name of the slot.
    Rollout(Vec<Share<'a>>),
}

/// A newer build that serves a share of the users.
pub struct Share<'a> {
    slot: &'a str,
    reading: &'a SlotReading,
    deployment: &'a str,
    pushed_at: Timestamp,
    percentage: Option<f64>,
}

/// Slots that rules name beyond those of the policy. Their host name must then prove it.
pub fn slots_to_read(target: &AppServiceTarget, readings: &Readings) -> Vec<String> {
    let Ok(config) = &readings.serving.config else { return Vec::new() };
    let is_name = |name: &&str| name.len() <= 59 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_read = |name: &str| {
        let policy = target.good_slots.iter().chain(std::iter::once(&target.serving_slot));
        policy.into_iter().any(|slot| slot.eq_ignore_ascii_case(name))
    };
    let mut names: Vec<String> = active_rules(config)
        .filter_map(|rule| given(rule.name.as_ref()).filter(is_name))
        .map(str::to_ascii_lowercase)
        .filter(|name| !is_read(name) && !is_production(name))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(SLOTS_MAX);
    names
}

/// The slots to which users are sent, as far as they can be told.
pub fn slots<'a>(readings: &'a Readings, config: &'a SiteConfig) -> impl Iterator<Item = (&'a str, &'a SlotReading)> {
    active_rules(config).filter_map(|rule| slot_of(rule, readings))
}

/// Judges the rules against the serving slot's own rollout. A slot that could not be read is an error, and never a verdict.
pub fn read<'a>(readings: &'a Readings, config: &'a SiteConfig, base_since: Option<Timestamp>) -> Result<Ramp<'a>, PortError> {
    let rules: Vec<&RampUpRule> = active_rules(config).collect();
    if rules.is_empty() {
        return Ok(Ramp::Off);
    }
    readings.serving.deployments.as_ref().map_err(Clone::clone)?;
    let mut shares: Vec<Share<'_>> = Vec::new();
    let mut untold = None;
    for rule in rules {
        let Some((slot, reading)) = slot_of(rule, readings) else {
            // It may be one of those that did not answer.
            let unread = readings.others().filter_map(|(_, reading)| reading.site.as_ref().err());
            if let Some(error) = unread.into_iter().find(|error| error.kind != PortErrorKind::NotFound) {
                return Err(error.clone());
            }
            let host = given(rule.action_host_name.as_ref()).map_or_else(|| "no host".to_owned(), clean);
            untold.get_or_insert(format!("no slot that backout knows has the host name `{host}`"));
            continue;
        };
        reading.deployments.as_ref().map_err(Clone::clone)?;
        let pushed = active(reading).and_then(|deployment| Some((deployment.kudu_id()?, deployment.moment()?)));
        match (pushed, base_since) {
            (Some((deployment, pushed_at)), Some(since)) if pushed_at > since => {
                if !shares.iter().any(|share| share.slot == slot) {
                    shares.push(Share { slot, reading, deployment, pushed_at, percentage: rule.reroute_percentage });
                }
            }
            (Some(_), Some(_)) => {}
            (None, _) => {
                untold.get_or_insert(format!("slot {slot} has no active deployment with a time"));
            }
            (_, None) => {
                untold.get_or_insert("the serving slot's own build has no time".to_owned());
            }
        }
    }
    shares.sort_by_key(|share| share.slot.to_ascii_lowercase());
    Ok(match untold {
        Some(why) => Ramp::Untold(why),
        None if shares.is_empty() => Ramp::Older,
        None => Ramp::Rollout(shares),
    })
}

/// The mix that serves.
pub(super) fn running(target: &AppServiceTarget, base: &Base, own: &Content, shares: &[Share<'_>]) -> RunningVersion {
    let mut token = format!("ramp|{}", base.token);
    let mut label = Vec::new();
    let mut contents = vec![own.fingerprint.clone()];
    for share in shares {
        let content = content(target, share.reading);
        let slot = share.slot.to_ascii_lowercase();
        token = format!("{token}|{slot}:{}:{}", share.deployment, normalised(share.pushed_at));
        let users = share.percentage.map_or_else(|| "some users".to_owned(), |percentage| format!("{percentage} % of the users"));
        label.push(format!("{} on slot {} for {users} (pushed there at {})", content.label, share.slot, at(share.pushed_at)));
        contents.push(content.fingerprint);
    }
    let contents: Option<Vec<Fingerprint>> = contents.into_iter().collect();
    RunningVersion {
        token: VersionToken(token),
        fingerprint: contents.map(|contents| Fingerprint::shared(&contents)),
        serving_since: shares.iter().map(|share| share.pushed_at).max(),
        label: format!("{} beside {}", label.join(" and "), own.label),
    }
}

/// Ending the ramp, while it is the rollout.
pub(super) fn way_back(target: &AppServiceTarget, ramp: &Ramp<'_>, own: &Content) -> Option<WayBack> {
    match ramp {
        Ramp::Off | Ramp::Older | Ramp::Untold(_) => None,
        Ramp::Rollout(_) => Some(WayBack {
            name: way_name(target),
            fingerprint: own.fingerprint.clone(),
            label: own.label.clone(),
            obstacles: Vec::new(),
            detail: json!({ RAMP: "off" }),
        }),
    }
}

pub fn way_name(target: &AppServiceTarget) -> String {
    format!("slot {} alone", target.serving_slot)
}

pub fn off(target: &AppServiceTarget) -> Step {
    Step {
        says: format!("send all users of `{}` to slot {} (clear `rampUpRules`)", target.site.name(), target.serving_slot),
        kind: StepKind::Convergent,
        detail: json!({ RAMP: "off" }),
    }
}

/// Clears the rules, and nothing else of the configuration.
pub async fn submit_off(arm: &ResourceManager, target: &AppServiceTarget) -> Submission {
    let path = format!("{}/config/web?{API_VERSION}", slot_path(target, &target.serving_slot));
    let body = json!({ "properties": { "experiments": { "rampUpRules": [] } } });
    arm.submit(Method::PATCH, &path, Some(&body)).await
}

pub fn active_rules(config: &SiteConfig) -> impl Iterator<Item = &RampUpRule> {
    let rules = config.properties.experiments.as_ref().and_then(|experiments| experiments.ramp_up_rules.as_ref());
    rules.into_iter().flatten().filter(|rule| rule.is_active())
}

/// By the host name alone: a rule's name is free text.
fn slot_of<'a>(rule: &RampUpRule, readings: &'a Readings) -> Option<(&'a str, &'a SlotReading)> {
    let host = given(rule.action_host_name.as_ref())?;
    let (slot, reading) = readings.others().find(|(_, reading)| {
        let site = reading.site.as_ref().ok();
        site.and_then(|site| given(site.properties.default_host_name.as_ref())).is_some_and(|own| own.eq_ignore_ascii_case(host))
    })?;
    Some((slot, reading))
}
