//! The real handler process, one or two of it, against simulated Azure over HTTP, on the stage of any platform: what the host and
//! the broker would do.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backout::{
    cli::demo::{
        messages,
        stage::{BAD, GOOD, Stage},
        stage_of,
    },
    domain::{
        event::Event,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::RollbackState,
        target::PlatformKind,
    },
    inbound::{self, Understood},
    local::sqlite_store::SqliteStore,
    ports::Clock,
    process::documents::{Documents, keys},
    settings::names,
    sim::{
        AzureSimulation, Fault, FaultEffect, JournalEntry, Moment, QueueOptions, SimulatedMessage, Wait,
        clock::ScaledClock,
        host::{HandlerState, HostEmulator, HostOptions, InvocationOutcome, ServiceBusMessage},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{
    leaks::{self, PERSON, PERSON_MAIL, SEEDED},
    program,
};

/// Virtual seconds per real second.
const TIME_SCALE: &str = "60";

/// Real time between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// Dropped: the handlers are killed, and the folder with their store goes.
pub struct Scene {
    pub azure: AzureSimulation,
    pub hosts: Vec<Arc<HostEmulator>>,
    pub clock: Arc<ScaledClock>,
    pub platform: PlatformKind,
    stage: Box<dyn Stage>,
    /// Handlers that are stopped, by their place: the host gives them nothing.
    stalled: Arc<Vec<AtomicBool>>,
    changes_before: u32,
    calls_before: usize,
    /// Of a handler process.
    pub environment: BTreeMap<String, String>,
    documents: Documents,
    store_file: PathBuf,
    pumps: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

impl Scene {
    /// No handler yet, and a queue that gives a message back after `lock_duration`.
    pub async fn without_handlers(platform: PlatformKind, lock_duration: Duration) -> Self {
        Self::set_up(platform, 0, lock_duration, &[]).await
    }

    /// `handlers` processes over one store file; a target that has served a good build for long, and has been looked at.
    pub async fn open(platform: PlatformKind, handlers: usize) -> Self {
        Self::open_with(platform, handlers, []).await
    }

    /// [`Self::open`] with more settings.
    pub async fn open_with<const N: usize>(platform: PlatformKind, handlers: usize, settings: [(&str, String); N]) -> Self {
        // The host renews its locks: a message comes back when its handler dies, not because time passes.
        let mut scene = Self::set_up(platform, handlers, Duration::from_hours(6), &settings).await;
        scene.pumps.push(tokio::spawn(pump(scene.azure.clone(), scene.hosts.clone(), Arc::clone(&scene.stalled))));
        let looked = scene.hosts[0].invoke_timer("sweep").await;
        assert_eq!(looked.outcome, InvocationOutcome::Succeeded, "{:?}", scene.lines());
        scene
    }

    async fn set_up(platform: PlatformKind, handlers: usize, lock_duration: Duration, settings: &[(&str, String)]) -> Self {
        let clock = Arc::new(ScaledClock::from_setting(TIME_SCALE).unwrap());
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let stage = stage_of(platform).unwrap();
        stage.set_up(&azure).unwrap();
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        for queue in ["alerts", "deployments", "markers", "followups"] {
            azure.add_queue(queue, QueueOptions { lock_duration, ..QueueOptions::default() });
        }
        let folder = tempfile::tempdir().unwrap();
        let policy_file = folder.path().join("backout.yaml");
        let store_file = folder.path().join("state.db");
        std::fs::write(&policy_file, policy(stage.as_ref(), &azure)).unwrap();

        let mut environment: BTreeMap<String, String> =
            names::ALL.iter().map(|setting| (setting.name.to_owned(), String::new())).collect();
        environment.extend(
            [
                (names::BACKOUT_POLICY, policy_file.display().to_string()),
                (names::BACKOUT_STORE, format!("sqlite:{}", store_file.display())),
                (names::BACKOUT_ARM_ENDPOINT, azure.resource_manager_url().to_string()),
                (names::BACKOUT_BUS_ENDPOINT, azure.bus_url().to_string()),
                (names::BACKOUT_TIME_SCALE, clock.setting()),
                (names::IDENTITY_ENDPOINT, azure.identity_endpoint()),
                (names::IDENTITY_HEADER, azure.identity_header()),
                ("ServiceBus__fullyQualifiedNamespace", azure.namespace().to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        environment.extend(secrets());
        leaks::seed(&azure.identity_header());
        for (name, value) in stage.environment(&azure) {
            if ["TOKEN", "SECRET", "KEY"].iter().any(|word| name.to_ascii_uppercase().contains(word)) {
                leaks::seed(&value);
            }
            environment.insert(name, value);
        }
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let mut hosts = Vec::new();
        for _ in 0..handlers {
            let options = HostOptions {
                arguments: Some(vec!["serve".to_owned()]),
                environment: environment.clone().into_iter().collect(),
                ..HostOptions::default()
            };
            hosts.push(Arc::new(program::handler(options).await.unwrap()));
        }
        let stalled: Arc<Vec<AtomicBool>> = Arc::new(hosts.iter().map(|_| AtomicBool::new(false)).collect());
        let documents = Documents::new(Arc::new(SqliteStore::new(store_file.clone())));
        Self {
            azure,
            hosts,
            clock,
            platform,
            stage,
            stalled,
            changes_before: 0,
            calls_before: 0,
            environment,
            documents,
            store_file,
            pumps: Vec::new(),
            _folder: folder,
        }
    }

    /// Waits until some target was looked at for the first time, so that what serves is known.
    pub async fn looked_at(&self) {
        while self.documents.store().list("targets/", None, 1).await.unwrap().is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A bad build is rolled out, and a third of the requests fail until measurements show it.
    pub async fn break_it(&mut self) {
        self.stage.roll_out(&self.azure).unwrap();
        self.wait_until(|| !self.is_busy()).await;
        if let Some((queue, event)) = self.stage.event(self.clock.now()) {
            self.send(queue, &with_person(&event));
        }
        self.clock.sleep(Duration::from_mins(5)).await;
        assert_eq!(self.serves(), BAD);
        self.changes_before = self.stage.changes(&self.azure);
        self.calls_before = self.all_calls().count();
    }

    /// The alert about it, fired now, and its record's id.
    pub fn alert(&self) -> (Vec<u8>, RecordId) {
        let body = with_person(&self.stage.alert(self.clock.now()).unwrap());
        let id = record_of(&body);
        (body, id)
    }

    pub fn send(&self, queue: &str, body: &[u8]) {
        self.azure.send(queue, body.to_vec(), BTreeMap::new()).unwrap();
    }

    /// The timer of each handler in turn, for as long as the scene lasts, whether or not that handler is alive.
    pub fn sweep_often(&mut self) {
        let (hosts, stalled) = (self.hosts.clone(), Arc::clone(&self.stalled));
        self.pumps.push(tokio::spawn(async move {
            for (place, host) in hosts.iter().enumerate().cycle() {
                if !stalled[place].load(Ordering::Acquire) {
                    host.invoke_timer("sweep").await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
    }

    /// Rollback calls that reached the platform.
    pub fn calls(&self) -> Vec<JournalEntry> {
        self.all_calls().skip(self.calls_before).collect()
    }

    fn all_calls(&self) -> impl Iterator<Item = JournalEntry> {
        self.azure.journal().into_iter().filter(|entry| self.stage.is_call(entry))
    }

    /// The first call meets this.
    pub fn inject_at_the_call(&self, effect: FaultEffect) {
        let (method, path) = self.stage.call();
        self.azure.inject(Fault::on(method, path, effect));
    }

    /// Changes of what serves since the bad rollout.
    pub fn effects(&self) -> u32 {
        self.stage.changes(&self.azure) - self.changes_before
    }

    pub fn serves(&self) -> String {
        self.stage.serves(&self.azure)
    }

    pub fn is_busy(&self) -> bool {
        self.stage.is_busy(&self.azure)
    }

    /// Hands the alert to the first handler, and returns when a claim stands while the reads between it and the call are under way: nothing
    /// is sent for another `within`, or until [`Self::answer_quickly`].
    pub async fn claimed_and_not_sent(&self, alert: &[u8], within: Duration) -> JoinHandle<InvocationOutcome> {
        let effect = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: Wait::Real(within) };
        let slow =
            Fault { role: None, method: Some("GET".to_owned()), path_contains: String::new(), skip: 0, times: u32::MAX, effect };
        self.azure.inject(slow);
        let message = ServiceBusMessage::new(alert.to_vec(), "first", self.clock.now());
        let host = Arc::clone(&self.hosts[0]);
        let handled = tokio::spawn(async move { host.invoke("alerts", &message).await.outcome });
        while self.documents.store().list("claims/", None, 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handled
    }

    /// Hands the alert to the first handler, and returns when it reads what it needs for its call, past every check of its claim: a GET
    /// whose path holds `read`, once there was a request whose path holds `after`. The answer comes when the handler can be stopped.
    pub async fn reading_for_its_call(&self, alert: &[u8], after: Option<&str>, read: &str) -> JoinHandle<InvocationOutcome> {
        self.leave_out(1, true);
        let message = ServiceBusMessage::new(alert.to_vec(), "first", self.clock.now());
        let host = Arc::clone(&self.hosts[0]);
        let slow = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: Wait::Real(Duration::from_millis(1_500)) };
        let fault = Fault { times: u32::MAX, ..Fault::on("GET", read, slow) };
        if after.is_none() {
            self.azure.inject(fault.clone());
        }
        let handled = tokio::spawn(async move { host.invoke("alerts", &message).await.outcome });
        if let Some(after) = after {
            let came = |entry: &JournalEntry| entry.path_and_query.contains(after) && entry.status.is_some();
            while !self.azure.journal().iter().any(came) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.azure.inject(fault);
        }
        while !self.azure.journal().iter().any(|entry| entry.fault.is_some() && entry.status.is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handled
    }

    /// Whether a handler that runs gets nothing to do.
    pub fn leave_out(&self, place: usize, left_out: bool) {
        self.stalled[place].store(left_out, Ordering::Release);
    }

    pub fn answer_quickly(&self) {
        self.azure.clear_faults();
    }

    /// SIGSTOP, or SIGCONT: the process keeps its memory and its connections.
    ///
    /// Not in the middle of a write, which would keep the lock of the store's file from everybody: blob storage knows no such lock.
    pub async fn stall(&self, place: usize, stalled: bool) {
        self.stalled[place].store(stalled, Ordering::Release);
        self.signal(place, if stalled { "-STOP" } else { "-CONT" }).await;
        while stalled && self.somebody_writes() {
            self.signal(place, "-CONT").await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            self.signal(place, "-STOP").await;
        }
    }

    fn somebody_writes(&self) -> bool {
        let file = rusqlite::Connection::open(&self.store_file).unwrap();
        file.busy_timeout(Duration::ZERO).unwrap();
        file.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err()
    }

    async fn signal(&self, place: usize, signal: &str) {
        let HandlerState::Running { pid, .. } = self.hosts[place].state() else { panic!("{:?}", self.hosts[place].state()) };
        let status = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await.unwrap();
        assert!(status.success(), "kill {signal} {pid}: {status}");
    }

    pub async fn wait_until(&self, is_it: impl Fn() -> bool) {
        while !is_it() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The record once its story has ended and is told.
    pub async fn ended(&self, id: &RecordId) -> Record {
        loop {
            if let Some(loaded) = self.documents.read::<Record>(&keys::record(id)).await.unwrap() {
                let record = loaded.value;
                let ended = record.rollback.is_some_and(RollbackState::is_terminal)
                    || record.decision.is_some() && record.rollback.is_none() && record.next_step_at.is_none();
                if ended && record.told_generation == record.generation {
                    return record;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the handlers printed: for the message of a failed assertion.
    pub fn lines(&self) -> Vec<String> {
        self.hosts.iter().flat_map(|host| host.lines()).map(|line| line.text).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for pump in &self.pumps {
            pump.abort();
        }
        self.azure.stop();
    }
}

/// Hands each message to the next handler that is alive: completed when it says so, else given back.
async fn pump(azure: AzureSimulation, hosts: Vec<Arc<HostEmulator>>, stalled: Arc<Vec<AtomicBool>>) {
    let mut turn = 0;
    loop {
        for queue in ["deployments", "alerts", "followups"] {
            turn += 1;
            let place = turn % hosts.len();
            let host = &hosts[place];
            if stalled[place].load(Ordering::Acquire) || !matches!(host.state(), HandlerState::Running { .. }) {
                continue;
            }
            let Some(message) = azure.take(queue) else { continue };
            let (azure, host) = (azure.clone(), Arc::clone(host));
            tokio::spawn(async move {
                match host.invoke(queue, &as_delivered(&message)).await.outcome {
                    InvocationOutcome::Succeeded => azure.complete(&message.lock),
                    InvocationOutcome::Failed { .. } => azure.abandon(&message.lock),
                }
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn as_delivered(message: &SimulatedMessage) -> ServiceBusMessage {
    ServiceBusMessage {
        body: message.body.to_vec(),
        message_id: message.message_id.clone(),
        delivery_count: message.delivery_count,
        properties: message.properties.clone().into_iter().collect(),
        enqueued: message.enqueued_at,
    }
}

fn policy(stage: &dyn Stage, azure: &AzureSimulation) -> String {
    let target = stage.policy(azure).unwrap();
    format!("version: 1\nservices:\n  checkout:\n{target}    reversible: always\n    mode: act\n    quietTime: 6m\n{NOTIFY}")
}

/// Nobody listens there: what is logged about it must not tell the URL.
const NOTIFY: &str = "notify:\n  - { channel: teams, urlFrom: TEAMS_WEBHOOK_URL, for: [act, propose, page] }\n";

/// Every secret that a setting can hold, and that these scenes need no true one of.
fn secrets() -> [(String, String); 6] {
    [
        (names::BACKOUT_GITHUB_WEBHOOK_SECRET, format!("{SEEDED}-of-github")),
        (names::BACKOUT_FLUX_WEBHOOK_SECRET, format!("{SEEDED}-of-flux-too")),
        (names::BACKOUT_CDEVENTS_WEBHOOK_SECRET, format!("{SEEDED}-of-cdevents")),
        (names::BACKOUT_APPROVAL_KEY, format!("{SEEDED}-that-signs-the-links-of-approvals")),
        (names::BACKOUT_PUBLIC_URL, "https://backout.contoso.example".to_owned()),
        ("TEAMS_WEBHOOK_URL", format!("http://127.0.0.1:9/workflows/{SEEDED}?sig={SEEDED}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// The message as it is when somebody's name and claims stand in it, as Azure's do where a person deploys.
fn with_person(body: &[u8]) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(body).unwrap();
    let data = message["data"].as_object_mut().expect("every message has its data");
    let claims = json!({ "name": PERSON, "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": PERSON_MAIL });
    let owner = json!({ "owner": format!("{PERSON} <{PERSON_MAIL}>"), "runbook": format!("https://wiki.example/?sig={SEEDED}") });
    data.insert("claims".to_owned(), claims);
    data.insert("caller".to_owned(), json!(PERSON_MAIL));
    data.insert("customProperties".to_owned(), owner);
    message.to_string().into_bytes()
}

/// An alert about a site, and its record's id.
pub fn alert(site: &ResourceId, fired_at: Timestamp) -> (Vec<u8>, RecordId) {
    let body = messages::alert(site, "Microsoft.Web/sites", "Http5xx", fired_at);
    let id = record_of(&body);
    (body, id)
}

fn record_of(body: &[u8]) -> RecordId {
    let understood = inbound::recognise(body).into_iter().next();
    let Some(Ok(Understood { event: Event::Alert(alert), .. })) = understood else { panic!("no alert: {understood:?}") };
    RecordId::of(&alert)
}
