//! Who we are towards Azure: a managed identity in Azure, the signed-in developer elsewhere.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, FixedRetryOptions, RetryOptions, Transport},
    time::OffsetDateTime,
};
use azure_identity::{DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use super::{answer::clean, http, resource_manager::Limits};
use crate::ports::{PortError, PortErrorKind};

const OPERATION: &str = "get a token";

/// The identity to use: the managed one (of `client_id`, else the system's) where `in_azure`, else Azure CLI or Azure Developer CLI.
///
/// `in_azure` is whether `IDENTITY_ENDPOINT` is set; without it a managed identity would be looked for on a VM's address.
/// Nothing is built or fetched before the first token is asked for. Share the result: tokens are cached in it.
pub fn credential(client_id: Option<&str>, in_azure: bool) -> Result<Arc<dyn TokenCredential>, PortError> {
    let client_id = client_id.map(str::trim).filter(|id| !id.is_empty());
    if let Some(id) = client_id
        && uuid::Uuid::parse_str(id).is_err()
    {
        return Err(PortError::new(
            OPERATION,
            PortErrorKind::Invalid,
            "the client id of the managed identity is no GUID; copy `Client ID` from the identity's overview page",
        ));
    }
    Ok(Arc::new(WhenFirstUsed { client_id: client_id.map(str::to_owned), in_azure, made: OnceCell::new() }))
}

/// The two identities of this process: one reads, one acts. They may be the same.
pub struct Identities {
    reader: Arc<dyn TokenCredential>,
    actor: Arc<dyn TokenCredential>,
}

impl Identities {
    /// Without `actor_client_id` one identity does all.
    pub fn new(reader_client_id: Option<&str>, actor_client_id: Option<&str>, in_azure: bool) -> Result<Self, PortError> {
        let reader = credential(reader_client_id, in_azure)?;
        let actor = match actor_client_id {
            Some(id) => credential(Some(id), in_azure)?,
            None => Arc::clone(&reader),
        };
        Ok(Self::of(reader, actor))
    }

    /// Of credentials that are there already.
    pub fn of(reader: Arc<dyn TokenCredential>, actor: Arc<dyn TokenCredential>) -> Self {
        Self { reader, actor }
    }

    /// Tokens for reads at `scope`, such as `https://management.azure.com/.default`.
    pub fn reader(&self, scope: &str) -> TokenSource {
        TokenSource::new(Arc::clone(&self.reader), scope)
    }

    /// The identity that reads, for a client that asks for its tokens itself.
    pub fn reading(&self) -> Arc<dyn TokenCredential> {
        Arc::clone(&self.reader)
    }

    /// Tokens for mutating calls at `scope`.
    pub fn actor(&self, scope: &str) -> TokenSource {
        TokenSource::new(Arc::clone(&self.actor), scope)
    }
}

/// A credential together with what its tokens are for.
#[derive(Clone)]
pub struct TokenSource {
    credential: Arc<dyn TokenCredential>,
    scope: String,
}

impl TokenSource {
    pub fn new(credential: Arc<dyn TokenCredential>, scope: impl Into<String>) -> Self {
        Self { credential, scope: scope.into() }
    }

    /// A token for the `Authorization` header; from the credential's cache while it is fresh.
    pub async fn bearer(&self) -> Result<SecretString, PortError> {
        match self.credential.get_token(&[&self.scope], None).await {
            Ok(token) => Ok(SecretString::from(token.token.secret().to_owned())),
            Err(error) => Err(refused(&error, &self.scope)),
        }
    }

    /// Whether both speak for one identity and scope.
    pub fn is_same(&self, other: &Self) -> bool {
        self.scope == other.scope && Arc::ptr_eq(&self.credential, &other.credential)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Why there is no token, and what to do.
pub(super) fn refused(error: &azure_core::Error, scope: &str) -> PortError {
    if passes(error) {
        let says = format!(
            "no token for `{scope}` at the moment, which says nothing about rights; it is asked for again when it is next needed ({})",
            clean(&error.to_string())
        );
        return PortError::new(OPERATION, PortErrorKind::Transient, says);
    }
    PortError::new(
        OPERATION,
        PortErrorKind::Denied,
        format!(
            "no token for `{scope}`; in Azure, check that the managed identity is assigned to the Function App and that \
             `AZURE_CLIENT_ID` (or `BACKOUT_ACTOR_CLIENT_ID`) names it; elsewhere, run `az login` ({})",
            clean(&error.to_string())
        ),
    )
}

/// Whether that there is no token may pass by itself. A credential puts its own error around the cause, so the cause is looked for.
pub(super) fn passes(error: &azure_core::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(known) = error.downcast_ref::<azure_core::Error>() {
            match known.kind() {
                ErrorKind::Connection | ErrorKind::Io => return true,
                ErrorKind::HttpResponse { status, .. } if matches!(u16::from(*status), 408 | 429 | 500..=599) => return true,
                _ => {}
            }
        }
        link = error.source();
    }
    false
}

/// How long a token of a managed identity may take. The credential asks for one token at a time, whatever it is for, so whoever asks
/// waits for those before as well.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);
/// After the first try for a token. The crate's own would be eight, and minutes of them; who needs the token comes again anyway.
const RETRIES_MAX: u32 = 2;
const RETRY_PAUSE: azure_core::time::Duration = azure_core::time::Duration::milliseconds(200);
/// So long a kept token must still be valid: as long as the call that it is for may take.
const VALID_FOR: azure_core::time::Duration = azure_core::time::Duration::seconds(60);

fn client_options(transport: Transport) -> ClientOptions {
    let retry = FixedRetryOptions { delay: RETRY_PAUSE, max_retries: RETRIES_MAX, ..FixedRetryOptions::default() };
    ClientOptions { transport: Some(transport), retry: RetryOptions::fixed(retry), ..ClientOptions::default() }
}

/// A managed identity whose endpoint may fail for a while: a token is waited for so long and no longer, and the last one is good until
/// it ends. The credential asks for a new one five minutes before, and has nothing else to give then.
struct Patient {
    credential: Arc<dyn TokenCredential>,
    /// By scope.
    last: Mutex<HashMap<String, AccessToken>>,
}

impl Patient {
    fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self { credential, last: Mutex::default() }
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TokenCredential for Patient {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let late = || azure_core::Error::with_message(ErrorKind::Io, "the identity's endpoint gave no token in time");
        let asked = tokio::time::timeout(TOKEN_WITHIN, self.credential.get_token(scopes, options)).await;
        let answer = asked.unwrap_or_else(|_| Err(late()));
        let scope = scopes.join(" ");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(token) => {
                last.insert(scope, token.clone());
                Ok(token)
            }
            // A refusal is meant, and holds for the last token too.
            Err(error) if !passes(&error) => Err(error),
            Err(error) => {
                let valid = |token: &&AccessToken| token.expires_on > OffsetDateTime::now_utc() + VALID_FOR;
                last.get(&scope).filter(valid).cloned().ok_or(error)
            }
        }
    }
}

/// Azure's credentials load the system's certificates when built, which a start without work need not pay for.
///
/// A managed identity answers on the machine itself, in plain http: what a proxy saw of that would be a secret and a token.
struct WhenFirstUsed {
    client_id: Option<String>,
    in_azure: bool,
    made: OnceCell<Arc<dyn TokenCredential>>,
}

impl WhenFirstUsed {
    fn make(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        if self.in_azure {
            let http = http::client_without_proxy(&Limits::default()).build().map_err(|error| {
                azure_core::Error::with_error(ErrorKind::Io, error, "the HTTP client for the managed identity cannot be made")
            })?;
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
                client_options: client_options(Transport::new(Arc::new(http))),
            };
            Ok(Arc::new(Patient::new(ManagedIdentityCredential::new(Some(options))?)))
        } else {
            Ok(DeveloperToolsCredential::new(None)?)
        }
    }
}

