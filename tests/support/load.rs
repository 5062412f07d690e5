//! Many alerts at once: the real handler process under the host, against simulated Azure, so many invocations at a time. Then the
//! store is asked what became of each.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use backout::{
    cli::demo::messages,
    domain::{
        decision::DecisionKind,
        event::Event,
        record::{Record, RecordId},
        resource_id::ResourceId,
        target::TargetKey,
    },
    inbound::{self, Understood},
    ports::{Clock, Key, StateStore},
    process::{
        documents::{Documents, keys},
        receipt::{ChainCheck, verify_chain},
    },
    settings::names,
    sim::{
        AzureSimulation, PRODUCTION, QueueOptions, SimulatedMessage, SimulatedSite,
        clock::ScaledClock,
        host::{HandlerState, HostEmulator, HostOptions, InvocationOutcome, ServiceBusMessage},
    },
};
use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use tempfile::TempDir;

use super::program;

const SUBSCRIPTION: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const GOOD: &str = "build-41";
const BAD: &str = "build-42";

/// As the queues have it.
const DELIVERIES_MAX: u32 = 10;

/// How many, of what, and how fast the clock runs.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub services: usize,
    /// Firings, each service's one after the other, so that those at one time meet in few documents.
    pub firings: usize,
    pub side_by_side: usize,
    /// Virtual seconds per real second.
    pub time_scale: u32,
}

impl Load {
    /// Every so many firings arrive twice.
    const COPY_EVERY: usize = 50;

    /// Every so many services have a bad deployment, which would be taken back but for the storm. The first of them shows that.
    const BROKEN_EVERY: usize = 10;

    fn service_of(self, firing: usize) -> usize {
        firing * self.services / self.firings
    }

    fn is_broken(service: usize) -> bool {
        service % Self::BROKEN_EVERY == Self::BROKEN_EVERY - 2
    }
}

/// How it went, seen from the host.
pub struct Seen {
    pub ids: BTreeSet<RecordId>,
    /// Of the first delivery of each firing, in the order in which they ended.
    pub latencies: Vec<Duration>,
    pub took: Duration,
    pub cpu: Duration,
    /// Private memory of the handler in kilobytes, after so many firings.
    pub memory: Vec<(usize, u64)>,
    pub copies: usize,
    /// Deliveries that failed and so came again at once.
    pub delivered_again: usize,
    /// Messages that the handler put back with a delay.
    pub put_back: usize,
    pub follow_ups: usize,
    /// Requests that simulated Azure got, nearly all of them reads.
    pub reads: u64,
    /// Calls that would change a site.
    pub calls: usize,
    /// Messages that nobody took care of.
    pub dead: usize,
}

/// What the store tells of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub ids: BTreeSet<RecordId>,
    pub listed: usize,
    /// Records by decision and deciding rule, such as `page P1`.
    pub decisions: BTreeMap<String, usize>,
    /// Records that wait, or whose last word was not told.
    pub unfinished: usize,
    pub copies: usize,
    pub receipts: usize,
    /// Receipts in chains that are unbroken.
    pub receipts_in_order: u64,
    pub claims: usize,
    pub parked: usize,
    pub record_bytes: usize,
}

/// Sites, queues, and what the handlers are told of them. Dropped: all of it ends.
pub struct Crowd {
    pub load: Load,
    pub folder: TempDir,
    azure: AzureSimulation,
    clock: Arc<ScaledClock>,
}

impl Crowd {
    pub async fn gather(load: Load) -> Self {
        let clock = Arc::new(ScaledClock::from_setting(&load.time_scale.to_string()).unwrap());
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        for queue in ["alerts", "followups"] {
            // The host renews its locks: a message comes back when its delivery fails, not because time passes.
            let lock_duration = Duration::from_hours(24);
            azure.add_queue(queue, QueueOptions { lock_duration, ..QueueOptions::default() });
        }
        for service in 0..load.services {
            azure.add_site(SimulatedSite::new(site(service), GOOD).with_swap_taking(Duration::from_secs(30)));
        }
        Self { load, folder: tempfile::tempdir().unwrap(), azure, clock }
    }

