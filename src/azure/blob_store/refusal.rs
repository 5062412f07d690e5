//! What can go wrong with a call to blob storage, and what that means to the caller.

use std::{error::Error, time::Duration};

use azure_core::{error::ErrorKind, http::headers::HeaderName};
use reqwest::header::HeaderMap;

use crate::{
    azure::{
        answer::{clean, retry_after},
        http,
    },
    ports::{PortError, PortErrorKind},
    settings::blob_container::{BlobAccess, BlobContainer},
};

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Refusal {
    Answered {
        status: u16,
        /// `x-ms-error-code`
        code: Option<String>,
        retry_after: Option<Duration>,
    },
    /// No connection, or one that broke; the words are for a person.
    NotHeard(String),
    TooSlow,
    /// The container is not there, and we may not make it.
    NoContainer,
    NoToken(PortError),
    MakesNoSense(&'static str),
}

impl Refusal {
    /// The crate's error texts may quote URLs, in which signatures stand: none is carried on.
    pub fn of(error: &azure_core::Error) -> Self {
        let causes = || std::iter::successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
        if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<PortError>()) {
            return Self::NoToken(refused.clone());
        }
        match error.kind() {
            ErrorKind::HttpResponse { status, error_code, raw_response } => Self::Answered {
                status: u16::from(*status),
                code: error_code.as_deref().map(clean),
                retry_after: raw_response.as_ref().and_then(|response| asked_pause(response.headers())),
            },
            ErrorKind::Connection | ErrorKind::Io => {
                let told = causes().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
                Self::NotHeard(told.map_or_else(
                    || "the answer of blob storage broke off".to_owned(),
                    |error| http::reason(error, "blob storage"),
                ))
            }
            ErrorKind::Credential => {
                let says =
                    "there is no token for blob storage; assign the managed identity to the app, or run `az login` elsewhere";
                Self::NoToken(PortError::new("get a token", PortErrorKind::Denied, says))
            }
            _ => Self::MakesNoSense("blob storage answered what its client does not understand"),
        }
    }

    /// Whether the service named this code.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Answered { code: Some(code), .. } if code == wanted)
    }

    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Answered { status: 401 | 403, .. })
    }

    /// The document is there although it must not be, is another one by now, or is gone.
    pub fn is_unmet_condition(&self) -> bool {
        ["BlobAlreadyExists", "ConditionNotMet", "BlobNotFound"].iter().any(|code| self.is(code))
    }

    /// Whether another try in a moment may help. Where the service names a pause, that is kept, by whoever called.
    pub fn may_pass_soon(&self) -> bool {
        match self {
            Self::Answered { status: 408 | 500 | 502 | 504, .. } | Self::NotHeard(_) => true,
            Self::Answered { status: 429 | 503, retry_after, .. } => retry_after.is_none(),
            Self::Answered { .. } | Self::TooSlow | Self::NoContainer | Self::NoToken(_) | Self::MakesNoSense(_) => false,
        }
    }

    pub fn told(&self, operation: &'static str, container: &BlobContainer) -> PortError {
        let name = container.name();
        let error = |kind, says: String| PortError::new(operation, kind, says);
        match self {
            Self::Answered { status, code, retry_after } => {
                let answer = code.as_ref().map_or_else(|| status.to_string(), |code| format!("{status} {code}"));
                let (kind, says) = answered(*status, code.as_deref(), &answer, container);
                PortError { retry_after: *retry_after, ..error(kind, says) }
            }
            Self::NotHeard(what) => error(
                PortErrorKind::Transient,
                format!("{what}; check the URL in `BACKOUT_STORE`, the account's firewall and DNS if it stays so"),
            ),
            Self::TooSlow => error(
                PortErrorKind::Transient,
                format!("blob storage gave no answer about container `{name}` in time; it will be tried again"),
            ),
            Self::NoContainer => error(
                PortErrorKind::NotFound,
                format!(
                    "there is no container `{name}`, and we may not make it; make it with `az storage container create --account-name ACCOUNT --name {name} --auth-mode login`"
                ),
            ),
            Self::NoToken(refused) => PortError { operation, ..refused.clone() },
            Self::MakesNoSense(what) => {
                error(PortErrorKind::Invalid, format!("{what} (container `{name}`); check the URL in `BACKOUT_STORE`"))
            }
        }
    }
}

fn answered(status: u16, code: Option<&str>, answer: &str, container: &BlobContainer) -> (PortErrorKind, String) {
    let name = container.name();
    match (status, code) {
        (401 | 403, Some("AuthorizationFailure")) => (
            PortErrorKind::Denied,
            format!(
                "blob storage refuses us container `{name}` ({answer}), mostly because of the account's network rules; allow the app's subnet or address there"
            ),
        ),
        (401 | 403, _) => {
            (PortErrorKind::Denied, format!("blob storage refuses us container `{name}` ({answer}); {}", right(container)))
        }
        (429 | 503, _) => (PortErrorKind::Throttled, format!("blob storage asks for a pause ({answer}); it will be tried again")),
        (408 | 500..=599, _) | (409, Some("ContainerBeingDeleted")) => {
            (PortErrorKind::Transient, format!("blob storage failed ({answer}) on container `{name}`; it will be tried again"))
        }
        (412, Some("LeaseIdMissing")) | (409, Some("LeaseAlreadyPresent")) => (
            PortErrorKind::Transient,
            format!("somebody holds a lease on a document in container `{name}` ({answer}); break the lease"),
        ),
        (404 | 410, _) => (
            PortErrorKind::NotFound,
            format!(
                "blob storage does not find what was asked for ({answer}) in container `{name}`; check the URL in `BACKOUT_STORE`"
            ),
        ),
        (409, _) => (
            PortErrorKind::Invalid,
            format!(
                "blob storage does not let container `{name}` be changed ({answer}); look for holds, immutability policies and snapshots"
            ),
        ),
        (300..=399, _) => (
            PortErrorKind::Invalid,
            format!("blob storage sent us elsewhere ({answer}), which is not followed; check the URL in `BACKOUT_STORE`"),
        ),
        _ => (
            PortErrorKind::Invalid,
            format!(
                "blob storage does not take the request ({answer}) on container `{name}`; check the URL in `BACKOUT_STORE` and the kind of account"
            ),
        ),
    }
}

fn right(container: &BlobContainer) -> &'static str {
    match container.access {
        BlobAccess::Identity => {
            "give the identity the role `Storage Blob Data Contributor` on the container, and allow some minutes until it holds"
        }
        BlobAccess::Signature(_) => {
            "make a new shared access signature: this one may have ended, or lacks one of the permissions read, add, create, write, delete and list"
        }
        BlobAccess::EmulatorKey { .. } => "write the emulator's own account name and key into `BACKOUT_STORE`",
    }
}

/// How long the service asks us to wait, out of its client's kind of headers.
fn asked_pause(headers: &azure_core::http::headers::Headers) -> Option<Duration> {
    let mut read = HeaderMap::new();
    for name in ["retry-after-ms", "x-ms-retry-after-ms", "retry-after", "date"] {
        if let Some(value) = headers.get_optional_str(&HeaderName::from_static(name)).and_then(|value| value.parse().ok()) {
            read.insert(name, value);
        }
    }
    retry_after(&read)
}
