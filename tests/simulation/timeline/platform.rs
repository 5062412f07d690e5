//! Every platform as it truly is: what runs since when, who changed it, what each call did; and what a look at it shows.
//!
//! Slots swap (a toggle that knows nothing of versions); workloads and workflows are set to a named version, and compare before they
//! do; templates and the traffic of container apps are set without, the latter now and then by two calls; a pipeline queues one more run
//! each time it is asked.

use std::sync::Arc;

use backout::{
    domain::{
        observation::{Observation, Obstacle, Preflight, RunningVersion, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        rule::RuleId,
        target::{Fingerprint, PlatformKind, Target, TargetKey, VersionToken},
    },
    ports::{Platform, Platforms, PortError, PortErrorKind, SendBy},
};
use serde_json::{Value, json};

use super::{
    counts::Kind,
    time::{MINUTE, Micros, SECOND, skewed, timestamp},
    world::{FaultIn, Handle, Side, World},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    pub token: String,
    pub build: u32,
    pub since: Micros,
}

/// A place that holds an earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    build: u32,
    active: bool,
}

#[derive(Debug, Clone)]
struct UnderWay {
    number: u64,
    says: &'static str,
    waits_for_a_person: bool,
}

pub struct Site {
    pub key: TargetKey,
    pub kind: PlatformKind,
    /// Whether the policy names it.
    pub listed: bool,
    pub serving: Serving,
    /// The likeliest first.
    places: Vec<Place>,
    under_way: Option<UnderWay>,
    /// How each operation ended: true if it worked.
    ended: Vec<(u64, bool)>,
    operations: u64,
    /// What served from when on, for the measurements.
    pub served: Vec<(Micros, u32)>,
    serial: u64,
    /// Whether the platform tells since when a version serves.
    tells_since: bool,
}

impl Site {
    pub fn new(target: &Target, listed: bool, tells_since: bool) -> Self {
        let (key, kind) = (target.key(), target.platform());
        let mut site = Self {
            key,
            kind,
            listed,
            serving: Serving { token: String::new(), build: 1, since: 0 },
            places: Vec::new(),
            under_way: None,
            ended: Vec::new(),
            operations: 0,
            served: vec![(0, 1)],
            serial: 7,
            tells_since,
        };
        let name = site.name_of_place(0);
        site.places.push(Place { name, build: 0, active: true });
        site.serving.token = site.new_token(0, 1);
        site
    }

    fn name_of_place(&self, build: u32) -> String {
        match self.kind {
            PlatformKind::AppService => "slot staging".to_owned(),
            PlatformKind::Kubernetes | PlatformKind::ContainerApp => format!("revision {}", self.serial),
            PlatformKind::ArmDeployment => format!("deployment hub-{}", self.serial),
            PlatformKind::LogicApp => format!("version {:020}", self.serial),
            PlatformKind::Pipeline => format!("version build-{build}"),
        }
    }

    fn new_token(&mut self, now: Micros, build: u32) -> String {
        self.serial += 1;
        match self.kind {
            PlatformKind::AppService => format!("swap|{}|{}", timestamp(now), self.serial),
            PlatformKind::Kubernetes => format!("revision|{}|{}", self.key.0.len(), self.serial),
            PlatformKind::ArmDeployment => format!("deployment|hub-{}|{}", self.serial, now),
            PlatformKind::LogicApp => format!("version|{:020}", self.serial),
            PlatformKind::ContainerApp => format!("traffic|build-{build}|{}", self.serial),
            PlatformKind::Pipeline => format!("run|{}|1", self.serial),
        }
    }

    /// `build` serves from now on.
    fn serve(&mut self, now: Micros, build: u32) {
        // A revision without traffic is switched off now and then, and has to be activated first.
        let active = self.kind != PlatformKind::ContainerApp || self.serial.is_multiple_of(2);
        let before = Place { name: self.name_of_place(self.serving.build), build: self.serving.build, active };
        match self.kind {
            PlatformKind::AppService => self.places = vec![before],
            PlatformKind::Kubernetes
            | PlatformKind::ArmDeployment
            | PlatformKind::LogicApp
            | PlatformKind::ContainerApp
            | PlatformKind::Pipeline => {
                self.places.retain(|place| place.build != build && place.build != before.build);
                self.places.insert(0, before);
                self.places.truncate(4);
            }
        }
        let token = self.new_token(now, build);
        self.serving = Serving { token, build, since: now };
        if self.served.last().is_none_or(|(_, last)| *last != build) {
            self.served.push((now, build));
        }
    }

