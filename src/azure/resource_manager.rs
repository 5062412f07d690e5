//! Azure Resource Manager: reads that may be tried again, calls that are sent once, and operations that take long.
//!
//! A token goes to the configured endpoint only: no redirect is followed, and the URLs that answers hold (`Location`,
//! `nextLink`) must have the endpoint's scheme, host and port.

use std::{fmt, future::Future, time::Duration};

use reqwest::{Client, Method, StatusCode, header, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use super::{
    answer::{Problem, retry_after},
    http::{self, Answer},
    identity::TokenSource,
};
use crate::{
    domain::{
        right::Identity,
        rollback::{OperationState, Submission},
    },
    ports::{PortError, PortErrorKind},
};

/// The client of one endpoint with two identities: one that reads, one that acts. They may be the same.
pub struct ResourceManager {
    endpoint: Url,
    reader: TokenSource,
    actor: TokenSource,
    limits: Limits,
    /// Both clients are built when first used, since that loads the system's certificates.
    reading: OnceCell<Client>,
    acting: OnceCell<Client>,
    line: http::Line,
}

/// How long, how much, how often.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect_within: Duration,
    pub answer_within: Duration,
    /// The pause before the one retry of a read.
    pub retry_pause: Duration,
    pub body_bytes_max: usize,
    pub error_body_bytes_max: usize,
    pub pages_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(30),
            retry_pause: Duration::from_millis(500),
            body_bytes_max: 16 * 1024 * 1024,
            error_body_bytes_max: 64 * 1024,
            pages_max: 20,
        }
    }
}

/// What an answer to a mutating call holds beside what it proves; nothing where no answer came.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub status: Option<StatusCode>,
    /// As far as the body tells one.
    pub problem: Problem,
    /// Null where there is none that can be read.
    pub body: Value,
}

/// What a POST that takes its time came to at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The answer's body.
    Answered(Value),
    /// What [`ResourceManager::poll_for_answer`] needs.
    Accepted(Value),
}

/// Runs `work` so that every request in it carries `id` as `x-ms-correlation-request-id`, which joins Activity Log entries.
pub async fn correlated<F: Future>(id: Uuid, work: F) -> F::Output {
    CORRELATION.scope(id, work).await
}

tokio::task_local! { static CORRELATION: Uuid; }

/// Wait between two polls when the platform names none; resource providers are asked to answer within 10 s to 10 min.
const POLL_AFTER_SECONDS: u32 = 15;
const POLL_AFTER_SECONDS_MAX: u32 = 600;
/// Operation URLs reach 4 KB.
const OPERATION_URL_BYTES_MAX: usize = 8 * 1024;

impl ResourceManager {
    pub fn new(endpoint: Url, reader: TokenSource, actor: TokenSource) -> Self {
        let (reading, acting) = (OnceCell::new(), OnceCell::new());
        Self { endpoint, reader, actor, limits: Limits::default(), reading, acting, line: http::Line::default() }
    }

    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Whether reading and acting are granted apart.
    pub fn has_two_identities(&self) -> bool {
        !self.reader.is_same(&self.actor)
    }

    /// GETs `path_and_query`. Tried a second time in place after no connection, 500, 502, 503 or 504.
    pub async fn read(&self, operation: &'static str, path_and_query: &str) -> Result<Value, PortError> {
        self.read_url(operation, self.url(operation, path_and_query)?, &self.reader).await
    }

    /// GETs all pages of a list: the elements of `value`, following `nextLink`.
    pub async fn read_all(&self, operation: &'static str, path_and_query: &str) -> Result<Vec<Value>, PortError> {
        let first = self.read(operation, path_and_query).await?;
        self.following(operation, first, &self.reader).await
    }

    /// The elements of a list page by page, while `goes_on` says so of the page that was read; of at most `pages_max` pages.
    pub async fn read_while(
        &self,
        operation: &'static str,
        path_and_query: &str,
        pages_max: usize,
        goes_on: impl Fn(&[Value]) -> bool + Send,
    ) -> Result<Vec<Value>, PortError> {
        let first = self.read(operation, path_and_query).await?;
        Ok(self.following_while(operation, first, &self.reader, pages_max, goes_on).await?.0)
    }

