//! A simulated Azure that speaks HTTP on loopback: for the demo, for drills and for tests.
//!
//! It knows nothing of the product, and the product cannot tell it from Azure but by the URLs. Seven parts listen on ports of
//! their own: resource manager, Service Bus, managed identity, Azure DevOps, GitHub, the API servers of clusters, and a stranger to
//! which a misled caller might send a token.
//! Nothing runs in the background: what has ended by the clock takes effect when somebody next looks, dated when it ended.
//! What is composed after documentation rather than seen on Azure: every message text, `slotsdiffs`, and error bodies.

mod alerts_management;
mod app_service;
mod arm;
mod arm_deployment;
mod call;
pub mod clock;
mod container_app;
mod faults;
pub mod host;
mod identity;
mod journal;
mod kubernetes;
mod logic_app;
mod metrics;
mod operations;
mod permissions;
mod pipeline;
mod server;
mod service_bus;
mod service_bus_rest;
mod site_config;
mod world;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

pub use alerts_management::SimulatedAlert;
pub use arm_deployment::{SimulatedDeployment, SimulatedLineage};
pub use call::Role;
pub use container_app::SimulatedContainerApp;
pub use faults::{Fault, FaultBody, FaultEffect, Moment, Wait};
pub use identity::SYSTEM_IDENTITY;
pub use journal::{JOURNAL_ENTRIES_MAX, JournalEntry};
pub use kubernetes::{SimulatedClusterWorkload, SimulatedCommand, WorkloadId};
pub use logic_app::SimulatedWorkflow;
pub use permissions::Grant;
pub use pipeline::{GITHUB_TOKEN, PipelinePlace, SimulatedPipeline};
pub use server::BODY_BYTES_MAX;
pub use service_bus::{QueueOptions, SimulatedMessage};
pub use world::{Delivery, LockLevel, PRODUCTION, SimulatedSite, SlotDifference};

use crate::{domain::resource_id::ResourceId, ports::Clock};
use service_bus::{Entity, NewMessage};
use world::World;

/// A handle on one simulated Azure; clones share it. It stops with [`AzureSimulation::stop`], or when the last one is dropped.
#[derive(Clone)]
pub struct AzureSimulation {
    running: Arc<Running>,
}

struct Running {
    shared: Arc<Shared>,
    servers: Vec<JoinHandle<()>>,
}

/// What the servers and the handles see.
struct Shared {
    clock: Arc<dyn Clock>,
    urls: BTreeMap<Role, Url>,
    world: Mutex<World>,
    faults: Mutex<faults::Faults>,
    journal: Mutex<journal::Journal>,
    stopped: AtomicBool,
}

impl AzureSimulation {
    /// Binds seven ports of 127.0.0.1 and serves. There are the queues `alerts`, `deployments`, `markers`, `followups`, and no site yet.
    pub async fn start(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let mut urls = BTreeMap::new();
        for role in Role::ALL {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            // The stranger has another host name as well as another port.
            let host = if role == Role::Stranger { "localhost" } else { "127.0.0.1" };
            let url = Url::parse(&format!("http://{host}:{}/", listener.local_addr()?.port())).map_err(io::Error::other)?;
            urls.insert(role, url);
            listeners.push((role, listener));
        }
        let shared = Arc::new(Shared {
            clock,
            urls,
            world: Mutex::new(World::new()),
            faults: Mutex::default(),
            journal: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let servers = listeners.into_iter().map(|(role, listener)| server::serve(listener, role, Arc::clone(&shared))).collect();
        Ok(Self { running: Arc::new(Running { shared, servers }) })
    }

    /// Takes no further connection, and cuts the open ones at their next request.
    pub fn stop(&self) {
        self.running.stop();
    }

    /// For `BACKOUT_ARM_ENDPOINT`.
    pub fn resource_manager_url(&self) -> Url {
        self.shared().url(Role::ResourceManager).clone()
    }

    /// For `BACKOUT_BUS_ENDPOINT`.
    pub fn bus_url(&self) -> Url {
        self.shared().url(Role::ServiceBus).clone()
    }

    /// For `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}msi/token", self.shared().url(Role::Identity))
    }

    /// For `IDENTITY_HEADER`.
    pub fn identity_header(&self) -> String {
        self.shared().world().identities.secret.clone()
    }

    /// For `ServiceBus__fullyQualifiedNamespace`.
    pub fn namespace(&self) -> &'static str {
        "simulated.servicebus.windows.net"
    }

