//! A simulated cluster with one workload, the real adapter over HTTP, and the process between them, on virtual time.

use std::sync::Arc;

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{
        identity::{Identities, TokenSource},
        resource_manager::ResourceManager,
    },
    domain::{
        alert::Alert,
        observation::Observation,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Submission},
        series::{EvidenceMetric, NoData, WorseWhen},
        service::{AlertMatcher, Service},
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target, WorkloadKind},
    },
    local::memory_store::MemoryStore,
    platforms::AzurePlatforms,
    ports::{Clock, FollowUp, Platform},
    process::{Ports, Process},
    settings::MapSource,
    sim::{AzureSimulation, SimulatedClusterWorkload, WorkloadId, clock::ManualClock},
    telemetry::AzureMetrics,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fake_queue::FakeQueue,
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    world::RecordingNotifier,
};

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";

pub struct ClusterScene {
    pub azure: AzureSimulation,
    pub clock: Arc<ManualClock>,
    pub id: WorkloadId,
    pub target: Target,
    pub queue: FakeQueue,
    pub policy: Arc<Policy>,
    pub ports: Ports,
}

pub fn cluster() -> ResourceId {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-prod/providers/Microsoft.ContainerService/managedClusters/aks1"
    );
    ResourceId::parse(&id).unwrap()
}

pub fn component() -> ResourceId {
    let id = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-prod/providers/Microsoft.Insights/components/web");
    ResourceId::parse(&id).unwrap()
}

fn kind_word(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "Deployment",
        WorkloadKind::StatefulSet => "StatefulSet",
        WorkloadKind::DaemonSet => "DaemonSet",
    }
}

impl ClusterScene {
    /// `shop/web` has run the good build for a month.
    pub async fn open(kind: WorkloadKind) -> Self {
        Self::with(kind, |service| service).await
    }

    pub async fn with(kind: WorkloadKind, change: impl FnOnce(Service) -> Service) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        azure.add_workload("web", GOOD, 300.0);
        azure.add_component(&component(), "web");
        azure.set_error_share(GOOD, 0.001);
        azure.set_error_share(BAD, 0.31);
        azure.add_cluster(&cluster());
        let id = WorkloadId {
            cluster: cluster(),
            namespace: "shop".to_owned(),
            kind: kind_word(kind).to_owned(),
            name: "web".to_owned(),
        };
        azure.add_cluster_workload(&SimulatedClusterWorkload::new(id.clone(), GOOD).serving("web"));

