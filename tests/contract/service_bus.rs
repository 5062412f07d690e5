//! The queues over real HTTP: against the simulated Azure, and against a tiny server where that cannot show it.
//! All bodies and answers are composed by us.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use backout::{
    azure::service_bus::{QueueAnswer, ServiceBusQueues},
    ports::{Clock, FollowUps, Incoming, LockProblem, PortError, PortErrorKind, QueueMessage},
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, JournalEntry, Moment, QueueOptions, Role, clock::ManualClock},
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

const NAMESPACE: &str = "simulated.servicebus.windows.net";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Asks the simulated identity endpoint, as App Service has it; counts how often.
#[derive(Debug)]
struct SimulatedIdentity {
    endpoint: String,
    secret: String,
    fetched: Mutex<u32>,
}

#[async_trait::async_trait]
impl TokenCredential for SimulatedIdentity {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        *self.fetched.lock().unwrap() += 1;
        let resource = scopes[0].strip_suffix("/.default").expect("a scope ends in /.default");
        let url = format!("{}?api-version=2019-08-01&resource={resource}", self.endpoint);
        let failed = |problem| azure_core::Error::new(azure_core::error::ErrorKind::Io, problem);
        let asked = reqwest::Client::new().get(url).header("x-identity-header", &self.secret).send().await.map_err(failed)?;
        if !asked.status().is_success() {
            return Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "token-endpoint-said-so"));
        }
        let answer: Value = asked.json().await.map_err(failed)?;
        let expires = answer["expires_on"].as_str().unwrap().parse().unwrap();
        let expires = time::OffsetDateTime::from_unix_timestamp(expires).unwrap();
        Ok(AccessToken::new(answer["access_token"].as_str().unwrap().to_owned(), expires))
    }
}

struct Scene {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    identity: Arc<SimulatedIdentity>,
    queues: ServiceBusQueues,
}

impl Scene {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let identity = Arc::new(SimulatedIdentity {
            endpoint: azure.identity_endpoint(),
            secret: azure.identity_header(),
            fetched: Mutex::new(0),
        });
        let queues =
            ServiceBusQueues::with_identity(azure.namespace(), Some(azure.bus_url()), identity.clone(), clock.clone()).unwrap();
        Self { azure, clock, identity, queues }
    }

    async fn send(&self, body: &[u8], delay: Duration) -> Result<(), PortError> {
        self.queues.send(message("followups", body), delay).await
    }

    fn seen(&self, role: Role) -> Vec<JournalEntry> {
        self.azure.journal().into_iter().filter(|entry| entry.role == role).collect()
    }

    fn fail(&self, status: u16, times: u32) {
        let effect = FaultEffect::Status { moment: Moment::BeforeEffect, status, body: FaultBody::Html };
        self.azure.inject(Fault::on_role(Role::ServiceBus, effect).times(times));
    }
}

fn message(queue: &str, body: &[u8]) -> QueueMessage {
    QueueMessage { queue: queue.to_owned(), body: body.to_vec(), returns: 3, message_id: Some("wake-1".to_owned()) }
}

