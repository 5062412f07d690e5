//! Who we are towards Azure: a managed identity in Azure, the signed-in developer elsewhere.

use std::{fmt, sync::Arc};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, Transport},
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
    let kind = match error.kind() {
        ErrorKind::Connection | ErrorKind::Io => PortErrorKind::Transient,
        _ => PortErrorKind::Denied,
    };
    PortError::new(
        OPERATION,
        kind,
        format!(
            "no token for `{scope}`; in Azure, check that the managed identity is assigned to the Function App and that \
             `AZURE_CLIENT_ID` (or `BACKOUT_ACTOR_CLIENT_ID`) names it; elsewhere, run `az login` ({})",
            clean(&error.to_string())
        ),
    )
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
            let transport = Some(Transport::new(Arc::new(http)));
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
                client_options: ClientOptions { transport, ..ClientOptions::default() },
            };
            Ok(ManagedIdentityCredential::new(Some(options))?)
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
