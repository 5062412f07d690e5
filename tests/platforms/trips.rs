//! `observe` is one round trip deep on every platform: each of its requests is under way before any of them is answered.
//!
//! The simulated Azure holds every answer back until a clock that stands is moved. How many requests an observation takes in all
//! is known from one that was not held back. Further pages of a list are no trips of their own here: no list has any.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{
        resource_id::ResourceId,
        target::{
            self, AppServiceTarget, AppServiceWay, ArmDeploymentTarget, ClusterAccess, ContainerAppTarget, FingerprintSource,
            KubernetesCluster, KubernetesTarget, Lineage, LogicAppTarget, PipelineTarget, PlatformKind, Target, WorkloadKind,
        },
    },
    ports::Platform,
    settings::MapSource,
    sim::{
        AzureSimulation, Fault, FaultEffect, GITHUB_TOKEN, JournalEntry, Moment, PipelinePlace, Role, SimulatedClusterWorkload,
        SimulatedContainerApp, SimulatedDeployment, SimulatedLineage, SimulatedPipeline, SimulatedSite, SimulatedWorkflow, Wait,
        WorkloadId, clock::ManualClock,
    },
};
use jiff::SignedDuration;

use crate::support::simulated::{identity, ports};

const GROUP: &str = "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop";
/// Longer than any test holds answers back.
const HELD: Duration = Duration::from_hours(1);
/// Only how long a failing test waits for a request that never comes.
const GIVE_UP: Duration = Duration::from_mins(1);

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("{GROUP}{rest}")).unwrap()
}

/// Targets of every platform, with a good version before the one that runs.
fn targets(azure: &AzureSimulation) -> Vec<(&'static str, Target)> {
    let mut targets = Vec::new();
    let site = id("/providers/Microsoft.Web/sites/shop");
    azure.add_site(SimulatedSite::new(site.clone(), "build-41"));
    azure.deploy(&site, "staging", "build-42");
    azure.swap_now(&site, "staging", "production").unwrap();
    for (name, fingerprint) in [
        ("app-service", FingerprintSource::Default),
        ("app-service by a setting", FingerprintSource::Setting("RELEASE_ID".to_owned())),
    ] {
        let (serving_slot, good_slots) = ("production".to_owned(), vec!["staging".to_owned()]);
        let ways_back = vec![AppServiceWay::Slots, AppServiceWay::Image];
        let target = AppServiceTarget { site: site.clone(), serving_slot, good_slots, ways_back, fingerprint };
        targets.push((name, Target::AppService(target)));
    }
    let ramping = id("/providers/Microsoft.Web/sites/ramping");
    azure.add_site(SimulatedSite::new(ramping.clone(), "build-41").with_slots(&["staging", "canary"]));
    azure.deploy(&ramping, "canary", "build-42");
    azure.set_ramp_up(&ramping, "canary", 20.0);
    let target = AppServiceTarget {
        site: ramping,
        serving_slot: "production".to_owned(),
        good_slots: vec!["staging".to_owned()],
        ways_back: vec![AppServiceWay::Slots],
        fingerprint: FingerprintSource::Default,
    };
    targets.push(("app-service with users sent to a slot that the policy does not name", Target::AppService(target)));

    let cluster = id("/providers/Microsoft.ContainerService/managedClusters/aks1");
    azure.add_cluster(&cluster);
    let (namespace, name) = ("shop".to_owned(), "web".to_owned());
    for (row, word, kind) in [
        ("kubernetes Deployment", "Deployment", WorkloadKind::Deployment),
        ("kubernetes StatefulSet", "StatefulSet", WorkloadKind::StatefulSet),
        ("kubernetes DaemonSet", "DaemonSet", WorkloadKind::DaemonSet),
    ] {
        let workload =
            WorkloadId { cluster: cluster.clone(), namespace: namespace.clone(), kind: word.to_owned(), name: name.clone() };
        azure.add_cluster_workload(&SimulatedClusterWorkload::new(workload, "build-41"));
        let cluster = KubernetesCluster::Aks { id: cluster.clone(), access: ClusterAccess::Direct };
        targets.push((
            row,
            Target::Kubernetes(KubernetesTarget { cluster, namespace: namespace.clone(), kind, name: name.clone() }),
        ));
    }

    let scope = ResourceId::parse(GROUP).unwrap();
    azure.add_workload("network", "build-41", 300.0);
    azure.add_lineage(SimulatedLineage::new(scope.clone(), "network"));
    for (row, lineage, fails) in [("arm-deployment", "hub", None), ("arm-deployment after a failure", "spoke", Some("quota"))] {
        let earlier = SimulatedDeployment::new(&format!("{lineage}-1"), "build-41").ago(SignedDuration::from_hours(24));
        azure.deploy_template(&scope, earlier);
        let mut newest = SimulatedDeployment::new(&format!("{lineage}-2"), "build-42");
        newest.fails = fails.map(str::to_owned);
        azure.deploy_template(&scope, newest);
        let lineage = Lineage::Name(format!("{lineage}-*"));
        targets.push((
            row,
            Target::ArmDeployment(ArmDeploymentTarget { scope: scope.clone(), lineage, secure_parameters: [].into() }),
        ));
    }

    let workflow = id("/providers/Microsoft.Logic/workflows/orders");
    azure.add_workflow(SimulatedWorkflow::new(workflow.clone(), "build-41"));
    azure.save_workflow_without_connections(&workflow, "build-42");
    targets.push(("logic-app", Target::LogicApp(LogicAppTarget { workflow })));

    let app = id("/providers/Microsoft.App/containerApps/search");
    azure.add_container_app(SimulatedContainerApp::new(app.clone(), "network", "build-41"));
    azure.roll_out_container_app(&app, "build-42");
    targets.push(("container-app", Target::ContainerApp(ContainerAppTarget { app })));

    let place = |place| {
        Target::Pipeline(PipelineTarget {
            place,
            version_parameter: "version".to_owned(),
            decision_parameter: "decisionId".to_owned(),
        })
    };
    let without_slash = |url: url::Url| url.as_str().trim_end_matches('/').to_owned();
    let (organization, project, repository, workflow) =
        ("contoso".to_owned(), "shop".to_owned(), "contoso/shop".to_owned(), "deploy.yml".to_owned());
    let azure_dev_ops = PipelinePlace::AzureDevOps { organization: organization.clone(), project: project.clone(), pipeline: 12 };
    let github = PipelinePlace::GitHub { repository: repository.clone(), workflow: workflow.clone() };
    for pipeline in [azure_dev_ops, github] {
        azure.add_pipeline(SimulatedPipeline::new(pipeline.clone(), "network", "1.41"));
        azure.run_pipeline(&pipeline, "1.42");
    }
    targets.push((
        "pipeline of Azure DevOps",
        place(target::PipelinePlace::AzureDevOps {
            server: without_slash(azure.azure_dev_ops_url()),
            organization,
            project,
            pipeline: 12,
            branch: "main".to_owned(),
        }),
    ));
    targets.push((
        "pipeline of GitHub",
        place(target::PipelinePlace::GitHub {
            api: without_slash(azure.github_url()),
            repository,
            workflow,
            reference: "main".to_owned(),
            token_from: "DEPLOY_TOKEN".to_owned(),
        }),
    ));
    targets
}

