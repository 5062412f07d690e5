//! What runs in the serving slot, since when, and what the good slots hold.
//!
//! **Token.** `swap|T` with the completion time of the last swap that concerned the serving slot, else `swap|none`. A build that
//! is pushed straight to the serving slot leaves no new swap time; so if the active deployment ended after the swap (or there
//! was no swap), the rollout is named by it: `deployment|ID|END`. A swap then need not lead back: whether a slot holds the good
//! build is told by fingerprints alone. A container image, and a package that names the build, leave neither when they are set:
//! they follow the rest, as in `swap|T|image:...`. While rules send users to a newer build in another slot, that is the rollout: [`super::ramp`].

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    image, package,
    ramp::{self, RAMP, Ramp},
    release_mark::{self, ReleaseMark, SiteClient},
    swap::SLOT,
    wire::{API_VERSION, Deployment, Site, SiteConfig, SlotSwapStatus, given, is_production, normalised, slot_path},
};
use crate::{
    azure::{
        answer::{clean, time},
        resource_manager::ResourceManager,
    },
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{AppServiceTarget, AppServiceWay, Fingerprint, FingerprintSource, VersionToken},
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// All answers of one observation, also those which failed.
pub struct Readings {
    pub serving: SlotReading,
    /// In the policy's order.
    pub good: Vec<(String, SlotReading)>,
    /// Further slots, to which users of the serving one are sent.
    pub ramped: Vec<(String, SlotReading)>,
}

impl Readings {
    /// Every slot but the serving one.
    pub fn others(&self) -> impl Iterator<Item = &(String, SlotReading)> {
        self.good.iter().chain(&self.ramped)
    }
}

pub struct SlotReading {
    pub site: Result<Site, PortError>,
    pub config: Result<SiteConfig, PortError>,
    pub deployments: Result<Vec<Deployment>, PortError>,
    /// `None` unless the policy names a setting or a path.
    pub mark: Option<ReleaseMark>,
}

/// A deployment that is under way for longer than this was abandoned by Kudu, and must not keep a target waiting for ever.
const DEPLOYMENT_HOURS_MAX: i64 = 1;

/// Reads serving slot and good slots side by side: one trip deep, once it is known which host names they have, where a path on
/// them is asked, and to which other slots users are sent.
pub async fn read(arm: &ResourceManager, sites: &SiteClient, target: &AppServiceTarget) -> Readings {
    let serving_path = slot_path(target, &target.serving_slot);
    let known = sites.known_ramp_slots(&serving_path);
    let good = join_all(target.good_slots.iter().map(|slot| read_slot(arm, sites, target, slot)));
    let (serving, good, ramped) = tokio::join!(
        Box::pin(read_slot(arm, sites, target, &target.serving_slot)),
        good,
        Box::pin(read_slots(arm, sites, target, known))
    );
    let mut readings = Readings { serving, good: target.good_slots.iter().cloned().zip(good).collect(), ramped };
    let named = ramp::slots_to_read(target, &readings);
    // A ramp that ended, or moved, since it was last looked at.
    readings.ramped.retain(|(slot, _)| named.contains(slot));
    let unread = named.iter().filter(|name| !readings.ramped.iter().any(|(slot, _)| slot == *name)).cloned().collect();
    readings.ramped.extend(read_slots(arm, sites, target, unread).await);
    sites.keep_ramp_slots(&serving_path, named);
    readings
}

async fn read_slots(
    arm: &ResourceManager,
    sites: &SiteClient,
    target: &AppServiceTarget,
    slots: Vec<String>,
) -> Vec<(String, SlotReading)> {
    let readings = join_all(slots.iter().map(|slot| Box::pin(read_slot(arm, sites, target, slot)))).await;
    slots.into_iter().zip(readings).collect()
}

async fn read_slot(arm: &ResourceManager, sites: &SiteClient, target: &AppServiceTarget, slot: &str) -> SlotReading {
    const SITE: &str = "read the slot";
    const CONFIG: &str = "read the slot's configuration";
    const DEPLOYMENTS: &str = "read the slot's deployment log";
    let path = slot_path(target, slot);
    let (site_path, config_path, deployments_path) = (
        format!("{path}?{API_VERSION}"),
        format!("{path}/config/web?{API_VERSION}"),
        format!("{path}/deployments?{API_VERSION}"),
    );
    let setting = async {
        match &target.fingerprint {
            FingerprintSource::Setting(name) => Some(release_mark::setting(arm, target, slot, name).await),
            FingerprintSource::Default | FingerprintSource::Url(_) => None,
        }
    };
    let known_host = sites.known_host(&path);
    let ahead = async {
        match (&target.fingerprint, &known_host) {
            (FingerprintSource::Url(path), Some(host)) => Some(sites.ask(host, path).await),
            (FingerprintSource::Url(_), None) | (FingerprintSource::Default | FingerprintSource::Setting(_), _) => None,
        }
    };
    let (site, config, deployments, setting, ahead) = tokio::join!(
        arm.read(SITE, &site_path),
        arm.read(CONFIG, &config_path),
        arm.read_all(DEPLOYMENTS, &deployments_path),
        setting,
        Box::pin(ahead),
    );
    let site = site.and_then(|answer| parse::<Site>(SITE, answer));
    let mark = match &target.fingerprint {
        FingerprintSource::Url(asked) => Some(match &site {
            Ok(site) => {
                let host = given(site.properties.default_host_name.as_ref()).unwrap_or_default();
                match ahead {
                    Some(mark) if known_host.as_deref() == Some(host) => mark,
                    Some(_) | None => {
                        sites.keep_host(&path, host);
                        sites.ask(host, asked).await
                    }
                }
            }
            Err(error) => release_mark::without_host(error),
        }),
        FingerprintSource::Default | FingerprintSource::Setting(_) => setting,
    };
    SlotReading {
        site,
        config: config.and_then(|answer| parse(CONFIG, answer)),
        deployments: deployments.and_then(|all| parse(DEPLOYMENTS, Value::Array(all))),
        mark,
    }
}

/// What the answers mean. Pure.
pub fn interpret(target: &AppServiceTarget, readings: &Readings, observed_at: Timestamp) -> Result<Observation, PortError> {
    let site = match &readings.serving.site {
        Ok(site) => site,
        Err(error) => return Err(error.clone()),
    };
    let swap = Swap::of(site.properties.slot_swap_status.as_ref(), &target.serving_slot)?;
    // Without the traffic rules nobody can say which builds serve, so not even the rollout could be named.
    let config = readings.serving.config.as_ref().map_err(Clone::clone)?;
    // A push since the last swap names the rollout: missing its log for a moment, what runs would seem to be another one.
    if let Err(error @ PortError { kind: PortErrorKind::Transient | PortErrorKind::Throttled, .. }) =
        &readings.serving.deployments
    {
        return Err(error.clone());
    }
    let own = content(target, &readings.serving);
    let base = Base::of(&readings.serving, swap.as_ref(), named_content(target, &readings.serving, config)?);
    let ramp = ramp::read(readings, config, base.since)?;
    let mut obstacles = Vec::new();
    against_any_rollback(target, &readings.serving, site, config, &mut obstacles);
    if let Ramp::Untold(why) = &ramp {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!(
                "traffic of slot {} is shared with another slot (`rampUpRules`), and whether that one holds a newer build cannot be \
                 told ({why}); clear the rules, or decide by hand",
                target.serving_slot
            ),
        ));
    }
    let ways_back = if has_no_slots(site) {
        obstacles.push(Obstacle::page(
            RuleId::S9,
            "the app runs on Flex Consumption, which has no slots; let its pipeline deploy the good build again: name it with \
             `platform: pipeline` as the target in the policy"
                .to_owned(),
        ));
        Vec::new()
    } else {
        let slots = readings.good.iter().filter_map(|(slot, reading)| way_back(target, slot, reading, swap.as_ref(), &ramp));
        let slots = slots.filter(|_| target.ways_back.contains(&AppServiceWay::Slots));
        ramp::way_back(target, &ramp, &own).into_iter().chain(slots).collect()
    };
    Ok(Observation {
        observed_at,
        running: match &ramp {
            Ramp::Rollout(shares) => ramp::running(target, &base, &own, shares),
            Ramp::Off | Ramp::Older | Ramp::Untold(_) => base.running(own),
        },
        under_way: under_way(target, readings, config, observed_at),
        ways_back,
        obstacles,
    })
}