#[tokio::test]
async fn a_message_goes_out_with_a_token_its_id_and_its_count() {
    let scene = Scene::new().await;
    assert_eq!(*scene.identity.fetched.lock().unwrap(), 0, "nothing is fetched before the first use");
    scene.send(br#"{"v":1}"#, Duration::ZERO).await.unwrap();

    let sent = &scene.seen(Role::ServiceBus)[0];
    assert_eq!((sent.method.as_str(), sent.path_and_query.as_str(), sent.status), ("POST", "/followups/messages", Some(201)));
    assert_eq!(sent.identity.as_deref(), Some("system"), "the token of the identity, not the crate's signature");
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("content-length"), Some("7"));
    assert_eq!(sent.header("brokerproperties"), Some(r#"{"MessageId":"wake-1"}"#), "no schedule when there is no delay");
    assert_eq!(sent.header("backout-returns"), Some("3"));

    let stored = &scene.azure.messages("followups")[0];
    assert_eq!(stored.body.as_ref(), br#"{"v":1}"#);
    assert_eq!(
        (stored.message_id.as_str(), &stored.properties),
        ("wake-1", &BTreeMap::from([("backout-returns".to_owned(), json!(3))]))
    );
}

#[tokio::test]
async fn a_delayed_message_arrives_when_it_is_due_and_not_before() {
    let scene = Scene::new().await;
    scene.send(b"later", Duration::from_millis(90_500)).await.unwrap();
    let sent = &scene.seen(Role::ServiceBus)[0];
    let broker: Value = serde_json::from_str(sent.header("brokerproperties").unwrap()).unwrap();
    assert_eq!(broker, json!({ "MessageId": "wake-1", "ScheduledEnqueueTimeUtc": "Wed, 25 Nov 2026 10:01:31 GMT" }));
    assert_eq!(scene.azure.scheduled("followups"), [time("2026-11-25T10:01:31Z")]);

    scene.clock.advance(Duration::from_secs(90));
    assert!(scene.queues.receive("followups", Duration::ZERO).await.unwrap().is_none());
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.queues.receive("followups", Duration::ZERO).await.unwrap().unwrap().body, b"later");
}

/// A queue is asked about by a lock that never was: nothing in it changes, whichever way we say who we are.
#[tokio::test]
async fn asking_about_a_queue_touches_no_message() {
    let scene = Scene::new().await;
    scene.send(b"kept", Duration::ZERO).await.unwrap();
    let key = SecretString::from(format!("Endpoint=sb://{NAMESPACE}/;SharedAccessKeyName=all;SharedAccessKey=c2VjcmV0"));
    let by_key = ServiceBusQueues::with_connection_string(&key, Some(scene.azure.bus_url()), scene.clock.clone()).unwrap();
    assert_eq!(scene.queues.ask("followups").await, Ok(QueueAnswer::There));
    assert_eq!(scene.queues.ask("nowhere").await, Ok(QueueAnswer::NotThere));
    assert_eq!(scene.queues.ask("no/../name").await.unwrap_err().kind, PortErrorKind::Invalid);
    let refused = by_key.ask("followups").await.unwrap_err();
    assert_eq!(refused.kind, PortErrorKind::Denied, "the simulation takes tokens only");
    assert!(refused.says.contains("`Azure Service Bus Data Receiver`"), "{refused}");

    let asked = scene.seen(Role::ServiceBus).split_off(1);
    let sent: Vec<&str> = asked.iter().map(|entry| entry.method.as_str()).collect();
    assert_eq!(sent, ["PUT", "PUT", "PUT"], "neither sent nor received");
    assert!(asked[0].path_and_query.starts_with("/followups/messages/1/"), "{}", asked[0].path_and_query);
    assert_eq!(asked[0].identity.as_deref(), Some("system"));
    let signature = asked[2].header("authorization").unwrap_or_default().to_owned();
    assert!(asked[2].identity.is_none() && !signature.starts_with("Bearer"), "the crate's signature");
    let kept = scene.queues.receive("followups", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!((kept.body.as_slice(), kept.delivery_count), (b"kept".as_slice(), 1));

    for (status, kind) in [(403, PortErrorKind::Denied), (500, PortErrorKind::Transient), (503, PortErrorKind::Throttled)] {
        scene.fail(status, 1);
        assert_eq!(scene.queues.ask("followups").await.unwrap_err().kind, kind, "{status}");
    }
    scene.fail(404, 1);
    assert_eq!(scene.queues.ask("followups").await, Ok(QueueAnswer::Unclear(404)), "somebody else's page");
}

#[tokio::test]
async fn a_delay_beyond_all_dates_is_refused() {
    let scene = Scene::new().await;
    let error = scene.send(b"never", Duration::MAX).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("`delay`"), "{error}");
    assert_eq!(scene.seen(Role::ServiceBus).len(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_text_go_and_come_unchanged() {
    let scene = Scene::new().await;
    let bytes: Vec<u8> = (0..=255).collect();
    scene.send(&bytes, Duration::ZERO).await.unwrap();
    assert_eq!(scene.azure.messages("followups")[0].body.as_ref(), bytes);
    let locked = scene.queues.receive("followups", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(locked.body, bytes);
}

#[tokio::test]
async fn a_message_is_locked_given_back_and_completed_even_with_a_large_number() {
    let scene = Scene::new().await;
    scene.azure.set_next_sequence_number(1 << 33);
    scene.send(b"x", Duration::ZERO).await.unwrap();
    let first = scene.queues.receive("followups", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!((first.message_id.as_deref(), first.returns, first.delivery_count), (Some("wake-1"), 3, 1));
    assert!(scene.queues.receive("followups", Duration::ZERO).await.unwrap().is_none(), "locked, so the queue looks empty");
    first.lock.abandon().await.unwrap();
    let second = scene.queues.receive("followups", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(second.delivery_count, 2);
    second.lock.complete().await.unwrap();
    assert_eq!(scene.azure.messages("followups"), []);

    assert_eq!(second.lock.complete().await, Err(LockProblem::Lost));
}

#[tokio::test]
async fn dead_letters_are_received_by_their_path() {
    let scene = Scene::new().await;
    scene.azure.add_queue("alerts", QueueOptions { max_delivery_count: 1, ..QueueOptions::default() });
    scene.queues.send(message("alerts", b"bad"), Duration::ZERO).await.unwrap();
    let taken = scene.azure.take("alerts").unwrap();
    assert!(scene.azure.abandon(&taken.lock));
    let dead = scene.queues.receive("alerts/$DeadLetterQueue", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!((dead.body.as_slice(), dead.returns), (b"bad".as_slice(), 3));
    dead.lock.complete().await.unwrap();
    assert_eq!(scene.azure.dead_letters("alerts"), []);
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_a_sentence() {
    let scene = Scene::new().await;
    for (status, kind, hint) in [
        (400, PortErrorKind::Invalid, "400"),
        (401, PortErrorKind::Denied, "`Azure Service Bus Data Sender`"),
        (403, PortErrorKind::Denied, "`Azure Service Bus Data Sender`"),
        (404, PortErrorKind::NotFound, "no queue `followups`"),
        (410, PortErrorKind::NotFound, "no queue `followups`"),
        (408, PortErrorKind::Transient, "408"),
        (413, PortErrorKind::Invalid, "larger"),
        (429, PortErrorKind::Throttled, "429"),
        (503, PortErrorKind::Throttled, "503"),
    ] {
        let before = scene.seen(Role::ServiceBus).len();
        scene.fail(status, 1);
        let error = scene.send(b"secret-body", Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.says.contains(hint), "{status}: {error}");
        assert!(!format!("{error:?}").contains("secret-body") && !error.says.contains("Gateway"), "{error:?}");
        assert_eq!(scene.seen(Role::ServiceBus).len(), before + 1, "{status} is not tried again");
    }
    scene.azure.inject(Fault::on("POST", "/followups/", FaultEffect::Throttle { retry_after_seconds: 17 }));
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (PortErrorKind::Throttled, Some(Duration::from_secs(17))));

    let error = scene.queues.send(message("nowhere", b"x"), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::NotFound, "a queue that is really missing");
}

#[tokio::test]
async fn a_failed_send_is_tried_once_more_and_not_twice() {
    let scene = Scene::new().await;
    scene.fail(500, 1);
    scene.send(b"x", Duration::ZERO).await.unwrap();
    assert_eq!(scene.seen(Role::ServiceBus).len(), 2);
    scene.azure.inject(Fault::on_role(Role::ServiceBus, FaultEffect::Reset { moment: Moment::BeforeEffect }));
    scene.send(b"x", Duration::ZERO).await.unwrap();

    let before = scene.seen(Role::ServiceBus).len();
    scene.fail(502, 5);
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
    assert_eq!(scene.seen(Role::ServiceBus).len(), before + 2);
    scene.azure.clear_faults();
    scene.azure.stop();
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
}

#[tokio::test]
async fn an_unanswered_request_ends_in_time_and_is_not_repeated() {
    let scene = Scene::new().await;
    let Scene { azure, clock, identity, queues } = scene;
    let queues = queues.with_request_timeout(Duration::from_millis(200));
    let scene = Scene { azure, clock, identity, queues };
    let wait = backout::sim::Wait::Real(Duration::from_secs(30));
    scene.azure.inject(Fault::on_role(Role::ServiceBus, FaultEffect::Delay { moment: Moment::BeforeEffect, wait }).times(5));
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
    assert!(error.says.contains("in time"), "{error}");
    assert_eq!(scene.seen(Role::ServiceBus).len(), 1);
}

#[tokio::test]
async fn a_receive_without_right_is_an_error_and_no_message() {
    let scene = Scene::new().await;
    for status in [401, 403] {
        scene.fail(status, 1);
        let error = scene.queues.receive("followups", Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Denied);
        assert!(error.says.contains("`Azure Service Bus Data Receiver`"), "{error}");
    }
    scene.fail(500, 1);
    let error = scene.queues.receive("followups", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
}

#[tokio::test]
async fn an_identity_that_is_down_is_not_one_that_is_missing() {
    let scene = Scene::new().await;
    scene.azure.inject(Fault::on_role(Role::Identity, FaultEffect::Reset { moment: Moment::BeforeEffect }));
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
    let body = FaultBody::Empty;
    let refused = FaultEffect::Status { moment: Moment::BeforeEffect, status: 400, body };
    scene.azure.inject(Fault::on_role(Role::Identity, refused));
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Denied);
    assert!(error.says.contains("`ServiceBus__clientId`") && !error.says.contains("token-endpoint-said-so"), "{error}");
    assert_eq!(scene.seen(Role::ServiceBus).len(), 0, "nothing goes out without a token");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let scene = Scene::new().await;
    scene.azure.inject(Fault::on_role(Role::ServiceBus, FaultEffect::RedirectElsewhere { status: 307 }));
    let error = scene.send(b"x", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert_eq!(scene.seen(Role::Stranger).len(), 0);
}

#[tokio::test]
async fn names_that_would_change_the_path_are_refused_before_anything_is_sent() {
    let scene = Scene::new().await;
    for name in ["", "../x", "a//b", "a?b", "a b", "a/%2e", "$DeadLetterQueue", "a@b"] {
        let error = scene.queues.send(message(name, b"x"), Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Invalid, "{name}");
    }
    let long = QueueMessage { message_id: Some("x".repeat(129)), ..message("followups", b"x") };
    let error = scene.queues.send(long, Duration::ZERO).await.unwrap_err();
    assert!(error.says.contains("`message_id`"), "{error}");
    assert_eq!(scene.seen(Role::ServiceBus).len(), 0);

    let foreign = QueueMessage { message_id: Some("größe \"🙂\"\n".to_owned()), ..message("followups", b"x") };
    scene.queues.send(foreign, Duration::ZERO).await.unwrap();
    assert_eq!(scene.azure.messages("followups")[0].message_id, "größe \"🙂\"\n");
}

type Request = (Method, Uri, HeaderMap, Bytes);

/// A server that answers what it is told to, and keeps what it was sent.
#[derive(Clone)]
struct TinyServer {
    url: Url,
    requests: Arc<Mutex<Vec<Request>>>,
    location: Arc<Mutex<Option<String>>>,
    retry_after: Arc<Mutex<Option<&'static str>>>,
}

impl TinyServer {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let server = Self { url, requests: Arc::default(), location: Arc::default(), retry_after: Arc::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    fn authorization(&self, at: usize) -> String {
        self.requests.lock().unwrap()[at].2["authorization"].to_str().unwrap().to_owned()
    }
}

async fn answer(State(server): State<TinyServer>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let receives = uri.path().ends_with("/head");
    server.requests.lock().unwrap().push((method, uri, headers, body));
    if let Some(retry_after) = *server.retry_after.lock().unwrap() {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", retry_after)]).into_response();
    }
    if !receives {
        return StatusCode::OK.into_response();
    }
    let mut response = (StatusCode::CREATED, "hello").into_response();
    // No `State` and no times: the crate's own type could not read it.
    let broker = HeaderValue::from_static(r#"{"MessageId":"m","DeliveryCount":4,"EnqueuedSequenceNumber":9999999999}"#);
    response.headers_mut().insert("brokerproperties", broker);
    if let Some(location) = server.location.lock().unwrap().as_deref() {
        response.headers_mut().insert("location", location.parse().unwrap());
    }
    response
}

const CONNECTION: &str =
    "Endpoint=sb://simulated.servicebus.windows.net/;SharedAccessKeyName=backout;SharedAccessKey=a2V5LW9mLXRoZS10ZXN0==";

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")))
}

fn by_key(server: &TinyServer) -> ServiceBusQueues {
    ServiceBusQueues::with_connection_string(&SecretString::from(CONNECTION), Some(server.url.clone()), clock()).unwrap()
}

#[tokio::test]
async fn a_connection_string_keeps_the_signature() {
    let server = TinyServer::new().await;
    let queues = by_key(&server);
    queues.send(message("followups", b"\xff\x00"), Duration::ZERO).await.unwrap();
    let authorization = server.authorization(0);
    let signed = "SharedAccessSignature sr=https%3A%2F%2Fsimulated.servicebus.windows.net%2Ffollowups%2Fmessages&sig=";
    assert!(authorization.starts_with(signed), "{authorization}");
    assert!(authorization.ends_with("&skn=backout"), "{authorization}");
    let (_, uri, headers, body) = server.requests.lock().unwrap()[0].clone();
    assert_eq!((uri.path(), body.as_ref()), ("/followups/messages", b"\xff\x00".as_slice()));
    assert_eq!(headers["host"], server.url.authority());
    assert_eq!(headers.get_all("authorization").iter().count(), 1);
    assert_eq!(headers["content-length"], "2");
    assert!(!format!("{queues:?}").contains("a2V5"), "{queues:?}");
}

#[tokio::test]
async fn a_location_on_another_host_is_not_contacted() {
    let (server, stranger) = (TinyServer::new().await, TinyServer::new().await);
    let queues = by_key(&server);
    let foreign = format!("{}followups/messages/1/lock", stranger.url);
    for location in [foreign.as_str(), "/followups/messages/1/lock"] {
        *server.location.lock().unwrap() = Some(location.to_owned());
        let locked = queues.receive("followups", Duration::from_secs(2)).await.unwrap().unwrap();
        assert_eq!((locked.body.as_slice(), locked.delivery_count, locked.returns), (b"hello".as_slice(), 4, 0));
        locked.lock.complete().await.unwrap();
        let (method, uri, ..) = server.requests.lock().unwrap().last().unwrap().clone();
        assert_eq!((method, uri.path()), (Method::DELETE, "/followups/messages/1/lock"));
    }
    assert_eq!(server.requests.lock().unwrap()[0].1.query(), Some("timeout=2"));
    assert!(server.authorization(1).contains("simulated.servicebus.windows.net"), "signed for our namespace");
    assert_eq!(stranger.requests.lock().unwrap().len(), 0);

    *server.location.lock().unwrap() = None;
    let error = queues.receive("followups", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("`Location`"), "{error}");
}

#[tokio::test]
async fn a_pause_may_be_asked_for_until_a_date() {
    let server = TinyServer::new().await;
    let queues = by_key(&server);
    for (written, expected) in [
        ("Wed, 25 Nov 2026 10:00:40 GMT", Some(Duration::from_secs(40))),
        ("Wed, 25 Nov 2026 09:00:00 GMT", Some(Duration::ZERO)),
        ("soon", None),
    ] {
        *server.retry_after.lock().unwrap() = Some(written);
        let error = queues.send(message("followups", b"x"), Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (PortErrorKind::Throttled, expected), "{written}");
    }
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_likely_to_pass() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let queues = ServiceBusQueues::with_connection_string(&SecretString::from(CONNECTION), Some(url), clock()).unwrap();
    let error = queues.send(message("followups", b"x"), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient);
    assert!(error.says.contains("cannot be reached"), "{error}");
}

#[derive(Debug)]
struct NeverAsked;

#[async_trait::async_trait]
impl TokenCredential for NeverAsked {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        panic!("a constructor fetches no token")
    }
}

fn problem_of(namespace: &str, endpoint: Option<&str>) -> Option<String> {
    let endpoint = endpoint.map(|url| url.parse().unwrap());
    ServiceBusQueues::with_identity(namespace, endpoint, Arc::new(NeverAsked), clock()).err().map(|problem| problem.to_string())
}

#[test]
fn only_hosts_in_azure_are_taken_without_an_override() {
    for host in [NAMESPACE, "Shop.servicebus.usgovcloudapi.net", "shop.servicebus.chinacloudapi.cn"] {
        assert_eq!(problem_of(host, None), None);
    }
    for host in [
        "",
        "example.com",
        "servicebus.windows.net",
        "x.servicebus.windows.net.example.com",
        "a/b.servicebus.windows.net",
        "evilservicebus.windows.net",
    ] {
        let says = problem_of(host, None).unwrap();
        assert!(says.contains("`ServiceBus__fullyQualifiedNamespace`"), "{host}: {says}");
    }
    for url in ["http://127.0.0.1:7071", "http://localhost:1", "http://[::1]:1", "https://bus.example.com"] {
        assert_eq!(problem_of("bus.example.com", Some(url)), None, "{url}");
    }
    for url in ["http://bus.example.com", "ftp://127.0.0.1", "https://me:pw@bus.example.com", "https://bus.example.com/x?y"] {
        assert!(problem_of(NAMESPACE, Some(url)).unwrap().contains("`BACKOUT_BUS_ENDPOINT`"), "{url}");
    }
}

#[test]
fn a_connection_string_that_cannot_work_says_which_part() {
    let host = "Endpoint=sb://shop.servicebus.windows.net/";
    for (text, part) in [
        ("SharedAccessKeyName=n;SharedAccessKey=hush".to_owned(), "`Endpoint`"),
        ("Endpoint=nothing;SharedAccessKeyName=n;SharedAccessKey=hush".to_owned(), "`Endpoint`"),
        ("Endpoint=sb://example.com/;SharedAccessKeyName=n;SharedAccessKey=hush".to_owned(), "`Endpoint`"),
        (
            "Endpoint=sb://x.servicebus.chinacloudapi.cn/;SharedAccessKeyName=n;SharedAccessKey=hush".to_owned(),
            "managed identity",
        ),
        (format!("{host};SharedAccessKey=hush"), "`SharedAccessKeyName`"),
        (format!("{host};SharedAccessKeyName=n;SharedAccessKey="), "`SharedAccessKey`"),
        (format!("{host};SharedAccessKeyName=a b;SharedAccessKey=hush"), "`SharedAccessKeyName`"),
        (format!("{host};SharedAccessKeyName=n;SharedAccessKey=hush;EntityPath=q"), "`EntityPath`"),
    ] {
        let problem = ServiceBusQueues::with_connection_string(&SecretString::from(text), None, clock()).unwrap_err().to_string();
        assert!(problem.contains(part), "{part}: {problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
}