impl fmt::Debug for WhenFirstUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhenFirstUsed").field("in_azure", &self.in_azure).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TokenCredential for WhenFirstUsed {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        self.made.get_or_try_init(|| async { self.make() }).await?.get_token(scopes, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use azure_core::http::{AsyncRawResponse, HttpClient, Method, Pipeline, Request, StatusCode, Url, headers::Headers};
    use futures::future::join_all;
    use secrecy::ExposeSecret;

    use super::*;

    const SCOPES: [&str; 2] = ["https://management.azure.com/.default", "https://servicebus.azure.net/.default"];

    /// An endpoint that is out of order.
    #[derive(Debug, Default)]
    struct OutOfOrder(AtomicUsize);

    #[async_trait::async_trait]
    impl HttpClient for OutOfOrder {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(AsyncRawResponse::from_bytes(StatusCode::ServiceUnavailable, Headers::new(), "{}"))
        }
    }

    /// As the managed identity of the crate asks: one request at a time, and its own error around the cause.
    #[derive(Debug)]
    struct OneAtATime {
        pipeline: Pipeline,
        turn: tokio::sync::Mutex<()>,
    }

    #[async_trait::async_trait]
    impl TokenCredential for OneAtATime {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            let _turn = self.turn.lock().await;
            let mut request = Request::new(Url::parse("http://identity.test/msi/token").unwrap(), Method::Get);
            let options = azure_core::http::PipelineSendOptions { skip_checks: true, ..Default::default() };
            let response = self.pipeline.send(&azure_core::http::Context::new(), &mut request, Some(options)).await?;
            Err(around(answered(response.status())))
        }
    }

    fn answered(status: StatusCode) -> azure_core::Error {
        ErrorKind::HttpResponse { status, error_code: None, raw_response: None }.into_error()
    }

    fn around(cause: azure_core::Error) -> azure_core::Error {
        azure_core::Error::with_error(ErrorKind::Credential, cause, "ManagedIdentityCredential authentication failed")
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_out_of_order_is_asked_a_few_times_and_is_no_refusal() {
        let endpoint = Arc::new(OutOfOrder::default());
        let options = client_options(Transport::new(endpoint.clone()));
        let pipeline = Pipeline::new(None, None, options, Vec::new(), Vec::new(), None);
        let credential: Arc<dyn TokenCredential> =
            Arc::new(Patient::new(Arc::new(OneAtATime { pipeline, turn: tokio::sync::Mutex::default() })));
        let sources = SCOPES.map(|scope| TokenSource::new(credential.clone(), scope));
        let answers = join_all(sources.iter().cycle().take(8).map(TokenSource::bearer)).await;
        for answer in answers {
            let error = answer.unwrap_err();
            assert_eq!(error.kind, PortErrorKind::Transient, "{error}");
            assert!(error.says.contains("says nothing about rights"), "{error}");
        }
        let tries = 1 + usize::try_from(RETRIES_MAX).unwrap();
        assert_eq!(endpoint.0.load(Ordering::SeqCst), 8 * tries, "nobody's wait ran out");
    }

    /// What a credential does, one after another.
    #[derive(Debug)]
    struct Script(Mutex<Vec<Act>>);

    #[derive(Debug)]
    enum Act {
        /// A token of this text, and the seconds for which it is valid.
        Gives(&'static str, i64),
        Fails(StatusCode),
        Hangs,
    }

    #[async_trait::async_trait]
    impl TokenCredential for Script {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            let act = self.0.lock().unwrap().remove(0);
            match act {
                Act::Gives(token, seconds) => {
                    Ok(AccessToken::new(token, OffsetDateTime::now_utc() + azure_core::time::Duration::seconds(seconds)))
                }
                Act::Fails(status) => Err(around(answered(status))),
                Act::Hangs => std::future::pending().await,
            }
        }
    }

    fn following(script: Vec<Act>) -> [TokenSource; 2] {
        let credential: Arc<dyn TokenCredential> = Arc::new(Patient::new(Arc::new(Script(Mutex::new(script)))));
        SCOPES.map(|scope| TokenSource::new(credential.clone(), scope))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_near_its_end_is_good_while_the_endpoint_fails() {
        let unavailable = || Act::Fails(StatusCode::ServiceUnavailable);
        let [source, other] =
            following(vec![Act::Gives("first", 240), unavailable(), Act::Hangs, unavailable(), Act::Gives("second", 3600)]);
        for _ in 0..3 {
            assert_eq!(source.bearer().await.unwrap().expose_secret(), "first");
        }
        assert_eq!(other.bearer().await.unwrap_err().kind, PortErrorKind::Transient, "it is another scope's");
        assert_eq!(source.bearer().await.unwrap().expose_secret(), "second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_ends_or_was_taken_away_is_not_handed_out() {
        let [source, _] =
            following(vec![Act::Gives("ends", 30), Act::Hangs, Act::Gives("valid", 240), Act::Fails(StatusCode::BadRequest)]);
        assert_eq!(source.bearer().await.unwrap().expose_secret(), "ends");
        let error = source.bearer().await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Transient);
        assert!(error.says.contains("no token in time"), "{error}");
        assert_eq!(source.bearer().await.unwrap().expose_secret(), "valid");
        assert_eq!(source.bearer().await.unwrap_err().kind, PortErrorKind::Denied);
    }

    #[test]
    fn only_a_refusal_is_called_one() {
        let kind = |error: azure_core::Error| refused(&error, SCOPES[0]).kind;
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(around(answered(status.into()))), PortErrorKind::Transient, "{status}");
        }
        for status in [400, 401, 403] {
            assert_eq!(kind(around(answered(status.into()))), PortErrorKind::Denied, "{status}");
        }
        let of = |kind: ErrorKind| azure_core::Error::with_message(kind, "why");
        assert_eq!(kind(around(of(ErrorKind::Connection))), PortErrorKind::Transient);
        assert_eq!(kind(of(ErrorKind::Io)), PortErrorKind::Transient);
        assert_eq!(kind(of(ErrorKind::Credential)), PortErrorKind::Denied, "nobody is signed in");
    }
}