/// The last swap, as far as it concerned the serving slot.
struct Swap {
    at: Timestamp,
    /// The other half.
    partner: Option<String>,
}

impl Swap {
    fn of(status: Option<&SlotSwapStatus>, serving: &str) -> Result<Option<Self>, PortError> {
        let Some(status) = status else { return Ok(None) };
        let Some(text) = given(status.timestamp_utc.as_ref()) else { return Ok(None) };
        let Some(at) = time(text) else {
            return Err(PortError::new(
                "read the slot",
                PortErrorKind::Invalid,
                "`slotSwapStatus.timestampUtc` is no time, so the running rollout cannot be named",
            ));
        };
        let source = given(status.source_slot_name.as_ref());
        let destination = given(status.destination_slot_name.as_ref());
        let is_serving = |name: &str| name.eq_ignore_ascii_case(serving);
        let partner = match (source, destination) {
            (source, Some(destination)) if is_serving(destination) => source,
            (Some(source), destination) if is_serving(source) => destination,
            (Some(_), Some(_)) => return Ok(None), // Between two other slots.
            (source, destination) => source.or(destination),
        };
        Ok(Some(Self { at, partner: partner.map(str::to_owned) }))
    }
}

/// The rollout of the serving slot itself.
pub(super) struct Base {
    pub token: String,
    pub since: Option<Timestamp>,
    /// How the build came there, for people; empty where that is not told.
    how: String,
}

