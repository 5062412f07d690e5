//! `alert-webhook`: takes alerts of action groups, and deployment events of GitHub, Flux and CDEvents senders, over HTTP.
//!
//! Who may: an action group by its Entra token (where a tenant is set; otherwise the function key, which the host checks, is all
//! there is), the others by an HMAC over the body. What then: the body goes on its queue as it is, and 202 comes after that.
//! Which target is meant is judged where the queue is read, against the policy, with a record: nobody who may send can widen it.

pub mod acceptance;
pub mod shrink;
pub mod signature;
pub mod token;

mod keys;

use std::sync::Arc;

use axum::http::StatusCode;
use jiff::SignedDuration;
use secrecy::SecretString;
use tracing::{error, warn};

use super::{
    delivery::Function,
    http::{HttpAnswer, HttpRequest},
};
use crate::{
    domain::event::Event,
    inbound::{self, Format},
    ports::Clock,
    settings::{WebhookSecrets, names},
};
use acceptance::{Acceptance, BODY_BYTES_MAX};
use token::{TokenCheck, TokenProblem};

/// Who sends, by the last segment of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Also where the URL names nobody.
    AzureMonitor,
    GitHub,
    Flux,
    CdEvents,
}

impl Source {
    pub const ALL: &'static [Self] = &[Self::AzureMonitor, Self::GitHub, Self::Flux, Self::CdEvents];

    pub fn name(self) -> &'static str {
        match self {
            Self::AzureMonitor => "azure-monitor",
            Self::GitHub => "github",
            Self::Flux => "flux",
            Self::CdEvents => "cdevents",
        }
    }

    fn queue(self) -> Function {
        match self {
            Self::AzureMonitor => Function::Alerts,
            Self::GitHub | Self::Flux | Self::CdEvents => Function::Markers,
        }
    }
}

/// The function.
pub struct AlertWebhook {
    acceptance: Acceptance,
    /// `None`: the function key is the only protection of alerts.
    token: Option<TokenCheck>,
    secrets: WebhookSecrets,
    clock: Arc<dyn Clock>,
}

/// A signed event that is older is no news, and may be a replay; one from further ahead than clocks differ is no event yet.
const EVENT_AGE_MAX: SignedDuration = SignedDuration::from_hours(1);
const EVENT_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

impl AlertWebhook {
    pub fn new(acceptance: Acceptance, token: Option<TokenCheck>, secrets: WebhookSecrets, clock: Arc<dyn Clock>) -> Self {
        Self { acceptance, token, secrets, clock }
    }

    pub async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        match self.checked(&request).await {
            Ok(Checked { source, delivery_id }) => {
                self.acceptance.accept(source.queue(), request.body, delivery_id.as_deref()).await
            }
            Err(answer) => answer,
        }
    }

    /// Everything that can be wrong with a request, or done with it, before its body goes on a queue.
    async fn checked(&self, request: &HttpRequest) -> Result<Checked, HttpAnswer> {
        if request.method != "POST" {
            let says = HttpAnswer::says(StatusCode::METHOD_NOT_ALLOWED, "send it by POST");
            return Err(says.with_header("Allow", "POST"));
        }
        let source = source(request)?;
        if request.body.len() > BODY_BYTES_MAX {
            let says = format!("a body may have {BODY_BYTES_MAX} bytes");
            return Err(HttpAnswer::says(StatusCode::PAYLOAD_TOO_LARGE, says));
        }
        has_json(request)?;
        match source {
            Source::AzureMonitor => {
                self.check_token(request).await?;
                Ok(Checked { source, delivery_id: None })
            }
            Source::GitHub => {
                check_signature(
                    request,
                    "x-hub-signature-256",
                    self.secrets.github.as_ref(),
                    names::BACKOUT_GITHUB_WEBHOOK_SECRET,
                )?;
                wanted_of_github(request.header("x-github-event"))?;
                self.check_events(source, &request.body)?;
                Ok(Checked { source, delivery_id: request.header("x-github-delivery").map(str::to_owned) })
            }
            Source::Flux => {
                check_signature(request, "x-signature", self.secrets.flux.as_ref(), names::BACKOUT_FLUX_WEBHOOK_SECRET)?;
                self.check_events(source, &request.body)?;
                Ok(Checked { source, delivery_id: None })
            }
            Source::CdEvents => {
                check_signature(request, "x-signature", self.secrets.cdevents.as_ref(), names::BACKOUT_CDEVENTS_WEBHOOK_SECRET)?;
                self.check_events(source, &request.body)?;
                Ok(Checked { source, delivery_id: None })
            }
        }
    }

    async fn check_token(&self, request: &HttpRequest) -> Result<(), HttpAnswer> {
        let Some(token) = &self.token else { return Ok(()) };
        let Err(problem) = token.check(request.header("authorization")).await else { return Ok(()) };
        // The log says which check failed, for whoever sets it up; the caller only hears that it did.
        let status = match &problem {
            TokenProblem::NoKeys(error) => {
                error!(%error, "a webhook token could not be checked");
                return Err(HttpAnswer::later("the token cannot be checked now; send it again"));
            }
            TokenProblem::NoRole | TokenProblem::OtherCaller => StatusCode::FORBIDDEN,
            TokenProblem::Missing
            | TokenProblem::NotRs256
            | TokenProblem::UnknownKey
            | TokenProblem::NotSigned
            | TokenProblem::OtherIssuer
            | TokenProblem::OtherAudience
            | TokenProblem::NotNow => StatusCode::UNAUTHORIZED,
        };
        warn!("a webhook token was refused: {problem}");
        let says = "the function key alone is not enough here: use an action group's secure webhook, whose token is of the right tenant, \
                    audience, role and application";
        let answer = HttpAnswer::says(status, says);
        Err(if status == StatusCode::UNAUTHORIZED { answer.with_header("WWW-Authenticate", "Bearer") } else { answer })
    }

    /// A sender's secret is good for that sender's events only, and for new ones: the time stands in what was signed.
    fn check_events(&self, source: Source, body: &[u8]) -> Result<(), HttpAnswer> {
        let refuse = |why: String| Err(HttpAnswer::says(StatusCode::BAD_REQUEST, why));
        let now = self.clock.now();
        for recognised in inbound::recognise(body) {
            let understood = match recognised {
                Ok(understood) => understood,
                Err(malformed) => return refuse(format!("the body is not understood: {malformed}")),
            };
            if sent_by(understood.format) != Some(source) {
                return refuse(format!("this is a {}, which `{}` does not send", understood.format, source.name()));
            }
            let Event::Deployment(event) = understood.event else { continue };
            let Some(at) = event.at else {
                return refuse("the event does not say when it happened, so that a repeat could not be told".to_owned());
            };
            let age = now.duration_since(at);
            if age > EVENT_AGE_MAX || age < -EVENT_AHEAD_MAX {
                return refuse("the event is more than an hour old, or from the future; compare the clocks".to_owned());
            }
        }
        Ok(())
    }
}

