//! The simulated world: sites, their slots, what runs in each, and since when.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    alerts_management::SimulatedAlert,
    arm_deployment, container_app,
    identity::Identities,
    kubernetes, logic_app,
    metrics::{self, Measured},
    operations::Operation,
    permissions::Permissions,
    pipeline,
    service_bus::Bus,
};
use crate::domain::{resource_id::ResourceId, target::sha256_hex};

/// A site to put into the world. Every slot runs `build` at first, and has done so for `served_for`.
#[derive(Debug, Clone)]
pub struct SimulatedSite {
    pub id: ResourceId,
    pub build: String,
    /// Slots beside `production`.
    pub slots: Vec<String>,
    pub delivery: Delivery,
    /// What users send to `production`.
    pub requests_per_minute: f64,
    pub served_for: SignedDuration,
    /// How long a swap takes by the simulation's clock; zero answers 200 at once.
    pub swap_takes: Duration,
    /// `RELEASE_ID` as an app setting that moves with the content.
    pub release_setting: bool,
}

impl SimulatedSite {
    /// A site of code with the slot `staging`, 300 requests a minute and swaps of 90 seconds.
    pub fn new(id: ResourceId, build: &str) -> Self {
        Self {
            id,
            build: build.to_owned(),
            slots: vec!["staging".to_owned()],
            delivery: Delivery::Code,
            requests_per_minute: 300.0,
            served_for: SignedDuration::from_hours(30 * 24),
            swap_takes: Duration::from_secs(90),
            release_setting: true,
        }
    }

    pub fn with_slots(mut self, slots: &[&str]) -> Self {
        self.slots = slots.iter().map(|slot| (*slot).to_owned()).collect();
        self
    }

    pub fn delivered_as(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    pub fn with_swap_taking(mut self, duration: Duration) -> Self {
        self.swap_takes = duration;
        self
    }
}

/// How a build gets into a slot, and where it shows there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Pushed: it shows in the deployment log only.
    Code,
    /// An image with a tag, set by a pipeline that leaves an entry in the log.
    TaggedImage,
    /// An image by its digest, set in the configuration, which leaves no entry.
    Image,
    /// A package that `WEBSITE_RUN_FROM_PACKAGE` names; no entry either.
    Package,
}

impl Delivery {
    pub(super) fn is_container(self) -> bool {
        match self {
            Self::TaggedImage | Self::Image => true,
            Self::Code | Self::Package => false,
        }
    }
}

/// Name of the default slot.
pub const PRODUCTION: &str = "production";

#[derive(Debug)]
pub(super) struct World {
    /// By canonical id.
    pub sites: BTreeMap<String, Site>,
    /// By operation id.
    pub operations: BTreeMap<String, Operation>,
    pub builds: BTreeMap<String, Behaviour>,
    pub permissions: Permissions,
    pub identities: Identities,
    pub bus: Bus,
    /// A bin shows once it ended this long ago.
    pub metrics_lag: SignedDuration,
    /// By canonical id of what they lie on.
    pub locks: BTreeMap<String, (ResourceId, LockLevel)>,
    /// Software that is no site, by the name which the scenario gave it.
    pub workloads: BTreeMap<String, Workload>,
    /// Application Insights components by canonical id.
    pub components: BTreeMap<String, Component>,
    pub kubernetes: kubernetes::State,
    pub arm_deployments: arm_deployment::State,
    pub logic_apps: logic_app::State,
    pub container_apps: container_app::State,
    pub pipelines: pipeline::State,
    /// As Alerts Management lists them.
    pub alerts: Vec<SimulatedAlert>,
    /// By subscription and kind, in lower case.
    pub listed: BTreeMap<(String, String), Vec<Value>>,
}

/// Software that serves users, wherever it runs.
#[derive(Debug)]
pub(super) struct Workload {
    /// Which build served, since when.
    pub served: Timeline<String>,
    pub requests_per_minute: Timeline<f64>,
    pub silenced: Timeline<bool>,
}

/// An Application Insights component that measures one workload, or one site.
#[derive(Debug)]
pub(super) struct Component {
    pub id: ResourceId,
    /// Its name, or the canonical id of the site.
    pub workload: String,
}

