//! Connections to API servers: reads that may be tried again, patches that are sent once.
//!
//! Requests are built by `kube`; they are sent by a `reqwest` client of ours and not by `kube::Client`, which has a stack of its
//! own below: here an answer must prove whether a call was sent, no redirect may be followed with a token, bodies are bounded,
//! and there is one TLS provider, whose certificates are loaded when a cluster is first spoken to.

use std::time::Duration;

use kube::core::Status;
use reqwest::{
    Certificate, Client, Identity, Method, StatusCode,
    header::{self, HeaderMap},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::kubeconfig::{Access, User};
use crate::{
    azure::{
        answer::{clean, retry_after},
        http::{Cut, client, client_that_sends_once},
        identity::{Identities, TokenSource},
        resource_manager::Limits,
    },
    ports::{PortError, PortErrorKind},
};

/// What a token for AKS is asked for: the application that stands for every AKS API server, in all clouds. Source: kubelogin.
pub const AKS_SCOPE: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";

/// The pause before the one retry of a read.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const PAGES_MAX: usize = 20;

/// One cluster, spoken to as whoever reads or as whoever acts.
pub struct Connection {
    server: Url,
    reader: Credential,
    actor: Credential,
    reading: Client,
    /// Keeps no connection open: one that was kept may be dead, and a reset on it would look like a sent call.
    acting: Client,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    Reader,
    Actor,
}

#[derive(Clone)]
enum Credential {
    Entra(TokenSource),
    Token(SecretString),
    TokenFile(std::path::PathBuf),
    /// The connection itself proves it.
    Certificate,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Vec<u8>,
    cut: Option<Cut>,
}

/// Why there is no answer.
pub enum NoAnswer {
    /// Not a byte left this machine.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

impl Connection {
    /// `entra` gives the tokens where the user is an Entra identity: of AKS clusters, never of a kubeconfig file.
    pub fn new(access: Access, entra: Option<&Identities>) -> Result<Self, String> {
        let (reader, actor, certificate) = match (access.user, entra) {
            (User::Exec, Some(identities)) => {
                let entra = |source| Credential::Entra(source);
                (entra(identities.reader(AKS_SCOPE)), entra(identities.actor(AKS_SCOPE)), None)
            }
            (User::Token(token), _) => (Credential::Token(token.clone()), Credential::Token(token), None),
            (User::TokenFile(path), _) => (Credential::TokenFile(path.clone()), Credential::TokenFile(path), None),
            (User::ClientCertificate(pem), _) => (Credential::Certificate, Credential::Certificate, Some(pem)),
            (User::Exec, None) => {
                return Err("the kubeconfig's user is a program to run (`exec`), and no program is run; give a token, a token \
                            file or a client certificate, or name an AKS cluster with `cluster:`"
                    .to_owned());
            }
            (User::Other(what), _) => {
                return Err(format!("the kubeconfig's user has {what}; give a token, a token file or a client certificate"));
            }
        };
        let build = |keeps: bool| -> Result<Client, String> {
            let limits = Limits::default();
            let server = &access.server;
            let mut builder = if keeps { client(server, &limits) } else { client_that_sends_once(server, &limits) };
            if let Some(pem) = &access.certificate_authority {
                let trusted = Certificate::from_pem_bundle(pem).map_err(|_| "the cluster's certificate is no PEM".to_owned())?;
                builder = builder.tls_certs_only(trusted);
            }
            if let Some(pem) = &certificate {
                let identity = Identity::from_pem(pem.expose_secret().as_bytes());
                builder = builder.identity(identity.map_err(|_| "the client certificate or its key is no PEM".to_owned())?);
            }
            builder.build().map_err(|_| "the HTTP client cannot be made from the kubeconfig's certificates".to_owned())
        };
        Ok(Self { reading: build(true)?, acting: build(false)?, server: access.server, reader, actor })
    }

    /// Whether reading and acting are granted apart.
    pub fn has_two_identities(&self) -> bool {
        match (&self.reader, &self.actor) {
            (Credential::Entra(reader), Credential::Entra(actor)) => !reader.is_same(actor),
            _ => false,
        }
    }

    /// Sends a read. Tried a second time in place after no connection, 500, 502, 503 or 504.
    pub async fn read(&self, operation: &'static str, request: &http::Request<Vec<u8>>) -> Result<Value, PortError> {
        self.read_as(As::Reader, operation, request).await
    }

    pub async fn read_as(&self, who: As, operation: &'static str, request: &http::Request<Vec<u8>>) -> Result<Value, PortError> {
        let token = self.token(who).await?;
        let first = self.once(&self.reading, request, token.as_ref(), operation).await?;
        let again = match &first {
            Ok(answer) => matches!(answer.status.as_u16(), 500 | 502 | 503 | 504),
            Err(NoAnswer::NotSent(_)) => true,
            Err(NoAnswer::Lost(_)) => false,
        };
        let last = if again {
            tokio::time::sleep(RETRY_PAUSE).await;
            self.once(&self.reading, request, token.as_ref(), operation).await?
        } else {
            first
        };
        match last {
            Ok(answer) => answer.into_value(operation),
            Err(NoAnswer::NotSent(says) | NoAnswer::Lost(says)) => Err(PortError::new(operation, PortErrorKind::Transient, says)),
        }
    }

    /// The items of all pages of a list; `page` builds the request for a continue token.
    pub async fn read_all(
        &self,
        operation: &'static str,
        page: impl Fn(Option<String>) -> Result<http::Request<Vec<u8>>, PortError>,
    ) -> Result<Vec<Value>, PortError> {
        let (mut all, mut token) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let mut answer = self.read(operation, &page(token)?).await?;
            match answer.get_mut("items").map(Value::take) {
                Some(Value::Array(mut items)) => all.append(&mut items),
                Some(Value::Null) => {}
                Some(_) | None => return Err(PortError::new(operation, PortErrorKind::Invalid, "the list has no `items`")),
            }
            let next = answer.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty());
            match next {
                None => return Ok(all),
                Some(next) => token = Some(next.to_owned()),
            }
        }
        Err(PortError::new(operation, PortErrorKind::Invalid, "the list has too many pages"))
    }

    /// Sends one mutating call as the one who acts, exactly once.
    pub async fn send(&self, request: &http::Request<Vec<u8>>) -> Result<Answer, NoAnswer> {
        let token = self.token(As::Actor).await.map_err(|error| NoAnswer::NotSent(error.says))?;
        match self.once(&self.acting, request, token.as_ref(), "submit").await {
            Ok(answered) => answered,
            Err(error) => Err(NoAnswer::NotSent(error.says)),
        }
    }

    async fn token(&self, who: As) -> Result<Option<SecretString>, PortError> {
        const OPERATION: &str = "get a token for the cluster";
        let credential = match who {
            As::Reader => &self.reader,
            As::Actor => &self.actor,
        };
        match credential {
            Credential::Entra(source) => source.bearer().await.map(Some),
            Credential::Token(token) => Ok(Some(token.clone())),
            Credential::TokenFile(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(Some(SecretString::from(text.trim().to_owned()))),
                Err(error) => {
                    let says = format!("the kubeconfig's token file cannot be read ({})", error.kind());
                    Err(PortError::new(OPERATION, PortErrorKind::Denied, says))
                }
            },
            Credential::Certificate => Ok(None),
        }
    }

    /// One request, one answer. The outer error is a request that makes no sense.
    async fn once(
        &self,
        client: &Client,
        request: &http::Request<Vec<u8>>,
        token: Option<&SecretString>,
        operation: &'static str,
    ) -> Result<Result<Answer, NoAnswer>, PortError> {
        let method = Method::from_bytes(request.method().as_str().as_bytes());
        let written = format!("{}{}", self.server.as_str().trim_end_matches('/'), request.uri());
        // A name that a URL parser would read differently must not lead elsewhere.
        let url = Url::parse(&written).ok().filter(|url| url.as_str() == written);
        let (Ok(method), Some(url)) = (method, url) else {
            let says = "a name in the path is no name of Kubernetes; check namespace and name in the policy";
            return Err(PortError::new(operation, PortErrorKind::Invalid, says));
        };
        let mut sent = client.request(method, url).header(header::ACCEPT, "application/json").body(request.body().clone());
        if let Some(content_type) = request.headers().get("content-type") {
            sent = sent.header(header::CONTENT_TYPE, content_type.as_bytes());
        }
        if let Some(token) = token {
            sent = sent.bearer_auth(token.expose_secret());
        }
        let mut response = match sent.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => return Ok(Err(NoAnswer::NotSent(reason(&error)))),
            Err(error) => return Ok(Err(NoAnswer::Lost(reason(&error)))),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let (mut body, mut cut) = (Vec::new(), None);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Ok(Some(_)) => {
                    cut = Some(Cut::TooLong(BODY_BYTES_MAX));
                    break;
                }
                Err(_) => {
                    cut = Some(Cut::BrokeOff);
                    break;
                }
            }
        }
        Ok(Ok(Answer { status, headers, body, cut }))
    }
}