    /// Where a redirect or an operation URL leads astray.
    pub fn stranger_url(&self) -> Url {
        self.shared().url(Role::Stranger).clone()
    }

    /// Meets later requests; see [`Fault`].
    pub fn inject(&self, fault: Fault) {
        self.shared().faults().inject(fault);
    }

    pub fn clear_faults(&self) {
        self.shared().faults().clear();
    }

    /// Every request so far, the oldest first; at most [`JOURNAL_ENTRIES_MAX`], of which the newest stay.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared().journal().entries()
    }

    fn shared(&self) -> &Shared {
        &self.running.shared
    }

    fn now(&self) -> Timestamp {
        self.shared().clock.now()
    }
}

/// Sites, and what happens to them from elsewhere. Each panics when the scenario names a site or slot which is not there.
impl AzureSimulation {
    pub fn add_site(&self, site: SimulatedSite) {
        let now = self.now();
        self.shared().settled_world().add_site(site, now);
    }

    /// A pipeline pushes `build` to one slot (`production` for the site itself).
    pub fn deploy(&self, site: &ResourceId, slot: &str, build: &str) {
        let now = self.now();
        self.shared().settled_world().deploy(site, slot, build, now);
    }

    /// Somebody else's swap, over at once. The error says why App Service would refuse it.
    pub fn swap_now(&self, site: &ResourceId, source: &str, target: &str) -> Result<(), String> {
        self.begin_swap(site, source, target, SignedDuration::ZERO)
    }

    /// Somebody else's swap, which ends after `taking`. The error says why App Service would refuse it.
    pub fn begin_swap(&self, site: &ResourceId, source: &str, target: &str, taking: SignedDuration) -> Result<(), String> {
        let now = self.now();
        let mut world = self.shared().settled_world();
        world.known_slot(site, source);
        world.known_slot(site, target);
        let begun = world.begin_swap(site.canonical(), source, target, now, Some(taking));
        begun.map(|_operation| ()).map_err(|refusal| String::from_utf8_lossy(&refusal.reply(site.name()).body).into_owned())
    }

    /// What serves users now.
    pub fn running_build(&self, site: &ResourceId) -> String {
        self.build_in(site, PRODUCTION)
    }

    pub fn build_in(&self, site: &ResourceId, slot: &str) -> String {
        self.shared().settled_world().known_slot(site, slot).content.build.clone()
    }

    /// Swaps that took place, whoever asked.
    pub fn swap_count(&self, site: &ResourceId) -> u32 {
        self.shared().settled_world().known_site(site).swaps
    }

    /// True while an operation runs on any slot of the site.
    pub fn is_busy(&self, site: &ResourceId) -> bool {
        self.shared().settled_world().known_site(site).slots.values().any(|slot| slot.in_progress.is_some())
    }

    pub fn set_swap_duration(&self, site: &ResourceId, duration: Duration) {
        self.shared().settled_world().known_site(site).swap_takes = duration;
    }

    /// Every swap that begins from now on fails at its end and says this; `None` ends that.
    pub fn set_swaps_fail(&self, site: &ResourceId, says: Option<&str>) {
        self.shared().settled_world().known_site(site).swaps_fail = says.map(str::to_owned);
    }

