//! The Microsoft Entra token that an action group's secure webhook brings.
//!
//! Source: Azure Monitor documentation, "Secure webhook"; Microsoft identity platform, "Access token claims reference".

use std::sync::Arc;

use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::keys::{KeyProblem, SigningKeys};
use crate::{
    ports::{Clock, PortError, SigningKeySource},
    settings::WebhookToken,
};

/// What a token has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedToken {
    /// Of versions 1 and 2 of the tenant's tokens.
    pub issuers: Vec<String>,
    /// The application that stands for this webhook, in each form that a token may name it by.
    pub audiences: Vec<String>,
    /// Id of the application that calls.
    pub caller: String,
}

impl ExpectedToken {
    /// The application's own id stands in tokens of version 2, `api://` and that id in those of version 1, whichever the setting says.
    pub fn of(setting: &WebhookToken, issuers: &[String]) -> Self {
        let audience = setting.audience.clone();
        let other = match audience.strip_prefix("api://") {
            Some(id) if uuid::Uuid::try_parse(id).is_ok() => Some(id.to_owned()),
            None if uuid::Uuid::try_parse(&audience).is_ok() => Some(format!("api://{audience}")),
            Some(_) | None => None,
        };
        let audiences = std::iter::once(audience).chain(other).collect();
        Self { issuers: issuers.to_vec(), audiences, caller: setting.caller.clone() }
    }
}

/// The role that Microsoft's set-up script gives to action groups.
pub const ROLE: &str = "ActionGroupsSecureWebhook";

/// Why a caller is not let in. Nothing of the token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    #[error("there is no `Authorization: Bearer` header")]
    Missing,
    #[error("it is no token signed with RS256")]
    NotRs256,
    #[error("its signing key is none of the tenant's")]
    UnknownKey,
    #[error("its signature does not hold, or a claim is missing")]
    NotSigned,
    #[error("it is of another issuer than the tenant in `BACKOUT_WEBHOOK_TENANT`")]
    OtherIssuer,
    #[error("it is for another audience than `BACKOUT_WEBHOOK_AUDIENCE`")]
    OtherAudience,
    #[error("it has expired, or is not valid yet; compare the clocks")]
    NotNow,
    #[error("it lacks the role `ActionGroupsSecureWebhook`")]
    NoRole,
    #[error("it was issued to another application than Azure Monitor's action groups")]
    OtherCaller,
    #[error("the keys of the tenant cannot be had: {0}")]
    NoKeys(PortError),
}

/// Lets in who brings a valid token.
pub struct TokenCheck {
    expected: ExpectedToken,
    keys: SigningKeys,
    clock: Arc<dyn Clock>,
}

/// Between Entra's clock and ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

impl TokenCheck {
    pub fn new(expected: ExpectedToken, source: Arc<dyn SigningKeySource>, clock: Arc<dyn Clock>) -> Self {
        Self { expected, keys: SigningKeys::new(source, Arc::clone(&clock)), clock }
    }

    /// Checks the value of an `Authorization` header: signature, issuer, audience, time, role, application, in this order.
    pub async fn check(&self, authorization: Option<&str>) -> Result<(), TokenProblem> {
        let token = authorization.and_then(bearer).ok_or(TokenProblem::Missing)?;
        let header = decode_header(token).map_err(|_| TokenProblem::NotRs256)?;
        if header.alg != Algorithm::RS256 {
            return Err(TokenProblem::NotRs256);
        }
        let key = match self.keys.find(&header.kid.ok_or(TokenProblem::UnknownKey)?).await {
            Ok(key) => key,
            Err(KeyProblem::Unknown) => return Err(TokenProblem::UnknownKey),
            Err(KeyProblem::Unavailable(error)) => return Err(TokenProblem::NoKeys(error)),
        };
        let claims = decode::<Claims>(token, &key, &signature_only()).map_err(|_| TokenProblem::NotSigned)?.claims;
        self.weigh(&claims)
    }

    fn weigh(&self, claims: &Claims) -> Result<(), TokenProblem> {
        if !self.expected.issuers.contains(&claims.iss) {
            return Err(TokenProblem::OtherIssuer);
        }
        if !self.expected.audiences.contains(&claims.aud) {
            return Err(TokenProblem::OtherAudience);
        }
        let (now, skew) = (self.clock.now().as_second(), SKEW.as_secs());
        let begun = claims.nbf.is_none_or(|nbf| nbf <= now.saturating_add(skew));
        if !begun || claims.exp <= now.saturating_sub(skew) {
            return Err(TokenProblem::NotNow);
        }
        if !claims.roles.iter().any(|role| role == ROLE) {
            return Err(TokenProblem::NoRole);
        }
        // `azp` in version 2, `appid` in version 1.
        let callers = [&claims.azp, &claims.appid];
        let mut callers = callers.into_iter().flatten().peekable();
        if callers.peek().is_none() || callers.any(|caller| !caller.eq_ignore_ascii_case(&self.expected.caller)) {
            return Err(TokenProblem::OtherCaller);
        }
        Ok(())
    }
}

/// One text each for issuer and audience: a token that lists several is not one of Entra's.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
    #[serde(default)]
    roles: Vec<String>,
    azp: Option<String>,
    appid: Option<String>,
}

/// The library checks the signature and the algorithm; the claims are weighed here, since it knows no clock but the system's.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") && !token.trim().is_empty()).then(|| token.trim())
}
