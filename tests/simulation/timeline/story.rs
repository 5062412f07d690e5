//! What a seed tells: the policy, everything that people and machines around the handler do and when, and the weather.

use std::{collections::BTreeMap, sync::Arc};

use backout::domain::{
    alert::Alert,
    policy::Policy,
    record::RecordId,
    service::{Reversible, Service},
    target::{PlatformKind, sha256_hex},
};

use jiff::SignedDuration;

use super::{
    bodies,
    counts::Kind,
    platform::Site,
    seed::Chance,
    services,
    time::{HOUR, MINUTE, Micros, SECOND, timestamp},
    world::Window,
};

/// Builds below this are good unless the story says otherwise.
const BUILDS_FROM: u32 = 2;

/// How often things go wrong, in cases of 10,000; and when they do for a while.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    pub deaths: u32,
    pub stalls: u32,
    pub deaths_in_call: u32,
    pub stalls_in_call: u32,
    pub slow: u32,
    pub store_errors: u32,
    pub bus_errors: u32,
    pub platform_errors: u32,
    pub telemetry_errors: u32,
    pub notifier_errors: u32,
    pub copies: u32,
    pub late: u32,
    pub lost_locks: u32,
    pub call_faults: u32,
    pub operation_failures: u32,
    pub slow_operations: u32,
    pub locks: u32,
    pub gaps: u32,
    /// A person changes the target once a claim stands.
    pub meddling: u32,
    pub detects_duplicates: bool,
    pub store_away: Vec<Window>,
    pub bus_away: Vec<Window>,
    pub policy_wrong: Vec<Window>,
    pub policy_away: Vec<Window>,
}

/// What can be calm while the rest is not: to find out what a failure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Deaths,
    Stalls,
    Slowness,
    Store,
    Bus,
    Platform,
    Telemetry,
    Notifier,
    Copies,
    Calls,
    Operations,
    People,
    Policy,
}

impl Part {
    pub const ALL: [Self; 13] = [
        Self::Deaths,
        Self::Stalls,
        Self::Slowness,
        Self::Store,
        Self::Bus,
        Self::Platform,
        Self::Telemetry,
        Self::Notifier,
        Self::Copies,
        Self::Calls,
        Self::Operations,
        Self::People,
        Self::Policy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Deaths => "deaths",
            Self::Stalls => "stalls",
            Self::Slowness => "slowness",
            Self::Store => "store",
            Self::Bus => "bus",
            Self::Platform => "platform",
            Self::Telemetry => "telemetry",
            Self::Notifier => "notifier",
            Self::Copies => "copies",
            Self::Calls => "calls",
            Self::Operations => "operations",
            Self::People => "people",
            Self::Policy => "policy",
        }
    }
}

impl Weather {
    pub fn still(&mut self, part: Part) {
        match part {
            Part::Deaths => (self.deaths, self.deaths_in_call) = (0, 0),
            Part::Stalls => (self.stalls, self.stalls_in_call) = (0, 0),
            Part::Slowness => (self.slow, self.slow_operations) = (0, 0),
            Part::Store => {
                self.store_errors = 0;
                self.store_away.clear();
            }
            Part::Bus => {
                self.bus_errors = 0;
                self.bus_away.clear();
            }
            Part::Platform => (self.platform_errors, self.locks) = (0, 0),
            Part::Telemetry => (self.telemetry_errors, self.gaps) = (0, 0),
            Part::Notifier => self.notifier_errors = 0,
            Part::Copies => (self.copies, self.late, self.lost_locks, self.detects_duplicates) = (0, 0, 0, false),
            Part::Calls => self.call_faults = 0,
            Part::Operations => self.operation_failures = 0,
            Part::People => self.meddling = 0,
            Part::Policy => {
                self.policy_wrong.clear();
                self.policy_away.clear();
            }
        }
    }
}