impl Workload {
    pub fn new(build: &str, requests_per_minute: f64) -> Self {
        Self {
            served: Timeline::starting_with(build.to_owned()),
            requests_per_minute: Timeline::starting_with(requests_per_minute),
            silenced: Timeline::starting_with(false),
        }
    }
}

#[derive(Debug)]
pub(super) struct Site {
    pub id: ResourceId,
    /// By lower-case name; `production` is one of them.
    pub slots: BTreeMap<String, Slot>,
    pub delivery: Delivery,
    /// Builds by what names them in the configuration: an image, a package.
    pub builds: BTreeMap<String, String>,
    pub sticky_names: Vec<String>,
    pub swap_takes: Duration,
    /// Every swap ends with this error while it is set.
    pub swaps_fail: Option<String>,
    /// Swaps that took place, whoever asked.
    pub swaps: u32,
    pub requests_per_minute: Timeline<f64>,
    pub silenced: Timeline<bool>,
    /// What `slotsdiffs` reports beyond differing settings.
    pub differences: Vec<SlotDifference>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub name: String,
    pub content: Content,
    pub sticky_settings: BTreeMap<String, String>,
    pub auto_swap_slot_name: Option<String>,
    pub ramp_up_rules: Timeline<Vec<Value>>,
    pub last_swap: Option<SwapStatus>,
    /// The operation that runs on this slot.
    pub in_progress: Option<String>,
    /// Set while a swap with preview is prepared.
    pub prepared_for: Option<String>,
    pub running: bool,
    pub last_modified: Timestamp,
    /// Which build served here, since when.
    pub served: Timeline<String>,
}

/// What moves with a swap.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub build: String,
    pub image: Option<String>,
    pub settings: BTreeMap<String, String>,
    /// Newest last.
    pub deployments: Vec<Deployment>,
}

#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub id: String,
    pub build: String,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub active: bool,
}

#[derive(Debug, Clone)]
pub(super) struct SwapStatus {
    pub at: Timestamp,
    pub source: String,
    pub destination: String,
}

/// One line of `slotsdiffs`.
#[derive(Debug, Clone)]
pub struct SlotDifference {
    /// `Information`, `Warning` or `Error`.
    pub level: String,
    /// `General`, `AppSetting` or `ConnectionString`.
    pub setting_type: String,
    pub setting_name: String,
    pub rule: String,
    pub description: String,
}

/// A management lock on the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockLevel {
    /// Changes nothing for a swap.
    CanNotDelete,
    /// Refuses every write and every POST, those that only read included.
    ReadOnly,
}

/// How a build behaves under traffic.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub error_share: Timeline<f64>,
    pub response_seconds: Timeline<f64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { error_share: Timeline::starting_with(0.0), response_seconds: Timeline::starting_with(0.2) }
    }
}

/// A value over time; the first one holds for all the past.
#[derive(Debug)]
pub(super) struct Timeline<T>(Vec<(Timestamp, T)>);

impl<T> Timeline<T> {
    pub fn starting_with(value: T) -> Self {
        Self(vec![(Timestamp::MIN, value)])
    }

    /// From `at` on; what was to come later is dropped.
    pub fn set(&mut self, at: Timestamp, value: T) {
        self.0.retain(|(since, _)| *since < at || *since == Timestamp::MIN);
        self.0.push((at, value));
    }

    /// For all times.
    pub fn replace(&mut self, value: T) {
        self.0 = vec![(Timestamp::MIN, value)];
    }

    pub fn at(&self, time: Timestamp) -> &T {
        let index = self.0.partition_point(|(since, _)| *since <= time);
        &self.0[index.saturating_sub(1)].1
    }