/// What the token must name because App Service tells of no moment at which it was set. A package that could not be read makes no
/// other rollout: it is an error.
fn named_content(
    target: &AppServiceTarget,
    serving: &SlotReading,
    config: &SiteConfig,
) -> Result<Option<Fingerprint>, PortError> {
    if let (Some(_), Some(ReleaseMark::Unread(error))) = (target.package_setting(), &serving.mark) {
        return Err(error.clone());
    }
    let image = given(config.properties.linux_fx_version.as_ref()).and_then(image::of_config).map(image::fingerprint);
    Ok(image.or_else(|| target.package_setting().and_then(|_| content(target, serving).fingerprint)))
}

impl Base {
    fn of(serving: &SlotReading, swap: Option<&Swap>, named: Option<Fingerprint>) -> Self {
        let base = Self::by_time(serving, swap);
        match named {
            Some(content) => Self { token: format!("{}|{content}", base.token), ..base },
            None => base,
        }
    }

    fn by_time(serving: &SlotReading, swap: Option<&Swap>) -> Self {
        let pushed = active(serving).and_then(|deployment| Some((deployment.kudu_id()?, deployment.moment()?)));
        let later_push = pushed.filter(|(_, moment)| swap.is_none_or(|swap| *moment > swap.at));
        match (later_push, swap) {
            (Some((id, moment)), _) => Self {
                token: format!("deployment|{id}|{}", normalised(moment)),
                since: Some(moment),
                how: format!(" (pushed at {})", at(moment)),
            },
            (None, Some(swap)) => {
                let from = swap.partner.as_ref().map(|slot| format!(" from {}", clean(slot))).unwrap_or_default();
                Self {
                    token: format!("swap|{}", normalised(swap.at)),
                    since: Some(swap.at),
                    how: format!(" (swapped in{from} at {})", at(swap.at)),
                }
            }
            (None, None) => Self { token: "swap|none".to_owned(), since: None, how: String::new() },
        }
    }

    fn running(self, own: Content) -> RunningVersion {
        RunningVersion {
            token: VersionToken(self.token),
            fingerprint: own.fingerprint,
            serving_since: self.since,
            label: format!("{}{}", own.label, self.how),
        }
    }
}

pub(super) fn at(moment: Timestamp) -> String {
    moment.strftime("%H:%M:%SZ").to_string()
}

pub(super) struct Content {
    pub fingerprint: Option<Fingerprint>,
    pub label: String,
}