/// One thing that happens, whatever the handler does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Deploy {
        site: usize,
        build: u32,
        takes: Micros,
    },
    Send(usize),
    /// The monitoring service keeps the alert from now on.
    Keep(usize),
    Pause(bool),
    Meddle {
        site: usize,
        build: u32,
    },
    Overwrite {
        site: usize,
        build: u32,
    },
    Stall(usize),
    Kill(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Micros,
    pub deed: Deed,
}

/// What a message is, in truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Of the firing with this number.
    Alert {
        firing: usize,
        resolved: bool,
    },
    Deployment {
        id: String,
        site: usize,
    },
    /// An event about nothing in the policy.
    Elsewhere,
    Nonsense,
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub queue: &'static str,
    pub body: Vec<u8>,
    pub body_sha256: String,
    pub meaning: Meaning,
}

/// One firing of one rule.
#[derive(Debug, Clone)]
pub struct Firing {
    pub alert: Alert,
    pub record: RecordId,
    /// The service that it speaks about, if the policy has it.
    pub service: Option<usize>,
    pub at: Micros,
    /// It never arrives by the usual way, and the monitoring service keeps it.
    pub lost: bool,
}

/// The policy file as somebody wrote it.
pub struct PolicyFile {
    /// Until the next one.
    pub from: Micros,
    pub policy: Arc<Policy>,
    /// By service of the story: itself, then all that it depends on by this file; nothing for one that the file does not have.
    pub upstream: Vec<Vec<usize>>,
}

pub struct Story {
    /// As it is written in the course of the story.
    pub policies: Vec<PolicyFile>,
    pub services: Vec<Service>,
    /// By service: those that it depends on in truth, over any number of calls, itself first.
    pub upstream: Vec<Vec<usize>>,
    pub lines: Vec<Line>,
    pub messages: Vec<Sent>,
    pub firings: Vec<Firing>,
    /// When a site fails whatever runs there.
    pub outages: Vec<Vec<Window>>,
    bad: Vec<bool>,
    pub interval_minutes: u32,
    pub weather: Weather,
    pub instances: usize,
    pub skews: Vec<i64>,
    pub sweep_every: Micros,
    pub faults_end: Micros,
    /// A failed message is held for a while before it is given back, as the pump does; the Functions host gives it back at once.
    pub holds_failed: bool,
    /// What is in it that nobody sees happen.
    pub contents: Vec<Kind>,
}

impl Story {
    pub fn is_bad(&self, build: u32) -> bool {
        self.bad.get(build as usize).copied().unwrap_or(false)
    }

    pub fn still(&mut self, part: Part) {
        self.weather.still(part);
        if part == Part::Policy {
            self.policies.truncate(1);
        }
    }

    /// The number of the policy file that stands there at a moment.
    pub fn policy_at(&self, at: Micros) -> usize {
        self.policies.iter().rposition(|file| file.from <= at).unwrap_or(0)
    }

    /// Whether every policy file names the service, so that whatever comes about it is about something.
    pub fn is_always_named(&self, service: usize) -> bool {
        self.policies.iter().all(|file| !file.upstream[service].is_empty())
    }

    /// The sites of the policy's services, and two of other people's.
    pub fn sites(&self) -> (Vec<Site>, BTreeMap<String, usize>) {
        let mut sites: Vec<Site> = Vec::new();
        for service in &self.services {
            let tells = service.target.platform() != PlatformKind::ContainerApp || sites.len().is_multiple_of(2);
            sites.push(Site::new(&service.target, true, tells));
        }
        for outside in services::outside() {
            sites.push(Site::new(&outside, false, true));
        }
        let by_key = sites.iter().enumerate().map(|(place, site)| (site.key.0.clone(), place)).collect();
        (sites, by_key)
    }

    pub fn of(seed: u64) -> Self {
        Draft::new(seed).write()
    }
}

/// A story in the making.
struct Draft {
    chance: Chance,
    seed: u64,
    services: Vec<Service>,
    lines: Vec<Line>,
    messages: Vec<Sent>,
    firings: Vec<Firing>,
    outages: Vec<Vec<Window>>,
    bad: Vec<bool>,
    events: u32,
    contents: Vec<Kind>,
    interval_minutes: u32,
    /// Of its own: what overlaps must not shift what else a seed tells.
    overlaps: Chance,
    edits: Chance,
}