    /// A handler for some of the services, which has seen the good builds serve.
    pub async fn handler(&self, name: &str, services: &[usize], store: &str) -> HostEmulator {
        let policy = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&policy, policy_of(services)).unwrap();
        let mut environment: BTreeMap<String, String> =
            names::ALL.iter().map(|setting| (setting.name.to_owned(), String::new())).collect();
        environment.extend(
            [
                (names::BACKOUT_POLICY, policy.display().to_string()),
                (names::BACKOUT_STORE, store.to_owned()),
                (names::BACKOUT_ARM_ENDPOINT, self.azure.resource_manager_url().to_string()),
                (names::BACKOUT_BUS_ENDPOINT, self.azure.bus_url().to_string()),
                (names::BACKOUT_TIME_SCALE, self.clock.setting()),
                (names::IDENTITY_ENDPOINT, self.azure.identity_endpoint()),
                (names::IDENTITY_HEADER, self.azure.identity_header()),
                ("ServiceBus__fullyQualifiedNamespace", self.azure.namespace().to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let options = HostOptions {
            arguments: Some(vec!["serve".to_owned()]),
            environment: environment.into_iter().collect(),
            ..HostOptions::default()
        };
        let host = program::handler(options).await.unwrap();
        let looked = host.invoke_timer("sweep").await;
        assert_eq!(looked.outcome, InvocationOutcome::Succeeded, "{:?}", host.lines());
        host
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.load.services).collect()
    }

    pub fn sqlite(&self, name: &str) -> (String, PathBuf) {
        let file = self.folder.path().join(format!("{name}.db"));
        (format!("sqlite:{}", file.display()), file)
    }

    /// Bad builds go out, and measurements show it. One alert alone, handled with a store of its own, is taken back: whether all
    /// is set up so that only the storm stands in the way.
    pub async fn break_some(&self) {
        let broken: Vec<usize> = self.all().into_iter().filter(|service| Load::is_broken(*service)).collect();
        let shown = broken[0];
        let control = self.handler("control", &[shown], &self.sqlite("control").0).await;
        for service in broken {
            self.azure.deploy(&site(service), "staging", BAD);
            self.azure.swap_now(&site(service), "staging", PRODUCTION).unwrap();
        }
        self.clock.sleep(Duration::from_mins(5)).await;
        let alert = self.alert(shown);
        let before = self.next_request();
        let message = ServiceBusMessage::new(alert.0, "control", self.clock.now());
        control.invoke("alerts", &message).await;
        let begun = Instant::now();
        // On a busy machine a look may end too late for the call, which then waits for the next wake-up.
        while self.calls(before).0 == 0 {
            assert!(begun.elapsed() < Duration::from_mins(2), "one alert alone is acted upon: {:#?}", control.lines());
            match self.azure.take("followups") {
                Some(message) => {
                    control.invoke("followups", &delivered(&message)).await;
                    assert!(self.azure.complete(&message.lock));
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        control.kill().await;
        // Its wake-ups are nobody's now.
        while self.azure.queue_length("followups") + self.azure.scheduled("followups").len() > 0 {
            match self.azure.take("followups") {
                Some(message) => assert!(self.azure.complete(&message.lock)),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Everything at once; returns when nothing is left to do.
    pub async fn storm(&self, host: &HostEmulator) -> Seen {
        let HandlerState::Running { pid, .. } = host.state() else { panic!("{:?}", host.state()) };
        let (cpu_before, begun) = (cpu_time(pid), Instant::now());
        let first_request = self.next_request();
        let mut looked_at = first_request;
        let shared = Mutex::new(Shared::default());
        let workers = (0..self.load.side_by_side).map(|_| self.work(host, pid, &shared).boxed());
        let workers = futures::future::join_all(workers.collect::<Vec<_>>());
        let mut calls = 0;
        let watch = async {
            loop {
                let (new, next) = self.calls(looked_at);
                calls += new;
                looked_at = next;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            _ = workers => {}
            () = watch => {}
        }
        let took = begun.elapsed();
        let (new, next_request) = self.calls(looked_at);
        let shared = shared.into_inner().unwrap();
        let dead = shared.dead + ["alerts", "followups"].iter().map(|queue| self.azure.dead_letters(queue).len()).sum::<usize>();
        // Nothing changed at any site after the team's own swaps, whatever the journal had room for.
        let swapped: u32 =
            self.all().into_iter().skip(Load::BROKEN_EVERY).map(|service| self.azure.swap_count(&site(service))).sum();
        let by_the_team = self.all().into_iter().skip(Load::BROKEN_EVERY).filter(|service| Load::is_broken(*service)).count();
        assert_eq!(swapped as usize, by_the_team, "no site was changed by the handler");
        Seen {
            ids: shared.ids,
            latencies: shared.latencies,
            took,
            cpu: cpu_time(pid).saturating_sub(cpu_before),
            memory: shared.memory,
            copies: shared.copies,
            delivered_again: shared.delivered_again,
            put_back: shared.put_back,
            follow_ups: shared.follow_ups,
            reads: next_request - first_request,
            calls: calls + new,
            dead,
        }
    }

    /// One of the host's invocations after the other.
    async fn work(&self, host: &HostEmulator, pid: u32, shared: &Mutex<Shared>) {
        loop {
            let Some(work) = self.next(shared) else {
                if self.is_over(shared) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let begun = Instant::now();
            let queue = work.queue;
            let outcome = host.invoke(queue, &work.message).await.outcome;
            let mut shared = shared.lock().unwrap();
            shared.under_way -= 1;
            if work.is_first {
                shared.latencies.push(begun.elapsed());
                let done = shared.latencies.len();
                if done.is_multiple_of(self.load.firings.div_ceil(10)) {
                    shared.memory.push((done, private_kilobytes(pid)));
                }
            }
            match (outcome, work.lock) {
                (InvocationOutcome::Succeeded, None) => {}
                (InvocationOutcome::Succeeded, Some(lock)) => assert!(self.azure.complete(&lock)),
                (InvocationOutcome::Failed { .. }, Some(lock)) => {
                    shared.delivered_again += 1;
                    assert!(self.azure.abandon(&lock));
                }
                (InvocationOutcome::Failed { .. }, None) if work.message.delivery_count >= DELIVERIES_MAX => shared.dead += 1,
                (InvocationOutcome::Failed { .. }, None) => {
                    shared.delivered_again += 1;
                    let message = ServiceBusMessage { delivery_count: work.message.delivery_count + 1, ..work.message };
                    shared.again.push_back(message);
                }
            }
        }
    }

    fn next(&self, shared: &Mutex<Shared>) -> Option<Work> {
        let mut shared = shared.lock().unwrap();
        let work = self.next_firing(&mut shared).or_else(|| {
            let message = shared.again.pop_front()?;
            Some(Work { queue: "alerts", message, lock: None, is_first: false })
        });
        let work = work.or_else(|| {
            ["alerts", "followups"].into_iter().find_map(|queue| {
                let taken = self.azure.take(queue)?;
                if queue == "alerts" {
                    shared.put_back += 1;
                } else {
                    shared.follow_ups += 1;
                }
                Some(Work { queue, message: delivered(&taken), lock: Some(taken.lock), is_first: false })
            })
        })?;
        shared.under_way += 1;
        Some(work)
    }

    fn next_firing(&self, shared: &mut Shared) -> Option<Work> {
        if shared.sent == self.load.firings {
            return None;
        }
        let (body, id) = self.alert(self.load.service_of(shared.sent));
        assert!(shared.ids.insert(id), "each firing is another");
        let message = ServiceBusMessage::new(body, format!("m{}", shared.sent), self.clock.now());
        shared.sent += 1;
        if shared.sent.is_multiple_of(Load::COPY_EVERY) {
            shared.copies += 1;
            shared.again.push_back(message.clone());
        }
        Some(Work { queue: "alerts", message, lock: None, is_first: true })
    }

    fn is_over(&self, shared: &Mutex<Shared>) -> bool {
        let shared = shared.lock().unwrap();
        let left = |queue| self.azure.queue_length(queue) + self.azure.scheduled(queue).len();
        shared.under_way == 0 && shared.again.is_empty() && left("alerts") == 0 && left("followups") == 0
    }

    fn alert(&self, service: usize) -> (Vec<u8>, RecordId) {
        let body = messages::alert(&site(service), "Microsoft.Web/sites", "Http5xx", self.clock.now());
        let understood = inbound::recognise(&body).into_iter().next();
        let Some(Ok(Understood { event: Event::Alert(alert), .. })) = understood else { panic!("no alert: {understood:?}") };
        let id = RecordId::of(&alert);
        (body, id)
    }

    fn next_request(&self) -> u64 {
        self.azure.journal().last().map_or(0, |entry| entry.number + 1)
    }

    /// Calls of a rollback since the request with that number, and the number of the next request.
    fn calls(&self, since: u64) -> (usize, u64) {
        let journal = self.azure.journal();
        let next = journal.last().map_or(since, |entry| entry.number + 1);
        assert!(journal.first().is_none_or(|entry| entry.number <= since), "the journal was looked at too late");
        let is_call = |entry: &&backout::sim::JournalEntry| {
            entry.number >= since && entry.method != "GET" && entry.path_and_query.contains("/slotsswap")
        };
        (journal.iter().filter(is_call).count(), next)
    }
}

#[derive(Default)]
struct Shared {
    sent: usize,
    under_way: usize,
    ids: BTreeSet<RecordId>,
    latencies: Vec<Duration>,
    memory: Vec<(usize, u64)>,
    again: VecDeque<ServiceBusMessage>,
    copies: usize,
    delivered_again: usize,
    put_back: usize,
    follow_ups: usize,
    dead: usize,
}

struct Work {
    queue: &'static str,
    message: ServiceBusMessage,
    /// Of the simulated queue.
    lock: Option<String>,
    is_first: bool,
}

fn delivered(message: &SimulatedMessage) -> ServiceBusMessage {
    ServiceBusMessage {
        body: message.body.to_vec(),
        message_id: message.message_id.clone(),
        delivery_count: message.delivery_count,
        properties: message.properties.clone().into_iter().collect(),
        enqueued: message.enqueued_at,
    }
}

/// Reads all that was kept.
pub async fn kept(store: &Arc<dyn StateStore>) -> Kept {
    let documents = Documents::new(store.clone());
    let records = all(store, keys::RECORDS).await;
    let mut kept = Kept {
        listed: all(store, keys::RECENT).await.len(),
        receipts: all(store, "receipts/").await.len(),
        claims: all(store, "claims/").await.len(),
        parked: all(store, keys::PARKED).await.len(),
        ..Kept::default()
    };
    let reads = records.iter().map(|key| documents.read::<Record>(key).boxed());
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(8);
    let mut targets: BTreeSet<TargetKey> = BTreeSet::new();
    while let Some(read) = reads.next().await {
        let record = read.unwrap().unwrap().value;
        kept.record_bytes += serde_json::to_vec(&record).unwrap().len();
        targets.extend(record.targets.first().cloned());
        kept.copies += record.duplicates as usize;
        let decision = record.decision.as_ref();
        let waits = decision.is_none_or(|decision| decision.kind == DecisionKind::Hold);
        kept.unfinished += usize::from(waits || record.told_generation != record.generation || record.next_step_at.is_some());
        let rule = decision.and_then(|decision| decision.reasons.first()).map_or("none", |reason| reason.rule.as_str());
        let kind = decision.map_or("none", |decision| decision.kind.as_str());
        *kept.decisions.entry(format!("{kind} {rule}")).or_default() += 1;
        kept.ids.insert(record.id);
    }
    for target in targets {
        match verify_chain(&documents, &target).await.unwrap() {
            ChainCheck::Sound { receipts } => kept.receipts_in_order += receipts,
            ChainCheck::Broken { key } => panic!("the chain is broken at {key}"),
        }
    }
    kept
}

async fn all(store: &Arc<dyn StateStore>, prefix: &str) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let page = store.list(prefix, keys.last(), 5_000).await.unwrap();
        let is_last = page.len() < 5_000;
        keys.extend(page);
        if is_last {
            return keys;
        }
    }
}

/// Nothing is lost, nothing is doubled, nothing was called.
pub fn assert_right(seen: &Seen, kept: &Kept) {
    let (lost, strange) = (seen.ids.difference(&kept.ids).count(), kept.ids.difference(&seen.ids).count());
    assert_eq!((lost, strange), (0, 0), "each firing has its record, and nothing else has one; {} are parked", kept.parked);
    let count = seen.ids.len();
    let expected = (count, 0, count, count as u64);
    assert_eq!((kept.listed, kept.unfinished, kept.receipts, kept.receipts_in_order), expected, "{:?}", kept.decisions);
    assert_eq!((seen.calls, kept.claims, kept.parked, seen.dead), (0, 0, 0, 0), "a storm stands down: {:?}", kept.decisions);
    // The first ones came before there was a storm, and saw it only if they waited for long enough.
    let pages = |rule: &str| kept.decisions.get(&format!("page {rule}")).copied().unwrap_or_default();
    assert_eq!(pages("P1") + pages("C8"), count, "{:?}", kept.decisions);
    assert!(pages("C8") <= count / 5, "{:?}", kept.decisions);
    // What failed or was put back comes again, and counts as a copy.
    assert_eq!(kept.copies, seen.copies + seen.delivered_again + seen.put_back, "{:?}", kept.decisions);
}

fn site(service: usize) -> ResourceId {
    let text = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/Microsoft.Web/sites/s{service:04}");
    ResourceId::parse(&text).unwrap()
}

/// Every second service depends on the first, whose document they so have in common. What is the same for all stands once: a
/// thousand services come close to the size that a policy may have.
fn policy_of(services: &[usize]) -> String {
    let service = |service: &usize| {
        let depends_on = if service % 2 == 1 { "    dependsOn: [s0000]\n" } else { "" };
        let site = site(*service);
        let target = format!("{{ platform: app-service, site: {site}, goodSlots: [staging] }}");
        format!("  s{service:04}:\n    target: {target}\n    fingerprint: {{ setting: RELEASE_ID }}\n{depends_on}")
    };
    let services: String = services.iter().map(service).collect();
    format!(
        "version: 1\nstorm: {{ resources: 5, within: 60m }}\ndefaults: {{ mode: act, reversible: always }}\nservices:\n{services}"
    )
}

/// User and system time of all threads that a process had, in hundredths of a second.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold blanks; `utime` and `stime` are the 14th and 15th.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn private_kilobytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default()
    };
    of("Private_Clean:") + of("Private_Dirty:")
}