    /// [`Self::read_all`] with the identity that acts: what it may do, only it can ask.
    pub async fn read_all_as_actor(&self, operation: &'static str, path_and_query: &str) -> Result<Vec<Value>, PortError> {
        // Asking is what comes before acting: the client for the one call is made now, and not when seconds count.
        self.acting_client().await.map_err(|error| no_client(operation, &error))?;
        let first = self.read_url(operation, self.url(operation, path_and_query)?, &self.actor).await?;
        self.following(operation, first, &self.actor).await
    }

    /// A POST that only reads, such as `slotsdiffs`. Not tried again.
    pub async fn read_by_post(
        &self,
        operation: &'static str,
        path_and_query: &str,
        body: Option<&Value>,
    ) -> Result<Value, PortError> {
        self.posted(operation, path_and_query, body.map(Value::to_string)).await?.into_value(operation)
    }

    /// [`Self::read_by_post`] where letters count: JSON is sent as it is written, and the answer is its text.
    pub async fn read_text_by_post(
        &self,
        operation: &'static str,
        path_and_query: &str,
        json: Option<String>,
    ) -> Result<String, PortError> {
        let body = self.posted(operation, path_and_query, json).await?.into_body(operation)?;
        String::from_utf8(body).map_err(|_| no_json(operation))
    }

    async fn posted(&self, operation: &'static str, path_and_query: &str, json: Option<String>) -> Result<Answer, PortError> {
        let url = self.url(operation, path_and_query)?;
        let token = self.reader.bearer().await?;
        let client = self.reading_client().await.map_err(|error| no_client(operation, &error))?;
        self.in_turn(client, Method::POST, url, &token, json)
            .await
            .map_err(|error| PortError::new(operation, PortErrorKind::Transient, reason(&error)))
    }

    /// [`Self::read_by_post`] for a list; further pages are read with GET.
    pub async fn read_all_by_post(
        &self,
        operation: &'static str,
        path_and_query: &str,
        body: &Value,
    ) -> Result<Vec<Value>, PortError> {
        let first = self.read_by_post(operation, path_and_query, Some(body)).await?;
        self.following(operation, first, &self.reader).await
    }

    /// A POST that changes nothing and may take its time, as one of the identities. Not tried again.
    pub async fn begin_by_post(
        &self,
        identity: Identity,
        operation: &'static str,
        path_and_query: &str,
        body: &Value,
    ) -> Result<Begun, PortError> {
        let url = self.url(operation, path_and_query)?;
        let source = match identity {
            Identity::Reading => &self.reader,
            Identity::Acting => &self.actor,
        };
        let token = source.bearer().await?;
        let client = self.reading_client().await.map_err(|error| no_client(operation, &error))?;
        match self.in_turn(client, Method::POST, url, &token, Some(body.to_string())).await {
            Ok(answer) => {
                let (accepted, operation_url) = (answer.status == StatusCode::ACCEPTED, self.operation(&answer.headers));
                let body = answer.into_value(operation)?;
                Ok(if accepted { Begun::Accepted(operation_url) } else { Begun::Answered(body) })
            }
            Err(error) => Err(PortError::new(operation, PortErrorKind::Transient, reason(&error))),
        }
    }

    /// Sends one mutating call (POST, PUT, PATCH) with the identity that acts, exactly once, and says what its answer proves.
    ///
    /// A connection of its own: one that was kept open may be dead, and a reset on it would look like a sent call.
    pub async fn submit(&self, method: Method, path_and_query: &str, body: Option<&Value>) -> Submission {
        self.submit_for_answer(method, path_and_query, body.map(Value::to_string)).await.0
    }

    /// [`Self::submit`] of JSON as it is written, and what the answer says.
    pub async fn submit_for_answer(&self, method: Method, path_and_query: &str, json: Option<String>) -> (Submission, Told) {
        const OPERATION: &str = "submit";
        let without = |submission| (submission, Told::default());
        let url = match self.url(OPERATION, path_and_query) {
            Ok(url) => url,
            Err(error) => return without(Submission::Refused { says: error.says }),
        };
        let token = match self.actor.bearer().await {
            Ok(token) => token,
            Err(error) => return without(Submission::NotSent { says: error.says, retry_after_seconds: None }),
        };
        let client = match self.acting_client().await {
            Ok(client) => client,
            Err(error) => {
                let says = no_client(OPERATION, &error).says;
                return without(Submission::NotSent { says, retry_after_seconds: None });
            }
        };
        match self.once(client, method, url, &token, json).await {
            Ok(answer) => {
                let problem = Problem::parse(&answer.body);
                (self.meaning(&answer), Told { status: Some(answer.status), problem, body: answer.readable() })
            }
            Err(error) if error.is_connect() || error.is_builder() => {
                without(Submission::NotSent { says: reason(&error), retry_after_seconds: None })
            }
            Err(error) => without(Submission::Unknown {
                says: format!("{}; whether the call took effect must be read from the platform", reason(&error)),
            }),
        }
    }