struct Checked {
    source: Source,
    delivery_id: Option<String>,
}

fn source(request: &HttpRequest) -> Result<Source, HttpAnswer> {
    let Some(name) = request.route.get("source").filter(|name| !name.is_empty()) else { return Ok(Source::AzureMonitor) };
    let found = Source::ALL.iter().copied().find(|source| source.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<_> = Source::ALL.iter().map(|source| format!("`{}`", source.name())).collect();
        HttpAnswer::says(StatusCode::NOT_FOUND, format!("nobody is known by that name; there are {}", names.join(", ")))
    })
}

/// JSON under one of its media types, and a body at all.
fn has_json(request: &HttpRequest) -> Result<(), HttpAnswer> {
    let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_json = media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let is_utf8 = parts
        .filter_map(|part| part.strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    if !is_json || !is_utf8 {
        let says = "send JSON in UTF-8 as `application/json` (in GitHub, `Content type` of the webhook)";
        return Err(HttpAnswer::says(StatusCode::UNSUPPORTED_MEDIA_TYPE, says));
    }
    if request.body.is_empty() && request.headers.contains_key("transfer-encoding") {
        let says = "the Functions host drops a body without `Content-Length`; send its length, not chunks";
        return Err(HttpAnswer::says(StatusCode::LENGTH_REQUIRED, says));
    }
    Ok(())
}

fn check_signature(
    request: &HttpRequest,
    header: &'static str,
    secret: Option<&SecretString>,
    setting: &'static str,
) -> Result<(), HttpAnswer> {
    let Some(secret) = secret else {
        let says = format!("`{setting}` is not set, so nothing is taken from this sender");
        return Err(HttpAnswer::says(StatusCode::FORBIDDEN, says));
    };
    signature::check(request.header(header), &request.body, secret)
        .map_err(|problem| HttpAnswer::says(StatusCode::UNAUTHORIZED, format!("`{header}` {problem}")))
}

/// A webhook may be set to send everything; what says nothing about deployments is thanked for and dropped.
fn wanted_of_github(event: Option<&str>) -> Result<(), HttpAnswer> {
    match event {
        None | Some("deployment" | "deployment_status" | "workflow_run") => Ok(()),
        Some("ping") => Err(HttpAnswer::says(StatusCode::OK, "backout hears you")),
        Some(_) => Err(HttpAnswer::says(
            StatusCode::OK,
            "backout has no use for this event; it reads `deployment` and `deployment_status`",
        )),
    }
}

/// Whose format it is; `None` for those that come another way.
fn sent_by(format: Format) -> Option<Source> {
    match format {
        Format::CommonAlert
        | Format::LegacyMetricAlert
        | Format::LegacyActivityLogAlert
        | Format::LegacyApplicationInsightsLogAlert
        | Format::LegacyBudget
        | Format::LegacyLogAnalyticsAlert
        | Format::ClassicAlert
        | Format::AlertsApi => Some(Source::AzureMonitor),
        Format::BareCdEvents | Format::CdEventsInCloudEvents => Some(Source::CdEvents),
        Format::GitHubDeploymentStatus | Format::GitHubDeployment | Format::GitHubWorkflowRun => Some(Source::GitHub),
        Format::Flux => Some(Source::Flux),
        Format::CloudEvents | Format::EventGridSchema | Format::AzureDevOpsServiceHook | Format::Kudu => None,
    }
}
