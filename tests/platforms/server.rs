//! A small server in place of resource manager: answers by a script and writes down what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, Request, Response},
};
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{
        identity::{Identities, TokenSource},
        resource_manager::{Limits, ResourceManager},
    },
    domain::target::Target,
    platforms::AzurePlatforms,
    ports::{Clock, Platform, Platforms},
    settings::MapSource,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

pub const SITE: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";
pub const SCOPE: &str = "https://arm.test/.default";

#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
    /// Port of the other end: tells connections apart.
    pub connection: u16,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `GET /path`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    never: bool,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned(), never: false }
    }

    pub fn empty(status: u16) -> Self {
        Self::text(status, "")
    }

    /// Takes the request and does not answer it.
    pub fn never() -> Self {
        Self { never: true, ..Self::empty(200) }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Default)]
struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    recorded: Vec<Recorded>,
}

#[derive(Clone)]
pub struct FakeAzure {
    pub url: Url,
    script: Arc<Mutex<Script>>,
}

impl FakeAzure {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await });
        Self { url, script }
    }

    /// Answers `GET /path` with these in turn; the last one stays. Anything else is a 404. With a query the line is meant for that
    /// query only, else for any.
    pub fn on(&self, line: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.script.lock().unwrap().replies.insert(line.to_owned(), replies.into_iter().collect());
        self
    }

    pub fn recorded(&self) -> Vec<Recorded> {
        self.script.lock().unwrap().recorded.clone()
    }

    pub fn arm(&self) -> ResourceManager {
        arm_at(self.url.clone())
    }

    /// The adapter of a target, with [`Self::arm`]'s two identities, at half past ten.
    pub fn adapter(&self, target: &Target) -> Arc<dyn Platform> {
        adapter_over(self.arm(), target)
    }

    /// A client that gives up soon, for replies that never come. Patient otherwise: a busy machine must not fail a test.
    pub fn arm_for(&self, reply: &Reply) -> ResourceManager {
        if !reply.never {
            return self.arm();
        }
        self.arm().with_limits(Limits { answer_within: Duration::from_millis(100), ..limits() })
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let recorded = Recorded {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        connection: peer.port(),
    };
    let reply = {
        let mut script = script.lock().unwrap();
        let with_query = format!("{}?{}", recorded.line(), recorded.query);
        let line = if script.replies.contains_key(&with_query) { with_query } else { recorded.line() };
        let replies = script.replies.get_mut(&line);
        let reply = replies.and_then(|all| if all.len() > 1 { all.pop_front() } else { all.front().cloned() });
        script.recorded.push(recorded);
        reply.unwrap_or_else(|| Reply::text(404, r#"{"error":{"code":"ResourceNotFound","message":"not here"}}"#))
    };
    if reply.never {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

/// A client of `url` with two identities and nearly no pause.
pub fn arm_at(url: Url) -> ResourceManager {
    ResourceManager::new(url, identity("reader-token"), identity("actor-token")).with_limits(limits())
}

fn limits() -> Limits {
    Limits { retry_pause: Duration::from_millis(1), pages_max: 3, ..Limits::default() }
}

pub fn identity(token: &'static str) -> TokenSource {
    TokenSource::new(Arc::new(FixedToken { token: Some(token), only: Some(SCOPE) }), SCOPE)
}

pub fn no_identity() -> TokenSource {
    TokenSource::new(Arc::new(FixedToken { token: None, only: Some(SCOPE) }), SCOPE)
}

/// The same token whatever it is for.
fn credential(token: &'static str) -> Arc<dyn TokenCredential> {
    Arc::new(FixedToken { token: Some(token), only: None })
}

#[derive(Debug)]
struct FixedToken {
    token: Option<&'static str>,
    only: Option<&'static str>,
}

#[async_trait::async_trait]
impl TokenCredential for FixedToken {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        if let Some(scope) = self.only {
            assert_eq!(scopes, [scope]);
        }
        match self.token {
            Some(token) => Ok(AccessToken::new(token, OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap())),
            None => Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "no identity is assigned")),
        }
    }
}

pub struct FixedClock(pub Timestamp);

#[async_trait::async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}
}

/// The adapter of a target over `arm`; what is read elsewhere carries the same two tokens.
pub fn adapter_over(arm: ResourceManager, target: &Target) -> Arc<dyn Platform> {
    let identities = Identities::of(credential("reader-token"), credential("actor-token"));
    let now = FixedClock("2026-11-25T10:30:00Z".parse().unwrap());
    AzurePlatforms::new(Arc::new(arm), Arc::new(identities), Arc::new(MapSource::new([("", "")])), Arc::new(now)).of(target)
}