    /// Pieces of `start..end` with their share of it.
    pub fn pieces(&self, start: Timestamp, end: Timestamp) -> Vec<(f64, &T)> {
        let whole = end.duration_since(start).as_secs_f64();
        let mut pieces = Vec::new();
        for (index, (since, value)) in self.0.iter().enumerate() {
            let until = self.0.get(index + 1).map_or(Timestamp::MAX, |(next, _)| *next);
            let (from, to) = ((*since).max(start), until.min(end));
            if from < to {
                pieces.push((to.duration_since(from).as_secs_f64() / whole, value));
            }
        }
        pieces
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            sites: BTreeMap::new(),
            operations: BTreeMap::new(),
            builds: BTreeMap::new(),
            permissions: Permissions::new(),
            identities: Identities::new(),
            bus: Bus::new(),
            metrics_lag: SignedDuration::from_mins(2),
            locks: BTreeMap::new(),
            workloads: BTreeMap::new(),
            components: BTreeMap::new(),
            kubernetes: kubernetes::State::default(),
            arm_deployments: arm_deployment::State::default(),
            logic_apps: logic_app::State::default(),
            container_apps: container_app::State::default(),
            pipelines: pipeline::State::default(),
            alerts: Vec::new(),
            listed: BTreeMap::new(),
        }
    }

    /// Whether the resource, or a resource group or subscription with something in it, is there.
    pub fn exists(&self, id: &ResourceId) -> bool {
        if id.resource_type().is_some() {
            // Of these there may be thousands, and each request about one asks.
            self.site_or_slot(id).is_some()
                || self.components.contains_key(id.canonical())
                || self.other_ids().any(|known| known == *id)
        } else {
            let sites = self.sites.values().map(|site| &site.id);
            let components = self.components.values().map(|component| &component.id);
            sites.chain(components).any(|known| known.is_within(id)) || self.other_ids().any(|known| known.is_within(id))
        }
    }

    /// Every resource of this world that is no site, slot or component.
    fn other_ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        let clusters = self.kubernetes.ids();
        clusters.chain(self.arm_deployments.ids()).chain(self.logic_apps.ids()).chain(self.container_apps.ids())
    }

    fn site_or_slot(&self, id: &ResourceId) -> Option<(&Site, &Slot)> {
        let site = self.sites.get(id.site()?.canonical())?;
        let slot = site.slots.values().find(|slot| site.slot_id(slot).eq_ignore_ascii_case(id.as_written()))?;
        Some((site, slot))
    }

    /// Locks on the resource and on what it lies in.
    pub fn locks_over(&self, id: &ResourceId) -> impl Iterator<Item = (&ResourceId, LockLevel)> {
        self.locks.values().filter(|(at, _)| id.is_within(at)).map(|(at, lock)| (at, *lock))
    }

    /// The measurements of a resource; `None` where nothing is measured.
    pub fn measured(&self, id: &ResourceId) -> Option<Measured<'_>> {
        if let Some(component) = self.components.get(id.canonical()) {
            if let Some(site) = self.sites.get(&component.workload) {
                return Some(Measured {
                    id: component.id.to_string(),
                    namespace: "microsoft.insights/components",
                    metrics: metrics::COMPONENT_METRICS,
                    requests_per_minute: Box::new(|minute| *site.requests_per_minute.at(minute)),
                    served: &site.slots[PRODUCTION].served,
                    silenced: &site.silenced,
                });
            }
            let workload = self.workloads.get(&component.workload)?;
            return Some(Measured {
                id: component.id.to_string(),
                namespace: "microsoft.insights/components",
                metrics: metrics::COMPONENT_METRICS,
                requests_per_minute: Box::new(|minute| *workload.requests_per_minute.at(minute)),
                served: &workload.served,
                silenced: &workload.silenced,
            });
        }
        if let Some(measured) = self.logic_apps.measured(self, id).or_else(|| self.container_apps.measured(self, id)) {
            return Some(measured);
        }
        let (site, slot) = self.site_or_slot(id)?;
        Some(Measured {
            id: site.slot_id(slot),
            namespace: if slot.name == PRODUCTION { "Microsoft.Web/sites" } else { "Microsoft.Web/sites/slots" },
            metrics: metrics::SITE_METRICS,
            requests_per_minute: Box::new(|minute| *site.requests_per_minute.at(minute) * site.traffic_share(slot, minute)),
            served: &slot.served,
            silenced: &site.silenced,
        })
    }

    /// The site that a component measures.
    pub fn site_measured_by(&self, component: &str) -> Option<&Site> {
        let component = self.components.get(&component.to_ascii_lowercase())?;
        self.sites.get(&component.workload)
    }

    /// From `now` on, `build` serves the users of a workload.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario.
    pub fn serve(&mut self, workload: &str, build: &str, now: Timestamp) {
        self.known_workload(workload).served.set(now, build.to_owned());
    }

    /// The workload, for set-up code.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario.
    pub fn known_workload(&mut self, name: &str) -> &mut Workload {
        self.workloads
            .get_mut(name)
            .unwrap_or_else(|| panic!("the simulation has no workload `{name}`; add it with `add_workload` first"))
    }

    pub fn add_site(&mut self, site: SimulatedSite, now: Timestamp) {
        let since = now.checked_sub(site.served_for).unwrap_or(now);
        let mut builds = BTreeMap::new();
        let slots = std::iter::once(PRODUCTION.to_owned())
            .chain(site.slots)
            .map(|name| {
                let mut content = Content {
                    build: String::new(),
                    image: None,
                    settings: BTreeMap::from([("FEATURE_LEVEL".to_owned(), "1".to_owned())]),
                    deployments: Vec::new(),
                };
                if site.release_setting {
                    content.settings.insert(RELEASE_SETTING.to_owned(), site.build.clone());
                }
                content.deploy(&site.build, site.delivery, &mut builds, since);
                let slot = Slot {
                    sticky_settings: BTreeMap::from([("ENVIRONMENT_NAME".to_owned(), name.clone())]),
                    content,
                    auto_swap_slot_name: None,
                    ramp_up_rules: Timeline::starting_with(Vec::new()),
                    last_swap: None,
                    in_progress: None,
                    prepared_for: None,
                    running: true,
                    last_modified: since,
                    served: Timeline::starting_with(site.build.clone()),
                    name: name.clone(),
                };
                (name.to_ascii_lowercase(), slot)
            })
            .collect();
        let canonical = site.id.canonical().to_owned();
        let site = Site {
            id: site.id,
            slots,
            delivery: site.delivery,
            builds,
            sticky_names: vec!["ENVIRONMENT_NAME".to_owned()],
            swap_takes: site.swap_takes,
            swaps_fail: None,
            swaps: 0,
            requests_per_minute: Timeline::starting_with(site.requests_per_minute),
            silenced: Timeline::starting_with(false),
            differences: Vec::new(),
        };
        self.sites.insert(canonical, site);
    }

    /// The site, for set-up code.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario, not in the caller under test.
    pub fn known_site(&mut self, id: &ResourceId) -> &mut Site {
        self.sites
            .get_mut(id.canonical())
            .unwrap_or_else(|| panic!("the simulation has no site `{id}`; add it with `add_site` first"))
    }

    /// The slot, for set-up code.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario, not in the caller under test.
    pub fn known_slot(&mut self, id: &ResourceId, slot: &str) -> &mut Slot {
        self.known_site(id)
            .slot_mut(slot)
            .unwrap_or_else(|| panic!("the simulated site `{id}` has no slot `{slot}`; name it in `SimulatedSite::slots`"))
    }

    /// A finished push of `build` to one slot. An auto-swap that is set there begins at once.
    pub fn deploy(&mut self, id: &ResourceId, slot: &str, build: &str, now: Timestamp) {
        let delivery = self.known_site(id).delivery;
        let mut builds = std::mem::take(&mut self.known_site(id).builds);
        self.known_slot(id, slot).content.deploy(build, delivery, &mut builds, now);
        self.known_site(id).builds = builds;
        let slot = self.known_slot(id, slot);
        slot.served.set(now, build.to_owned());
        slot.last_modified = now;
        if let Some(target) = slot.auto_swap_slot_name.clone() {
            let source = slot.name.clone();
            // Busy or prepared: the auto-swap does not happen, as a refused request would not.
            let _refused = self.begin_swap(id.canonical(), &source, &target, now, None).err();
        }
    }

    pub fn behaviour(&mut self, build: &str) -> &mut Behaviour {
        self.builds.entry(build.to_owned()).or_default()
    }
}

