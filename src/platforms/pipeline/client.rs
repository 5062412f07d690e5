//! The HTTP clients of pipeline servers: what they have in common, and how the two servers differ in saying no.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    azure::{
        answer::{Problem, http_date, retry_after},
        http::{self, Answer},
        resource_manager::Limits,
    },
    domain::rollback::Submission,
    ports::{PortError, PortErrorKind},
};

/// Whose words a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    AzureDevOps,
    GitHub,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Self::AzureDevOps => "Azure DevOps",
            Self::GitHub => "GitHub",
        }
    }

    /// Azure DevOps answers a bad token with a page to sign in, unless asked not to. Source: Microsoft's own clients.
    fn headers(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::AzureDevOps => [("accept", "application/json"), ("x-tfs-fedauthredirect", "Suppress")],
            Self::GitHub => [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")],
        }
    }

    fn needs(self) -> &'static str {
        match self {
            Self::AzureDevOps => {
                "add the managed identity as a user of the organization, with the right to view and queue this pipeline"
            }
            Self::GitHub => "the token needs `Actions: read and write` of this repository, and must not have expired",
        }
    }

    fn missing(self) -> &'static str {
        match self {
            Self::AzureDevOps => {
                "the pipeline was deleted, or the identity may not see it; check organization, project and number in the policy"
            }
            Self::GitHub => {
                "the workflow or its repository was deleted or renamed, or the token may not see it; check both names in the policy"
            }
        }
    }
}

/// One server. Both clients are built when first used, since that loads the system's certificates.
pub struct Connection {
    pub dialect: Dialect,
    server: Url,
    limits: Limits,
    reading: OnceCell<Client>,
    acting: OnceCell<Client>,
}

impl Connection {
    pub fn new(dialect: Dialect, server: Url, limits: Limits) -> Self {
        Self { dialect, server, limits, reading: OnceCell::new(), acting: OnceCell::new() }
    }

    /// GETs `path_and_query`. Tried a second time in place after no connection, 500, 502, 503 or 504.
    pub async fn read(
        &self,
        operation: &'static str,
        path_and_query: &str,
        token: &SecretString,
    ) -> Result<(Value, Option<Duration>), PortError> {
        let url = self.url(path_and_query).ok_or_else(|| PortError::new(operation, PortErrorKind::Invalid, NO_PATH))?;
        let build = || async { http::client(&self.server, &self.limits).build() };
        let client = self.reading.get_or_try_init(build).await.map_err(|error| self.silent(operation, &error))?;
        let first = self.once(client, Method::GET, url.clone(), token, None).await;
        let again = match &first {
            Ok(answer) => matches!(answer.status.as_u16(), 500 | 502 | 503 | 504),
            Err(error) => error.is_connect(),
        };
        let last = if again {
            tokio::time::sleep(self.limits.retry_pause).await;
            self.once(client, Method::GET, url, token, None).await
        } else {
            first
        };
        self.value(operation, &last.map_err(|error| self.silent(operation, &error))?)
    }

