//! The stage: simulated Azure, a Functions host with the real handler process, and a view into its store.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{messages, narrator::Narrator};
use crate::{
    cli::out,
    domain::{
        record::{Record, RecordId},
        resource_id::ResourceId,
    },
    local::sqlite_store::SqliteStore,
    ports::Clock,
    process::{
        documents::{Documents, keys},
        receipt::{self, Receipt},
    },
    settings::names,
    sim::{
        AzureSimulation, QueueOptions, Role, SimulatedMessage, SimulatedSite,
        clock::ScaledClock,
        host::{HostEmulator, HostOptions, InvocationOutcome, ServiceBusMessage},
    },
};

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";

const SITE: &str =
    "/subscriptions/0f8fad5b-d9cb-469f-a165-70867728950e/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";

/// Real time between two looks.
const PAUSE: Duration = Duration::from_millis(40);

pub struct Scene {
    pub narrator: Narrator,
    pub clock: Arc<ScaledClock>,
    pub azure: AzureSimulation,
    pub host: Arc<HostEmulator>,
    pub site: ResourceId,
    documents: Documents,
    folder: PathBuf,
    deliveries: JoinHandle<()>,
}

impl Scene {
    pub async fn open(time_scale: &str, narrator: Narrator) -> anyhow::Result<Self> {
        let clock = Arc::new(ScaledClock::from_setting(time_scale)?);
        let (azure, site) = simulated_azure(clock.clone()).await?;
        let folder = folder()?;
        let environment = environment(&azure, &folder, &[(names::BACKOUT_TIME_SCALE, clock.setting())]);
        let options = HostOptions {
            executable: Some(std::env::current_exe().context("the path of this program is not known")?),
            arguments: Some(vec!["serve".to_owned()]),
            environment,
            ..HostOptions::default()
        };
        let host = Arc::new(HostEmulator::start(options).await.context("the handler did not start")?);
        let deliveries = tokio::spawn(deliver(azure.clone(), Arc::clone(&host), clock.clone()));
        let documents = Documents::new(Arc::new(SqliteStore::new(folder.join("state.db"))));
        Ok(Self { narrator, clock, azure, host, site, documents, folder, deliveries })
    }

    pub async fn close(self) {
        self.deliveries.abort();
        self.host.kill().await;
        self.azure.stop();
        let _ = tokio::fs::remove_dir_all(&self.folder).await;
    }

    pub fn send(&self, queue: &str, body: &[u8]) -> anyhow::Result<()> {
        self.azure.send(queue, body.to_vec(), BTreeMap::new()).map_err(anyhow::Error::msg)
    }

    /// Swap calls that reached resource manager.
    pub fn swap_requests(&self) -> usize {
        let is_swap = |path: &str| path.contains("/slotsswap");
        self.azure
            .journal()
            .iter()
            .filter(|entry| entry.role == Role::ResourceManager && entry.method == "POST" && is_swap(&entry.path_and_query))
            .count()
    }

