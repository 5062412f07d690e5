//! Taking messages without a Functions host: over the embedded queue and over simulated Service Bus, by the real client.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    azure::service_bus::ServiceBusQueues,
    host::delivery::{Deliveries, Delivery, Function},
    local::pump::{Pump, SWEEP_EVERY},
    ports::{Clock, FollowUps, QueueMessage},
    process::outcome::Outcome,
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, Moment, QueueOptions, Role, clock::ManualClock},
};
use tokio::sync::{Notify, Semaphore};

use crate::support::{kept_log::KeptLog, simulated::identity};

/// Answers as it is told; counts, and lets work wait.
struct Scripted {
    outcome: Outcome,
    /// A delivery ends when it gets one of these.
    go: Semaphore,
    seen: Mutex<Vec<String>>,
    began: Notify,
}

impl Scripted {
    fn new(outcome: Outcome, goes: usize) -> Arc<Self> {
        Arc::new(Self { outcome, go: Semaphore::new(goes), seen: Mutex::default(), began: Notify::new() })
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[async_trait::async_trait]
impl Deliveries for Scripted {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        if delivery.function == Function::Sweep {
            return settled();
        }
        self.seen.lock().unwrap().push(String::from_utf8(delivery.body).unwrap());
        self.began.notify_one();
        self.go.acquire().await.unwrap().forget();
        self.outcome.clone()
    }
}

fn settled() -> Outcome {
    Outcome::Settled { says: "done".to_owned() }
}

fn again() -> Outcome {
    Outcome::DeliverAgain { says: "composed trouble".to_owned() }
}

struct Scene {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    queues: Arc<ServiceBusQueues>,
    stop: Arc<Notify>,
}

impl Scene {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2026-11-25T10:00:00Z".parse().unwrap()));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let queues =
            ServiceBusQueues::with_identity(azure.namespace(), Some(azure.bus_url()), identity(&azure, None), clock.clone());
        Self { azure, clock, queues: Arc::new(queues.unwrap()), stop: Arc::new(Notify::new()) }
    }

    fn start(&self, deliveries: &Arc<Scripted>) -> tokio::task::JoinHandle<()> {
        let pump = Pump {
            incoming: self.queues.clone(),
            deliveries: deliveries.clone(),
            clock: self.clock.clone(),
            side_by_side: NonZeroUsize::new(2).unwrap(),
            grace: Duration::from_millis(300),
            sweep_every: Some(SWEEP_EVERY),
        };
        let stop = Arc::clone(&self.stop);
        tokio::spawn(pump.run(async move { stop.notified().await }))
    }

    async fn send(&self, body: &str) {
        let message = QueueMessage { queue: "alerts".to_owned(), body: body.as_bytes().to_vec(), returns: 0, message_id: None };
        self.queues.send(message, Duration::ZERO).await.unwrap();
    }

    /// Requests to the queues so far that hold `part`.
    fn requests(&self, method: &str, part: &str) -> usize {
        let entries = self.azure.journal();
        let is_it = |role, m: &str, path: &str| role == Role::ServiceBus && m == method && path.contains(part);
        entries.iter().filter(|entry| is_it(entry.role, &entry.method, &entry.path_and_query)).count()
    }

    /// Lets virtual time pass until `is_it`; how many seconds it took.
    async fn pass_until(&self, is_it: impl Fn() -> bool) -> u64 {
        for passed in 0..600 {
            if is_it() {
                return passed;
            }
            self.pass(1).await;
        }
        panic!("it did not happen in ten minutes");
    }

    /// Lets virtual time pass in small steps, with real time for what it sets off.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }
}

/// What is logged on this thread from now on, on which all tasks of these tests run.
fn logged() -> (KeptLog, tracing::subscriber::DefaultGuard) {
    let log = KeptLog::default();
    let guard = tracing::subscriber::set_default(log.subscriber("info".parse().unwrap()));
    (log, guard)
}

async fn until(is_it: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_it() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("it did not happen");
}

