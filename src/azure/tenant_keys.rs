//! The public keys of a Microsoft Entra tenant, by OpenID Connect discovery.

use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::OnceCell;
use url::Url;

use super::{
    http::{answer_of, client, reason},
    resource_manager::Limits,
};
use crate::ports::{PortError, PortErrorKind, SigningKey, SigningKeySource};

/// Asks a tenant's sign-in service; anonymous, and nobody else: a document that names another host for the keys is refused.
pub struct TenantKeys {
    configuration: Url,
    limits: Limits,
    /// Built at the first call, since that reads the system's certificates.
    http: OnceCell<reqwest::Client>,
}

const OPERATION: &str = "read the tenant's signing keys";

impl TenantKeys {
    /// `login` is the cloud's sign-in service, such as `https://login.microsoftonline.com`; `tenant` the tenant's GUID.
    pub fn new(login: &Url, tenant: &str) -> Result<Self, url::ParseError> {
        let configuration = login.join(&format!("/{tenant}/v2.0/.well-known/openid-configuration"))?;
        let limits = Limits {
            answer_within: std::time::Duration::from_secs(5),
            connect_within: std::time::Duration::from_secs(3),
            body_bytes_max: 1024 * 1024,
            ..Limits::default()
        };
        Ok(Self { configuration, limits, http: OnceCell::new() })
    }

    async fn read<T: DeserializeOwned>(&self, url: Url) -> Result<T, PortError> {
        let whom = "the sign-in service";
        let http = self
            .http
            .get_or_try_init(async || client(&self.configuration, &self.limits).build())
            .await
            .map_err(|error| invalid(reason(&error, whom)))?;
        let answer = answer_of(http.get(url), &self.limits)
            .await
            .map_err(|error| PortError::new(OPERATION, PortErrorKind::Transient, reason(&error, whom)))?;
        if !answer.status.is_success() {
            let says = format!("{whom} answered {}; check `BACKOUT_WEBHOOK_TENANT` and `BACKOUT_CLOUD`", answer.status.as_u16());
            let kind = if answer.status.is_server_error() { PortErrorKind::Transient } else { PortErrorKind::Invalid };
            return Err(PortError::new(OPERATION, kind, says));
        }
        let not_understood = || invalid(format!("the answer of {whom} is not understood"));
        if answer.cut.is_none() {
            serde_json::from_slice(&answer.body).map_err(|_| not_understood())
        } else {
            Err(not_understood())
        }
    }
}

#[async_trait::async_trait]
impl SigningKeySource for TenantKeys {
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, PortError> {
        let configuration: Configuration = self.read(self.configuration.clone()).await?;
        if configuration.jwks_uri.origin() != self.configuration.origin() {
            return Err(invalid("the sign-in service names another host for its keys, which is not asked"));
        }
        let keys: Keys = self.read(configuration.jwks_uri).await?;
        let signs = |key: &Key| key.kty == "RSA" && key.usage.as_deref().is_none_or(|usage| usage == "sig");
        let keys = keys
            .keys
            .into_iter()
            .filter(signs)
            .filter_map(|key| Some(SigningKey { id: key.kid?, modulus: key.n?, exponent: key.e? }));
        Ok(keys.collect())
    }
}

fn invalid(says: impl std::fmt::Display) -> PortError {
    PortError::new(OPERATION, PortErrorKind::Invalid, says)
}

/// What we read of the discovery document.
#[derive(Deserialize)]
struct Configuration {
    jwks_uri: Url,
}

/// JSON Web Keys (RFC 7517).
#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
}
