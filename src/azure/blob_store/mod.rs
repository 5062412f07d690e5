//! The production store: each document is a block blob, and its ETag is its version.
//!
//! Source of conditions and codes: "Specifying conditional headers for Blob service operations" and "Blob service error codes".
//! The account must not have a hierarchical namespace: such a one lists in another order, and folders among the blobs.

mod emulator_key;
mod refusal;

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, HttpClient, RetryOptions, Transport},
};
use azure_storage_blob::{
    BlobContainerClient, BlobContainerClientOptions,
    models::{BlobClientDeleteOptions, BlobClientDownloadOptions, BlobClientUploadOptions, BlobContainerClientListBlobsOptions},
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;
use tracing::info;
use url::Url;

use self::refusal::Refusal;
use super::{http, identity, resource_manager::Limits};
use crate::{
    ports::{Inserted, Key, PortError, Replaced, StateStore, Stored, Version},
    settings::blob_container::{BlobAccess, BlobContainer},
};

/// Documents in one container, which is made when it is missing and we may.
///
/// A write may be sent again when its answer got lost, and so meet itself, which the port allows. No call takes longer than
/// [`ANSWER_WITHIN_ALL_TRIES`]: whoever waits for the store holds an invocation.
pub struct BlobStore {
    container: BlobContainer,
    identity: Arc<dyn TokenCredential>,
    /// Instead of the HTTP client that would be made.
    http: Option<Arc<dyn HttpClient>>,
    /// Built when first used, since that loads the system's certificates.
    client: OnceCell<BlobContainerClient>,
    line: http::Line,
}

/// From the call of the port to its end, waits and tries included.
pub const ANSWER_WITHIN_ALL_TRIES: Duration = Duration::from_secs(6);

const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// What one answer to a listing may hold. Source: reference of List Blobs.
const PAGE_MAX: usize = 5_000;

/// A document is one request: what could go side by side is never needed.
const ONE: NonZero<usize> = NonZero::<usize>::MIN;

impl BlobStore {
    /// Contacts nothing and builds nothing yet. `identity` is asked only where the container is opened by it.
    pub fn new(container: BlobContainer, identity: Arc<dyn TokenCredential>) -> Self {
        Self { container, identity, http: None, client: OnceCell::new(), line: http::Line::default() }
    }

    /// The same over another HTTP client, such as one that trusts another certificate.
    pub fn with_http(self, http: Arc<dyn HttpClient>) -> Self {
        Self { http: Some(http), ..self }
    }

    async fn client(&self) -> Result<&BlobContainerClient, Refusal> {
        self.client.get_or_try_init(|| async { self.make_client() }).await
    }

    fn make_client(&self) -> Result<BlobContainerClient, Refusal> {
        let mut url = self.container.url.clone();
        let mut credential: Option<Arc<dyn TokenCredential>> = None;
        match &self.container.access {
            BlobAccess::Identity => credential = Some(Arc::new(WithReason(Arc::clone(&self.identity)))),
            BlobAccess::Signature(signature) => url.set_query(Some(signature.expose_secret())),
            BlobAccess::EmulatorKey { account, key } => {
                let signature: SecretString = emulator_key::signature(account, key)?;
                url.set_query(Some(signature.expose_secret()));
            }
        }
        let http = self.http.clone().map_or_else(|| default_http(&url), Ok)?;
        let client_options = ClientOptions {
            transport: Some(Transport::new(http)),
            // Its own way waits as long as it is told to, and cannot try a body again that broke off.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let options = BlobContainerClientOptions { client_options, ..BlobContainerClientOptions::default() };
        BlobContainerClient::new(url, credential, Some(options))
            .map_err(|_| Refusal::MakesNoSense("blob storage cannot be used at the URL in `BACKOUT_STORE`"))
    }

    /// Calls until there is an answer, a few times and not for long.
    async fn tried<T, F>(&self, call: &(impl Fn() -> F + Sync)) -> Result<T, Refusal>
    where
        F: Future<Output = azure_core::Result<T>> + Send,
    {
        let tries = async {
            let mut pauses = PAUSES.iter();
            loop {
                let turn = self.line.turn().await;
                let refusal = match call().await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => Refusal::of(&error),
                };
                drop(turn);
                match pauses.next() {
                    Some(pause) if refusal.may_pass_soon() => tokio::time::sleep(*pause).await,
                    Some(_) | None => return Err(refusal),
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN_ALL_TRIES, tries).await.unwrap_or(Err(Refusal::TooSlow))
    }

    /// [`Self::tried`] in a container that is made first where it is missing.
    async fn asked<T, F>(&self, call: impl Fn() -> F + Sync) -> Result<T, Refusal>
    where
        F: Future<Output = azure_core::Result<T>> + Send,
    {
        match self.tried(&call).await {
            Err(refusal) if refusal.is("ContainerNotFound") => {
                self.make_container().await?;
                self.tried(&call).await
            }
            answer => answer,
        }
    }

    async fn make_container(&self) -> Result<(), Refusal> {
        let client = self.client().await?;
        match self.tried(&|| client.create(None)).await {
            Ok(_) => {
                info!(container = self.container.name(), "the container for state was missing and is made");
                Ok(())
            }
            Err(refusal) if refusal.is("ContainerAlreadyExists") => Ok(()),
            Err(refusal) if refusal.is_denied() => Err(Refusal::NoContainer),
            Err(refusal) => Err(refusal),
        }
    }

    async fn download(&self, key: &Key) -> Result<Option<Stored>, Refusal> {
        let client = self.client().await?;
        let downloaded = self.asked(|| async {
            let options = BlobClientDownloadOptions { parallel: Some(ONE), ..BlobClientDownloadOptions::default() };
            let answer = client.blob_client(key.as_str()).download(Some(options)).await?;
            Ok((answer.body.collect().await?, answer.properties.etag))
        });
        match downloaded.await {
            Ok((body, etag)) => Ok(Some(Stored { body: body.into(), version: version(etag)? })),
            Err(refusal) if refusal.is("BlobNotFound") => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn upload(&self, key: &Key, body: &[u8], condition: Condition<'_>) -> Result<Option<Version>, Refusal> {
        let client = self.client().await?;
        let body = Bytes::copy_from_slice(body);
        let (if_match, if_none_match) = match condition {
            Condition::Free => (None, Some("*")),
            Condition::At(version) => (Some(version.0.as_str()), None),
        };
        let uploaded = self.asked(|| async {
            let options = BlobClientUploadOptions {
                if_match: if_match.map(Into::into),
                if_none_match: if_none_match.map(Into::into),
                blob_content_type: Some("application/json".to_owned()),
                parallel: Some(ONE),
                ..BlobClientUploadOptions::default()
            };
            client.blob_client(key.as_str()).upload(body.clone().into(), Some(options)).await
        });
        match uploaded.await {
            Ok(answer) => Ok(Some(version(answer.etag)?)),
            Err(refusal) if refusal.is_unmet_condition() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn remove(&self, key: &Key, version: &Version) -> Result<bool, Refusal> {
        let client = self.client().await?;
        let removed = self.asked(|| async {
            let if_match = Some(version.0.as_str().into());
            let options = BlobClientDeleteOptions { if_match, ..BlobClientDeleteOptions::default() };
            client.blob_client(key.as_str()).delete(Some(options)).await
        });
        match removed.await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is_unmet_condition() => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    async fn keys(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, Refusal> {
        let client = self.client().await?;
        // Blobs are listed in ascending order. A start inside the prefix is told to the service, which knows it since version
        // 2026-02-06 and counts it in; what an older one sends too much is left out here.
        let start = match after {
            Some(after) if after.as_str().starts_with(prefix) => Some(after),
            Some(after) if after.as_str() > prefix => return Ok(Vec::new()),
            Some(_) | None => None,
        };
        let mut keys = Vec::new();
        let mut marker: Option<String> = None;
        while keys.len() < limit {
            let wanted = (limit - keys.len()).saturating_add(usize::from(start.is_some())).min(PAGE_MAX);
            let page = self.asked(|| {
                let options = BlobContainerClientListBlobsOptions {
                    prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
                    start_from: start.map(ToString::to_string),
                    maxresults: i32::try_from(wanted).ok(),
                    marker: marker.clone(),
                    ..BlobContainerClientListBlobsOptions::default()
                };
                async move {
                    match client.list_blobs(Some(options))?.into_pages().try_next().await? {
                        Some(page) => page.into_model().map(Some),
                        None => Ok(None),
                    }
                }
            });
            let Some(page) = page.await? else { break };
            let names = page.blob_items.into_iter().filter_map(|blob| blob.name);
            let found = names.filter_map(|name| Key::parse(&name)).filter(|key| start.is_none_or(|start| key > start));
            keys.extend(found.take(limit - keys.len()));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        Ok(keys)
    }
}

/// The client that all of `azure` has; the crate takes it as it is.
fn default_http(url: &Url) -> Result<Arc<dyn HttpClient>, Refusal> {
    let limits = Limits { connect_within: CONNECT_WITHIN, answer_within: ANSWER_WITHIN, ..Limits::default() };
    // A range of a compressed body is not what the crate takes it for.
    match http::client(url, &limits).no_gzip().no_deflate().build() {
        Ok(client) => Ok(Arc::new(client)),
        Err(_) => Err(Refusal::MakesNoSense("the HTTP client for blob storage cannot be built")),
    }
}

/// What must hold for a write.
enum Condition<'a> {
    Free,
    At(&'a Version),
}

fn version(etag: Option<azure_core::http::Etag>) -> Result<Version, Refusal> {
    etag.map(|etag| Version(etag.into())).ok_or(Refusal::MakesNoSense("the answer of blob storage names no ETag"))
}

/// Whether the service could have given this version. Another one is not sent: `*` would match whatever is there.
fn is_etag(version: &Version) -> bool {
    let inside = version.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.is_some_and(|inside| !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_graphic() && b != b'"'))
}

#[async_trait::async_trait]
impl StateStore for BlobStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.download(key).await.map_err(|refusal| refusal.told("read a document", &self.container))
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        match self.upload(key, body, Condition::Free).await {
            Ok(Some(version)) => Ok(Inserted::Now(version)),
            Ok(None) => Ok(Inserted::AlreadyThere),
            Err(refusal) => Err(refusal.told("insert a document", &self.container)),
        }
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        if !is_etag(version) {
            return Ok(Replaced::ChangedMeanwhile);
        }
        match self.upload(key, body, Condition::At(version)).await {
            Ok(Some(version)) => Ok(Replaced::Now(version)),
            Ok(None) => Ok(Replaced::ChangedMeanwhile),
            Err(refusal) => Err(refusal.told("replace a document", &self.container)),
        }
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        if !is_etag(version) {
            return Ok(false);
        }
        self.remove(key, version).await.map_err(|refusal| refusal.told("delete a document", &self.container))
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.keys(prefix, after, limit).await.map_err(|refusal| refusal.told("list documents", &self.container))
    }
}

/// The identity, whose refusals say what to do. Without it the crate's error could not be told from one of the storage itself.
struct WithReason(Arc<dyn TokenCredential>);

impl fmt::Debug for WithReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait::async_trait]
impl TokenCredential for WithReason {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let token = self.0.get_token(scopes, options).await;
        token.map_err(|error| {
            let refused = identity::refused(&error, scopes.first().copied().unwrap_or_default());
            azure_core::Error::new(ErrorKind::Credential, refused)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_etag_is_sent_as_one() {
        let is = |text: &str| is_etag(&Version(text.to_owned()));
        assert!(is("\"0x8D9F2D4A3C1B2E0\""));
        for other in ["", "*", "\"*", "\"", "\"\"", "0x8D", "\"a\" , \"b\"", "\"a\",\"b\"", "W/\"a\"", "\"a\n\""] {
            assert!(!is(other), "{other:?}");
        }
    }
}
