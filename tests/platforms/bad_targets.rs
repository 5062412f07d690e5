//! Targets that are not what the policy says, on every platform: a sentence that names what to do next, a person is told, and
//! nothing is sent that changes anything.
//!
//! The bodies of errors are composed in the shapes of Microsoft's clients; none was recorded.

use std::sync::Arc;

use backout::{
    domain::{
        decision::DecisionKind,
        record::RecordId,
        resource_id::ResourceId,
        series::NoData,
        service::AlertMatcher,
        target::{
            self, AppServiceTarget, AppServiceWay, ArmDeploymentTarget, ClusterAccess, ContainerAppTarget, FingerprintSource,
            KubernetesCluster, KubernetesTarget, Lineage, LogicAppTarget, PipelineTarget, PlatformKind, Target, WorkloadKind,
        },
    },
    policy as policy_file,
    ports::Clock,
    settings::MapSource,
    sim::{
        AzureSimulation, Fault, FaultBody, FaultEffect, GITHUB_TOKEN, Moment, PipelinePlace, Role, SimulatedClusterWorkload,
        SimulatedLineage, SimulatedPipeline, WorkloadId, clock::ManualClock,
    },
};
use jiff::SignedDuration;
use url::Url;

use crate::support::{
    leaks::watched_process,
    policy::{FixedPolicy, alert, policy, service},
    simulated::{failed_requests, identity, ports, run_while},
};

const GROUP: &str = "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop";
const CLUSTER: &str = "/providers/Microsoft.ContainerService/managedClusters/aks1";

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("{GROUP}{rest}")).unwrap()
}

fn app_service() -> Target {
    Target::AppService(AppServiceTarget {
        site: id("/providers/Microsoft.Web/sites/shop"),
        serving_slot: "production".to_owned(),
        good_slots: vec!["staging".to_owned()],
        ways_back: vec![AppServiceWay::Slots],
        fingerprint: FingerprintSource::Default,
    })
}

fn kubernetes(cluster: KubernetesCluster) -> Target {
    let (namespace, name) = ("shop".to_owned(), "web".to_owned());
    Target::Kubernetes(KubernetesTarget { cluster, namespace, kind: WorkloadKind::Deployment, name })
}

fn aks() -> Target {
    kubernetes(KubernetesCluster::Aks { id: id(CLUSTER), access: ClusterAccess::Direct })
}

fn arm_deployment(group: &str) -> Target {
    let (scope, lineage) = (ResourceId::parse(group).unwrap(), Lineage::Name("hub-*".to_owned()));
    Target::ArmDeployment(ArmDeploymentTarget { scope, lineage, secure_parameters: [].into() })
}

fn logic_app() -> Target {
    Target::LogicApp(LogicAppTarget { workflow: id("/providers/Microsoft.Logic/workflows/orders") })
}

fn container_app() -> Target {
    Target::ContainerApp(ContainerAppTarget { app: id("/providers/Microsoft.App/containerApps/search") })
}

fn pipeline(server: &Url) -> Target {
    Target::Pipeline(PipelineTarget {
        place: target::PipelinePlace::GitHub {
            api: server.as_str().trim_end_matches('/').to_owned(),
            repository: "contoso/shop".to_owned(),
            workflow: "deploy.yml".to_owned(),
            reference: "main".to_owned(),
            token_from: "DEPLOY_TOKEN".to_owned(),
        },
        version_parameter: "version".to_owned(),
        decision_parameter: "decisionId".to_owned(),
    })
}

async fn simulation() -> (AzureSimulation, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::that_advances_on_sleep("2026-03-02T03:00:00Z".parse().unwrap()));
    let azure = AzureSimulation::start(clock.clone()).await.unwrap();
    (azure, clock)
}

/// A fault of the service that has this target, with bad signals all along, is told to a person in these words.
#[track_caller]
fn check(row: &str, kind: Option<DecisionKind>, told: &str, parts: &[&str]) {
    assert!(
        matches!(kind, Some(DecisionKind::Page | DecisionKind::Propose)),
        "{row}: a person must be asked, not {kind:?}: {told}"
    );
    for part in parts {
        assert!(told.contains(part), "{row}: `{part}` expected in: {told}");
    }
}

