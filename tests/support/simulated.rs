//! What the stories of all platforms share: the real adapters over simulated Azure, on virtual time.

use std::{fmt, sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{
        identity::Identities,
        resource_manager::{Limits, ResourceManager},
    },
    domain::{
        policy::Policy,
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, WorseWhen},
    },
    local::memory_store::MemoryStore,
    platforms::AzurePlatforms,
    ports::{Clock, FollowUp},
    process::{Ports, Process},
    settings::MapSource,
    sim::{AzureSimulation, clock::ManualClock},
    telemetry::{AlertsManagement, AzureMetrics},
};
use jiff::SignedDuration;

use super::{fake_notifier::FakeNotifier, fake_queue::FakeQueue};

/// A managed identity of the simulation, asked every time; `None` is the system's.
pub fn identity(azure: &AzureSimulation, client_id: Option<&'static str>) -> Arc<dyn TokenCredential> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    Arc::new(SimulatedIdentity { azure: azure.clone(), client_id, http })
}

struct SimulatedIdentity {
    azure: AzureSimulation,
    client_id: Option<&'static str>,
    http: reqwest::Client,
}

impl fmt::Debug for SimulatedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.client_id.unwrap_or("system"))
    }
}

#[async_trait::async_trait]
impl TokenCredential for SimulatedIdentity {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let resource = scopes[0].trim_end_matches("/.default");
        let mut query = vec![("resource", resource), ("api-version", "2019-08-01")];
        query.extend(self.client_id.map(|id| ("client_id", id)));
        let url = url::Url::parse_with_params(&self.azure.identity_endpoint(), query).unwrap();
        let answer = self.http.get(url).header("X-IDENTITY-HEADER", self.azure.identity_header()).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Ok(AccessToken::new(token, OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()))
    }
}

/// Real platforms and real metrics at the simulation's URLs; a store, a queue and a notifier of memory.
pub fn ports(
    azure: &AzureSimulation,
    clock: Arc<dyn Clock>,
    reader: Arc<dyn TokenCredential>,
    actor: Arc<dyn TokenCredential>,
    settings: MapSource,
) -> (Ports, FakeQueue) {
    let identities = Arc::new(Identities::of(reader, actor));
    let scope = "https://management.azure.com/.default";
    let arm = ResourceManager::new(azure.resource_manager_url(), identities.reader(scope), identities.actor(scope));
    // The pause is real time, of which these stories take none.
    let arm = Arc::new(arm.with_limits(Limits { retry_pause: Duration::from_millis(1), ..Limits::default() }));
    let queue = FakeQueue::new(clock.clone());
    let ports = Ports {
        store: Arc::new(MemoryStore::new()),
        follow_ups: Arc::new(queue.clone()),
        platforms: Arc::new(AzurePlatforms::new(Arc::clone(&arm), identities, Arc::new(settings), clock.clone())),
        telemetry: Arc::new(AzureMetrics::new(Arc::clone(&arm))),
        alerts: Arc::new(AlertsManagement::new(arm)),
        notifier: Arc::new(FakeNotifier::default()),
        clock,
    };
    (ports, queue)
}

/// The share of failed requests, as an Application Insights component measures it.
pub fn failed_requests(component: &ResourceId, no_data: NoData) -> EvidenceMetric {
    EvidenceMetric {
        metric: "requests/failed".to_owned(),
        of: Some("requests/count".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data,
        resource: Some(component.clone()),
    }
}

/// Delivers everything that is due.
pub async fn deliver_due(queue: &FakeQueue, process: &Process, policy: &Policy) {
    while let Some((id, message)) = queue.take() {
        let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
        Box::pin(process.follow_up_received(follow_up, policy)).await.unwrap();
        queue.complete(id);
    }
}

/// Delivers what is scheduled as time passes, and sweeps every five minutes, while `goes_on`; for `minutes` at most.
pub async fn run_while(
    clock: &ManualClock,
    queue: &FakeQueue,
    process: &Process,
    policy: &Policy,
    minutes: i64,
    goes_on: impl AsyncFn() -> bool,
) {
    let end = clock.now() + SignedDuration::from_mins(minutes);
    let mut next_sweep = clock.now() + SignedDuration::from_mins(5);
    loop {
        deliver_due(queue, process, policy).await;
        if clock.now() >= next_sweep {
            Box::pin(process.sweep(policy)).await.unwrap();
            next_sweep = clock.now() + SignedDuration::from_mins(5);
        }
        if clock.now() >= end || !goes_on().await {
            return;
        }
        let next = queue.next_due().map_or(next_sweep, |due| due.min(next_sweep));
        clock.set(next.max(clock.now() + SignedDuration::from_secs(1)));
    }
}
