//! Loading the policy from a path or a URL, and keeping it while it has not changed: a warm load parses nothing.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    problems::PolicyProblems,
    read::{SIZE_MAX, read},
};
use crate::{
    domain::{policy::Policy, resource_id::ResourceId},
    ports::{PortError, PortErrorKind},
    settings::PolicyLocation,
};

/// Whoever gives a token for the blob that holds the policy.
#[async_trait::async_trait]
pub trait BearerSource: Send + Sync {
    /// A token for Azure Storage, cached by the source.
    async fn token(&self) -> Result<SecretString, PortError>;
}

/// The policy of this process, wherever it lies. Shared by all invocations.
pub struct PolicySource {
    location: PolicyLocation,
    own_site: Option<ResourceId>,
    client: reqwest::Client,
    bearer: Option<Arc<dyn BearerSource>>,
    kept: Mutex<Option<Kept>>,
}

/// There is no policy to decide by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyUnavailable {
    /// [`PortErrorKind::Invalid`]: the file has problems, and trying again will not help until it changes.
    pub kind: PortErrorKind,
    /// For a person; one line, without the problems.
    pub says: String,
    /// Empty unless the file was read.
    pub problems: Option<PolicyProblems>,
}

impl PolicySource {
    /// `client` must not follow redirects. `bearer` is asked only for a URL without a signature of its own.
    pub fn new(
        location: PolicyLocation,
        own_site: Option<ResourceId>,
        client: reqwest::Client,
        bearer: Option<Arc<dyn BearerSource>>,
    ) -> Self {
        Self { location, own_site, client, bearer, kept: Mutex::new(None) }
    }

    pub fn location(&self) -> &PolicyLocation {
        &self.location
    }

    /// The policy as it is now: unchanged since the last load, the same one is handed out again.
    ///
    /// What cannot be revalidated is not used: an older policy might allow what the newer one forbids.
    pub async fn load(&self) -> Result<Arc<Policy>, PolicyUnavailable> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (stamp, bytes) = match (&self.location, kept) {
            (PolicyLocation::File(path), kept) => {
                let stamp = file_stamp(path).map_err(|error| self.unreadable(&error))?;
                if let Some(kept) = kept.filter(|kept| kept.stamp == stamp) {
                    return kept.result;
                }
                (stamp, read_file(path).map_err(|error| self.unreadable(&error))?)
            }
            (PolicyLocation::Url(url), kept) => {
                let known = kept.as_ref().and_then(|kept| match &kept.stamp {
                    Stamp::ETag(etag) => Some(etag.as_str()),
                    Stamp::File { .. } | Stamp::None => None,
                });
                let bearer = match (&self.bearer, signed(url)) {
                    (Some(bearer), false) => Some(bearer.token().await.map_err(|error| PolicyUnavailable {
                        kind: error.kind,
                        says: format!("no token for the policy at `{}`: {error}", self.location),
                        problems: None,
                    })?),
                    (Some(_) | None, _) => None,
                };
                match (fetch(&self.client, url, bearer.as_ref(), known).await?, kept) {
                    (Fetched::Unchanged, Some(kept)) => return kept.result,
                    (Fetched::Unchanged, None) => {
                        return Err(unavailable(PortErrorKind::Invalid, url, "answered 304 to a request without a condition"));
                    }
                    (Fetched::New { etag, bytes }, _) => (etag.map_or(Stamp::None, Stamp::ETag), bytes),
                }
            }
        };
        let result = read(&bytes, self.own_site.as_ref()).map(Arc::new).map_err(|problems| {
            let count = problems.problems.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            PolicyUnavailable {
                kind: PortErrorKind::Invalid,
                says: format!("the policy `{}` has {count} {noun}: correct them, and run `backout check`", self.location),
                problems: Some(problems.named(self.location.to_string())),
            }
        });
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { stamp, result: result.clone() });
        result
    }

    fn unreadable(&self, error: &std::io::Error) -> PolicyUnavailable {
        let (kind, says) = match error.kind() {
            std::io::ErrorKind::NotFound => (PortErrorKind::NotFound, "is not there"),
            std::io::ErrorKind::PermissionDenied => (PortErrorKind::Denied, "may not be read by this process"),
            _ => (PortErrorKind::Transient, "cannot be read"),
        };
        let says = format!("the policy file `{}` {says}: name it in `BACKOUT_POLICY`, or put it there ({error})", self.location);
        PolicyUnavailable { kind, says, problems: None }
    }
}

impl fmt::Display for PolicyUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)?;
        match &self.problems {
            Some(problems) => write!(f, "\n{problems}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyUnavailable {}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource").field("location", &self.location).finish_non_exhaustive()
    }
}

/// A load must not use up the invocation's time.
const TIME_OUT: Duration = Duration::from_secs(10);

/// The oldest version of the Blob interface that takes a bearer token and all that we ask. Source: header `x-ms-version`.
const BLOB_VERSION: &str = "2021-12-02";

/// The last result, good or bad: a wrong file is not parsed again either.
#[derive(Clone)]
struct Kept {
    stamp: Stamp,
    result: Result<Arc<Policy>, PolicyUnavailable>,
}

/// Names one state of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    File {
        modified: Option<SystemTime>,
        length: u64,
    },
    ETag(String),
    /// The server names no state; every load reads anew.
    None,
}

enum Fetched {
    Unchanged,
    New { etag: Option<String>, bytes: Vec<u8> },
}

fn file_stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok(Stamp::File { modified: metadata.modified().ok(), length: metadata.len() })
}

/// Reads at most one byte more than allowed; `read` refuses it then.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A shared access signature speaks for itself; a token beside it would be refused.
fn signed(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| name == "sig")
}

async fn fetch(
    client: &reqwest::Client,
    url: &Url,
    bearer: Option<&SecretString>,
    known: Option<&str>,
) -> Result<Fetched, PolicyUnavailable> {
    let mut request = client.get(url.clone()).timeout(TIME_OUT).header("x-ms-version", BLOB_VERSION);
    if let Some(token) = bearer {
        request = request.bearer_auth(token.expose_secret());
    }
    if let Some(etag) = known {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let no_answer = |_| unavailable(PortErrorKind::Transient, url, "does not answer: check the network and the storage account");
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        return Ok(Fetched::Unchanged);
    }
    if !status.is_success() {
        let (kind, says) = match status.as_u16() {
            401 | 403 => {
                (PortErrorKind::Denied, "refuses to be read: grant the identity `Storage Blob Data Reader` on the container")
            }
            404 => (PortErrorKind::NotFound, "is not there: upload the file, or correct `BACKOUT_POLICY`"),
            429 => (PortErrorKind::Throttled, "asks for a pause"),
            500.. => (PortErrorKind::Transient, "answers with a server error"),
            _ => (PortErrorKind::Invalid, "gives no file: correct `BACKOUT_POLICY`"),
        };
        return Err(unavailable(kind, url, &format!("{says} (status {})", status.as_u16())));
    }
    let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SIZE_MAX {
            break;
        }
    }
    Ok(Fetched::New { etag, bytes })
}

/// `says` never repeats what the client said, since its errors hold the URL with its signature.
fn unavailable(kind: PortErrorKind, url: &Url, says: &str) -> PolicyUnavailable {
    let shown = crate::settings::endpoint::Shown(url);
    PolicyUnavailable { kind, says: format!("the policy at `{shown}` {says}"), problems: None }
}
