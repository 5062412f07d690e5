//! `alert-webhook`, called as somebody outside calls it: through the host's envelope, over HTTP. Every body is composed by us.

mod end_to_end;
mod route;
mod shrinking;
mod signatures;
mod tenant;
mod tokens;

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use backout::{
    host::{
        delivery::{Deliveries, Delivery},
        http::{HttpAnswer, HttpRequest},
        server,
        webhook::{AlertWebhook, acceptance::Acceptance, token::TokenCheck},
    },
    ports::{FollowUps, QueueMessage},
    process::outcome::Outcome,
    settings::WebhookSecrets,
    sim::{
        clock::ManualClock,
        host::{FunctionApp, HttpCall, HttpReply, call_url},
    },
};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::net::TcpListener;
use url::Url;

use crate::support::fake_queue::FakeQueue;

const ALERTS: &str = "/api/alert-webhook";
const GITHUB: &str = "/api/alert-webhook/github";
const FLUX: &str = "/api/alert-webhook/flux";
const CDEVENTS: &str = "/api/alert-webhook/cdevents";

const GITHUB_SECRET: &str = "It's a Secret to Everybody";
const FLUX_SECRET: &str = "a composed secret of Flux";
const CDEVENTS_SECRET: &str = "a composed secret of a pipeline";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A minute after the last thing that happens in the fixtures.
fn now() -> Timestamp {
    time("2026-03-04T02:12:00Z")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inbound").join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn secrets() -> WebhookSecrets {
    let secret = |text: &str| Some(SecretString::from(text));
    WebhookSecrets { github: secret(GITHUB_SECRET), flux: secret(FLUX_SECRET), cdevents: secret(CDEVENTS_SECRET) }
}

/// The function on a server of its own, and what it puts on the queues.
struct Door {
    base: Url,
    app: FunctionApp,
    clock: Arc<ManualClock>,
    queue: FakeQueue,
}

impl Door {
    /// Behind the function key alone.
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::at(now()));
        Self::with(clock, None, secrets()).await
    }

    async fn with(clock: Arc<ManualClock>, token: Option<TokenCheck>, secrets: WebhookSecrets) -> Self {
        let queue = FakeQueue::new(clock.clone());
        let base = serve(webhook(&clock, Arc::new(queue.clone()), token, secrets)).await;
        Self { base, app: FunctionApp::built_in().unwrap(), clock, queue }
    }

    async fn call(&self, call: &HttpCall) -> HttpReply {
        call_url(&self.base, &self.app, call).await
    }

    fn queued(&self) -> Vec<QueueMessage> {
        self.queue.queued().into_iter().map(|(_, message)| message).collect()
    }

    /// The call is answered with `status` and a sentence that holds `says`, and nothing is on any queue.
    async fn refuses(&self, call: &HttpCall, status: u16, says: &str) -> HttpReply {
        let reply = self.call(call).await;
        assert_eq!((reply.status, self.queued()), (status, Vec::new()), "{}", reply.body);
        assert!(reply.body.contains(says), "`{says}` is not in: {}", reply.body);
        reply
    }
}

fn webhook(
    clock: &Arc<ManualClock>,
    follow_ups: Arc<dyn FollowUps>,
    token: Option<TokenCheck>,
    secrets: WebhookSecrets,
) -> Arc<dyn Deliveries> {
    Arc::new(Only(AlertWebhook::new(Acceptance::new(follow_ups), token, secrets, clock.clone())))
}

/// Serves our own server on a free port, for as long as the test runs.
async fn serve(deliveries: Arc<dyn Deliveries>) -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(server::serve(listener, deliveries, std::future::pending()));
    base
}

/// No queue is read here.
struct Only(AlertWebhook);

#[async_trait::async_trait]
impl Deliveries for Only {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        panic!("nothing is delivered: {:?}", delivery.function)
    }

    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        self.0.answer(request).await
    }
}