/// What the slot holds: by the policy's mark, else the container's image, else the active deployment.
pub(super) fn content(target: &AppServiceTarget, reading: &SlotReading) -> Content {
    let known = |kind: &str, text: &str, label: String| Content {
        fingerprint: Some(Fingerprint(format!("{kind}:{text}"))),
        label: clean(&label),
    };
    let unknown = |why: String| Content { fingerprint: None, label: format!("unknown build ({why})") };
    let kind = match &target.fingerprint {
        FingerprintSource::Setting(_) => "setting",
        FingerprintSource::Url(_) => "url",
        FingerprintSource::Default => return default_content(reading, known, unknown),
    };
    match &reading.mark {
        Some(ReleaseMark::Says(text)) if target.package_setting().is_some() => known(kind, text, package::label(text)),
        Some(ReleaseMark::Says(text)) => known(kind, text, text.clone()),
        Some(ReleaseMark::Unknown(why)) => unknown(why.clone()),
        Some(ReleaseMark::Unread(error)) => unknown(error.to_string()),
        None => unknown("it was not asked".to_owned()),
    }
}

fn default_content(
    reading: &SlotReading,
    known: impl Fn(&str, &str, String) -> Content,
    unknown: impl Fn(String) -> Content,
) -> Content {
    let config = match &reading.config {
        Ok(config) => config,
        Err(error) => return unknown(error.to_string()),
    };
    if let Some(image) = given(config.properties.linux_fx_version.as_ref()).and_then(image::of_config) {
        return Content { fingerprint: Some(image::fingerprint(image)), label: image::label(image) };
    }
    match (&reading.deployments, active(reading).and_then(Deployment::kudu_id)) {
        (Err(error), _) => unknown(error.to_string()),
        (Ok(_), Some(id)) => known("deployment", id, format!("deployment {}", id.chars().take(12).collect::<String>())),
        (Ok(_), None) => unknown("no deployment is active".to_owned()),
    }
}

pub(super) fn active(reading: &SlotReading) -> Option<&Deployment> {
    let deployments = reading.deployments.as_ref().ok()?;
    deployments.iter().filter(|deployment| deployment.properties.active == Some(true)).max_by_key(|d| d.moment())
}

fn against_any_rollback(
    target: &AppServiceTarget,
    serving: &SlotReading,
    site: &Site,
    config: &SiteConfig,
    obstacles: &mut Vec<Obstacle>,
) {
    let slot = &target.serving_slot;
    match given(site.properties.state.as_ref()) {
        Some(state) if state.eq_ignore_ascii_case("running") => {}
        Some(state) => obstacles.push(Obstacle::propose(
            RuleId::S9,
            format!("slot {slot} is `{}`, not `Running`; start it, or leave it if that was meant", clean(state)),
        )),
        None => obstacles.push(Obstacle::propose(RuleId::S9, format!("whether slot {slot} is running could not be told"))),
    }
    if let Some(other) = given(site.properties.target_swap_slot.as_ref()) {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!("a swap with preview into `{}` is pending on slot {slot}; complete or cancel it", clean(other)),
        ));
    }
    against_auto_swap(slot, config, obstacles);
    if let Err(error) = &serving.deployments {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!("whether something was pushed to slot {slot} since the last swap could not be checked ({error})"),
        ));
    }
}

fn against_auto_swap(slot: &str, config: &SiteConfig, obstacles: &mut Vec<Obstacle>) {
    if let Some(other) = given(config.properties.auto_swap_slot_name.as_ref()) {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!(
                "slot {slot} swaps itself into `{}` after each push, which may collide; clear `autoSwapSlotName` first",
                clean(other)
            ),
        ));
    }
}

