//! Answers of Azure, of a cluster and of pipeline servers, over real HTTP: whatever they say, the adapters give an observation, a
//! state, or an error that a person can read; and nobody but the server that was asked hears a token.

use std::{
    fmt,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{
        identity::Identities,
        resource_manager::{Limits, ResourceManager},
        tenant_keys::TenantKeys,
    },
    domain::{
        observation::{Observation, WayBack},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, StepKind, Submission},
        series::{EvidenceMetric, NoData, WorseWhen},
        target::{
            AppServiceTarget, AppServiceWay, ArmDeploymentTarget, ClusterAccess, ContainerAppTarget, FingerprintSource,
            KubernetesCluster, KubernetesTarget, Lineage, LogicAppTarget, PipelinePlace, PipelineTarget, Target, WorkloadKind,
        },
    },
    platforms::AzurePlatforms,
    ports::{Alerts, Clock, Platform, Platforms, PortError, SigningKeySource, Telemetry},
    settings::MapSource,
    sim::clock::ManualClock,
    telemetry::{AlertsManagement, AzureMetrics},
};
use serde_json::json;
use url::Url;

use super::{choose, is_sentence, run};

/// Where the demo plays, so that what its simulated Azure answers can be kept as input.
const SUBSCRIPTION: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const NOW: &str = "2026-03-02T03:50:00Z";

pub const KINDS: &[&str] = &[
    "app-service",
    "arm-deployment",
    "container-app",
    "kubernetes",
    "kubernetes-commands",
    "logic-app",
    "pipeline-azure-devops",
    "pipeline-github",
    "metrics",
    "alerts",
    "tenant-keys",
];

/// The first line says who asks. Then come answers, one after the other: a line `@ STATUS PART-OF-A-URL`, and the body below it.
/// A request gets the first answer whose part is in its URL; else 404.
pub fn holds(input: &[u8]) {
    let (kind, rest) = choose(KINDS, input);
    let server = server();
    server.answer_with(answers(rest));
    run(asked(kind, server));
}

async fn asked(kind: &'static str, server: &'static Server) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::that_advances_on_sleep(NOW.parse().unwrap()));
    let credential: Arc<dyn TokenCredential> = Arc::new(Fixed);
    let identities = Arc::new(Identities::of(Arc::clone(&credential), credential));
    let scope = "https://management.azure.com/.default";
    let limits = Limits { retry_pause: Duration::ZERO, answer_within: Duration::from_secs(20), ..Limits::default() };
    let arm = ResourceManager::new(server.url.clone(), identities.reader(scope), identities.actor(scope)).with_limits(limits);
    let arm = Arc::new(arm);
    match kind {
        "metrics" => {
            let metric = EvidenceMetric {
                metric: "requests/failed".to_owned(),
                of: Some("requests/count".to_owned()),
                worse_when: WorseWhen::Higher,
                no_data: NoData::Unknown,
                resource: None,
            };
            let (from, to) = ("2026-03-02T03:20:00Z".parse().unwrap(), NOW.parse().unwrap());
            match AzureMetrics::new(arm).series(&metric, &id("Microsoft.Insights/components/checkout-insights"), from, to).await {
                Ok(series) => {
                    assert!(series.points.len() <= 30 && series.points.is_sorted_by(|one, next| one.end < next.end));
                    assert!(
                        series.points.iter().flat_map(|point| [point.value, point.weight]).flatten().all(f64::is_finite),
                        "{series:?}"
                    );
                }
                Err(error) => is_told(&error),
            }
        }
        "alerts" => match AlertsManagement::new(arm).changed_since(SUBSCRIPTION, "2026-03-02T02:50:00Z".parse().unwrap()).await {
            Ok(kept) => {
                for kept in kept {
                    let [Ok(again)] = &backout::inbound::recognise(&kept.message)[..] else { panic!("{:?}", kept.message) };
                    assert_eq!(again.event, backout::domain::event::Event::Alert(kept.alert));
                }
            }
            Err(error) => is_told(&error),
        },
        "tenant-keys" => {
            let keys = TenantKeys::new(&server.url, "5a0d1c7e-0000-4000-8000-000000000001").unwrap();
            if let Err(error) = keys.signing_keys().await {
                is_told(&error);
            }
        }
        platform => {
            let settings = Arc::new(MapSource::new([("GITHUB_TOKEN", "a composed token of GitHub")]));
            let platforms = AzurePlatforms::new(arm, identities, settings, clock);
            is_handled(&*platforms.of(&target(platform, &server.url, &server.kubeconfig)), server).await;
        }
    }
}