    fn meaning(&self, answer: &Answer) -> Submission {
        let problem = Problem::parse(&answer.body);
        let says = problem.says(answer.status);
        match answer.status.as_u16() {
            // A PUT or PATCH may answer 200 or 201 and go on all the same.
            200 | 201 | 204 if !answer.headers.contains_key("azure-asyncoperation") => Submission::Done,
            200..=202 | 204 => Submission::Accepted {
                operation: self.operation(&answer.headers),
                poll_after_seconds: poll_after_seconds(&answer.headers),
            },
            // The conflicts that no waiting ends.
            409 if problem.is("ScopeLocked") || problem.is("DeploymentQuotaExceeded") || problem.is_unregistered() => {
                Submission::Refused { says }
            }
            409 => Submission::Busy { says },
            400 | 401 | 403 | 404 | 405 | 412 | 422 => Submission::Refused { says },
            429 => Submission::NotSent {
                says,
                retry_after_seconds: retry_after(&answer.headers).map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
            },
            300..=399 => {
                Submission::Unknown { says: format!("{says}: a redirect, which is not followed; check `BACKOUT_ARM_ENDPOINT`") }
            }
            _ => Submission::Unknown { says: format!("{says}; whether the call took effect must be read from the platform") },
        }
    }

    /// What [`Self::poll`] needs: `{"asyncOperation": url}`, else `{"location": url}`, else `{}`.
    fn operation(&self, headers: &HeaderMap) -> Value {
        for (header, key) in [("azure-asyncoperation", "asyncOperation"), ("location", "location")] {
            let text = headers.get(header).and_then(|value| value.to_str().ok());
            if let Some(url) = text.filter(|t| t.len() <= OPERATION_URL_BYTES_MAX).and_then(|t| self.endpoint.join(t).ok()) {
                return json!({ key: url.as_str() });
            }
        }
        json!({})
    }