/// The team works from here on; before it, the good builds are seen to serve.
const BEGIN: Micros = 7 * MINUTE;

impl Draft {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 1);
        let count = *chance.one_of(&[1, 2, 2, 2, 3, 3, 4]);
        let services = services::some(&mut chance, count);
        Self {
            outages: vec![Vec::new(); services.len()],
            services,
            chance,
            seed,
            lines: Vec::new(),
            messages: Vec::new(),
            firings: Vec::new(),
            bad: vec![false; BUILDS_FROM as usize],
            events: 0,
            contents: Vec::new(),
            interval_minutes: 1,
            overlaps: Chance::of(seed, 3),
            edits: Chance::of(seed, 4),
        }
    }

    fn write(mut self) -> Story {
        let interval_minutes = *self.chance.one_of(&[1, 2, 3, 3, 5]);
        self.interval_minutes = interval_minutes;
        for _ in 0..self.chance.between(1, 3) {
            self.a_deployment();
        }
        if self.chance.percent(25) {
            self.an_alert_without_cause();
        }
        if self.chance.percent(6) {
            self.a_storm();
        }
        if self.chance.percent(15) {
            self.an_alert_about_others();
        }
        for _ in 0..self.chance.below(3) {
            self.nonsense();
        }
        if self.chance.percent(12) {
            self.a_pause();
        }
        let instances = if self.chance.percent(70) { 2 } else { 3 };
        for _ in 0..self.chance.below(2) {
            let (at, instance) = (self.chance.between(BEGIN, 70 * MINUTE), self.chance.index(instances));
            let deed = if self.chance.percent(60) { Deed::Stall(instance) } else { Deed::Kill(instance) };
            self.lines.push(Line { at, deed });
        }
        if self.chance.percent(10) {
            let (at, site) = (self.chance.between(BEGIN, 60 * MINUTE), self.chance.index(self.services.len()));
            let build = self.new_build(30);
            let deed = if self.chance.percent(50) { Deed::Meddle { site, build } } else { Deed::Overwrite { site, build } };
            self.lines.push(Line { at, deed });
        }
        if interval_minutes == 5 {
            // Three windows of five minutes, and the source's lag.
            for service in &mut self.services {
                service.verify_within = SignedDuration::from_mins(25);
            }
        }
        let weather = self.weather();
        let exact = self.chance.percent(30);
        let skew = |chance: &mut Chance| i64::try_from(chance.below(120_000_000)).unwrap_or(0) - 60_000_000;
        let skews = (0..=instances).map(|_| if exact { 0 } else { skew(&mut self.chance) }).collect();
        self.lines.sort_by_key(|line| line.at);
        let policy = services::policy(&mut self.chance, &self.services);
        let upstream = services::upstream(&self.services, &policy);
        let policies = self.policies(policy);
        let last_edit = policies.last().map_or(0, |file| file.from);
        let last = self.lines.last().map_or(0, |line| line.at).max(last_edit);
        Story {
            policies,
            upstream,
            lines: self.lines,
            messages: self.messages,
            firings: self.firings,
            outages: self.outages,
            bad: self.bad,
            interval_minutes,
            weather,
            instances,
            skews,
            sweep_every: *self.chance.one_of(&[5 * MINUTE, 10 * MINUTE, 10 * MINUTE, 15 * MINUTE]),
            faults_end: last.max(40 * MINUTE) + self.chance.between(MINUTE, 20 * MINUTE),
            holds_failed: self.chance.percent(50),
            contents: self.contents,
            services: self.services,
        }
    }

    /// Now and then somebody edits the file, often while an alert is handled, and takes most edits back.
    fn policies(&mut self, policy: Policy) -> Vec<PolicyFile> {
        let mut files = vec![(0, policy)];
        if self.edits.percent(15) {
            let fired = (!self.firings.is_empty()).then(|| self.edits.one_of(&self.firings).at);
            let around = fired.filter(|_| self.edits.percent(80));
            let at = match around {
                Some(at) => at + self.edits.below(15 * MINUTE),
                None => self.edits.between(BEGIN, 70 * MINUTE),
            };
            let first = files[0].1.clone();
            files.push((at, services::edited(&mut self.edits, &first)));
            self.contents.push(Kind::PolicyEdit);
            if self.edits.percent(60) {
                files.push((at + self.edits.between(MINUTE, 40 * MINUTE), first));
            }
        }
        let file = |(from, policy): (Micros, Policy)| {
            let upstream = services::upstream(&self.services, &policy);
            PolicyFile { from, policy: Arc::new(policy), upstream }
        };
        files.into_iter().map(file).collect()
    }

    fn new_build(&mut self, bad_percent: u32) -> u32 {
        let bad = self.chance.percent(bad_percent);
        self.bad.push(bad);
        u32::try_from(self.bad.len() - 1).unwrap_or(u32::MAX)
    }

    fn a_deployment(&mut self) {
        let site = self.chance.index(self.services.len());
        let at = self.chance.between(BEGIN, 45 * MINUTE);
        let takes = self.chance.between(5 * SECOND, 4 * MINUTE);
        let build = self.new_build(75);
        self.lines.push(Line { at, deed: Deed::Deploy { site, build, takes } });
        let serves_at = at + takes;
        if self.overlaps.percent(15) {
            // Somebody else of the team does not wait for its end.
            let (begins, takes) = (self.overlaps.below(takes), self.overlaps.between(5 * SECOND, 4 * MINUTE));
            self.bad.push(self.overlaps.percent(40));
            let build = u32::try_from(self.bad.len() - 1).unwrap_or(u32::MAX);
            self.lines.push(Line { at: at + begins, deed: Deed::Deploy { site, build, takes } });
            self.a_deployment_event(site, build, at + begins + takes);
        }
        self.a_deployment_event(site, build, serves_at);
        if self.bad[build as usize] {
            self.alerts_about(site, serves_at);
            if self.chance.percent(8) {
                // Out with the bad one, and in with it again.
                let fixed = self.new_build(0);
                let (fix, again) = (self.chance.between(3 * MINUTE, 20 * MINUTE), self.chance.between(3 * MINUTE, 20 * MINUTE));
                self.lines.push(Line { at: serves_at + fix, deed: Deed::Deploy { site, build: fixed, takes: 20 * SECOND } });
                self.lines.push(Line { at: serves_at + fix + again, deed: Deed::Deploy { site, build, takes: 20 * SECOND } });
                self.alerts_about(site, serves_at + fix + again);
            }
        }
    }

    /// The service, and now and then one that depends on it, alert: once, again and again, or flapping.
    fn alerts_about(&mut self, site: usize, serves_at: Micros) {
        let mut services = vec![site];
        let named = self.services[site].name.clone();
        let downstream = self.services.iter().position(|service| service.depends_on.contains(&named));
        if let Some(downstream) = downstream.filter(|_| self.chance.percent(60)) {
            services.push(downstream);
        }
        for service in services {
            // Rules over longer windows fire later.
            let window = Micros::from(self.interval_minutes) * 2 * MINUTE;
            let first = serves_at + window + self.chance.between(MINUTE, 9 * MINUTE);
            let times = *self.chance.one_of(&[1, 1, 1, 2, 3]);
            let apart = self.chance.between(MINUTE, 9 * MINUTE);
            for time in 0..times {
                self.a_firing(Some(service), first + time * apart, 85);
            }
        }
    }

    fn a_firing(&mut self, service: Option<usize>, at: Micros, severe_percent: u32) {
        let severe = self.chance.percent(severe_percent);
        let number = self.firings.len();
        let with_id = self.chance.percent(93);
        let alert = match service {
            Some(service) => bodies::alert(self.seed, number, &self.services[service], at, severe, with_id),
            None => bodies::alert_elsewhere(self.seed, number, at),
        };
        let record = RecordId::of(&alert);
        if self.firings.iter().any(|firing| firing.record == record) {
            return;
        }
        self.firings.push(Firing { alert: alert.clone(), record, service, at, lost: false });
        let body = bodies::alert_message(&alert);
        let message = self.message("alerts", body, Meaning::Alert { firing: number, resolved: false });
        if with_id {
            self.lines.push(Line { at, deed: Deed::Keep(number) });
        }
        let lost = with_id && service.is_some() && self.chance.percent(8);
        if lost {
            self.contents.push(Kind::AlertLost);
            self.firings[number].lost = true;
        } else {
            let delay = self.chance.between(5 * SECOND, 3 * MINUTE);
            self.lines.push(Line { at: at + delay, deed: Deed::Send(message) });
            for _ in 0..*self.chance.one_of(&[0, 0, 0, 1, 1, 2, 4]) {
                let again = self.chance.between(0, 12 * MINUTE);
                self.lines.push(Line { at: at + delay + again, deed: Deed::Send(message) });
            }
        }
        if with_id && self.chance.percent(35) {
            let mut resolved = alert;
            let after = if self.chance.percent(15) { 10 * SECOND } else { self.chance.between(2 * MINUTE, 40 * MINUTE) };
            resolved.condition = backout::domain::alert::Condition::Resolved;
            resolved.resolved_at = Some(timestamp(at + after));
            let message =
                self.message("alerts", bodies::alert_message(&resolved), Meaning::Alert { firing: number, resolved: true });
            // Now and then it overtakes the Fired.
            let delay = if self.chance.percent(10) { 0 } else { self.chance.between(SECOND, MINUTE) };
            let times = if self.chance.percent(20) { 2 } else { 1 };
            for _ in 0..times {
                self.lines.push(Line { at: at + after + delay, deed: Deed::Send(message) });
            }
        }
    }

    fn an_alert_without_cause(&mut self) {
        let service = self.chance.index(self.services.len());
        let at = self.chance.between(BEGIN, 50 * MINUTE);
        self.contents.push(Kind::FalseFiring);
        if self.chance.percent(50) {
            // Something else is broken for a while.
            let window = Window { from: at.saturating_sub(5 * MINUTE), to: at + self.chance.between(MINUTE, 40 * MINUTE) };
            self.outages[service].push(window);
        }
        self.a_firing(Some(service), at, 90);
    }

    /// More resources than the rule allows, with nothing in common.
    fn a_storm(&mut self) {
        let at = self.chance.between(BEGIN, 45 * MINUTE);
        self.contents.push(Kind::Storm);
        for service in 0..self.services.len() {
            self.outages[service].push(Window { from: at.saturating_sub(6 * MINUTE), to: at + 30 * MINUTE });
            let within = self.chance.between(0, 2 * MINUTE);
            self.a_firing(Some(service), at + within, 100);
        }
    }

    fn an_alert_about_others(&mut self) {
        let at = self.chance.between(BEGIN, 50 * MINUTE);
        self.a_firing(None, at, 100);
    }

    /// Told at once by a pipeline, late by the activity log, or never.
    fn a_deployment_event(&mut self, site: usize, build: u32, serves_at: Micros) {
        let declared = self.services[site].reversible == Reversible::Declared;
        if self.chance.percent(if declared { 90 } else { 50 }) {
            let reversible = if self.chance.percent(85) { Some(true) } else { *self.chance.one_of(&[None, Some(false)]) };
            let (id, body) = bodies::marker(self.seed, self.events, &self.services[site], build, serves_at, reversible);
            self.send_event("markers", id, body, site, serves_at, SECOND, 2 * MINUTE);
        }
        if self.services[site].target.resource().is_some() && self.chance.percent(60) {
            let (id, body) = bodies::resource_event(self.seed, self.events, &self.services[site], serves_at);
            self.send_event("deployments", id, body, site, serves_at, 3 * MINUTE, 20 * MINUTE);
        }
    }

    fn send_event(
        &mut self,
        queue: &'static str,
        id: String,
        body: Vec<u8>,
        site: usize,
        at: Micros,
        least: Micros,
        most: Micros,
    ) {
        self.events += 1;
        let message = self.message(queue, body, Meaning::Deployment { id, site });
        let at = at + self.chance.between(least, most);
        self.lines.push(Line { at, deed: Deed::Send(message) });
        if self.chance.percent(20) {
            let again = self.chance.between(0, 5 * MINUTE);
            self.lines.push(Line { at: at + again, deed: Deed::Send(message) });
        }
    }

    fn nonsense(&mut self) {
        let at = self.chance.between(BEGIN, 50 * MINUTE);
        let (queue, body, meaning) = match self.chance.below(5) {
            0 => ("alerts", b"{\"schemaId\":\"azureMonitorCommonAlertSchema\"}".to_vec(), Meaning::Nonsense),
            1 => ("deployments", b"\xff\xfe not json".to_vec(), Meaning::Nonsense),
            2 => ("followups", b"{\"v\":99}".to_vec(), Meaning::Nonsense),
            3 => {
                // An alert by the queue of deployments: what comes by a queue may say only what that queue is for.
                let alert = bodies::alert(self.seed, 900, &self.services[0], at, true, true);
                ("deployments", bodies::alert_message(&alert), Meaning::Nonsense)
            }
            _ => ("deployments", bodies::event_elsewhere(self.seed, at), Meaning::Elsewhere),
        };
        let message = self.message(queue, body, meaning);
        for _ in 0..self.chance.between(1, 2) {
            self.lines.push(Line { at, deed: Deed::Send(message) });
        }
    }

    fn a_pause(&mut self) {
        let at = self.chance.between(BEGIN, 50 * MINUTE);
        self.lines.push(Line { at, deed: Deed::Pause(true) });
        let until = at + self.chance.between(MINUTE, 30 * MINUTE);
        self.lines.push(Line { at: until, deed: Deed::Pause(false) });
    }

    fn message(&mut self, queue: &'static str, body: Vec<u8>, meaning: Meaning) -> usize {
        let body_sha256 = sha256_hex(&body);
        self.messages.push(Sent { queue, body, body_sha256, meaning });
        self.messages.len() - 1
    }

    fn weather(&mut self) -> Weather {
        if self.chance.percent(12) {
            return Weather::default();
        }
        let rough = self.chance.percent(40);
        let chance = &mut self.chance;
        let mut upto = |most: u64| {
            let most = if rough { most } else { most / 4 };
            if chance.percent(35) { 0 } else { u32::try_from(chance.below(most + 1)).unwrap_or(0) }
        };
        let mut weather = Weather {
            deaths: upto(24),
            stalls: upto(8),
            deaths_in_call: upto(3_000),
            stalls_in_call: upto(2_000),
            slow: upto(100),
            store_errors: upto(200),
            bus_errors: upto(120),
            platform_errors: upto(600),
            telemetry_errors: upto(800),
            notifier_errors: upto(3_000),
            copies: upto(600),
            late: upto(1_500),
            lost_locks: upto(1_500),
            call_faults: upto(8_000),
            operation_failures: upto(2_500),
            slow_operations: upto(1_000),
            locks: upto(300),
            gaps: upto(4_000),
            meddling: upto(1_200),
            ..Weather::default()
        };
        weather.detects_duplicates = self.chance.percent(30);
        let mut windows = |percent: u32, most: Micros| {
            let from = self.chance.between(BEGIN, 60 * MINUTE);
            let lasts = self.chance.between(SECOND, most);
            if self.chance.percent(percent) { vec![Window { from, to: from + lasts }] } else { Vec::new() }
        };
        weather.store_away = windows(12, 15 * MINUTE);
        weather.bus_away = windows(12, 8 * MINUTE);
        let both = windows(2, 40 * MINUTE);
        weather.store_away.extend(&both);
        weather.bus_away.extend(&both);
        weather.policy_wrong = windows(4, 20 * MINUTE);
        weather.policy_away = windows(6, 10 * MINUTE);
        weather
    }
}

/// No timeline lasts longer.
pub const END: Micros = 9 * HOUR;
