//! Every real adapter, against simulated Azure.

use std::{sync::Arc, time::Duration};

use backout::{
    cli::demo::stage_of,
    domain::{
        resource_id::ResourceId,
        target::{
            AppServiceWay, ClusterAccess, ContainerAppTarget, FingerprintSource, PipelinePlace, PipelineTarget, PlatformKind,
            Target, WorkloadKind,
        },
    },
    policy,
    ports::{Clock, Platform},
    settings::MapSource,
    sim::{
        self, AzureSimulation, Delivery, GITHUB_TOKEN, SimulatedContainerApp, SimulatedDeployment, SimulatedPipeline,
        clock::ManualClock,
    },
};

use super::stage::Stage;
use crate::support::{
    cluster::ClusterScene,
    policy::SUBSCRIPTION,
    simulated::{identity, ports},
    slots::SlotScene,
    world::GOOD,
};

type Rollout = Box<dyn Fn(&AzureSimulation, &str)>;

pub struct AzureStage {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    target: Target,
    rollout: Rollout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionMode {
    Single,
    Multiple,
}

/// Long enough for everything that others begin.
const ROLLOUT_TAKES: Duration = Duration::from_mins(3);

impl AzureStage {
    /// Builds are pushed to a slot, and swapped in.
    pub async fn slots() -> Self {
        let scene = SlotScene::open().await.preferring(&[AppServiceWay::Slots]);
        let site = scene.site;
        let swap = move |azure: &AzureSimulation, build: &str| {
            azure.deploy(&site, "staging", build);
            azure.swap_now(&site, "staging", "production").unwrap();
        };
        Self { azure: scene.azure, clock: scene.clock, target: scene.target, rollout: Box::new(swap) }
    }

    /// Images are set in the serving slot, and no slot may be swapped.
    pub async fn image() -> Self {
        let scene = SlotScene::delivering(Delivery::Image, FingerprintSource::Default).await.preferring(&[AppServiceWay::Image]);
        let site = scene.site;
        let set = move |azure: &AzureSimulation, build: &str| azure.deploy(&site, "production", build);
        Self { azure: scene.azure, clock: scene.clock, target: scene.target, rollout: Box::new(set) }
    }

    pub async fn workload(kind: WorkloadKind, access: ClusterAccess) -> Self {
        let scene = ClusterScene::reached_by(access, kind, |service| service).await;
        let id = scene.id;
        let apply = move |azure: &AzureSimulation, build: &str| azure.roll_out(&id, build);
        Self { azure: scene.azure, clock: scene.clock, target: scene.target, rollout: Box::new(apply) }
    }

    pub async fn arm_deployment() -> Self {
        Self::of_demo(PlatformKind::ArmDeployment, |target| {
            let Target::ArmDeployment(target) = target else { panic!("no scope: {target:?}") };
            Box::new(move |azure, build| {
                let deployment = SimulatedDeployment::new(&format!("hub-{build}"), build);
                azure.deploy_template(&target.scope, deployment);
            })
        })
        .await
    }

    pub async fn logic_app() -> Self {
        Self::of_demo(PlatformKind::LogicApp, |target| {
            let Target::LogicApp(target) = target else { panic!("no workflow: {target:?}") };
            Box::new(move |azure, build| azure.save_workflow(&target.workflow, build))
        })
        .await
    }

    pub async fn container_app(mode: RevisionMode) -> Self {
        let (azure, clock) = simulation().await;
        let app = ResourceId::parse(&format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/Microsoft.App/containerApps/orders"
        ))
        .unwrap();
        azure.add_workload("orders", GOOD, 300.0);
        let simulated = SimulatedContainerApp::new(app.clone(), "orders", GOOD);
        azure.add_container_app(match mode {
            RevisionMode::Single => simulated,
            RevisionMode::Multiple => simulated.with_multiple_revisions(),
        });
        let target = Target::ContainerApp(ContainerAppTarget { app: app.clone() });
        let update = move |azure: &AzureSimulation, build: &str| {
            azure.roll_out_container_app(&app, build);
        };
        Self { azure, clock, target, rollout: Box::new(update) }
    }