/// The setting in which a pipeline leaves the build's name; it moves with the content.
const RELEASE_SETTING: &str = "RELEASE_ID";

/// The setting that names the package.
pub(super) const PACKAGE_SETTING: &str = "WEBSITE_RUN_FROM_PACKAGE";

impl Content {
    fn deploy(&mut self, build: &str, delivery: Delivery, builds: &mut BTreeMap<String, String>, at: Timestamp) {
        match delivery {
            Delivery::Code => self.log(build, at),
            Delivery::TaggedImage => {
                self.log(build, at);
                self.image = Some(format!("DOCKER|registry.example.com/app:{build}"));
            }
            Delivery::Image => {
                let digest = sha256_hex(build.as_bytes());
                self.image = Some(format!("DOCKER|registry.example.com/app@sha256:{digest}"));
            }
            Delivery::Package => {
                let package = format!("https://packages.example.com/app/{build}.zip");
                builds.insert(package.clone(), build.to_owned());
                self.settings.insert(PACKAGE_SETTING.to_owned(), package);
            }
        }
        if let Some(image) = &self.image {
            builds.insert(image.clone(), build.to_owned());
        }
        build.clone_into(&mut self.build);
        if let Some(release) = self.settings.get_mut(RELEASE_SETTING) {
            build.clone_into(release);
        }
    }