    /// Whether it is locked while an operation runs; elsewhere a newer rollout takes the place of the one that runs.
    fn one_at_a_time(&self) -> bool {
        match self.kind {
            PlatformKind::AppService | PlatformKind::Pipeline => true,
            PlatformKind::Kubernetes | PlatformKind::ArmDeployment | PlatformKind::LogicApp | PlatformKind::ContainerApp => false,
        }
    }

    /// What a call of ours would lead to now: the slot's content whatever it is, else the version that it names.
    fn build_of(&self, way: &str) -> Option<u32> {
        if way.is_empty() {
            // Nothing named: whatever the platform calls the one before.
            return self.places.first().map(|place| place.build);
        }
        if self.kind == PlatformKind::Pipeline && self.name_of_place(self.serving.build) == way {
            // A pipeline runs whatever version it is asked for, also the one that serves.
            return Some(self.serving.build);
        }
        self.places.iter().find(|place| place.name == way).map(|place| place.build)
    }
}

pub fn fingerprint(build: u32) -> Fingerprint {
    Fingerprint(format!("build-{build}"))
}

impl World {
    /// The team rolls out a build; it serves when the operation ends, unless a newer one takes its place.
    pub fn team_deploys(&mut self, site: usize, build: u32, takes: Micros) {
        if self.sites[site].under_way.is_some() {
            self.count(Kind::Overlap);
            if self.sites[site].one_at_a_time() {
                self.tell(|| format!("site {site} is locked by an operation; build-{build} waits"));
                self.later(MINUTE, move |world| world.team_deploys(site, build, takes));
                return;
            }
        }
        self.count(Kind::Deployment);
        if self.story.is_bad(build) {
            self.count(Kind::BadDeployment);
        }
        self.tell(|| format!("the team rolls out build-{build} on site {site}"));
        let number = self.begin(site, "a rollout by the team", false);
        self.later(takes, move |world| {
            let now = world.now;
            if !world.is_newest(site, number) {
                world.end_operation(site, number, false);
                return;
            }
            world.sites[site].serve(now, build);
            world.changed_by_others(site);
            world.end_operation(site, number, true);
            world.tell(|| format!("build-{build} serves on site {site}"));
        });
    }

    /// Somebody changes it by hand, at once, whatever is under way.
    pub fn person_changes(&mut self, site: usize, build: u32) {
        self.count(Kind::Meddling);
        self.tell(|| format!("a person puts build-{build} in service on site {site} by hand"));
        let now = self.now;
        self.sites[site].serve(now, build);
        self.changed_by_others(site);
    }

    /// Somebody puts another build where the good one is.
    pub fn person_overwrites_place(&mut self, site: usize, build: u32) {
        self.count(Kind::Meddling);
        self.tell(|| format!("a person puts build-{build} where site {site} would go back to"));
        if let Some(place) = self.sites[site].places.first_mut() {
            place.build = build;
        }
        self.changed_by_others(site);
    }

    fn begin(&mut self, site: usize, says: &'static str, waits_for_a_person: bool) -> u64 {
        let site = &mut self.sites[site];
        site.operations += 1;
        site.under_way = Some(UnderWay { number: site.operations, says, waits_for_a_person });
        site.operations
    }

    /// Whether no newer operation has taken its place.
    fn is_newest(&mut self, site: usize, number: u64) -> bool {
        let newest = self.sites[site].under_way.as_ref().is_some_and(|operation| operation.number == number);
        if !newest {
            self.count(Kind::Superseded);
            self.tell(|| format!("operation {number} on site {site} was superseded, and changes nothing"));
        }
        newest
    }

    fn end_operation(&mut self, site: usize, number: u64, worked: bool) {
        let site = &mut self.sites[site];
        site.ended.push((number, worked));
        if site.under_way.as_ref().is_some_and(|operation| operation.number == number) {
            site.under_way = None;
        }
    }

