//! The stage: simulated Azure, a Functions host with the real handler process, and a view into its store.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    app_service::SlotSwap,
    narrator::Narrator,
    stage::{BAD, GOOD, Stage},
};
use crate::{
    cli::out,
    domain::record::{Record, RecordId},
    local::sqlite_store::SqliteStore,
    ports::Clock,
    process::{
        documents::{Documents, keys},
        receipt::{self, Receipt},
    },
    settings::names,
    sim::{
        AzureSimulation, QueueOptions, SimulatedMessage,
        clock::ScaledClock,
        host::{HostEmulator, HostOptions, InvocationOutcome, ServiceBusMessage},
    },
};

/// Real time between two looks.
const PAUSE: Duration = Duration::from_millis(40);

pub struct Scene {
    pub narrator: Narrator,
    pub clock: Arc<ScaledClock>,
    pub azure: AzureSimulation,
    pub host: Arc<HostEmulator>,
    pub stage: Box<dyn Stage>,
    documents: Documents,
    folder: PathBuf,
    deliveries: JoinHandle<()>,
}

impl Scene {
    pub async fn open(stage: Box<dyn Stage>, time_scale: &str, narrator: Narrator) -> anyhow::Result<Self> {
        let clock = Arc::new(ScaledClock::from_setting(time_scale)?);
        let azure = simulated_azure(stage.as_ref(), clock.clone()).await?;
        let folder = folder(stage.as_ref(), &azure)?;
        let scale = (names::BACKOUT_TIME_SCALE.to_owned(), clock.setting());
        let environment = environment(stage.as_ref(), &azure, &folder, &[scale]);
        let options = HostOptions {
            executable: Some(std::env::current_exe().context("the path of this program is not known")?),
            arguments: Some(vec!["serve".to_owned()]),
            environment,
            ..HostOptions::default()
        };
        let host = Arc::new(HostEmulator::start(options).await.context("the handler did not start")?);
        let deliveries = tokio::spawn(deliver(azure.clone(), Arc::clone(&host), clock.clone()));
        let documents = Documents::new(Arc::new(SqliteStore::new(folder.join("state.db"))));
        Ok(Self { narrator, clock, azure, host, stage, documents, folder, deliveries })
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

    /// Calls of the rollback that reached the platform.
    pub fn calls(&self) -> usize {
        self.azure.journal().iter().filter(|entry| self.stage.is_call(entry)).count()
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

async fn simulated_azure(stage: &dyn Stage, clock: Arc<ScaledClock>) -> anyhow::Result<AzureSimulation> {
    let azure = AzureSimulation::start(clock).await.context("simulated Azure could not listen on this machine")?;
    stage.set_up(&azure)?;
    azure.set_error_share(GOOD, 0.002);
    azure.set_error_share(BAD, 0.33);
    for queue in ["alerts", "deployments", "markers", "followups"] {
        // The host renews its locks; a message comes back when the handler dies, not before.
        azure.add_queue(queue, QueueOptions { lock_duration: Duration::from_hours(1), ..QueueOptions::default() });
    }
    Ok(azure)
}

fn folder(stage: &dyn Stage, azure: &AzureSimulation) -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("backout-demo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let policy = format!("version: 1\nservices:\n  checkout:\n{}    reversible: always\n    mode: act\n", stage.policy(azure)?);
    std::fs::write(folder.join("backout.yaml"), policy)?;
    Ok(folder)
}

/// The handler's settings: only these, whatever this process was started with.
fn environment(stage: &dyn Stage, azure: &AzureSimulation, folder: &Path, more: &[(String, String)]) -> Vec<(String, String)> {
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
    for (name, value) in stage.environment(azure).iter().chain(more) {
        set(name, value.clone());
    }
    environment.into_iter().collect()
}

/// Plays Azure until `backout local` ends: a bad build has just been swapped in, and the alert may be posted.
pub async fn local_with_simulation(
    clock: Arc<ScaledClock>,
    listen: SocketAddr,
    concurrency: NonZeroUsize,
) -> anyhow::Result<ExitCode> {
    let stage = SlotSwap::new()?;
    let azure = simulated_azure(&stage, clock.clone()).await?;
    let folder = folder(&stage, &azure)?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["local", "--listen", &listen.to_string(), "--concurrency", &concurrency.to_string()])
        .envs(environment(&stage, &azure, &folder, &[]))
        .kill_on_drop(true)
        .spawn()
        .context("`backout local` could not be started")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    azure.deploy(&stage.site, "staging", BAD);
    azure.swap_now(&stage.site, "staging", "production").map_err(anyhow::Error::msg)?;
    let alert = folder.join("alert.json");
    tokio::fs::write(&alert, stage.alert(clock.now())?).await?;
    out(&format!("simulated: {BAD} was just swapped into `checkout`, and a third of its requests fail"));
    out(&format!("in a few minutes, send the alert:  curl --data-binary @{} http://{listen}/alerts", alert.display()));
    let status = child.wait().await?;
    azure.stop();
    let _ = tokio::fs::remove_dir_all(&folder).await;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
