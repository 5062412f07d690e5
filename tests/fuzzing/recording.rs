//! Makes inputs that are worth changing: what the simulated Azure answers, what the process stores, programs that would start.
//! `cargo test --test backout fuzzing::recording -- --ignored` writes them below `tests/fuzz/corpus`.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use azure_core::credentials::TokenCredential;
use backout::{
    azure::{
        identity::Identities,
        resource_manager::{Limits, ResourceManager},
    },
    cli::demo::{
        stage::{BAD, GOOD},
        stage_of,
    },
    domain::{
        observation::Observation,
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, Submission},
        series::{EvidenceMetric, NoData, WorseWhen},
        target::PlatformKind,
    },
    platforms::AzurePlatforms,
    ports::{Alerts, Clock, Platforms, StateStore, Telemetry},
    process::documents::keys,
    settings::MapSource,
    sim::{AzureSimulation, clock::ManualClock},
    telemetry::{AlertsManagement, AzureMetrics},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::properties::azure::{kubeconfig_of, target};
use crate::{
    packaging::elf::Elf,
    support::{simulated::identity, world::World},
};

fn keep(family: &str, name: &str, input: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(family);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), input).unwrap();
}

/// Stands between the adapters and the simulation, and writes down what comes back.
struct Recorder {
    azure: AzureSimulation,
    cluster: Option<Url>,
    credential: Arc<dyn TokenCredential>,
    client: reqwest::Client,
    heard: Mutex<Vec<String>>,
}

impl Recorder {
    async fn open(azure: &AzureSimulation, cluster: Option<Url>) -> (Arc<Self>, Url) {
        let recorder = Arc::new(Self {
            azure: azure.clone(),
            cluster,
            credential: identity(azure, None),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            heard: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&recorder));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (recorder, url)
    }

    /// The form of `properties::azure`.
    fn input(&self, kind: &str) -> String {
        let mut seen = BTreeSet::new();
        let heard: Vec<String> =
            self.heard.lock().unwrap().iter().filter(|answer| seen.insert((*answer).clone())).cloned().collect();
        format!("{kind}\n{}", heard.concat())
    }
}

async fn pass_on(State(recorder): State<Arc<Recorder>>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let (base, scope) = if path.starts_with("/api") {
        (recorder.cluster.clone().unwrap(), "6dae42f8-4368-4678-94ff-3960e28e3630/.default")
    } else if path.contains("/_apis/") {
        (recorder.azure.azure_dev_ops_url(), "499b84ac-1321-427f-aa17-267ca6975798/.default")
    } else {
        (recorder.azure.resource_manager_url(), "https://management.azure.com/.default")
    };
    let token = recorder.credential.get_token(&[scope], None).await.unwrap();
    let (parts, body) = request.into_parts();
    // A cluster's server has a path of its own.
    let url: Url = format!("{}{path}", base.as_str().trim_end_matches('/')).parse().unwrap();
    let mut ask = recorder.client.request(parts.method, url).bearer_auth(token.token.secret());
    ask = parts.headers.get("content-type").into_iter().fold(ask, |ask, kind| ask.header("content-type", kind));
    let answer = ask.body(to_bytes(body, usize::MAX).await.unwrap()).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let base = base.as_str().trim_end_matches('/');
    let mut line = format!("@ {} {}", status.as_u16(), path.split('?').next().unwrap());
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    for name in ["azure-asyncoperation", "location", "retry-after"] {
        let Some(value) = headers.get(name).map(|value| value.to_str().unwrap()) else { continue };
        line.extend([" ", name, "=", &value.replace(base, "SERVER")]);
        // Through the recorder too.
        response = response.header(name, value.strip_prefix(base).unwrap_or(value));
    }
    let kept = serde_json::from_str(&text).map_or_else(|_| text.clone(), |json| shortened(json).to_string());
    recorder.heard.lock().unwrap().push(format!("{line}\n{kept}\n"));
    response.body(Body::from(text)).unwrap()
}

/// Six of a list tell a fuzzer as much as a hundred.
fn shortened(json: Value) -> Value {
    match json {
        Value::Array(list) => list.into_iter().take(6).map(shortened).collect(),
        Value::Object(map) => map.into_iter().map(|(name, inner)| (name, shortened(inner))).collect(),
        leaf => leaf,
    }
}