        let target = Target::Kubernetes(KubernetesTarget {
            cluster: KubernetesCluster::Aks { id: cluster(), access: ClusterAccess::Direct },
            namespace: "shop".to_owned(),
            kind,
            name: "web".to_owned(),
        });
        let evidence = EvidenceMetric {
            metric: "requests/failed".to_owned(),
            of: Some("requests/count".to_owned()),
            worse_when: WorseWhen::Higher,
            no_data: NoData::Unknown,
            resource: Some(component()),
        };
        let service = change(Service { target: target.clone(), evidence: vec![evidence], ..service("checkout") });
        let as_clock: Arc<dyn Clock> = clock.clone();
        let queue = FakeQueue::new(as_clock.clone());
        let (reader, actor) = (credential(&azure, "reader"), credential(&azure, "actor"));
        let scope = "https://management.azure.com/.default";
        let tokens = |credential: &Arc<dyn TokenCredential>| TokenSource::new(Arc::clone(credential), scope);
        let arm = Arc::new(ResourceManager::new(azure.resource_manager_url(), tokens(&reader), tokens(&actor)));
        let identities = Arc::new(Identities::of(reader, actor));
        let settings = Arc::new(MapSource::new([("", "")]));
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            follow_ups: Arc::new(queue.clone()),
            platforms: Arc::new(AzurePlatforms::new(Arc::clone(&arm), identities, settings, as_clock.clone())),
            telemetry: Arc::new(AzureMetrics::new(arm)),
            notifier: Arc::new(RecordingNotifier::default()),
            clock: as_clock,
        };
        Self { azure, clock, id, target, queue, policy: Arc::new(policy(vec![service])), ports }
    }

    pub fn platform(&self) -> Arc<dyn Platform> {
        self.ports.platforms.of(&self.target)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, by: SignedDuration) {
        self.clock.advance(by.unsigned_abs());
    }

    /// A build is rolled out, and the rollout has ended.
    pub fn rolled_out(&self, build: &str) {
        self.azure.roll_out(&self.id, build);
        self.advance(SignedDuration::from_mins(2));
    }

    /// What runs, by the adapter.
    pub async fn observe(&self) -> Observation {
        self.platform().observe().await.unwrap()
    }

    /// Our own rollback to `revision N` without the process around it, polled to its end.
    pub async fn take_back_to(&self, way: &str) -> OperationState {
        let observation = self.observe().await;
        let Some(way) = observation.ways_back.iter().find(|known| known.name == way) else { panic!("{observation:#?}") };
        let fence = Fence { claim: "a".repeat(26), record: RecordId("r".to_owned()) };
        let step = self.platform().steps(way, &fence).remove(0);
        let Submission::Accepted { operation, .. } = self.platform().submit(&step).await else { panic!("not accepted") };
        self.advance(SignedDuration::from_mins(2));
        self.platform().poll(&operation).await.unwrap()
    }

    pub fn process(&self) -> Process {
        Process::new(self.ports.clone(), Arc::new(FixedPolicy(Arc::clone(&self.policy))), None, None)
    }

    /// The sweep sees the good build serve; then the bad one is rolled out, and requests fail. Returns the firing.
    pub async fn break_it(&self) -> Alert {
        self.process().sweep(&self.policy).await.unwrap();
        self.advance(SignedDuration::from_mins(40));
        self.azure.roll_out(&self.id, BAD);
        self.advance(SignedDuration::from_mins(8));
        self.firing("a1")
    }

    /// A firing about the component that measures the workload.
    pub fn firing(&self, id: &str) -> Alert {
        Alert {
            resources: vec![component().canonical().to_owned()],
            ..alert(id, "checkout", self.now() - SignedDuration::from_mins(1))
        }
    }

    /// The component's alerts speak about the workload.
    pub fn about_component(service: Service) -> Service {
        let matcher = AlertMatcher { resource: Some(component()), rule: None, property: Vec::new() };
        Service { alerts: vec![matcher], ..service }
    }

    pub async fn deliver_due(&self, process: &Process) {
        while let Some((id, message)) = self.queue.take() {
            let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
            process.follow_up_received(follow_up, &self.policy).await.unwrap();
            self.queue.complete(id);
        }
    }

    /// Delivers what is scheduled, and sweeps every five minutes, for `minutes`.
    pub async fn run(&self, process: &Process, minutes: i64) {
        let end = self.now() + SignedDuration::from_mins(minutes);
        let mut next_sweep = self.now() + SignedDuration::from_mins(5);
        while self.now() < end {
            self.deliver_due(process).await;
            if self.now() >= next_sweep {
                process.sweep(&self.policy).await.unwrap();
                next_sweep = self.now() + SignedDuration::from_mins(5);
            }
            let next = self.queue.next_due().map_or(next_sweep, |due| due.min(next_sweep));
            self.clock.set(next.max(self.now() + SignedDuration::from_secs(1)));
        }
    }

    pub async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// Patches that reached the API server, and how many of them changed something.
    pub fn patches(&self) -> (usize, u32) {
        let all: Vec<_> = self.azure.journal().into_iter().filter(|entry| entry.method == "PATCH").collect();
        (all.len(), all.iter().map(|entry| entry.effects).sum())
    }
}

pub fn credential(azure: &AzureSimulation, client_id: &'static str) -> Arc<dyn TokenCredential> {
    Arc::new(SimulatedIdentity { azure: azure.clone(), client_id, http: reqwest::Client::new() })
}

/// A managed identity of the simulation, asked every time.
struct SimulatedIdentity {
    azure: AzureSimulation,
    client_id: &'static str,
    http: reqwest::Client,
}

impl std::fmt::Debug for SimulatedIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.client_id)
    }
}

#[async_trait::async_trait]
impl TokenCredential for SimulatedIdentity {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let resource = scopes[0].trim_end_matches("/.default");
        let query = [("resource", resource), ("api-version", "2019-08-01"), ("client_id", self.client_id)];
        let url = url::Url::parse_with_params(&self.azure.identity_endpoint(), query).unwrap();
        let answer = self.http.get(url).header("X-IDENTITY-HEADER", self.azure.identity_header()).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Ok(AccessToken::new(token, OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()))
    }
}