/// `None` where the slot does not exist.
fn way_back(
    target: &AppServiceTarget,
    slot: &str,
    reading: &SlotReading,
    swap: Option<&Swap>,
    ramp: &Ramp<'_>,
) -> Option<WayBack> {
    let mut obstacles = Vec::new();
    match &reading.site {
        Ok(site) => against_slot(slot, site, &mut obstacles),
        Err(error) if error.kind == PortErrorKind::NotFound => return None,
        Err(error) => obstacles.push(Obstacle::propose(RuleId::S10, format!("slot {slot} could not be read ({error})"))),
    }
    if is_production(slot) || slot.eq_ignore_ascii_case(&target.serving_slot) {
        obstacles.push(Obstacle::page(
            RuleId::S10,
            format!("slot {slot} must not be the source of a swap; name another one in `goodSlots`"),
        ));
    }
    match &reading.config {
        Ok(config) => against_auto_swap(slot, config, &mut obstacles),
        Err(error) => {
            obstacles.push(Obstacle::propose(RuleId::S10, format!("auto-swap of slot {slot} could not be checked ({error})")));
        }
    }
    match (&reading.deployments, swap) {
        (Err(error), _) => obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!("whether slot {slot} got another build since the swap could not be checked ({error})"),
        )),
        (Ok(deployments), Some(swap)) => {
            let newest = deployments.iter().filter_map(Deployment::moment).max();
            if let Some(newest) = newest.filter(|moment| *moment > swap.at) {
                obstacles.push(Obstacle::page(
                    RuleId::S10,
                    format!(
                        "slot {slot} got another deployment at {}, after the swap at {}: it no longer holds the build that served \
                         before; deploy the good build there or roll forward",
                        at(newest),
                        at(swap.at)
                    ),
                ));
            }
        }
        (Ok(_), None) => {}
    }
    let detail = match ramp {
        Ramp::Off => json!({ SLOT: slot }),
        // The rules stay with the serving slot, and would send users to the accused build after the swap.
        Ramp::Older | Ramp::Untold(_) => json!({ SLOT: slot, RAMP: "off" }),
        Ramp::Rollout(_) => {
            obstacles.push(Obstacle::page(
                RuleId::S10,
                format!(
                    "what came last to slot {} is a newer build for a share of its users, so ending that comes before any swap",
                    target.serving_slot
                ),
            ));
            json!({ SLOT: slot })
        }
    };
    let content = content(target, reading);
    Some(WayBack { name: format!("slot {slot}"), fingerprint: content.fingerprint, label: content.label, obstacles, detail })
}

fn against_slot(slot: &str, site: &Site, obstacles: &mut Vec<Obstacle>) {
    match given(site.properties.state.as_ref()) {
        Some(state) if state.eq_ignore_ascii_case("running") => {}
        Some(state) => {
            obstacles
                .push(Obstacle::page(RuleId::S9, format!("slot {slot} is `{}`, so it cannot warm up; start it", clean(state))));
        }
        None => obstacles.push(Obstacle::propose(RuleId::S9, format!("whether slot {slot} is running could not be told"))),
    }
    if let Some(other) = given(site.properties.target_swap_slot.as_ref()) {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!("a swap with preview of slot {slot} into `{}` is pending; complete or cancel it", clean(other)),
        ));
    }
}

/// Function Apps on Flex Consumption have no slots. Source: the documentation of deployment slots.
fn has_no_slots(site: &Site) -> bool {
    let is_function_app = given(site.kind.as_ref()).is_some_and(|kind| kind.to_ascii_lowercase().contains("functionapp"));
    is_function_app && given(site.properties.sku.as_ref()).is_some_and(|sku| sku.eq_ignore_ascii_case("FlexConsumption"))
}

fn under_way(target: &AppServiceTarget, readings: &Readings, config: &SiteConfig, now: Timestamp) -> Option<String> {
    let serving = (target.serving_slot.as_str(), &readings.serving);
    let all = std::iter::once(serving).chain(readings.others().map(|(slot, reading)| (slot.as_str(), reading)));
    for (slot, reading) in all {
        let operation = reading.site.as_ref().ok().and_then(|s| given(s.properties.in_progress_operation_id.as_ref()));
        if let Some(operation) = operation {
            return Some(format!("operation `{}` on slot {slot}", clean(operation)));
        }
    }
    let oldest = now - SignedDuration::from_hours(DEPLOYMENT_HOURS_MAX);
    let fresh = |deployment: &&Deployment| deployment.is_under_way() && deployment.moment().is_some_and(|m| m > oldest);
    std::iter::once(serving).chain(ramp::slots(readings, config)).find_map(|(slot, reading)| {
        let deployment = reading.deployments.as_ref().ok()?.iter().find(fresh)?;
        Some(format!("deployment `{}` to slot {slot}", clean(deployment.kudu_id().unwrap_or("without id"))))
    })
}