    /// A call of ours has arrived. What it answers, and whether the answer tells.
    fn call_arrives(&mut self, site: usize, call: &Call) -> Submission {
        if self.sites[site].under_way.is_some() {
            return Submission::Busy { says: "another operation is in progress".to_owned() };
        }
        let compares = match self.sites[site].kind {
            PlatformKind::Kubernetes | PlatformKind::LogicApp => true,
            PlatformKind::AppService | PlatformKind::ArmDeployment | PlatformKind::ContainerApp | PlatformKind::Pipeline => false,
        };
        if compares && self.sites[site].serving.token != call.from {
            return Submission::Refused { says: "409: it was changed meanwhile".to_owned() };
        }
        let Some(build) = self.sites[site].build_of(&call.way) else {
            return Submission::Refused { says: "404: there is no such version".to_owned() };
        };
        if call.only_activates {
            let way = call.way.clone();
            if let Some(place) = self.sites[site].places.iter_mut().find(|place| place.name == way) {
                place.active = true;
            }
            return Submission::Done;
        }
        let at_once = self.sites[site].kind == PlatformKind::LogicApp || self.chance.percent(10);
        let works = !(self.faults && self.chance.happens(self.weather.operation_failures));
        if at_once && works {
            self.take_effect(site, call, build);
            return Submission::Done;
        }
        let (least, most) = match self.sites[site].kind {
            PlatformKind::AppService => (20 * SECOND, 3 * MINUTE),
            PlatformKind::Pipeline => (MINUTE, 9 * MINUTE),
            PlatformKind::Kubernetes | PlatformKind::LogicApp | PlatformKind::ContainerApp => (5 * SECOND, 90 * SECOND),
            PlatformKind::ArmDeployment => (30 * SECOND, 4 * MINUTE),
        };
        let slow = self.faults && self.chance.happens(self.weather.slow_operations);
        let takes = if slow { self.chance.between(10 * MINUTE, 80 * MINUTE) } else { self.chance.between(least, most) };
        let gate = self.sites[site].kind == PlatformKind::Pipeline && self.chance.percent(10);
        let number = self.begin(site, "a rollback of ours", gate);
        let call = call.clone();
        self.later(takes, move |world| {
            if !world.is_newest(site, number) {
                world.end_operation(site, number, false);
                return;
            }
            // A person's change in between has the last word on what the call still finds.
            if works {
                let build = if world.sites[site].kind == PlatformKind::AppService {
                    world.sites[site].build_of(&call.way).unwrap_or(build)
                } else {
                    build
                };
                world.take_effect(site, &call, build);
            } else {
                world.count(Kind::OperationFailed);
            }
            world.end_operation(site, number, works);
        });
        Submission::Accepted { operation: json!({ "number": number }), poll_after_seconds: 15 }
    }

    fn take_effect(&mut self, site: usize, call: &Call, build: u32) {
        let before = self.sites[site].serving.clone();
        if before.build == build && self.sites[site].kind != PlatformKind::Pipeline {
            return;
        }
        let now = self.now;
        self.sites[site].serve(now, build);
        self.tell(|| format!("build-{build} serves on site {site} by our call ({})", call.way));
        self.effect_of_ours(site, call, &before);
    }
}

/// A mutating call of ours, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub site: usize,
    pub claim: String,
    pub record: String,
    pub step: String,
    pub is_first: bool,
    pub kind: StepKind,
    pub way: String,
    /// The token that it was made for, and the content that it is to lead to.
    pub from: String,
    pub good: Option<String>,
    pub only_activates: bool,
}

/// The platforms as one instance reaches them.
pub struct FaultyPlatforms(pub Handle);

impl Platforms for FaultyPlatforms {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        let site = self.0.with(|world| {
            let key = target.key();
            let site = world.site_of.get(&key.0).copied();
            world.target_touched(&key, site);
            site
        });
        Arc::new(FaultyPlatform { handle: self.0.clone(), site })
    }
}

struct FaultyPlatform {
    handle: Handle,
    /// `None`: there is no such target.
    site: Option<usize>,
}

/// What one look shows, at one moment.
fn look(world: &World, site: usize, instance: usize) -> Observation {
    let site = &world.sites[site];
    let running = RunningVersion {
        token: VersionToken(site.serving.token.clone()),
        fingerprint: Some(fingerprint(site.serving.build)),
        serving_since: site.tells_since.then(|| timestamp(site.serving.since)).filter(|_| site.serving.since > 0).or_else(|| {
            // It has served since the day before.
            (site.tells_since && site.serving.since == 0).then(|| skewed(0, -26 * 3_600 * 1_000_000))
        }),
        label: format!("build-{}", site.serving.build),
    };
    let ways_back = site.places.iter().filter(|place| place.build != site.serving.build).take(3).map(|place| WayBack {
        name: place.name.clone(),
        fingerprint: Some(fingerprint(place.build)),
        label: format!("build-{}", place.build),
        obstacles: Vec::new(),
        detail: json!({ "way": place.name, "active": place.active, "from": site.serving.token }),
    });
    Observation {
        observed_at: skewed(world.now, world.hosts[instance].skew),
        running,
        under_way: site.under_way.as_ref().map(|operation| operation.says.to_owned()),
        ways_back: ways_back.collect(),
        obstacles: Vec::new(),
    }
}

