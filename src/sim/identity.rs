//! Managed identity as App Service offers it: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::call::{Call, Reply, Role};

/// Name of the system-assigned identity, where others are named by their client id.
pub const SYSTEM_IDENTITY: &str = "system";

#[derive(Debug)]
pub(super) struct Identities {
    /// Value that `x-identity-header` must carry.
    pub secret: String,
    tokens: BTreeMap<String, Token>,
    /// Client ids that exist; `None` when any is taken.
    known: Option<Vec<String>>,
}

#[derive(Debug)]
struct Token {
    identity: String,
    role: Option<Role>,
    expires_at_unix_seconds: u64,
}

const TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// The oldest are not tracked; this only keeps a caller without a cache from filling the memory.
const TOKENS_MAX: usize = 50_000;

impl Identities {
    pub fn new() -> Self {
        Self { secret: Uuid::new_v4().to_string(), tokens: BTreeMap::new(), known: None }
    }

    pub fn only(&mut self, client_ids: &[&str]) {
        self.known = Some(client_ids.iter().map(|id| (*id).to_owned()).collect());
    }

    /// Whose token this is, for whatever audience.
    pub fn who(&self, token: &str) -> Option<&str> {
        self.tokens.get(token).map(|token| token.identity.as_str())
    }

    /// Whose token this is, if it is fit for `role`; otherwise why not.
    pub fn accept(&self, token: Option<&str>, role: Role) -> Result<String, (&'static str, &'static str)> {
        let Some(token) = token else {
            return Err(("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."));
        };
        let Some(token) = self.tokens.get(token) else {
            return Err(("InvalidAuthenticationToken", "The access token is invalid."));
        };
        if token.role != Some(role) {
            return Err(("InvalidAuthenticationTokenAudience", "The access token has been obtained for the wrong audience."));
        }
        if token.expires_at_unix_seconds <= real_unix_seconds() {
            return Err(("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."));
        }
        Ok(token.identity.clone())
    }

    /// Makes every token that was given so far worthless, as a revoked session does.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Answers `GET {IDENTITY_ENDPOINT}?resource=...&api-version=2019-08-01[&client_id=...]`.
    pub fn answer(&mut self, call: &Call) -> Reply {
        let refuse = |status, message: &str| Reply::json(status, &json!({ "statusCode": status.as_u16(), "message": message }));
        if call.method != Method::GET {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET is supported");
        }
        if call.header("x-identity-header") != Some(self.secret.as_str()) {
            return refuse(StatusCode::UNAUTHORIZED, "The X-IDENTITY-HEADER is missing or wrong");
        }
        if call.parameter("api-version") != Some("2019-08-01") {
            return refuse(StatusCode::BAD_REQUEST, "The api-version is missing or not supported");
        }
        let Some(resource) = call.parameter("resource").filter(|resource| !resource.is_empty()) else {
            return refuse(StatusCode::BAD_REQUEST, "The resource is missing");
        };
        let named = ["client_id", "principal_id", "object_id", "mi_res_id"].iter().find_map(|name| call.parameter(name));
        if let (Some(named), Some(known)) = (named, &self.known)
            && !known.iter().any(|id| id.eq_ignore_ascii_case(named))
        {
            return refuse(StatusCode::BAD_REQUEST, "No managed identity was found for the given id");
        }
        let expires_at_unix_seconds = real_unix_seconds() + TOKEN_LIFETIME.as_secs();
        let text = format!("simulated.{}.{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.pop_first();
        }
        let identity = named.unwrap_or(SYSTEM_IDENTITY).to_owned();
        self.tokens.insert(text.clone(), Token { identity, role: audience(resource), expires_at_unix_seconds });
        Reply::json(
            StatusCode::OK,
            &json!({
                "access_token": text,
                "client_id": named,
                "expires_on": expires_at_unix_seconds.to_string(),
                "not_before": (real_unix_seconds() - 300).to_string(),
                "resource": resource,
                "token_type": "Bearer",
            }),
        )
    }
}

/// The audiences of the public cloud. A token for anything else is given, and taken by nobody here.
fn audience(resource: &str) -> Option<Role> {
    match resource.trim_end_matches('/').to_ascii_lowercase().as_str() {
        "https://management.azure.com" | "https://management.core.windows.net" => Some(Role::ResourceManager),
        "https://servicebus.azure.net" => Some(Role::ServiceBus),
        "499b84ac-1321-427f-aa17-267ca6975798" => Some(Role::AzureDevOps),
        super::kubernetes::AKS_SERVER => Some(Role::Kubernetes),
        _ => None,
    }
}

/// Real time: whoever caches a token measures its life by the machine's clock, not by the simulation's.
#[expect(clippy::disallowed_methods, reason = "a token's life runs in real time, whatever the simulated clock says")]
fn real_unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