/// What is taken back, with its servers at `base` and its cluster by `kubeconfig`.
pub fn target(kind: &str, base: &Url, kubeconfig: &Path) -> Target {
    let base = base.as_str().trim_end_matches('/').to_owned();
    let workload = |cluster| {
        Target::Kubernetes(KubernetesTarget {
            cluster,
            namespace: "shop".to_owned(),
            kind: WorkloadKind::Deployment,
            name: "checkout".to_owned(),
        })
    };
    let pipeline = |place| {
        let (version_parameter, decision_parameter) = ("version".to_owned(), "decision".to_owned());
        Target::Pipeline(PipelineTarget { place, version_parameter, decision_parameter })
    };
    match kind {
        "app-service" => Target::AppService(AppServiceTarget {
            site: id("Microsoft.Web/sites/checkout"),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots, AppServiceWay::Image],
            fingerprint: FingerprintSource::Default,
        }),
        "arm-deployment" => Target::ArmDeployment(ArmDeploymentTarget {
            scope: ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop")).unwrap(),
            lineage: Lineage::Name("hub-*".to_owned()),
            secure_parameters: std::collections::BTreeMap::new(),
        }),
        "container-app" => Target::ContainerApp(ContainerAppTarget { app: id("Microsoft.App/containerApps/search") }),
        "kubernetes" => {
            workload(KubernetesCluster::Kubeconfig { path: kubeconfig.to_string_lossy().into_owned(), context: None })
        }
        "kubernetes-commands" => workload(KubernetesCluster::Aks {
            id: id("Microsoft.ContainerService/managedClusters/prod"),
            access: ClusterAccess::RunCommand,
        }),
        "logic-app" => Target::LogicApp(LogicAppTarget { workflow: id("Microsoft.Logic/workflows/invoices") }),
        "pipeline-azure-devops" => pipeline(PipelinePlace::AzureDevOps {
            server: base,
            organization: "contoso".to_owned(),
            project: "shop".to_owned(),
            pipeline: 12,
            branch: "refs/heads/main".to_owned(),
        }),
        "pipeline-github" => pipeline(PipelinePlace::GitHub {
            api: base,
            repository: "contoso/shop".to_owned(),
            workflow: "deploy.yml".to_owned(),
            reference: "main".to_owned(),
            token_from: "GITHUB_TOKEN".to_owned(),
        }),
        other => unreachable!("{other}"),
    }
}

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/{rest}")).unwrap()
}

/// Reading changes nothing; each way back has steps, at most one of them a toggle; each step is one mutating request at most.
async fn is_handled(platform: &dyn Platform, server: &Server) {
    let (observed, preflight) = tokio::join!(platform.observe(), platform.preflight());
    assert_eq!(server.mutating(), 0, "a look changed something");
    if let Err(error) = &preflight {
        is_told(error);
    }
    let observation = match observed {
        Ok(observation) => observation,
        Err(error) => return is_told(&error),
    };
    makes_sense(&observation);
    let proven: Vec<_> = observation.ways_back.iter().filter_map(|way| way.fingerprint.clone()).collect();
    let fence = Fence { claim: "a".repeat(26), record: RecordId("b".repeat(26)) };
    for way_back in platform.ways_back(&observation, &proven).iter().take(3) {
        let steps = platform.steps(way_back, &fence);
        assert!(!steps.is_empty());
        assert!(steps.iter().filter(|step| step.kind == StepKind::Toggle).count() <= 1);
        for step in &steps {
            is_sentence(&step.says, 1_000);
            let before = server.mutating();
            let submission = platform.submit(step).await;
            assert!(server.mutating() <= before + 1, "one step, more than one call");
            let operation = match submission {
                Submission::Accepted { operation, .. } => operation,
                Submission::Done => json!({}),
                Submission::Refused { says }
                | Submission::Busy { says }
                | Submission::Unknown { says }
                | Submission::NotSent { says, .. } => {
                    is_sentence(&says, 1_500);
                    continue;
                }
            };
            match platform.poll(&operation).await {
                Ok(
                    OperationState::Failed { says }
                    | OperationState::Unknown { says }
                    | OperationState::WaitsForAPerson { says, .. },
                ) => is_sentence(&says, 1_500),
                Ok(OperationState::Running { .. } | OperationState::Succeeded) => {}
                Err(error) => is_told(&error),
            }
        }
        match platform.verify(way_back).await {
            Ok(observation) => makes_sense(&observation),
            Err(error) => is_told(&error),
        }
    }
}

fn makes_sense(observation: &Observation) {
    assert!(!observation.running.token.0.is_empty());
    let stored = serde_json::to_value(observation).unwrap();
    assert_eq!(serde_json::from_value::<Observation>(stored).unwrap(), *observation);
    for way_back in &observation.ways_back {
        let WayBack { name, label, .. } = way_back;
        assert!(!name.is_empty());
        let _ = label;
    }
}

