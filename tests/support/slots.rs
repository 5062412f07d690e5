//! A simulated site with slots, the real adapter over HTTP, and the process between them, on virtual time.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{
        alert::Alert,
        observation::Observation,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        series::NoData,
        service::{AlertMatcher, Service},
        target::{AppServiceTarget, AppServiceWay, FingerprintSource, Target},
    },
    ports::{Clock, Platform},
    process::{Ports, Process},
    settings::MapSource,
    sim::{AzureSimulation, Delivery, JournalEntry, SimulatedSite, clock::ManualClock},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    lethal::{Death, Switch},
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    simulated::{failed_requests, identity, ports, run_while},
};

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";
pub const NEXT: &str = "build-43";

/// A third of the requests that the bad build serves fail; a component measures all users of the site.
pub struct SlotScene {
    pub azure: AzureSimulation,
    pub clock: Arc<ManualClock>,
    pub site: ResourceId,
    pub target: Target,
    pub queue: FakeQueue,
    pub policy: Arc<Policy>,
    pub ports: Ports,
}

impl SlotScene {
    /// Production and staging have held the good build for a month, and backout has seen it for 40 minutes.
    pub async fn open() -> Self {
        Self::delivering(Delivery::Code, FingerprintSource::Default).await
    }

    /// The same with builds that get there in another way; every way back that the fingerprint can name is open.
    pub async fn delivering(delivery: Delivery, fingerprint: FingerprintSource) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let id = |rest: &str| {
            ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-prod/providers/{rest}")).unwrap()
        };
        let (site, component) = (id("Microsoft.Web/sites/shop"), id("Microsoft.Insights/components/shop"));
        azure.add_site(SimulatedSite::new(site.clone(), GOOD).delivered_as(delivery).with_swap_taking(Duration::from_mins(1)));
        azure.add_site_component(&component, &site);
        azure.set_error_share(GOOD, 0.001);
        azure.set_error_share(BAD, 0.33);
        let target = Target::AppService(AppServiceTarget {
            site: site.clone(),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: AppServiceWay::ALL.into_iter().filter(|way| way.fits(&fingerprint)).collect(),
            fingerprint,
        });
        let evidence = failed_requests(&component, NoData::Unknown);
        let alerts = vec![AlertMatcher { resource: Some(component), rule: None, property: Vec::new() }];
        let service = Service { target: target.clone(), evidence: vec![evidence], alerts, ..service("checkout") };
        let (reader, actor) = (identity(&azure, Some("reader")), identity(&azure, Some("actor")));
        let (ports, queue) = ports(&azure, clock.clone(), reader, actor, MapSource::new([("", "")]));
        let scene = Self { azure, clock, site, target, queue, policy: Arc::new(policy(vec![service])), ports };
        scene.sweep().await;
        scene.minutes_pass(40);
        scene
    }

    /// The policy prefers these ways back.
    pub fn preferring(mut self, ways: &[AppServiceWay]) -> Self {
        let Target::AppService(target) = &mut self.target else { panic!("the scene has a site") };
        target.ways_back = ways.to_vec();
        let service = Service { target: self.target.clone(), ..self.policy.services.values().next().unwrap().clone() };
        self.policy = Arc::new(policy(vec![service]));
        self
    }

    /// The bad build goes live by a swap, staging gets the next one, and the alert fires.
    pub fn swap_and_redeploy(&self, id: &str) -> Alert {
        self.azure.deploy(&self.site, "staging", BAD);
        self.azure.swap_now(&self.site, "staging", "production").unwrap();
        self.minutes_pass(3);
        self.azure.deploy(&self.site, "staging", NEXT);
        self.minutes_pass(5);
        self.firing(id)
    }

    /// A build goes straight to production, which an event tells at once, and the alert fires.
    pub async fn set_in_production(&self, build: &str, id: &str) -> Alert {
        self.sweep().await;
        self.azure.deploy(&self.site, "production", build);
        self.sweep().await;
        self.minutes_pass(8);
        self.firing(id)
    }

    /// The bad build is pushed to staging, gets 20 % of the users, and the component's alert fires.
    pub fn ramp_up(&self, id: &str) -> Alert {
        self.azure.deploy(&self.site, "staging", BAD);
        self.azure.set_ramp_up(&self.site, "staging", 20.0);
        self.minutes_pass(8);
        self.firing(id)
    }

    /// The bad build goes live by a swap, and rules send 20 % of the users to what served before.
    pub fn swap_with_rules(&self, id: &str) -> Alert {
        self.azure.deploy(&self.site, "staging", BAD);
        self.azure.swap_now(&self.site, "staging", "production").unwrap();
        self.azure.set_ramp_up(&self.site, "staging", 20.0);
        self.minutes_pass(8);
        self.firing(id)
    }

    pub fn firing(&self, id: &str) -> Alert {
        let component =
            format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/shop-prod/providers/microsoft.insights/components/shop");
        Alert { resources: vec![component], ..alert(id, "checkout", self.clock.now() - SignedDuration::from_mins(1)) }
    }

    pub fn process(&self) -> Process {
        self.process_over(self.ports.clone())
    }

    pub fn process_over(&self, ports: Ports) -> Process {
        watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&self.policy))))
    }

    pub fn platform(&self) -> Arc<dyn Platform> {
        self.ports.platforms.of(&self.target)
    }

    /// What runs, by the adapter.
    pub async fn observe(&self) -> Observation {
        self.platform().observe().await.unwrap()
    }

    pub async fn sweep(&self) {
        Box::pin(self.process().sweep(&self.policy)).await.unwrap();
    }

    pub fn minutes_pass(&self, count: i64) {
        self.clock.advance(SignedDuration::from_mins(count).unsigned_abs());
    }

    /// The story of `firing` with one death, after which everything is delivered once more; the number of calls through the ports
    /// until then.
    pub async fn live_through(&self, firing: &Alert, death: Option<Death>) -> u64 {
        let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
        let mortal = self.process_over(switch.guard(&self.ports));
        let life = Box::pin(async {
            Box::pin(mortal.alert_received(firing.clone(), &self.policy)).await.unwrap();
            self.run(&mortal, 12).await;
        });
        let crashed = tokio::select! {
            biased;
            () = life => false,
            () = switch.died() => true,
        };
        drop(mortal);
        self.queue.unlock_all();
        let process = self.process();
        if crashed {
            Box::pin(process.alert_received(firing.clone(), &self.policy)).await.unwrap();
        }
        self.run(&process, 60).await;
        switch.calls()
    }

    /// Delivers what is scheduled, and sweeps every five minutes, for `minutes`.
    pub async fn run(&self, process: &Process, minutes: i64) {
        run_while(&self.clock, &self.queue, process, &self.policy, minutes, async || true).await;
    }

    pub async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// Changes of the configuration that reached resource manager, and how many of them took effect.
    pub fn patches(&self) -> (usize, u32) {
        self.count("PATCH", "/config/web")
    }

    /// The same of all app settings.
    pub fn puts(&self) -> (usize, u32) {
        self.count("PUT", "/config/appsettings")
    }

    /// The same of swaps.
    pub fn swaps(&self) -> (usize, u32) {
        self.count("POST", "/slotsswap")
    }

    fn count(&self, method: &str, path_contains: &str) -> (usize, u32) {
        let is_it = |entry: &JournalEntry| entry.method == method && entry.path_and_query.contains(path_contains);
        let all: Vec<_> = self.azure.journal().into_iter().filter(is_it).collect();
        (all.len(), all.iter().map(|entry| entry.effects).sum())
    }

    /// Builds of production and staging.
    pub fn builds(&self) -> (String, String) {
        (self.azure.build_in(&self.site, "production"), self.azure.build_in(&self.site, "staging"))
    }
}
