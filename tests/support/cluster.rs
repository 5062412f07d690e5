//! A simulated cluster with one workload, the real adapter over HTTP, and the process between them, on virtual time.

use std::sync::Arc;

use backout::{
    domain::{
        alert::Alert,
        observation::Observation,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Submission},
        series::NoData,
        service::{AlertMatcher, Service},
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target, WorkloadKind},
    },
    ports::{Clock, Platform},
    process::{Ports, Process},
    settings::MapSource,
    sim::{AzureSimulation, SimulatedClusterWorkload, SimulatedCommand, WorkloadId, clock::ManualClock},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    simulated::{failed_requests, identity, ports, run_while},
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
        Self::reached_by(ClusterAccess::Direct, kind, change).await
    }

    /// By commands, the cluster is private: its API server is out of reach.
    pub async fn reached_by(access: ClusterAccess, kind: WorkloadKind, change: impl FnOnce(Service) -> Service) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        azure.add_workload("web", GOOD, 300.0);
        azure.add_component(&component(), "web");
        azure.set_error_share(GOOD, 0.001);
        azure.set_error_share(BAD, 0.31);
        azure.add_cluster(&cluster());
        azure.set_cluster_private(&cluster(), access == ClusterAccess::RunCommand);
        let id = WorkloadId {
            cluster: cluster(),
            namespace: "shop".to_owned(),
            kind: kind_word(kind).to_owned(),
            name: "web".to_owned(),
        };
        azure.add_cluster_workload(&SimulatedClusterWorkload::new(id.clone(), GOOD).serving("web"));

        let target = Target::Kubernetes(KubernetesTarget {
            cluster: KubernetesCluster::Aks { id: cluster(), access },
            namespace: "shop".to_owned(),
            kind,
            name: "web".to_owned(),
        });
        let evidence = failed_requests(&component(), NoData::Unknown);
        let service = change(Service { target: target.clone(), evidence: vec![evidence], ..service("checkout") });
        let (reader, actor) = (identity(&azure, Some("reader")), identity(&azure, Some("actor")));
        let (ports, queue) = ports(&azure, clock.clone(), reader, actor, MapSource::new([("", "")]));
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
        watched_process(self.ports.clone(), Arc::new(FixedPolicy(Arc::clone(&self.policy))))
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

    /// Delivers what is scheduled, and sweeps every five minutes, for `minutes`.
    pub async fn run(&self, process: &Process, minutes: i64) {
        run_while(&self.clock, &self.queue, process, &self.policy, minutes, async || true).await;
    }

    pub async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// The commands that patch.
    pub fn patch_commands(&self) -> Vec<SimulatedCommand> {
        self.azure.commands(&cluster()).into_iter().filter(|command| command.line.starts_with("kubectl patch ")).collect()
    }

    /// Patches that reached the API server, and how many of them changed something.
    pub fn patches(&self) -> (usize, u32) {
        let all: Vec<_> = self.azure.journal().into_iter().filter(|entry| entry.method == "PATCH").collect();
        (all.len(), all.iter().map(|entry| entry.effects).sum())
    }
}