#[tokio::test]
#[ignore = "writes the corpus of family `azure` anew"]
async fn answers_of_the_simulated_azure() {
    let kinds = [
        ("app-service", PlatformKind::AppService),
        ("arm-deployment", PlatformKind::ArmDeployment),
        ("container-app", PlatformKind::ContainerApp),
        ("kubernetes", PlatformKind::Kubernetes),
        ("kubernetes-commands", PlatformKind::Kubernetes),
        ("logic-app", PlatformKind::LogicApp),
        ("pipeline-azure-devops", PlatformKind::Pipeline),
    ];
    for (kind, platform) in kinds {
        let clock = Arc::new(ManualClock::that_advances_on_sleep("2026-03-02T03:00:00Z".parse().unwrap()));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let stage = stage_of(platform).unwrap();
        stage.set_up(&azure).unwrap();
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        let cluster = "/subscriptions/0f8fad5b-d9cb-469f-a165-70867728950e/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/prod";
        let cluster = (platform == PlatformKind::Kubernetes)
            .then(|| azure.cluster_url(&ResourceId::parse(cluster).unwrap()).parse::<Url>().unwrap());
        let (recorder, url) = Recorder::open(&azure, cluster).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig: PathBuf = folder.path().join("config");
        fs::write(&kubeconfig, kubeconfig_of(&url)).unwrap();
        let credential = identity(&azure, None);
        let identities = Arc::new(Identities::of(Arc::clone(&credential), credential));
        let scope = "https://management.azure.com/.default";
        let limits = Limits { retry_pause: Duration::from_millis(1), ..Limits::default() };
        let arm =
            Arc::new(ResourceManager::new(url.clone(), identities.reader(scope), identities.actor(scope)).with_limits(limits));
        let settings = Arc::new(MapSource::new([("", "")]));
        let platforms = AzurePlatforms::new(Arc::clone(&arm), identities, settings, clock.clone());
        let target = target(kind, &url, &kubeconfig);
        let adapter = platforms.of(&target);
        let before: Observation = adapter.observe().await.unwrap();
        keep("azure", &format!("{kind}-good"), recorder.input(kind));
        clock.advance(Duration::from_mins(40));
        stage.roll_out(&azure).unwrap();
        clock.advance(Duration::from_mins(8));
        recorder.heard.lock().unwrap().clear();
        let adapter = platforms.of(&target);
        let bad = adapter.observe().await.unwrap();
        let _ = adapter.preflight().await;
        let proven: Vec<_> = before.running.fingerprint.into_iter().collect();
        let way_back = adapter.ways_back(&bad, &proven).into_iter().next();
        let fence = Fence { claim: "a".repeat(26), record: RecordId("b".repeat(26)) };
        if let Some(way_back) = way_back {
            for step in adapter.steps(&way_back, &fence) {
                if let Submission::Accepted { operation, .. } = adapter.submit(&step).await {
                    let _ = adapter.poll(&operation).await;
                }
            }
        }
        keep("azure", &format!("{kind}-bad"), recorder.input(kind));

        if kind == "app-service" {
            recorder.heard.lock().unwrap().clear();
            let id = "/subscriptions/0f8fad5b-d9cb-469f-a165-70867728950e/resourceGroups/shop/providers/Microsoft.Insights/components/checkout-insights";
            let component = ResourceId::parse(id).unwrap();
            azure.add_workload("checkout", GOOD, 300.0);
            azure.add_component(&component, "checkout");
            let metric = EvidenceMetric {
                metric: "requests/failed".to_owned(),
                of: Some("requests/count".to_owned()),
                worse_when: WorseWhen::Higher,
                no_data: NoData::Unknown,
                resource: None,
            };
            let now = clock.now();
            let from = now - jiff::SignedDuration::from_mins(30);
            AzureMetrics::new(Arc::clone(&arm)).series(&metric, &component, from, now).await.unwrap();
            // The property asks at a time of its own: 03:20 to 03:50.
            keep("azure", "metrics", recorder.input("metrics"));
            recorder.heard.lock().unwrap().clear();
            let _ = AlertsManagement::new(arm).changed_since("0f8fad5b-d9cb-469f-a165-70867728950e", from).await;
        }
    }
}

/// What the store of a world holds while a rollback is under way, and when it has ended.
#[tokio::test]
#[ignore = "writes the corpus of family `documents` anew"]
async fn documents_of_a_rollback() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.set_paused(false, "somebody").await.unwrap();
    process.park("alerts", b"{}", "composed").await.unwrap();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    keep_documents(&world, "acting").await;
    world.run_to_end(&process, &firing, 2).await;
    keep_documents(&world, "ended").await;
    let of_another_time =
        json!({"nonce": "5a0d1c7e-0000-4000-8000-000000000001", "value": {"since": world.now(), "told": false}});
    keep("documents", "unreadable-alerts", format!("unreadable-alerts\n{of_another_time}"));
}

#[test]
#[ignore = "writes the programs of family `packaging` anew"]
fn programs_that_would_start() {
    keep("packaging", "program-static", Elf::without_loader().bytes());
    keep("packaging", "program-dynamic", Elf::dynamic(&["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_ABI_DT_RELR"]).bytes());
    let other = Elf { loader: Some("/lib/ld-musl-x86_64.so.1"), libraries: vec!["libssl.so.3"], ..Elf::dynamic(&[]) };
    keep("packaging", "program-other", other.bytes());
}

async fn keep_documents(world: &World, when: &str) {
    let store: &dyn StateStore = &*world.ports.store;
    let kinds = [
        ("targets/", "target"),
        ("claims/", "claim"),
        (keys::RECORDS, "record"),
        ("receipts/", "receipt"),
        (keys::PARKED, "parked"),
        (keys::OUTBOX, "outbox"),
        ("control", "control"),
        ("budget/", "budget"),
        (keys::STORM, "storm"),
    ];
    for (prefix, kind) in kinds {
        for key in store.list(prefix, None, 1).await.unwrap() {
            let stored = store.read(&key).await.unwrap().unwrap();
            keep("documents", &format!("{kind}-{when}"), [kind.as_bytes(), b"\n", &stored.body].concat());
        }
    }
}