impl FaultyPlatform {
    fn site(&self) -> Result<usize, PortError> {
        self.site.ok_or_else(|| PortError::new("read the target", PortErrorKind::NotFound, "404 ResourceNotFound"))
    }

    fn unreadable(&self) -> PortError {
        let throttled = self.handle.with(|world| world.chance.percent(30));
        let kind = if throttled { PortErrorKind::Throttled } else { PortErrorKind::Transient };
        PortError::new("read the target", kind, "no answer from the platform")
    }
}

#[async_trait::async_trait]
impl Platform for FaultyPlatform {
    async fn observe(&self) -> Result<Observation, PortError> {
        let (instance, site) = (self.handle.instance, self.site()?);
        let began = self.handle.with(|world| world.now);
        let travel = self.handle.set_out(Side::Platform).await;
        let observation = self.handle.with(|world| look(world, site, instance));
        self.handle.come_back(travel, Side::Platform).await;
        let failed = travel.fault.is_some();
        self.handle.with(|world| world.looked(instance, site, began, (!failed).then_some(&observation)));
        if failed { Err(self.unreadable()) } else { Ok(observation) }
    }

    fn rights(&self) -> Vec<NeededRight> {
        Vec::new()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        let site = self.site()?;
        let travel = self.handle.set_out(Side::Platform).await;
        let locked = self.handle.with(|world| world.faults && world.chance.happens(world.weather.locks));
        self.handle.come_back(travel, Side::Platform).await;
        let failed = travel.fault.is_some();
        self.handle.with(|world| world.preflighted(site, failed || locked));
        if failed {
            return Err(self.unreadable());
        }
        let lock = Obstacle::page(RuleId::S9, "a lock keeps the target from being changed; remove it");
        Ok(Preflight { obstacles: locked.then_some(lock).into_iter().collect(), ways_back: Vec::new() })
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        let Ok(site) = self.site() else { return Vec::new() };
        let kind = self.handle.with(|world| world.sites[site].kind);
        let toggle = match kind {
            PlatformKind::AppService | PlatformKind::Pipeline => StepKind::Toggle,
            PlatformKind::Kubernetes | PlatformKind::ArmDeployment | PlatformKind::LogicApp | PlatformKind::ContainerApp => {
                StepKind::Convergent
            }
        };
        let activates = kind == PlatformKind::ContainerApp && way_back.detail["active"] != true;
        let step = |name: &str, says: String| {
            let mut detail = way_back.detail.clone();
            detail["claim"] = json!(fence.claim);
            detail["record"] = json!(fence.record);
            detail["step"] = json!(name);
            detail["first"] = json!(!activates || name == "activate");
            // What the decision says is to serve again; whether it is there is another question.
            detail["good"] = json!(way_back.fingerprint);
            Step { says, kind: toggle, detail }
        };
        let move_over = step("move", format!("put {} from {} in service", way_back.label, way_back.name));
        if activates {
            return vec![step("activate", format!("activate {}", way_back.name)), move_over];
        }
        vec![move_over]
    }