/// Lets an alert about the target fire, and everything that follows happen.
async fn fire(row: &str, azure: &AzureSimulation, clock: &Arc<ManualClock>, target: Target, says: &[&str]) {
    let component = id("/providers/Microsoft.Insights/components/shop");
    azure.add_workload("shop", "build-42", 300.0);
    azure.add_component(&component, "shop");
    azure.set_error_share("build-42", 0.33);
    let mut shop = service("shop");
    shop.target = target;
    shop.alerts = vec![AlertMatcher { resource: Some(component.clone()), rule: None, property: Vec::new() }];
    shop.evidence = vec![failed_requests(&component, NoData::Unknown)];
    let policy = Arc::new(policy(vec![shop]));
    let as_clock: Arc<dyn Clock> = clock.clone();
    let (reader, actor) = (identity(azure, None), identity(azure, Some("actor")));
    let (ports, queue) = ports(azure, as_clock, reader, actor, MapSource::new([("DEPLOY_TOKEN", GITHUB_TOKEN)]));
    let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&policy))));
    let mut firing = alert("a1", "shop", clock.now() - SignedDuration::from_mins(1));
    firing.resources = vec![component.canonical().to_owned()];
    process.alert_received(firing.clone(), &policy).await.unwrap();
    run_while(clock, &queue, &process, &policy, 90, async || true).await;
    let record = process.record(&RecordId::of(&firing)).await.unwrap().unwrap();
    let told = format!("{:#?} {:#?}", record.decision, record.timeline);
    check(row, record.decision.map(|decision| decision.kind), &told, says);
    assert_eq!(record.rollback, None, "{row}: {told}");

    // Asking for credentials and for what differs are POSTs that only read.
    let reads =
        ["/listClusterUserCredential", "/exportTemplate", "/slotsdiffs", "/selfsubjectaccessreviews", "/appsettings/list"];
    let changing: Vec<_> = azure
        .journal()
        .into_iter()
        .filter(|entry| {
            entry.effects > 0 || (entry.method != "GET" && !reads.iter().any(|read| entry.path_and_query.contains(read)))
        })
        .map(|entry| format!("{} {}", entry.method, entry.path_and_query))
        .collect();
    assert_eq!(changing, Vec::<String>::new(), "{row}");
}

#[tokio::test]
async fn a_subscription_without_the_provider_says_how_to_register_it() {
    // Microsoft.Resources is registered everywhere, and a pipeline is none of Azure's.
    for (target, namespace) in [
        (app_service(), "Microsoft.Web"),
        (aks(), "Microsoft.ContainerService"),
        (logic_app(), "Microsoft.Logic"),
        (container_app(), "Microsoft.App"),
    ] {
        for (code, status) in [("MissingSubscriptionRegistration", 409), ("SubscriptionNotRegistered", 404)] {
            let row = format!("{namespace} {code}");
            let (azure, clock) = simulation().await;
            let message = format!("The subscription is not registered to use namespace '{namespace}'.");
            let body = FaultBody::Error { code: code.to_owned(), message };
            let effect = FaultEffect::Status { moment: Moment::BeforeEffect, status, body };
            let fault = Fault { method: None, ..Fault::on("GET", &format!("/providers/{namespace}/"), effect) };
            azure.inject(fault.times(100_000));
            let cure = format!("az provider register --namespace {namespace}");
            fire(&row, &azure, &clock, target.clone(), &["not registered", &cure, "the right subscription"]).await;
        }
    }
}

#[tokio::test]
async fn a_target_that_was_deleted_says_where_to_look() {
    for platform in PlatformKind::ALL {
        let (azure, clock) = simulation().await;
        let place = PipelinePlace::GitHub { repository: "contoso/shop".to_owned(), workflow: "deploy.yml".to_owned() };
        let (target, parts): (Target, &[&str]) = match platform {
            PlatformKind::AppService => (app_service(), &["ResourceNotFound", "check its id in the policy"]),
            PlatformKind::Kubernetes => (aks(), &["ResourceNotFound", "check its id in the policy"]),
            PlatformKind::ArmDeployment => {
                azure.add_workload("network", "build-41", 300.0);
                azure.add_lineage(SimulatedLineage::new(ResourceId::parse(GROUP).unwrap(), "network"));
                (arm_deployment(GROUP), &["holds no deployment named `hub-*`", "check `scope` and `lineage` in the policy"])
            }
            PlatformKind::LogicApp => (logic_app(), &["ResourceNotFound", "check its id in the policy"]),
            PlatformKind::ContainerApp => (container_app(), &["ResourceNotFound", "check its id in the policy"]),
            PlatformKind::Pipeline => {
                azure.add_workload("network", "1.41", 300.0);
                azure.add_pipeline(SimulatedPipeline::new(place.clone(), "network", "1.41"));
                azure.remove_pipeline(&place);
                (pipeline(&azure.github_url()), &["404", "check both names in the policy"])
            }
        };
        fire(&platform.to_string(), &azure, &clock, target, parts).await;
    }
    let (azure, clock) = simulation().await;
    let gone = arm_deployment(&GROUP.replace("/shop", "/gone"));
    let parts = ["ResourceGroupNotFound", "check its id in the policy"];
    fire("a resource group that is gone", &azure, &clock, gone, &parts).await;
}

