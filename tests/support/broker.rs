//! The broker and the host around the router: what is due is posted as the host posts it, 200 completes it, 500 brings it
//! back at once, and the tenth failure puts it aside.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use backout::{
    domain::policy::Policy,
    host::{dispatch::Dispatcher, server::router},
    ports::{Clock, FollowUps, QueueMessage},
    process::{Policies, PolicyTrouble, Ports, Process},
    sim::host::{DataType, ServiceBusMessage, service_bus_envelope},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{fake_queue::FakeQueue, leaks::watched_process, world::World};

/// Deliveries after which the broker puts a message aside.
const DELIVERIES_MAX: u32 = 10;

/// A policy that can be spoiled and mended.
pub struct ChangingPolicy(pub Mutex<Result<Arc<Policy>, PolicyTrouble>>);

#[async_trait::async_trait]
impl Policies for ChangingPolicy {
    async fn load(&self) -> Result<Arc<Policy>, PolicyTrouble> {
        self.0.lock().unwrap().clone()
    }
}

pub struct Broker {
    pub policy: Arc<ChangingPolicy>,
    pub process: Arc<Process>,
    router: Router,
    queue: FakeQueue,
    clock: Arc<dyn Clock>,
    /// Messages that were put aside.
    pub dead: Mutex<Vec<QueueMessage>>,
}

/// What the host heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub status: StatusCode,
    pub says: String,
}

impl Broker {
    /// Around a handler over `ports`, with the world's policy.
    pub fn of(world: &World, ports: &Ports) -> Self {
        let policy = Arc::new(ChangingPolicy(Mutex::new(Ok(Arc::clone(&world.policy)))));
        let process = Arc::new(watched_process(ports.clone(), Arc::<ChangingPolicy>::clone(&policy)));
        Self {
            policy,
            router: router(Arc::new(Dispatcher::new(Arc::clone(&process)))),
            process,
            queue: world.queue.clone(),
            clock: world.clock.clone(),
            dead: Mutex::default(),
        }
    }

    /// Somebody outside sends to a queue.
    pub async fn send(&self, queue: &str, body: &[u8]) {
        let message = QueueMessage { queue: queue.to_owned(), body: body.to_vec(), returns: 0, message_id: None };
        self.queue.send(message, std::time::Duration::ZERO).await.unwrap();
    }

    /// Posts one message.
    pub async fn post(&self, message: &QueueMessage) -> Heard {
        let mut delivered = ServiceBusMessage::new(message.body.clone(), "m-1", self.clock.now());
        if message.returns > 0 {
            delivered.properties.insert("backout-returns".to_owned(), json!(message.returns));
        }
        let envelope = service_bus_envelope(&message.queue, "message", DataType::Binary, &delivered);
        self.post_envelope(&message.queue, &envelope.to_string()).await
    }

    pub async fn post_envelope(&self, function: &str, envelope: &str) -> Heard {
        let request = Request::post(format!("/{function}")).body(Body::from(envelope.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        Heard { status, says: body["Logs"][0].as_str().unwrap().to_owned() }
    }

    pub async fn tick(&self) -> Heard {
        self.post_envelope("sweep", r#"{"Data":{"timer":{}},"Metadata":{}}"#).await
    }

    /// Posts the next message that is due; `None` when nothing is.
    pub async fn deliver_one(&self) -> Option<Heard> {
        let (lock, message) = self.queue.take()?;
        let heard = self.post(&message).await;
        if heard.status == StatusCode::OK {
            self.queue.complete(lock);
            return Some(heard);
        }
        assert_eq!(heard.status, StatusCode::INTERNAL_SERVER_ERROR);
        if self.queue.deliveries(lock).is_some_and(|deliveries| deliveries >= DELIVERIES_MAX) {
            self.queue.complete(lock);
            self.dead.lock().unwrap().push(message);
        } else {
            self.queue.unlock(lock);
        }
        Some(heard)
    }

    pub async fn deliver_due(&self) {
        while self.deliver_one().await.is_some() {}
    }

    /// Delivers what is due and moves the clock to the next, with the timer every five minutes, until `until`.
    pub async fn run(&self, world: &World, until: Timestamp) {
        let every = SignedDuration::from_mins(5);
        let mut next_tick = world.now() + every;
        while world.now() < until {
            world.measure();
            self.deliver_due().await;
            if world.now() >= next_tick {
                self.tick().await;
                next_tick = world.now() + every;
            }
            let next = world.queue.next_due().map_or(next_tick, |due| due.min(next_tick));
            world.clock.set(next.max(world.now() + SignedDuration::from_secs(1)));
        }
    }
}
