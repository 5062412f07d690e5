//! A call that was decided long ago does not leave, and an answer that comes late ends nothing that another one took over.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    azure::{http::client_that_sends_once, resource_manager::Limits},
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, RollbackState, Step, Submission},
        service::Resubmit,
        target::Target,
    },
    policy as policy_file,
    ports::{Platform, Platforms, PortError, SendBy},
    process::{
        Ports,
        act::{FRESH, SENT_WITHIN, TOGGLE_SENT_WITHIN},
    },
    sim::clock::ManualClock,
};
use jiff::SignedDuration;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
};
use url::Url;

use crate::support::{
    fake_platform::Answer,
    leaks::watched_process,
    policy::{FixedPolicy, policy, service},
    world::{GOOD, World},
};

/// A name that takes its time to be found: the clock moves on meanwhile, as for a process that is stopped.
struct SlowName {
    clock: Arc<ManualClock>,
    takes: Duration,
    address: SocketAddr,
}

impl Resolve for SlowName {
    fn resolve(&self, _: Name) -> Resolving {
        self.clock.advance(self.takes);
        let addresses: Addrs = Box::new(std::iter::once(self.address));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// What one connection brought before it ended, each answered with 200.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let count = connection.read(&mut bytes).await.unwrap_or_default();
            kept.lock().unwrap().push(String::from_utf8_lossy(&bytes[..count]).into_owned());
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    (address, seen)
}

/// Whether the call was answered; the error, if not.
async fn call(takes: Duration, bound_by: Option<Duration>) -> (Result<(), reqwest::Error>, Vec<String>) {
    let clock = Arc::new(ManualClock::at("2026-03-02T03:00:00Z".parse().unwrap()));
    let (address, seen) = server().await;
    // Not loopback by name, so that a name is looked for.
    let url = Url::parse(&format!("http://slow.test:{}/swap", address.port())).unwrap();
    let resolver = SlowName { clock: clock.clone(), takes, address };
    let client = client_that_sends_once(&url, &Limits::default()).no_proxy().dns_resolver(Arc::new(resolver)).build().unwrap();
    let work = async { client.post(url).send().await.map(|_| ()) };
    let answered = match bound_by {
        Some(span) => SendBy::within(clock, span).bound(work).await,
        None => work.await,
    };
    // The server tells what it read once the connection is closed.
    for _ in 0..200 {
        if !seen.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seen = seen.lock().unwrap().clone();
    (answered, seen)
}

#[tokio::test]
async fn a_connection_that_comes_too_late_carries_no_byte() {
    let (answered, seen) = call(SENT_WITHIN + Duration::from_secs(1), Some(SENT_WITHIN)).await;
    let error = answered.unwrap_err();
    assert!(error.is_connect(), "it is told as a call that was provably not sent: {error:?}");
    let says = backout::azure::http::reason(&error, "the platform");
    assert_eq!(says, "no connection to the platform (the call was decided too long ago, so it was not sent)");
    assert_eq!(seen, [""], "a connection was made, and not a byte was sent");

    for (takes, bound_by) in [(SENT_WITHIN, Some(SENT_WITHIN)), (Duration::from_hours(1), None)] {
        let (answered, seen) = call(takes, bound_by).await;
        assert!(answered.is_ok() && seen[0].starts_with("POST /swap"), "{answered:?} {seen:?}");
    }
}

/// Who concludes after the quiet time knows that nobody is about to send, nor waits for an answer.
#[test]
fn a_call_leaves_and_times_out_well_within_every_quiet_time() {
    let site = "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/g/providers/Microsoft.Web/sites/s";
    let with = |quiet_time: &str| {
        let text = format!(
            "version: 1\nservices:\n  s:\n    target: {{ platform: app-service, site: {site} }}\n    quietTime: {quiet_time}\n"
        );
        policy_file::read(text.as_bytes(), None)
    };
    let shortest = Duration::from_mins(6);
    assert!(with("6m").is_ok());
    assert!(with("359s").unwrap_err().to_string().contains("quietTime"));
    let limits = Limits::default();
    let until_the_last_byte = FRESH + SENT_WITHIN + limits.answer_within;
    assert!(until_the_last_byte * 2 < shortest, "{until_the_last_byte:?}");
    assert!(TOGGLE_SENT_WITHIN < SENT_WITHIN);
    assert!(limits.connect_within < TOGGLE_SENT_WITHIN, "one slow connection alone does not make a call late");
    let host: Value = serde_json::from_str(include_str!("../../host.json")).unwrap();
    assert_eq!(host["functionTimeout"], "00:05:00");
    assert!(Duration::from_mins(5) < shortest);
}

/// Holds the first call back until it is told to go on, and then gives the answer of a platform that refused it.
struct HeldBack {
    real: Arc<dyn Platform>,
    state: Arc<HoldingState>,
}

#[derive(Default)]
struct HoldingState {
    answer: Mutex<Option<Submission>>,
    held: Notify,
    go_on: Notify,
}

impl Platforms for HeldBack {
    fn of(&self, _: &Target) -> Arc<dyn Platform> {
        Arc::new(Self { real: Arc::clone(&self.real), state: Arc::clone(&self.state) })
    }
}

#[async_trait::async_trait]
impl Platform for HeldBack {
    async fn observe(&self) -> Result<Observation, PortError> {
        self.real.observe().await
    }
    fn rights(&self) -> Vec<NeededRight> {
        self.real.rights()
    }
    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.real.preflight().await
    }
    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.real.steps(way_back, fence)
    }
    async fn submit(&self, _: &Step) -> Submission {
        self.state.held.notify_one();
        self.state.go_on.notified().await;
        self.state.answer.lock().unwrap().take().expect("one call")
    }
    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.real.poll(operation).await
    }
    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.real.verify(way_back).await
    }
}