#[tokio::test]
async fn so_many_at_a_time_and_completed_when_done() {
    let scene = Scene::new().await;
    let deliveries = Scripted::new(settled(), 0);
    let pump = scene.start(&deliveries);
    for body in ["a", "b", "c"] {
        scene.send(body).await;
    }
    until(|| deliveries.count() == 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((deliveries.count(), scene.azure.queue_length("alerts")), (2, 3), "two at a time, and none is done");
    deliveries.go.add_permits(3);
    until(|| scene.azure.queue_length("alerts") == 0).await;
    assert_eq!(*deliveries.seen.lock().unwrap(), ["a", "b", "c"]);
    scene.stop.notify_one();
    pump.await.unwrap();
}

#[tokio::test]
async fn a_lock_is_renewed_while_its_message_is_worked_on() {
    let scene = Scene::new().await;
    let deliveries = Scripted::new(settled(), 0);
    let pump = scene.start(&deliveries);
    scene.send("slow").await;
    deliveries.began.notified().await;
    scene.pass(150).await;
    assert_eq!(deliveries.count(), 1, "the lock of a minute ended, and the message came twice");
    deliveries.go.add_permits(1);
    until(|| scene.azure.queue_length("alerts") == 0).await;
    scene.stop.notify_one();
    pump.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_handled_is_held_longer_each_time_and_does_not_block_others() {
    let scene = Scene::new().await;
    let deliveries = Scripted::new(again(), 1000);
    let pump = scene.start(&deliveries);
    for body in ["a", "b", "c", "d"] {
        scene.send(body).await;
    }
    until(|| deliveries.count() == 4).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(deliveries.count(), 4, "no message came again before its pause was over");
    let first_pause = scene.pass_until(|| deliveries.count() == 8).await;
    assert!(first_pause >= 5, "{first_pause} s");
    let second_pause = scene.pass_until(|| deliveries.count() > 8).await;
    assert!(second_pause >= 9, "{second_pause} s: the second pause is twice as long");
    assert_eq!(scene.azure.dead_letters("alerts"), []);
    scene.stop.notify_one();
    pump.await.unwrap();
    assert!(scene.azure.take("alerts").is_some(), "held messages are given back at the stop");
}

#[tokio::test]
async fn a_stop_gives_back_what_does_not_end_in_time() {
    let scene = Scene::new().await;
    let deliveries = Scripted::new(settled(), 0);
    let pump = scene.start(&deliveries);
    scene.send("endless").await;
    deliveries.began.notified().await;
    scene.stop.notify_one();
    pump.await.unwrap();
    let again = scene.azure.take("alerts").expect("given back at once, not when its lock ends");
    assert_eq!(again.delivery_count, 2);
    let asked = scene.requests("POST", "/messages/head");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.requests("POST", "/messages/head"), asked, "nothing is asked for after the end");
}

#[tokio::test]
async fn a_throttled_or_absent_queue_is_asked_less_often_and_told_of_once() {
    let scene = Scene::new().await;
    let status = |status| FaultEffect::Status { moment: Moment::BeforeEffect, status, body: FaultBody::Html };
    let on_alerts =
        |effect| Fault { path_contains: "/alerts/messages/head".to_owned(), ..Fault::on_role(Role::ServiceBus, effect) };
    for effect in [status(503), FaultEffect::Throttle { retry_after_seconds: 20 }, status(503)] {
        scene.azure.inject(on_alerts(effect));
    }
    let (lines, _logging) = logged();
    let deliveries = Scripted::new(settled(), 10);
    let pump = scene.start(&deliveries);
    scene.send("patient").await;
    until(|| scene.requests("POST", "/alerts/messages/head") == 1).await;
    scene.pass_until(|| scene.requests("POST", "/alerts/messages/head") == 2).await;
    let asked_again = scene.pass_until(|| scene.requests("POST", "/alerts/messages/head") == 3).await;
    assert!(asked_again >= 20, "{asked_again} s: asked before the time that `Retry-After` names");
    scene.pass_until(|| scene.azure.queue_length("alerts") == 0).await;
    assert_eq!(deliveries.count(), 1);
    scene.stop.notify_one();
    pump.await.unwrap();
    let told = |what: &str| lines.text().lines().filter(|line| line.contains("alerts") && line.contains(what)).count();
    assert_eq!(told("asks for a pause"), 1, "{}", lines.text());
    assert_eq!(told("messages can be received again"), 1, "{}", lines.text());
}

#[tokio::test]
async fn a_missing_queue_is_told_once_by_name_and_tried_slowly() {
    let scene = Scene::new().await;
    let effect = FaultEffect::Status { moment: Moment::BeforeEffect, status: 404, body: FaultBody::Html };
    let fault = Fault { path_contains: "/markers/messages/head".to_owned(), ..Fault::on_role(Role::ServiceBus, effect) };
    scene.azure.inject(fault.times(3));
    let (lines, _logging) = logged();
    let deliveries = Scripted::new(settled(), 10);
    let pump = scene.start(&deliveries);
    until(|| scene.requests("POST", "/markers/messages/head") == 1).await;
    scene.pass(59).await;
    assert_eq!(scene.requests("POST", "/markers/messages/head"), 1, "a minute between two tries");
    scene.pass_until(|| scene.requests("POST", "/markers/messages/head") == 4).await;
    scene.stop.notify_one();
    pump.await.unwrap();
    let text = lines.text();
    assert_eq!(text.matches("there is no queue `markers` in the namespace").count(), 1, "{text}");
}

#[tokio::test]
async fn a_poison_message_ends_among_the_dead_letters_and_not_within_seconds() {
    let scene = Scene::new().await;
    scene.azure.add_queue("alerts", QueueOptions { max_delivery_count: 3, ..QueueOptions::default() });
    let deliveries = Scripted::new(again(), 1000);
    let pump = scene.start(&deliveries);
    let began = scene.clock.now();
    scene.send("poison").await;
    while scene.azure.dead_letters("alerts").is_empty() {
        scene.pass(1).await;
        assert!(scene.clock.now().duration_since(began).as_secs() < 120, "it never ended");
    }
    assert_eq!(deliveries.count(), 3);
    assert!(scene.clock.now().duration_since(began).as_secs() >= 35, "5, 10 and 20 s of pauses");
    scene.stop.notify_one();
    pump.await.unwrap();
}