    pub async fn azure_dev_ops() -> Self {
        Self::of_demo(PlatformKind::Pipeline, |_| {
            let (organization, project) = ("contoso".to_owned(), "shop".to_owned());
            let place = sim::PipelinePlace::AzureDevOps { organization, project, pipeline: 12 };
            Box::new(move |azure, build| azure.run_pipeline(&place, build))
        })
        .await
    }

    pub async fn github() -> Self {
        let (azure, clock) = simulation().await;
        let (repository, workflow) = ("contoso/shop".to_owned(), "deploy.yml".to_owned());
        let place = sim::PipelinePlace::GitHub { repository: repository.clone(), workflow: workflow.clone() };
        azure.add_workload("shop", GOOD, 300.0);
        azure.add_pipeline(SimulatedPipeline::new(place.clone(), "shop", GOOD));
        let target = Target::Pipeline(PipelineTarget {
            place: PipelinePlace::GitHub {
                api: azure.github_url().as_str().trim_end_matches('/').to_owned(),
                repository,
                workflow,
                reference: "main".to_owned(),
                token_from: "DEPLOY_TOKEN".to_owned(),
            },
            version_parameter: "version".to_owned(),
            decision_parameter: "decisionId".to_owned(),
        });
        Self { azure, clock, target, rollout: Box::new(move |azure, build| azure.run_pipeline(&place, build)) }
    }

    /// The demo's scenery, and its target as the policy file names it.
    async fn of_demo(kind: PlatformKind, rollout: impl FnOnce(Target) -> Rollout) -> Self {
        let (azure, clock) = simulation().await;
        let stage = stage_of(kind).unwrap();
        stage.set_up(&azure).unwrap();
        let text = format!("version: 1\nservices:\n  checkout:\n{}", stage.policy(&azure).unwrap());
        let policy = policy::read(text.as_bytes(), None).unwrap();
        let target = policy.services.values().next().expect("one service").target.clone();
        Self { azure, clock, rollout: rollout(target.clone()), target }
    }

    fn of_target(&self, target: &Target) -> Arc<dyn Platform> {
        let (reader, actor) = (identity(&self.azure, Some("reader")), identity(&self.azure, Some("actor")));
        let settings = MapSource::new([("DEPLOY_TOKEN", GITHUB_TOKEN)]);
        ports(&self.azure, self.clock.clone(), reader, actor, settings).0.platforms.of(target)
    }
}

async fn simulation() -> (AzureSimulation, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::that_advances_on_sleep("2026-03-02T03:00:00Z".parse().unwrap()));
    (AzureSimulation::start(clock.clone()).await.unwrap(), clock)
}

/// The same kind of target under a name that nothing has.
fn unknown(target: &Target) -> Target {
    let other = |id: &ResourceId| ResourceId::parse(&format!("{id}-that-is-gone")).unwrap();
    let mut target = target.clone();
    match &mut target {
        Target::AppService(target) => target.site = other(&target.site),
        Target::Kubernetes(target) => "gone".clone_into(&mut target.name),
        Target::ArmDeployment(target) => target.scope = other(&target.scope),
        Target::LogicApp(target) => target.workflow = other(&target.workflow),
        Target::ContainerApp(target) => target.app = other(&target.app),
        Target::Pipeline(target) => match &mut target.place {
            PipelinePlace::AzureDevOps { pipeline, .. } => *pipeline = 4_711,
            PipelinePlace::GitHub { workflow, .. } => "gone.yml".clone_into(workflow),
        },
    }
    target
}

impl Stage for AzureStage {
    fn platform(&self) -> Arc<dyn Platform> {
        self.of_target(&self.target)
    }

    fn nowhere(&self) -> Arc<dyn Platform> {
        self.of_target(&unknown(&self.target))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn roll_out(&self, build: &str) {
        (self.rollout)(&self.azure, build);
        self.pass(ROLLOUT_TAKES).await;
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

impl Drop for AzureStage {
    fn drop(&mut self) {
        self.azure.stop();
    }
}