    /// POSTs `body` exactly once. The error says what the answer proves when it is no yes.
    pub async fn submit(&self, path: &str, token: &SecretString, body: &Value) -> Result<Answer, Submission> {
        let Some(url) = self.url(path) else { return Err(Submission::Refused { says: NO_PATH.to_owned() }) };
        let not_sent = |error: &reqwest::Error| Submission::NotSent {
            says: http::reason(error, self.dialect.name()),
            retry_after_seconds: None,
        };
        let client = self.acting_client().await.map_err(|error| not_sent(&error))?;
        let answer = match self.once(client, Method::POST, url, token, Some(body)).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() || error.is_builder() => return Err(not_sent(&error)),
            Err(error) => {
                return Err(Submission::Unknown { says: format!("{}; {LOOK}", http::reason(&error, self.dialect.name())) });
            }
        };
        self.no_of(answer)
    }

    /// Makes the client of the one call now, and not when seconds count.
    pub async fn warm_up(&self, operation: &'static str) -> Result<(), PortError> {
        self.acting_client().await.map(|_| ()).map_err(|error| self.silent(operation, &error))
    }

    async fn acting_client(&self) -> Result<&Client, reqwest::Error> {
        self.acting.get_or_try_init(|| async { http::client_that_sends_once(&self.server, &self.limits).build() }).await
    }

    async fn once(
        &self,
        client: &Client,
        method: Method,
        url: Url,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = client.request(method, url).bearer_auth(token.expose_secret());
        for (name, value) in self.dialect.headers() {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        http::answer_of(request, &self.limits).await
    }

    /// The URL of a path that we composed, on this server; `None` for one that a URL parser would read differently (`..`).
    fn url(&self, path_and_query: &str) -> Option<Url> {
        let written = format!("{}{path_and_query}", self.server.as_str().trim_end_matches('/'));
        let url = Url::parse(&written).ok()?;
        let same = url.origin() == self.server.origin() && url.username().is_empty() && url.password().is_none();
        (path_and_query.starts_with('/') && same && url.as_str() == written).then_some(url)
    }

    fn silent(&self, operation: &'static str, error: &reqwest::Error) -> PortError {
        let cure =
            if error.is_connect() { "; check the server's URL in the policy, and the network from here to it" } else { "" };
        PortError::new(operation, PortErrorKind::Transient, format!("{}{cure}", http::reason(error, self.dialect.name())))
    }

    /// The JSON of a read, and how long the server asks to wait before the next one: it may do so even where it answers.
    fn value(&self, operation: &'static str, answer: &Answer) -> Result<(Value, Option<Duration>), PortError> {
        let invalid = |kind, says: &str| Err(PortError::new(operation, kind, says));
        let problem = Problem::parse(&answer.body).says(answer.status);
        if let (Some(cut), 200..=202 | 204..=299) = (answer.cut, answer.status.as_u16()) {
            let (kind, says) = cut.told();
            return Err(PortError::new(operation, kind, says));
        }
        let (kind, says) = match answer.status.as_u16() {
            203 => (PortErrorKind::Denied, self.sign_in()),
            200..=299 if answer.body.is_empty() => return Ok((Value::Null, retry_after(&answer.headers))),
            200..=299 => match serde_json::from_slice(&answer.body) {
                Ok(value) => return Ok((value, retry_after(&answer.headers))),
                Err(_) => return invalid(PortErrorKind::Invalid, "the answer is no JSON; check the server's URL in the policy"),
            },
            300..=399 if self.is_sign_in(answer) => (PortErrorKind::Denied, self.sign_in()),
            300..=399 => {
                (PortErrorKind::Invalid, format!("{problem}: a redirect, which is not followed; {}", self.dialect.missing()))
            }
            _ if self.is_limit(answer) => (PortErrorKind::Throttled, problem),
            401 | 403 => (PortErrorKind::Denied, format!("{problem}: {}", self.dialect.needs())),
            404 | 410 => (PortErrorKind::NotFound, format!("{problem}: {}", self.dialect.missing())),
            408 | 500..=599 => (PortErrorKind::Transient, problem),
            _ => (PortErrorKind::Invalid, problem),
        };
        Err(PortError { retry_after: self.wait_asked_for(answer), ..PortError::new(operation, kind, says) })
    }

    /// An answer which is no yes, as a submission.
    fn no_of(&self, answer: Answer) -> Result<Answer, Submission> {
        let says = Problem::parse(&answer.body).says(answer.status);
        Err(match answer.status.as_u16() {
            203 => Submission::Refused { says: self.sign_in() },
            200..=299 => return Ok(answer),
            300..=399 if self.is_sign_in(&answer) => Submission::Refused { says: self.sign_in() },
            _ if self.is_limit(&answer) => Submission::NotSent {
                says,
                retry_after_seconds: self.wait_asked_for(&answer).map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
            },
            401 | 403 => Submission::Refused { says: format!("{says}: {}", self.dialect.needs()) },
            404 | 410 => Submission::Refused { says: format!("{says}: {}", self.dialect.missing()) },
            409 => Submission::Busy { says },
            400 | 405 | 412 | 413 | 415 | 422 => Submission::Refused { says },
            300..=399 => Submission::Unknown { says: format!("{says}: a redirect, which is not followed; {LOOK}") },
            _ => Submission::Unknown { says: format!("{says}; {LOOK}") },
        })
    }

    /// GitHub says 403 as well when too much was asked, and tells by its headers or its message which one it is.
    fn is_limit(&self, answer: &Answer) -> bool {
        match (answer.status.as_u16(), self.dialect) {
            (429, _) => true,
            (403, Dialect::GitHub) => {
                is_used_up(answer) || answer.headers.contains_key(header::RETRY_AFTER) || self.is_secondary_limit(answer)
            }
            _ => false,
        }
    }

    /// GitHub's limit on what comes at once: requests are left by the headers, and the message alone tells.
    /// Source: "Rate limits for the REST API", which also asks to wait a minute then.
    fn is_secondary_limit(&self, answer: &Answer) -> bool {
        let message = Problem::parse(&answer.body).message.unwrap_or_default();
        let told = matches!(answer.status.as_u16(), 403 | 429) && message.to_ascii_lowercase().contains("rate limit");
        self.dialect == Dialect::GitHub && told && !is_used_up(answer)
    }

    /// `Retry-After`, else the time until `X-RateLimit-Reset` (Unix seconds) by the answer's own `Date`, so that no clock of ours enters.
    fn wait_asked_for(&self, answer: &Answer) -> Option<Duration> {
        if let Some(wait) = retry_after(&answer.headers) {
            return Some(wait);
        }
        if self.is_secondary_limit(answer) {
            return Some(SECONDARY_LIMIT_WAIT);
        }
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let reset = Timestamp::from_second(text("x-ratelimit-reset")?.parse().ok()?).ok()?;
        Some(Duration::try_from(reset.duration_since(http_date(text("date")?)?)).unwrap_or_default())
    }

    /// Azure DevOps leads somebody whom it does not know to a page to sign in.
    fn is_sign_in(&self, answer: &Answer) -> bool {
        let to = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.dialect == Dialect::AzureDevOps && to.to_ascii_lowercase().contains("/_signin")
    }

    fn sign_in(&self) -> String {
        format!("{} asks for a sign-in, so the token was not accepted: {}", self.dialect.name(), self.dialect.needs())
    }
}

const NO_PATH: &str = "a name in the path is none; check organization, project, repository and workflow in the policy";
const LOOK: &str = "whether a run was queued must be read from the list of runs";
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_mins(1);

fn is_used_up(answer: &Answer) -> bool {
    answer.headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0")
}