    /// Asks once how an accepted operation stands. What cannot be read is unknown, never failed.
    pub async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        Ok(self.poll_for_answer(operation).await?.0)
    }

    /// [`Self::poll`] for an operation whose end says more: the answer's body too, null where there is none that can be read.
    pub async fn poll_for_answer(&self, operation: &Value) -> Result<(OperationState, Value), PortError> {
        const OPERATION: &str = "poll the operation";
        let unknown = |says: String| Ok((unreadable(&says), Value::Null));
        let asynchronous = operation.get("asyncOperation").and_then(Value::as_str);
        let Some(text) = asynchronous.or_else(|| operation.get("location").and_then(Value::as_str)) else {
            return unknown("the platform accepted the call without a URL to ask".to_owned());
        };
        let Some(url) = Url::parse(text).ok().filter(|url| self.is_ours(url)) else {
            return unknown("the operation's URL is not on the resource manager's host, so no token was sent there".to_owned());
        };
        let token = self.reader.bearer().await?;
        let client = self.reading_client().await.map_err(|error| no_client(OPERATION, &error))?;
        let answer = self
            .in_turn(client, Method::GET, url, &token, None)
            .await
            .map_err(|error| PortError::new(OPERATION, PortErrorKind::Transient, reason(&error)))?;
        let Some(state) = operation_state(&answer, asynchronous.is_some()) else {
            return Err(answer.into_error(OPERATION));
        };
        Ok((state, answer.readable()))
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// The URL of a path that we composed; refuses one that a URL parser would read differently (`..`).
    fn url(&self, operation: &'static str, path_and_query: &str) -> Result<Url, PortError> {
        let base = self.endpoint.as_str().trim_end_matches('/');
        let written = format!("{base}{path_and_query}");
        Url::parse(&written)
            .ok()
            .filter(|url| path_and_query.starts_with('/') && self.is_ours(url) && url.as_str() == written)
            .ok_or_else(|| {
                PortError::new(
                    operation,
                    PortErrorKind::Invalid,
                    "a name in the path is no resource name; check the ids and slots of the policy",
                )
            })
    }

    async fn following(&self, operation: &'static str, first: Value, identity: &TokenSource) -> Result<Vec<Value>, PortError> {
        match self.following_while(operation, first, identity, self.limits.pages_max, |_| true).await? {
            (all, true) => Ok(all),
            (_, false) => Err(PortError::new(operation, PortErrorKind::Invalid, "the list has too many pages")),
        }
    }

    /// Whether the list ended, or was left, before its pages did.
    async fn following_while(
        &self,
        operation: &'static str,
        first: Value,
        identity: &TokenSource,
        pages_max: usize,
        goes_on: impl Fn(&[Value]) -> bool + Send,
    ) -> Result<(Vec<Value>, bool), PortError> {
        let invalid = |says: &str| PortError::new(operation, PortErrorKind::Invalid, says);
        let mut all = Vec::new();
        let mut page = first;
        for number in 1..=pages_max {
            let next = page.get("nextLink").and_then(Value::as_str).filter(|link| !link.is_empty()).map(str::to_owned);
            match page.get_mut("value").map(Value::take) {
                Some(Value::Array(mut values)) => {
                    let ended = !goes_on(&values);
                    all.append(&mut values);
                    if ended {
                        return Ok((all, true));
                    }
                }
                _ => return Err(invalid("the list has no `value`")),
            }
            let Some(next) = next else { return Ok((all, true)) };
            if number == pages_max {
                break;
            }
            let Some(url) = Url::parse(&next).ok().filter(|url| self.is_ours(url)) else {
                return Err(invalid("the list goes on at another host (`nextLink`), where no token is sent"));
            };
            page = self.read_url(operation, url, identity).await?;
        }
        Ok((all, false))
    }

    async fn read_url(&self, operation: &'static str, url: Url, identity: &TokenSource) -> Result<Value, PortError> {
        let token = identity.bearer().await?;
        let client = self.reading_client().await.map_err(|error| no_client(operation, &error))?;
        let first = self.in_turn(client, Method::GET, url.clone(), &token, None).await;
        let again = match &first {
            Ok(answer) => matches!(answer.status.as_u16(), 500 | 502 | 503 | 504),
            Err(error) => error.is_connect(),
        };
        let last = if again {
            tokio::time::sleep(self.limits.retry_pause).await;
            self.in_turn(client, Method::GET, url, &token, None).await
        } else {
            first
        };
        match last {
            Ok(answer) => answer.into_value(operation),
            Err(error) => Err(PortError::new(operation, PortErrorKind::Transient, reason(&error))),
        }
    }

    /// [`Self::once`] for what only reads.
    async fn in_turn(
        &self,
        client: &Client,
        method: Method,
        url: Url,
        token: &SecretString,
        json: Option<String>,
    ) -> Result<Answer, reqwest::Error> {
        let _turn = self.line.turn().await;
        self.once(client, method, url, token, json).await
    }

    /// One request, one answer. A body that breaks off or is too long leaves the status to tell.
    async fn once(
        &self,
        client: &Client,
        method: Method,
        url: Url,
        token: &SecretString,
        json: Option<String>,
    ) -> Result<Answer, reqwest::Error> {
        let posts = method == Method::POST;
        let mut request = client
            .request(method, url)
            .bearer_auth(token.expose_secret())
            .header(header::ACCEPT, "application/json")
            .header("x-ms-client-request-id", Uuid::new_v4().to_string())
            .header("x-ms-return-client-request-id", "true");
        if let Ok(id) = CORRELATION.try_with(Uuid::to_string) {
            request = request.header("x-ms-correlation-request-id", id);
        }
        request = match json {
            Some(json) => request.header(header::CONTENT_TYPE, "application/json").body(json),
            None if posts => request.header(header::CONTENT_LENGTH, 0),
            None => request,
        };
        http::answer_of(request, &self.limits).await
    }

    async fn reading_client(&self) -> Result<&Client, reqwest::Error> {
        self.reading.get_or_try_init(|| async { http::client(&self.endpoint, &self.limits).build() }).await
    }

    async fn acting_client(&self) -> Result<&Client, reqwest::Error> {
        let build = || async { http::client_that_sends_once(&self.endpoint, &self.limits).build() };
        self.acting.get_or_try_init(build).await
    }
}