    async fn submit(&self, step: &Step) -> Submission {
        let instance = self.handle.instance;
        let site = match self.site() {
            Ok(site) => site,
            Err(error) => return Submission::Refused { says: error.says },
        };
        if SendBy::has_passed() {
            return Submission::NotSent { says: "too late to send a call".to_owned(), retry_after_seconds: None };
        }
        let text = |name: &str| step.detail[name].as_str().unwrap_or_default().to_owned();
        let call = Call {
            site,
            claim: text("claim"),
            record: text("record"),
            step: text("step"),
            is_first: step.detail["first"] == true,
            kind: step.kind,
            way: text("way"),
            from: text("from"),
            good: step.detail["good"].as_str().map(str::to_owned),
            only_activates: text("step") == "activate",
        };
        // Once it is sent, nothing that happens to its sender holds it back.
        let number = self.handle.with(|world| world.call_sent(instance, &call));
        let (fate, there, back) = self.handle.with(World::fate_of_call);
        let answer: Arc<std::sync::Mutex<Option<Submission>>> = Arc::default();
        match fate {
            Fate::NotSent => {
                self.handle.sleep(back).await;
                let retry_after_seconds =
                    self.handle.with(|world| *world.chance.one_of(&[None, None, Some(20), Some(20), Some(300), Some(900)]));
                let submission = Submission::NotSent { says: "429".to_owned(), retry_after_seconds };
                self.handle.with(|world| world.call_answered(number, Some(&submission)));
                return submission;
            }
            Fate::Refused => {
                self.handle.sleep(there).await;
                let submission = Submission::Refused { says: "403 AuthorizationFailed".to_owned() };
                self.handle.with(|world| world.call_answered(number, Some(&submission)));
                return submission;
            }
            Fate::Arrives | Fate::AnswerLost | Fate::ArrivesLate | Fate::Vanishes => {
                if fate != Fate::Vanishes {
                    let (answer, call) = (Arc::clone(&answer), call.clone());
                    self.handle.with(|world| {
                        if world.repeats_calls {
                            let call = call.clone();
                            world.later(there + 15 * MINUTE, move |world| drop(world.call_arrives(site, &call)));
                        }
                        world.later(there, move |world| {
                            let submission = world.call_arrives(site, &call);
                            world.call_answered(number, Some(&submission));
                            *answer.lock().unwrap() = Some(submission);
                        });
                    });
                }
            }
        }
        self.handle.with(|world| world.maybe_dies_in_call(instance));
        self.handle.sleep(if fate == Fate::Arrives { there + back } else { 30 * SECOND }).await;
        let told = answer.lock().unwrap().take().filter(|_| fate == Fate::Arrives);
        self.handle.with(|world| world.call_heard(number, told.as_ref()));
        told.unwrap_or_else(|| Submission::Unknown { says: "no answer in 30 s".to_owned() })
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        let site = self.site()?;
        let travel = self.handle.set_out(Side::Platform).await;
        let number = operation["number"].as_u64().unwrap_or(0);
        let state = self.handle.with(|world| {
            let site = &world.sites[site];
            if let Some(running) = site.under_way.as_ref().filter(|running| running.number == number) {
                return if running.waits_for_a_person {
                    OperationState::WaitsForAPerson { says: "an approval gate".to_owned(), poll_after_seconds: 60 }
                } else {
                    OperationState::Running { poll_after_seconds: 15 }
                };
            }
            match site.ended.iter().find(|(ended, _)| *ended == number) {
                Some((_, true)) => OperationState::Succeeded,
                Some((_, false)) => OperationState::Failed { says: "it did not start".to_owned() },
                None => OperationState::Unknown { says: "the operation is not known".to_owned() },
            }
        });
        self.handle.come_back(travel, Side::Platform).await;
        match travel.fault {
            None => Ok(state),
            Some(FaultIn::Request) => Err(self.unreadable()),
            Some(FaultIn::Answer) => Ok(OperationState::Unknown { says: "403".to_owned() }),
        }
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}

/// What becomes of a call that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It arrives when nobody waits for its answer any more.
    ArrivesLate,
    Vanishes,
    Refused,
    NotSent,
}

impl World {
    fn fate_of_call(&mut self) -> (Fate, Micros, Micros) {
        let (there, back) = (1 + self.chance.below(SECOND), 1 + self.chance.below(SECOND));
        if !self.faults || !self.chance.happens(self.weather.call_faults) {
            return (Fate::Arrives, there, back);
        }
        match self.chance.below(6) {
            0 => (Fate::NotSent, there, back),
            1 => (Fate::Refused, there, back),
            2 => (Fate::Vanishes, there, back),
            3 => {
                self.count(Kind::EffectLate);
                // Less than any quiet time, the clocks' differences taken off.
                (Fate::ArrivesLate, self.chance.between(30 * SECOND, 200 * SECOND), back)
            }
            _ => (Fate::AnswerLost, there, back),
        }
    }

    fn maybe_dies_in_call(&mut self, instance: usize) {
        if self.faults && self.chance.happens(self.weather.deaths_in_call) {
            self.count(Kind::DeathInCall);
            let host_lives = self.chance.percent(50);
            self.deaths.push((instance, host_lives));
            self.tell(|| format!("instance {instance} dies while its call is under way"));
        } else if self.faults && self.chance.happens(self.weather.stalls_in_call) {
            self.stall(instance);
        }
    }
}