/// One process is held in its call; another takes over, sends, and watches the recovery; then the first one gets its answer.
#[tokio::test]
async fn a_late_no_does_not_end_what_another_one_took_over() {
    let late = [
        Submission::Refused { says: "422: the workload changed meanwhile".to_owned() },
        Submission::NotSent { says: "decided too long ago".to_owned(), retry_after_seconds: None },
        Submission::Unknown { says: "no answer in time".to_owned() },
        Submission::Busy { says: "another operation".to_owned() },
        Submission::Done,
        Submission::Accepted { operation: serde_json::json!({"until": "2026-03-02T03:00:00Z"}), poll_after_seconds: 15 },
    ];
    for answer in late {
        let says = format!("{answer:?}");
        let mut checkout = service("checkout");
        checkout.resubmit = Resubmit::Once;
        let world = World::with(policy(vec![checkout]));
        let firing = world.break_it().await;
        let state = Arc::new(HoldingState { answer: Mutex::new(Some(answer)), ..HoldingState::default() });
        let held: Arc<dyn Platforms> =
            Arc::new(HeldBack { real: world.ports.platforms.of(&world.target("checkout")), state: Arc::clone(&state) });
        let ports = Ports { platforms: held, ..world.ports.clone() };
        let first = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))));
        let second = world.process();
        let (alerted, policy) = (firing.clone(), Arc::clone(&world.policy));
        let stalled = async { first.alert_received(alerted, &policy).await.unwrap() };
        let other = async {
            state.held.notified().await;
            // The queue gives the message to the other one; after the quiet time it sends.
            second.alert_received(firing.clone(), &world.policy).await.unwrap();
            while world.platform.calls() == 0 {
                world.measure();
                world.deliver_due(&second).await;
                world.advance(SignedDuration::from_secs(30));
                if world.now().as_second() % 300 < 30 {
                    second.sweep(&world.policy).await.unwrap();
                }
            }
            // It took effect and is watched, which the first one cannot know.
            world.advance(SignedDuration::from_mins(2));
            world.measure();
            world.deliver_due(&second).await;
            assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Verifying), "{says}");
            state.go_on.notify_one();
        };
        tokio::join!(stalled, other);
        world.run_to_end(&second, &firing, 4).await;
        let record = world.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}: {:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (1, 1, GOOD), "{says}");
        let key = world.target("checkout").key();
        let cleared = second.clear(&key, "test").await.unwrap();
        assert_eq!(cleared, backout::process::clear::Cleared::Nothing, "{says}: the target is free");
    }
}

/// What was sent once more and is refused may be refused because the first one worked: that is looked at before it is told.
#[tokio::test]
async fn a_second_call_that_is_refused_is_no_proof_that_the_first_one_failed() {
    let mut checkout = service("checkout");
    checkout.resubmit = Resubmit::Once;
    let world = World::with(policy(vec![checkout]));
    let firing = world.break_it().await;
    world.platform.answer_next(&[Answer::LostBeforeEffect, Answer::Refused]);
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run_to_end(&process, &firing, 4).await;
    let record = world.record(&firing).await;
    let timeline: Vec<&str> = record.timeline.iter().map(|entry| entry.what.as_str()).collect();
    assert!(timeline.iter().any(|what| what.contains("sent once more, and refused (403 AuthorizationFailed)")), "{timeline:#?}");
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{timeline:#?}");
    assert_eq!((world.platform.calls(), world.platform.effects()), (2, 0));
}