fn is_told(error: &PortError) {
    is_sentence(&error.to_string(), 1_500);
}

/// The same token for whoever asks.
struct Fixed;

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fixed")
    }
}

#[async_trait::async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let expires = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        Ok(AccessToken::new("a composed token".to_owned(), expires))
    }
}

struct ScriptedAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    part: String,
    body: Vec<u8>,
}

fn answers(input: &[u8]) -> Vec<ScriptedAnswer> {
    let mut answers: Vec<ScriptedAnswer> = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if let Some(head) = line.strip_prefix(b"@ ") {
            let head = String::from_utf8_lossy(head);
            let mut words = head.split_whitespace();
            let status =
                words.next().and_then(|word| word.parse().ok()).filter(|status| (200..600).contains(status)).unwrap_or(200);
            let part = words.next().unwrap_or_default().to_owned();
            let headers = words.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
            answers.push(ScriptedAnswer { status, headers: headers.collect(), part, body: Vec::new() });
        } else if let Some(last) = answers.last_mut() {
            last.body.extend_from_slice(line);
        }
    }
    answers.truncate(64);
    answers
}

/// One server for the whole process, on loopback: answers as it was told last.
struct Server {
    url: Url,
    kubeconfig: PathBuf,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    answers: Vec<ScriptedAnswer>,
    mutating: usize,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<&'static Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let kubeconfig = std::env::temp_dir().join(format!("backout-kubeconfig-{}", url.port().unwrap()));
        std::fs::write(&kubeconfig, kubeconfig_of(&url)).unwrap();
        let server: &'static Server = Box::leak(Box::new(Server { url, kubeconfig, script: Mutex::default() }));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || server.serve(connection));
            }
        });
        server
    })
}

/// One cluster, by a token.
pub fn kubeconfig_of(server: &Url) -> String {
    format!(
        "current-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\nclusters: [{{ name: a, cluster: {{ \
         server: '{server}' }} }}]\nusers: [{{ name: a, user: {{ token: composed }} }}]\n"
    )
}

impl Server {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_with(&self, answers: Vec<ScriptedAnswer>) {
        *self.script() = Script { answers, mutating: 0 };
    }

    fn mutating(&self) -> usize {
        self.script().mutating
    }

    /// One request after the other until the client goes.
    fn serve(&self, mut connection: TcpStream) {
        let _ = connection.set_nodelay(true);
        let mut buffer = Vec::new();
        while let Some((method, path, rest)) = read_request(&mut connection, buffer) {
            buffer = rest;
            let answer = self.answer(&method, &path);
            if connection.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str) -> Vec<u8> {
        let mut script = self.script();
        // What only reads by POST: the platforms' own questions.
        let reads = [
            "slotsdiffs",
            "/list",
            "listCallbackUrl",
            "runCommand",
            "whatIf",
            "validate",
            "exportTemplate",
            "selfsubjectaccessreviews",
            "checkAccess",
        ];
        let reads_by_post = method == "POST" && reads.iter().any(|word| path.contains(word));
        script.mutating += usize::from(method != "GET" && !reads_by_post);
        let found = script.answers.iter().find(|answer| path.contains(&answer.part));
        let (status, headers, body) = match found {
            Some(answer) => (answer.status, answer.headers.as_slice(), answer.body.as_slice()),
            None => (404, &[][..], &b"{}"[..]),
        };
        let body = if status == 204 || status == 304 { &[][..] } else { body };
        let mut written = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n");
        if status != 204 && status != 304 {
            written.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        for (name, value) in headers {
            let name_is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let own =
                ["content-length", "transfer-encoding", "connection", "upgrade"].iter().any(|own| name.eq_ignore_ascii_case(own));
            if name_is_plain && !own {
                let value = value.replace("SERVER", self.url.as_str().trim_end_matches('/'));
                written.extend([name, ": ", &value, "\r\n"]);
            }
        }
        written += "\r\n";
        let mut bytes = written.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Method and path of the next request, its body thrown away; and what was read beyond it.
fn read_request(connection: &mut TcpStream, mut buffer: Vec<u8>) -> Option<(String, String, Vec<u8>)> {
    let mut chunk = [0; 8192];
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let count = connection.read(&mut chunk).ok().filter(|count| *count > 0)?;
        buffer.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or_default();
    while buffer.len() < end {
        let count = connection.read(&mut chunk).ok().filter(|count| *count > 0)?;
        buffer.extend_from_slice(&chunk[..count]);
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some((method, path, buffer.split_off(end)))
}