impl Answer {
    /// What the body holds; `Null` where it is empty, cut or no JSON.
    pub fn json(&self) -> Value {
        if self.cut.is_none() { serde_json::from_slice(&self.body).unwrap_or_default() } else { Value::Null }
    }

    /// `409 Conflict: the object has been modified`, for a person.
    pub fn says(&self) -> String {
        let status: Option<Status> = serde_json::from_slice(&self.body).ok();
        let code = self.status.as_u16();
        match status {
            Some(status) if !status.message.is_empty() => {
                format!("{code} {}: {}", clean(&status.reason), clean(&status.message))
            }
            Some(_) | None => self.status.to_string(),
        }
    }

    pub fn retry_after_seconds(&self) -> Option<u32> {
        retry_after(&self.headers).map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX))
    }

    fn into_value(self, operation: &'static str) -> Result<Value, PortError> {
        if let (Some(cut), 200..=299) = (self.cut, self.status.as_u16()) {
            let (kind, says) = cut.told();
            return Err(PortError::new(operation, kind, says));
        }
        let says = self.says();
        let (kind, says) = match self.status.as_u16() {
            200..=299 => {
                return serde_json::from_slice(&self.body)
                    .map_err(|_| PortError::new(operation, PortErrorKind::Invalid, "the API server's answer is no JSON"));
            }
            401 => {
                (PortErrorKind::Denied, format!("{says}: the cluster did not accept who we are; check tenant and credentials"))
            }
            403 => (PortErrorKind::Denied, format!("{says}: grant this right in the cluster; a new grant takes some minutes")),
            404 => (PortErrorKind::NotFound, format!("{says}; check namespace, kind and name in the policy")),
            429 => (PortErrorKind::Throttled, says),
            408 | 500..=599 => (PortErrorKind::Transient, says),
            300..=399 => (PortErrorKind::Invalid, format!("{says}: a redirect, which is not followed")),
            _ => (PortErrorKind::Invalid, says),
        };
        Err(PortError { retry_after: retry_after(&self.headers), ..PortError::new(operation, kind, says) })
    }
}

/// What became of a request that got no answer, in words; never the URL.
fn reason(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "no connection to the API server; check that the cluster runs, and that it can be reached from here (network, authorized IP ranges)"
    } else if error.is_timeout() {
        "no answer from the API server in time"
    } else {
        "the connection to the API server broke"
    };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| what.to_owned(), |cause| format!("{what} ({})", clean(&cause.to_string())))
}