    pub async fn wait_until(&self, is_it: impl Fn() -> bool) {
        while !is_it() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells what is new in the record since `told` entries; the record, once it is there.
    pub async fn tell_news(&self, id: &RecordId, told: &mut usize) -> anyhow::Result<Option<Record>> {
        let Some(loaded) = self.documents.read::<Record>(&keys::record(id)).await? else { return Ok(None) };
        for entry in loaded.value.timeline.iter().skip(*told) {
            self.narrator.tell(entry.at, "backout", &entry.what);
        }
        *told = loaded.value.timeline.len();
        Ok(Some(loaded.value))
    }

    /// Tells what the record says, as it comes, until `is_it`.
    pub async fn follow(&self, id: &RecordId, told: &mut usize, is_it: impl Fn(&Record) -> bool) -> anyhow::Result<Record> {
        loop {
            if let Some(record) = self.tell_news(id, told).await?.filter(&is_it) {
                return Ok(record);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub async fn receipt(&self, record: &Record) -> anyhow::Result<Option<Receipt>> {
        Ok(match &record.receipt {
            Some(reference) => receipt::read(&self.documents, reference).await?,
            None => None,
        })
    }
}

/// Hands messages from the simulated queues to the handler, as the host does: done when it says so, else again.
///
/// The timer of the sweep fires every five minutes of virtual time.
async fn deliver(azure: AzureSimulation, host: Arc<HostEmulator>, clock: Arc<ScaledClock>) {
    let mut next_sweep = clock.now() + SignedDuration::from_mins(5);
    loop {
        if clock.now() >= next_sweep {
            next_sweep = clock.now() + SignedDuration::from_mins(5);
            let host = Arc::clone(&host);
            tokio::spawn(async move { host.invoke_timer("sweep").await });
        }
        for queue in ["deployments", "alerts", "followups"] {
            while let Some(message) = azure.take(queue) {
                let (azure, host) = (azure.clone(), Arc::clone(&host));
                tokio::spawn(async move {
                    match host.invoke(queue, &as_delivered(&message)).await.outcome {
                        InvocationOutcome::Succeeded => azure.complete(&message.lock),
                        InvocationOutcome::Failed { .. } => azure.abandon(&message.lock),
                    }
                });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn as_delivered(message: &SimulatedMessage) -> ServiceBusMessage {
    ServiceBusMessage {
        body: message.body.to_vec(),
        message_id: message.message_id.clone(),
        delivery_count: message.delivery_count,
        properties: message
            .properties
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<String, Value>>(),
        enqueued: message.enqueued_at,
    }
}

async fn simulated_azure(clock: Arc<ScaledClock>) -> anyhow::Result<(AzureSimulation, ResourceId)> {
    let azure = AzureSimulation::start(clock).await.context("simulated Azure could not listen on this machine")?;
    let site = ResourceId::parse(SITE)?;
    azure.add_site(SimulatedSite::new(site.clone(), GOOD).with_swap_taking(Duration::from_mins(1)));
    azure.set_error_share(GOOD, 0.002);
    azure.set_error_share(BAD, 0.33);
    for queue in ["alerts", "deployments", "markers", "followups"] {
        // The host renews its locks; a message comes back when the handler dies, not before.
        azure.add_queue(queue, QueueOptions { lock_duration: Duration::from_hours(1), ..QueueOptions::default() });
    }
    Ok((azure, site))
}

fn folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("backout-demo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let policy = format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {SITE}, goodSlots: [staging] }}\n    fingerprint: {{ setting: RELEASE_ID }}\n    reversible: always\n    mode: act\n"
    );
    std::fs::write(folder.join("backout.yaml"), policy)?;
    Ok(folder)
}

/// The handler's settings: only these, whatever this process was started with.
fn environment(azure: &AzureSimulation, folder: &Path, more: &[(&str, String)]) -> Vec<(String, String)> {
    let mut environment: BTreeMap<String, String> =
        names::ALL.iter().map(|setting| (setting.name.to_owned(), String::new())).collect();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    set(names::BACKOUT_POLICY, folder.join("backout.yaml").display().to_string());
    set(names::BACKOUT_STORE, format!("sqlite:{}", folder.join("state.db").display()));
    set(names::BACKOUT_ARM_ENDPOINT, azure.resource_manager_url().to_string());
    set(names::BACKOUT_BUS_ENDPOINT, azure.bus_url().to_string());
    set(names::IDENTITY_ENDPOINT, azure.identity_endpoint());
    set(names::IDENTITY_HEADER, azure.identity_header());
    set("ServiceBus__fullyQualifiedNamespace", azure.namespace().to_owned());
    for (name, value) in more {
        set(name, value.clone());
    }
    environment.into_iter().collect()
}

/// Plays Azure until `backout local` ends: a bad build has just been swapped in, and the alert may be posted.
pub async fn local_with_simulation(clock: Arc<ScaledClock>, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let (azure, site) = simulated_azure(clock.clone()).await?;
    let folder = folder()?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["local", "--listen", &listen.to_string()])
        .envs(environment(&azure, &folder, &[]))
        .kill_on_drop(true)
        .spawn()
        .context("`backout local` could not be started")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    azure.deploy(&site, "staging", BAD);
    azure.swap_now(&site, "staging", "production").map_err(anyhow::Error::msg)?;
    let alert = folder.join("alert.json");
    tokio::fs::write(&alert, messages::alert(&site, clock.now())).await?;
    out(&format!("simulated: {BAD} was just swapped into `checkout`, and a third of its requests fail"));
    out(&format!("in a few minutes, send the alert:  curl --data-binary @{} http://{listen}/alerts", alert.display()));
    let status = child.wait().await?;
    azure.stop();
    let _ = tokio::fs::remove_dir_all(&folder).await;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
