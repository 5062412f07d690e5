//! The real handler process, one or two of it, against simulated Azure over HTTP: what the host and the broker would do.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use backout::{
    domain::{
        event::Event,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::RollbackState,
        target::TargetKey,
        target_state::TargetState,
    },
    inbound::{self, Understood},
    local::sqlite_store::SqliteStore,
    ports::Clock,
    process::documents::{Documents, keys},
    settings::names,
    sim::{
        AzureSimulation, JournalEntry, QueueOptions, Role, SimulatedMessage, SimulatedSite,
        clock::ScaledClock,
        host::{HandlerState, HostEmulator, HostOptions, InvocationOutcome, ServiceBusMessage},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";

const SITE: &str =
    "/subscriptions/0f8fad5b-d9cb-469f-a165-70867728950e/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";

/// Virtual seconds per real second.
const TIME_SCALE: &str = "60";

/// Real time between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// Dropped: the handlers are killed, and the folder with their store goes.
pub struct Scene {
    pub azure: AzureSimulation,
    pub hosts: Vec<Arc<HostEmulator>>,
    pub clock: Arc<ScaledClock>,
    pub site: ResourceId,
    /// Of a handler process.
    pub environment: BTreeMap<String, String>,
    documents: Documents,
    pumps: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

impl Scene {
    /// No handler yet, and a queue that gives a message back after `lock_duration`.
    pub async fn without_handlers(lock_duration: Duration) -> Self {
        Self::set_up(0, lock_duration).await
    }

    /// `handlers` processes over one store file; one site that has served a good build for long, and has been looked at.
    pub async fn open(handlers: usize) -> Self {
        // The host renews its locks: a message comes back when its handler dies, not because time passes.
        let mut scene = Self::set_up(handlers, Duration::from_hours(6)).await;
        scene.pumps.push(tokio::spawn(pump(scene.azure.clone(), scene.hosts.clone())));
        let looked = scene.hosts[0].invoke_timer("sweep").await;
        assert_eq!(looked.outcome, InvocationOutcome::Succeeded, "{:?}", scene.lines());
        scene
    }

    async fn set_up(handlers: usize, lock_duration: Duration) -> Self {
        let clock = Arc::new(ScaledClock::from_setting(TIME_SCALE).unwrap());
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let site = ResourceId::parse(SITE).unwrap();
        azure.add_site(SimulatedSite::new(site.clone(), GOOD).with_swap_taking(Duration::from_mins(1)));
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        for queue in ["alerts", "deployments", "markers", "followups"] {
            azure.add_queue(queue, QueueOptions { lock_duration, ..QueueOptions::default() });
        }
        let folder = tempfile::tempdir().unwrap();
        let policy_file = folder.path().join("backout.yaml");
        let store_file = folder.path().join("state.db");
        std::fs::write(&policy_file, policy()).unwrap();

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
        let mut hosts = Vec::new();
        for _ in 0..handlers {
            let options = HostOptions {
                executable: Some(PathBuf::from(env!("CARGO_BIN_EXE_backout"))),
                arguments: Some(vec!["serve".to_owned()]),
                environment: environment.clone().into_iter().collect(),
                ..HostOptions::default()
            };
            hosts.push(Arc::new(HostEmulator::start(options).await.unwrap()));
        }
        let documents = Documents::new(Arc::new(SqliteStore::new(store_file)));
        Self { azure, hosts, clock, site, environment, documents, pumps: Vec::new(), _folder: folder }
    }

    /// Waits until the target was looked at for the first time, so that what serves is known.
    pub async fn looked_at(&self) {
        let key = keys::target(&TargetKey(self.site.canonical().to_owned()));
        while self.documents.read::<TargetState>(&key).await.unwrap().is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A bad build is swapped in, with its event, and a third of the requests fail until measurements show it.
    pub async fn break_it(&self) {
        self.azure.deploy(&self.site, "staging", BAD);
        self.azure.swap_now(&self.site, "staging", "production").unwrap();
        self.send("deployments", &swap_completed(&self.site, self.clock.now()));
        self.clock.sleep(Duration::from_mins(5)).await;
        assert_eq!((self.azure.running_build(&self.site).as_str(), self.azure.swap_count(&self.site)), (BAD, 1));
    }

    pub fn send(&self, queue: &str, body: &[u8]) {
        self.azure.send(queue, body.to_vec(), BTreeMap::new()).unwrap();
    }

    /// The timer of each handler in turn, for as long as the scene lasts, whether or not that handler is alive.
    pub fn sweep_often(&mut self) {
        let hosts = self.hosts.clone();
        self.pumps.push(tokio::spawn(async move {
            for host in hosts.iter().cycle() {
                host.invoke_timer("sweep").await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
    }

    /// Swap calls that reached the resource manager.
    pub fn swap_requests(&self) -> Vec<JournalEntry> {
        self.requests("POST", "/slotsswap")
    }

    pub fn requests(&self, method: &str, path_contains: &str) -> Vec<JournalEntry> {
        let is_it = |entry: &JournalEntry| {
            entry.role == Role::ResourceManager && entry.method == method && entry.path_and_query.contains(path_contains)
        };
        self.azure.journal().into_iter().filter(is_it).collect()
    }

    /// Swaps that took place since the bad one.
    pub fn effects(&self) -> u32 {
        self.azure.swap_count(&self.site) - 1
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
async fn pump(azure: AzureSimulation, hosts: Vec<Arc<HostEmulator>>) {
    let mut turn = 0;
    loop {
        for queue in ["deployments", "alerts", "followups"] {
            turn += 1;
            let host = &hosts[turn % hosts.len()];
            if !matches!(host.state(), HandlerState::Running { .. }) {
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

fn policy() -> String {
    format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {SITE}, goodSlots: [staging] }}\n    \
         fingerprint: {{ setting: RELEASE_ID }}\n    reversible: always\n    mode: act\n    quietTime: 6m\n"
    )
}

/// Event Grid's `Microsoft.Web.SlotSwapCompleted`; composed after the published schema.
fn swap_completed(site: &ResourceId, at: Timestamp) -> Vec<u8> {
    json!({
        "id": "5b7d0bd1-2a3c-4a5e-9a35-9a3bd3b5a001",
        "topic": site.as_written(),
        "subject": format!("/Microsoft.Web/sites/{}", site.name()),
        "eventType": "Microsoft.Web.SlotSwapCompleted",
        "eventTime": at,
        "data": {
            "name": site.name(), "sourceSlot": "staging", "targetSlot": "production",
            "clientRequestId": "5b7d0bd1-2a3c-4a5e-9a35-9a3bd3b5a002",
            "correlationRequestId": "5b7d0bd1-2a3c-4a5e-9a35-9a3bd3b5a003",
            "requestId": "5b7d0bd1-2a3c-4a5e-9a35-9a3bd3b5a004",
            "address": "None", "verb": "None"
        },
        "dataVersion": "2", "metaDataVersion": "1"
    })
    .to_string()
    .into_bytes()
}

/// A static metric alert on the site in the common alert schema, composed after its documentation, and its record's id.
pub fn alert(site: &ResourceId, fired_at: Timestamp) -> (Vec<u8>, RecordId) {
    let minute = SignedDuration::from_mins(1);
    let id = "5b7d0bd1-2a3c-4a5e-9a35-9a3bd3b5a005";
    let body = json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": format!("/subscriptions/{}/providers/Microsoft.AlertsManagement/alerts/{id}", site.subscription()),
                "alertRule": "checkout-http-5xx",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [site.canonical()],
                "configurationItems": [site.name()],
                "firedDateTime": fired_at,
                "essentialsVersion": "1.0", "alertContextVersion": "1.0"
            },
            "alertContext": {
                "properties": null,
                "conditionType": "SingleResourceMultipleMetricCriteria",
                "condition": {
                    "windowSize": "PT5M",
                    "allOf": [{
                        "metricName": "Http5xx", "metricNamespace": "Microsoft.Web/sites", "operator": "GreaterThan",
                        "threshold": "20", "timeAggregation": "Total", "dimensions": [], "metricValue": 280, "webTestName": null
                    }],
                    "windowStartTime": fired_at - minute * 6, "windowEndTime": fired_at - minute
                }
            },
            "customProperties": null
        }
    })
    .to_string()
    .into_bytes();
    let understood = inbound::recognise(&body).into_iter().next();
    let Some(Ok(Understood { event: Event::Alert(alert), .. })) = understood else { panic!("no alert: {understood:?}") };
    (body, RecordId::of(&alert))
}