    fn log(&mut self, build: &str, at: Timestamp) {
        for earlier in &mut self.deployments {
            earlier.active = false;
        }
        let started = at.checked_sub(SignedDuration::from_secs(20)).unwrap_or(at);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{build} {at}").as_bytes()).simple().to_string();
        self.deployments.push(Deployment { id, build: build.to_owned(), started, ended: at, active: true });
    }
}

impl Site {
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.get(&name.to_ascii_lowercase())
    }

    pub fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots.get_mut(&name.to_ascii_lowercase())
    }

    /// ARM id of a slot; production's is the site's own.
    pub fn slot_id(&self, slot: &Slot) -> String {
        if slot.name == PRODUCTION { self.id.to_string() } else { format!("{}/slots/{}", self.id, slot.name) }
    }

    /// Which builds serve the site's users in `start..end`, with their shares; by the rules that hold at its start.
    pub fn served(&self, start: Timestamp, end: Timestamp) -> Vec<(f64, &String)> {
        let of = |slot: &Slot| self.traffic_share(slot, start);
        self.slots
            .values()
            .flat_map(|slot| slot.served.pieces(start, end).into_iter().map(move |(share, build)| (share * of(slot), build)))
            .collect()
    }

    /// Share of the site's users who are sent to `slot` at a time: what is routed there by rules, and to production the rest.
    pub fn traffic_share(&self, slot: &Slot, at: Timestamp) -> f64 {
        let rules = self.slots[PRODUCTION].ramp_up_rules.at(at);
        let percentage = |rule: &Value| rule["reroutePercentage"].as_f64().unwrap_or(0.0).clamp(0.0, 100.0) / 100.0;
        if slot.name == PRODUCTION {
            (1.0 - rules.iter().map(percentage).sum::<f64>()).max(0.0)
        } else {
            rules.iter().filter(|rule| routes_to(rule, &slot.name)).map(percentage).sum()
        }
    }
}

fn routes_to(rule: &Value, slot: &str) -> bool {
    let host = rule["actionHostName"].as_str().and_then(|host| host.split('.').next()).unwrap_or_default();
    let named = rule["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(slot));
    named || host.to_ascii_lowercase().ends_with(&format!("-{}", slot.to_ascii_lowercase()))
}

/// The rule that the portal and the CLI write for "`percentage` of the users to `slot`".
pub(super) fn ramp_up_rule(site: &ResourceId, slot: &str, percentage: f64) -> Value {
    json!({
        "actionHostName": format!("{}-{slot}.azurewebsites.net", site.name()),
        "reroutePercentage": percentage,
        "name": slot,
    })
}