#[tokio::test]
async fn a_workload_of_another_kind_or_a_cluster_out_of_reach_says_what_to_check() {
    let (azure, clock) = simulation().await;
    azure.add_cluster(&id(CLUSTER));
    let workload =
        WorkloadId { cluster: id(CLUSTER), namespace: "shop".to_owned(), kind: "StatefulSet".to_owned(), name: "web".to_owned() };
    azure.add_cluster_workload(&SimulatedClusterWorkload::new(workload, "build-41"));
    let parts = ["404", "check namespace, kind and name in the policy"];
    fire("a StatefulSet, not a Deployment", &azure, &clock, aks(), &parts).await;

    let (azure, clock) = simulation().await;
    azure.add_cluster(&id(CLUSTER));
    azure.inject(Fault::on_role(Role::Kubernetes, FaultEffect::Reset { moment: Moment::BeforeEffect }).times(100_000));
    fire("a cluster whose connections break", &azure, &clock, aks(), &["the connection to the API server broke"]).await;

    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(
        &file,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{ server: 'http://{closed}' }}\n\
             users:\n- name: u\n  user: {{ token: t }}\ncontexts:\n- name: c\n  context: {{ cluster: c, user: u }}\n"
        ),
    )
    .unwrap();
    let at = |path: &std::path::Path| {
        kubernetes(KubernetesCluster::Kubeconfig { path: path.to_str().unwrap().to_owned(), context: None })
    };
    let (azure, clock) = simulation().await;
    let parts = ["no connection to the API server", "check that the cluster runs", "network"];
    fire("a cluster out of reach", &azure, &clock, at(&file), &parts).await;

    let (azure, clock) = simulation().await;
    let parts = ["cannot be read", "check `kubeconfig:` in the policy"];
    fire("a kubeconfig that is not there", &azure, &clock, at(&folder.path().join("gone")), &parts).await;
}

#[tokio::test]
async fn a_pipelines_server_out_of_reach_says_so() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (azure, clock) = simulation().await;
    let target = pipeline(&Url::parse(&format!("http://{closed}")).unwrap());
    fire("a server out of reach", &azure, &clock, target, &["no connection to GitHub", "check the server's URL in the policy"])
        .await;
}

/// Such a policy never reaches a platform: it is told with its place and a cure.
#[test]
fn a_target_that_does_not_parse_or_is_of_a_wrong_kind_says_what_to_write() {
    let site = format!("{GROUP}/providers/Microsoft.Web/sites/shop");
    let cluster = format!("{GROUP}{CLUSTER}");
    let rows = [
        ("app-service", "site: shop".to_owned(), "site", "az webapp show"),
        ("app-service", format!("site: {cluster}"), "site", "Microsoft.Web/sites"),
        ("kubernetes", "cluster: aks1, namespace: shop, kind: Deployment, name: web".to_owned(), "cluster", "az aks show"),
        ("kubernetes", format!("cluster: {site}, namespace: shop, kind: Deployment, name: web"), "cluster", "az aks show"),
        ("kubernetes", format!("cluster: {cluster}, namespace: shop, kind: Job, name: web"), "kind", "Deployment"),
        ("arm-deployment", "scope: net, lineage: hub-*".to_owned(), "scope", "/subscriptions/"),
        ("arm-deployment", format!("scope: {site}, lineage: hub-*"), "scope", "/subscriptions/"),
        ("logic-app", "workflow: orders".to_owned(), "workflow", "/subscriptions/"),
        ("logic-app", format!("workflow: {site}"), "workflow", "`platform: app-service`"),
        ("container-app", "app: search".to_owned(), "app", "/subscriptions/"),
        ("container-app", format!("app: {GROUP}/providers/Microsoft.App/jobs/search"), "app", "/subscriptions/"),
        (
            "pipeline",
            "github: { repository: shop, workflow: deploy.yml, ref: main, tokenFrom: T }".to_owned(),
            "repository",
            "URL of the repository",
        ),
        ("pipeline", "azureDevOps: { organization: o, project: p, pipeline: shop }".to_owned(), "pipeline", "write digits only"),
        ("virtual-machine", format!("site: {site}"), "platform", "known: `app-service`"),
    ];
    for (platform, keys, field, hint) in rows {
        let text = format!(
            "version: 1\nservices:\n  shop:\n    target: {{ platform: {platform}, {keys} }}\n    alerts:\n      - rule: shop-*\n    \
             evidence:\n      - {{ metric: requests/failed, of: requests/count, worseWhen: higher, resource: {GROUP}/providers/Microsoft.Insights/components/shop }}\n"
        );
        let problems = policy_file::read(text.as_bytes(), None).expect_err(&text).problems;
        let problem = problems.iter().find(|problem| problem.path.contains(field));
        let problem = problem.unwrap_or_else(|| panic!("`{field}` is not spoken of for\n{keys}\n{problems:#?}"));
        assert_eq!(problem.line, 4, "{problem}");
        assert!(problem.hint.contains(hint) && !problem.hint.is_empty(), "`{hint}` expected in the hint of: {problem}");
    }
}