/// Requests since `since`, but for those for a token.
fn asked(azure: &AzureSimulation, since: usize) -> Vec<JournalEntry> {
    azure.journal().into_iter().skip(since).filter(|entry| entry.role != Role::Identity).collect()
}

#[tokio::test]
async fn every_request_of_an_observation_is_under_way_before_any_is_answered() {
    let clock = Arc::new(ManualClock::at("2026-03-02T03:00:00Z".parse().unwrap()));
    let azure = AzureSimulation::start(clock.clone()).await.unwrap();
    let targets = targets(&azure);
    let (reader, actor) = (identity(&azure, None), identity(&azure, Some("actor")));
    let (ports, _) = ports(&azure, clock.clone(), reader, actor, MapSource::new([("DEPLOY_TOKEN", GITHUB_TOKEN)]));
    for platform in PlatformKind::ALL {
        assert!(targets.iter().any(|(_, target)| target.platform() == platform), "`{platform}` is not looked at");
    }
    for (row, target) in targets {
        let adapter: Arc<dyn Platform> = ports.platforms.of(&target);
        // The first one gets credentials and connections, which are kept.
        adapter.observe().await.unwrap_or_else(|error| panic!("{row}: {error}"));
        let since = azure.journal().len();
        adapter.observe().await.unwrap();
        let in_all = asked(&azure, since).len();
        assert!(in_all >= 1, "{row}");

        for role in [Role::ResourceManager, Role::Kubernetes, Role::AzureDevOps, Role::GitHub] {
            let held = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: Wait::Virtual(HELD) };
            azure.inject(Fault::on_role(role, held).times(1000));
        }
        let since = azure.journal().len();
        let observation = tokio::spawn(async move { adapter.observe().await });
        let all_under_way = async {
            while asked(&azure, since).len() < in_all {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(GIVE_UP, all_under_way).await;
        let lines: Vec<_> = asked(&azure, since).iter().map(|entry| entry.path_and_query.clone()).collect();
        assert!(in_time.is_ok(), "{row}: of {in_all} requests only these come before an answer: {lines:#?}");
        assert!(asked(&azure, since).iter().all(|entry| entry.status.is_none()), "{row}: nothing was answered so far");
        azure.clear_faults();
        // Again and again: a request may have arrived and not yet be waiting.
        while !observation.is_finished() {
            clock.advance(HELD * 2);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        observation.await.unwrap().unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(asked(&azure, since).len(), in_all, "{row}: nothing was asked after that");
    }
}