impl fmt::Debug for ResourceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceManager").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl Answer {
    fn into_value(self, operation: &'static str) -> Result<Value, PortError> {
        let body = self.into_body(operation)?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| no_json(operation))
    }

    fn into_body(self, operation: &'static str) -> Result<Vec<u8>, PortError> {
        if !self.status.is_success() {
            return Err(self.into_error(operation));
        }
        if let Some(cut) = self.cut {
            let (kind, says) = cut.told();
            return Err(PortError::new(operation, kind, says));
        }
        Ok(self.body)
    }

    /// The body, if it is JSON and whole.
    fn readable(&self) -> Value {
        if self.cut.is_none() { serde_json::from_slice(&self.body).unwrap_or_default() } else { Value::Null }
    }

    fn into_error(self, operation: &'static str) -> PortError {
        let problem = Problem::parse(&self.body);
        let says = problem.says(self.status);
        let challenged = self
            .headers
            .get(header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text.contains("claims="));
        let (kind, says) = match self.status.as_u16() {
            401 if challenged => (
                PortErrorKind::Denied,
                format!(
                    "{says}: Entra asks for a new sign-in (continuous access evaluation); the next token will do, or a policy blocks the identity"
                ),
            ),
            401 => (PortErrorKind::Denied, format!("{says}: the token was not accepted; check tenant and `BACKOUT_CLOUD`")),
            403 => (PortErrorKind::Denied, format!("{says}: the identity lacks this right; a new grant takes some minutes")),
            404 if problem.is_unregistered() => (PortErrorKind::Invalid, says),
            404 => (PortErrorKind::NotFound, format!("{says}: it may be deleted or moved; check its id in the policy")),
            429 | 529 => (PortErrorKind::Throttled, says),
            408 | 500..=599 => (PortErrorKind::Transient, says),
            300..=399 => {
                (PortErrorKind::Invalid, format!("{says}: a redirect, which is not followed; check `BACKOUT_ARM_ENDPOINT`"))
            }
            _ => (PortErrorKind::Invalid, says),
        };
        PortError { retry_after: retry_after(&self.headers), ..PortError::new(operation, kind, says) }
    }
}

/// How the operation stands by one answer; `None` for an answer that is worth asking for again.
fn operation_state(answer: &Answer, asynchronous: bool) -> Option<OperationState> {
    let says = || Problem::parse(&answer.body).says(answer.status);
    let running = OperationState::Running { poll_after_seconds: poll_after_seconds(&answer.headers) };
    Some(match answer.status.as_u16() {
        200..=299 if asynchronous => match operation_status(&answer.body) {
            Some(status) if status == "succeeded" => OperationState::Succeeded,
            Some(status) if ["failed", "canceled", "cancelled"].contains(&status.as_str()) => {
                let problem = Problem::parse(&answer.body);
                let details = [problem.code, problem.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
                OperationState::Failed { says: format!("the operation is {status} {details}").trim_end().to_owned() }
            }
            Some(_) => running,
            None if answer.status == StatusCode::ACCEPTED => running,
            None => unreadable("the operation's answer holds no status"),
        },
        202 => running,
        200..=299 => OperationState::Succeeded,
        401 | 403 => unreadable(&format!("no right to read the operation ({})", says())),
        404 | 410 => unreadable(&format!("the operation is not there any more ({})", says())),
        408 | 429 | 500..=599 => return None,
        400..=499 => OperationState::Failed { says: says() },
        status => unreadable(&format!("the operation answered {status}")),
    })
}

fn unreadable(says: &str) -> OperationState {
    OperationState::Unknown { says: format!("{says}; the target itself tells") }
}

fn operation_status(body: &[u8]) -> Option<String> {
    let root: Value = serde_json::from_slice(body).ok()?;
    root.get("status")?.as_str().map(str::to_ascii_lowercase)
}

fn poll_after_seconds(headers: &HeaderMap) -> u32 {
    retry_after(headers).map_or(POLL_AFTER_SECONDS, |wait| {
        u32::try_from(wait.as_secs()).unwrap_or(POLL_AFTER_SECONDS_MAX).clamp(1, POLL_AFTER_SECONDS_MAX)
    })
}

fn no_json(operation: &'static str) -> PortError {
    PortError::new(operation, PortErrorKind::Invalid, "the answer is no JSON; check `BACKOUT_ARM_ENDPOINT`")
}

fn no_client(operation: &'static str, error: &reqwest::Error) -> PortError {
    PortError::new(operation, PortErrorKind::Transient, format!("the HTTP client cannot be made; {}", reason(error)))
}

/// What became of a request that got no answer, in words; never the URL.
fn reason(error: &reqwest::Error) -> String {
    http::reason(error, "the resource manager")
}