    /// Sends `percentage` of the users to `slot`; 0 takes the rule away.
    pub fn set_ramp_up(&self, site: &ResourceId, slot: &str, percentage: f64) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let rules = if percentage > 0.0 { vec![world::ramp_up_rule(site, slot, percentage)] } else { Vec::new() };
        world.known_slot(site, PRODUCTION).ramp_up_rules.set(now, rules);
    }

    /// Lets the next push to `slot` go live in `target` by itself.
    pub fn set_auto_swap(&self, site: &ResourceId, slot: &str, target: Option<&str>) {
        self.shared().settled_world().known_slot(site, slot).auto_swap_slot_name = target.map(str::to_owned);
    }

    /// Phase one of a swap with preview, by somebody else.
    pub fn prepare_swap(&self, site: &ResourceId, source: &str, target: &str) {
        self.shared().settled_world().known_slot(site, source).prepared_for = Some(target.to_owned());
    }

    pub fn set_slot_running(&self, site: &ResourceId, slot: &str, running: bool) {
        self.shared().settled_world().known_slot(site, slot).running = running;
    }

    /// An app setting that moves with the content.
    pub fn set_app_setting(&self, site: &ResourceId, slot: &str, name: &str, value: &str) {
        let mut world = self.shared().settled_world();
        world.known_slot(site, slot).content.settings.insert(name.to_owned(), value.to_owned());
    }

    /// What the app finds in its environment.
    pub fn app_settings(&self, site: &ResourceId, slot: &str) -> BTreeMap<String, String> {
        let mut world = self.shared().settled_world();
        let slot = world.known_slot(site, slot);
        slot.content.settings.iter().chain(&slot.sticky_settings).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// An app setting that stays with the slot, in this slot and by name in the whole site.
    pub fn set_sticky_setting(&self, site: &ResourceId, slot: &str, name: &str, value: &str) {
        let mut world = self.shared().settled_world();
        world.known_slot(site, slot).sticky_settings.insert(name.to_owned(), value.to_owned());
        let sticky = &mut world.known_site(site).sticky_names;
        if !sticky.iter().any(|known| known == name) {
            sticky.push(name.to_owned());
        }
    }

    /// Takes an app setting from one slot, such as `RELEASE_ID` to leave content without a name.
    pub fn remove_app_setting(&self, site: &ResourceId, slot: &str, name: &str) {
        self.shared().settled_world().known_slot(site, slot).content.settings.remove(name);
    }

    /// Puts a management lock on a resource, a resource group or a subscription, or takes it away.
    pub fn set_lock(&self, id: &ResourceId, lock: Option<LockLevel>) {
        let locks = &mut self.shared().settled_world().locks;
        match lock {
            Some(lock) => locks.insert(id.canonical().to_owned(), (id.clone(), lock)),
            None => locks.remove(id.canonical()),
        };
    }

    /// What `slotsdiffs` reports for every pair of slots, beyond app settings that differ.
    pub fn set_differences(&self, site: &ResourceId, differences: Vec<SlotDifference>) {
        self.shared().settled_world().known_site(site).differences = differences;
    }
}

/// Traffic, and how builds behave under it.
impl AzureSimulation {
    /// Share of requests that `build` answers with 5xx, 0 to 1; for all the time that it ran.
    pub fn set_error_share(&self, build: &str, share: f64) {
        self.shared().settled_world().behaviour(build).error_share.replace(share.clamp(0.0, 1.0));
    }

    /// The same from now on; what was before stays.
    pub fn change_error_share(&self, build: &str, share: f64) {
        let now = self.now();
        self.shared().settled_world().behaviour(build).error_share.set(now, share.clamp(0.0, 1.0));
    }

    /// Mean response time of `build`, for all the time that it ran.
    pub fn set_response_time(&self, build: &str, seconds: f64) {
        self.shared().settled_world().behaviour(build).response_seconds.replace(seconds.max(0.0));
    }

    /// What users send to the site, from now on.
    pub fn set_traffic(&self, site: &ResourceId, requests_per_minute: f64) {
        let now = self.now();
        self.shared().settled_world().known_site(site).requests_per_minute.set(now, requests_per_minute.max(0.0));
    }

    /// While silenced, minutes have no value (null, not zero) for the site and its slots. What was measured before stays.
    pub fn silence_metrics(&self, site: &ResourceId, silent: bool) {
        let now = self.now();
        self.shared().settled_world().known_site(site).silenced.set(now, silent);
    }

    /// A minute shows this long after it ended; two minutes at first.
    pub fn set_metrics_lag(&self, lag: SignedDuration) {
        self.shared().settled_world().metrics_lag = lag;
    }
}

/// Software that is no site, and what measures it.
impl AzureSimulation {
    /// Software which `build` serves, and has served for all the past; what runs it tells later changes.
    pub fn add_workload(&self, name: &str, build: &str, requests_per_minute: f64) {
        let workload = world::Workload::new(build, requests_per_minute);
        self.shared().settled_world().workloads.insert(name.to_owned(), workload);
    }

    /// An Application Insights component with `requests/count` and `requests/failed` of a workload.
    pub fn add_component(&self, id: &ResourceId, workload: &str) {
        let component = world::Component { id: id.clone(), workload: workload.to_owned() };
        self.shared().settled_world().components.insert(id.canonical().to_owned(), component);
    }

    /// The same of a site: of all its users, whichever slot they are sent to.
    pub fn add_site_component(&self, id: &ResourceId, site: &ResourceId) {
        self.add_component(id, site.canonical());
    }

    /// What serves the users of a workload now. Panics when there is none.
    pub fn serving_build(&self, workload: &str) -> String {
        let now = self.now();
        self.shared().settled_world().known_workload(workload).served.at(now).clone()
    }
}

/// Identities and rights.
impl AzureSimulation {
    /// The client ids that exist beside the system-assigned identity; until this is called any is taken.
    pub fn set_client_ids(&self, client_ids: &[&str]) {
        self.shared().world().identities.only(client_ids);
    }

    /// Refuses every token given so far.
    pub fn revoke_tokens(&self) {
        self.shared().world().identities.forget_tokens();
    }

    /// Takes all rights from everybody; then [`AzureSimulation::grant`] what shall be there.
    pub fn clear_grants(&self) {
        self.shared().world().permissions.clear();
    }

    pub fn grant(&self, grant: Grant) {
        self.shared().world().permissions.grant(grant);
    }

    /// Subtracts an action (or pattern) from all that an identity has (`None`: every identity).
    pub fn revoke(&self, identity: Option<&str>, action: &str) {
        self.shared().world().permissions.withhold(identity, action);
    }

    /// Ends what [`AzureSimulation::revoke`] began with the same words.
    pub fn restore(&self, identity: Option<&str>, action: &str) {
        self.shared().world().permissions.give_back(identity, action);
    }
}

/// Queues, for whoever plays the Functions host in the same process. Names compare without case.
impl AzureSimulation {
    /// Adds a queue, or gives an existing one new options.
    pub fn add_queue(&self, name: &str, options: QueueOptions) {
        self.shared().settled_world().bus.add_queue(name, options);
    }

    /// Numbers further messages from here on, such as above 2^32 as in a partitioned queue.
    pub fn set_next_sequence_number(&self, sequence_number: u64) {
        self.shared().settled_world().bus.number_from(sequence_number);
    }

    /// Puts a message into a queue. The error says what is wrong with it.
    pub fn send(&self, queue: &str, body: impl Into<Bytes>, properties: BTreeMap<String, Value>) -> Result<(), String> {
        let now = self.now();
        let message = NewMessage { body: body.into(), properties, ..NewMessage::default() };
        let sent = self.shared().settled_world().bus.send(queue, message, now);
        match sent {
            Ok(_stored) => Ok(()),
            Err(service_bus::SendRefusal::NoSuchQueue) => Err(format!("the simulation has no queue `{queue}`")),
            Err(service_bus::SendRefusal::TooLarge { bytes_max }) => {
                Err(format!("the message for `{queue}` is larger than {bytes_max} bytes"))
            }
        }
    }

    /// Locks the next message; `None` when none is there, or no such queue.
    pub fn take(&self, queue: &str) -> Option<SimulatedMessage> {
        let now = self.now();
        self.shared().settled_world().bus.take(&Entity::queue(queue), now)
    }

    /// Ends a delivery well; false when the lock is lost.
    pub fn complete(&self, lock: &str) -> bool {
        self.shared().settled_world().bus.complete(lock)
    }

    /// Gives a message back at once, or to the dead letters after its last delivery; false when the lock is lost.
    pub fn abandon(&self, lock: &str) -> bool {
        self.shared().settled_world().bus.abandon(lock)
    }

    /// Messages that could be taken or are held.
    pub fn queue_length(&self, queue: &str) -> usize {
        let now = self.now();
        self.shared().settled_world().bus.length(&Entity::queue(queue), now)
    }

    /// Due times of scheduled messages, the next one first.
    pub fn scheduled(&self, queue: &str) -> Vec<Timestamp> {
        let now = self.now();
        self.shared().settled_world().bus.scheduled(queue, now)
    }

    /// Copies of what is in a queue, scheduled ones included; nothing is locked.
    pub fn messages(&self, queue: &str) -> Vec<SimulatedMessage> {
        self.shared().settled_world().bus.peek(&Entity::queue(queue))
    }

    /// Copies of the dead letters of a queue; nothing is locked.
    pub fn dead_letters(&self, queue: &str) -> Vec<SimulatedMessage> {
        self.shared().settled_world().bus.peek(&Entity::dead_letters_of(queue))
    }
}

impl Running {
    fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for server in &self.servers {
            server.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A panic of a scenario (a site that is not there) must not take the rest with it: a poisoned lock is used on.
impl Shared {
    fn url(&self, role: Role) -> &Url {
        &self.urls[&role]
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world as it is now by the clock.
    fn settled_world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world();
        world.settle(self.clock.now());
        world
    }

    fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, journal::Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
