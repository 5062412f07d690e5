//! A tenant's sign-in service on loopback, and the tokens that it would issue: real RSA keys, real signatures.

use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use backout::{
    azure::{cloud::Cloud, tenant_keys::TenantKeys},
    host::webhook::token::{ExpectedToken, TokenCheck},
    ports::{Clock, SigningKeySource},
    settings::WebhookToken,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

pub const TENANT: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";
pub const AUDIENCE: &str = "api://7c5d8f10-2b1e-4a39-9c57-0d5f3e8a6b21";
pub const CALLER: &str = "461e8683-5575-4561-ac7f-899cc907d62a";
pub const KEY_ID: &str = "composed-key-1";

pub struct Tenant {
    pub login: Url,
    state: Arc<Mutex<TenantState>>,
}

#[derive(Default)]
struct TenantState {
    keys: Vec<Value>,
    /// Where the discovery document says that the keys are; `None`: here.
    keys_elsewhere: Option<Url>,
    failing: bool,
    /// Paths that were asked for.
    asked: Vec<String>,
}

impl Tenant {
    /// With the first key under [`KEY_ID`].
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(TenantState { keys: vec![public(KEY_ID, key(0))], ..TenantState::default() }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let login: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(answer).with_state((login.clone(), Arc::clone(&state)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { login, state }
    }

    pub fn check(&self, clock: Arc<dyn Clock>) -> TokenCheck {
        TokenCheck::new(expected(), self.keys(), clock)
    }

    pub fn keys(&self) -> Arc<dyn SigningKeySource> {
        Arc::new(TenantKeys::new(&self.login, TENANT).unwrap())
    }

    /// From now on these keys alone.
    pub fn publish(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    pub fn fail(&self, failing: bool) {
        self.state.lock().unwrap().failing = failing;
    }

    pub fn send_elsewhere(&self, url: Url) {
        self.state.lock().unwrap().keys_elsewhere = Some(url);
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often the keys were fetched, or tried to be.
    pub fn fetches(&self) -> usize {
        self.asked().iter().filter(|path| path.ends_with("/openid-configuration")).count()
    }
}

async fn answer(State((login, state)): State<(Url, Arc<Mutex<TenantState>>)>, uri: Uri) -> Response {
    let mut state = state.lock().unwrap();
    state.asked.push(uri.path().to_owned());
    if state.failing {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let keys_path = format!("/{TENANT}/discovery/v2.0/keys");
    if uri.path() == format!("/{TENANT}/v2.0/.well-known/openid-configuration") {
        let keys = state.keys_elsewhere.clone().unwrap_or_else(|| login.join(&keys_path).unwrap());
        return Json(json!({ "issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "jwks_uri": keys }))
            .into_response();
    }
    if uri.path() == keys_path {
        return Json(json!({ "keys": state.keys })).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

pub fn expected() -> ExpectedToken {
    let setting = WebhookToken { tenant: TENANT.to_owned(), audience: AUDIENCE.to_owned(), caller: CALLER.to_owned() };
    ExpectedToken::of(&setting, &Cloud::Public.token_issuers(TENANT))
}

/// One of two keys, made once for all tests.
pub fn key(which: usize) -> &'static EncodingKey {
    static KEYS: OnceLock<[EncodingKey; 2]> = OnceLock::new();
    &KEYS.get_or_init(|| [fresh_key(), fresh_key()])[which]
}

fn fresh_key() -> EncodingKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let wrapped = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    // Around the key itself (RFC 8017): lengths, a version and the algorithm's name, 26 bytes for a key of this size.
    let inner = &wrapped.as_ref()[26..];
    assert_eq!(&inner[..2], [0x30, 0x82], "the key is a sequence");
    EncodingKey::from_rsa_der(inner)
}

/// A key as Entra publishes it.
pub fn public(id: &str, key: &EncodingKey) -> Value {
    let bare = serde_json::to_value(Jwk::from_encoding_key(key, Algorithm::RS256).unwrap()).unwrap();
    json!({ "kty": "RSA", "use": "sig", "kid": id, "x5t": id, "n": bare["n"], "e": bare["e"], "x5c": ["MIIC"], "issuer": "composed" })
}

/// What a token of version 2 says, valid around the tests' time.
pub fn claims() -> Value {
    let at = super::now().as_second();
    json!({
        "aud": AUDIENCE.trim_start_matches("api://"),
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": at - 60, "nbf": at - 60, "exp": at + 3600,
        "azp": CALLER, "azpacr": "2",
        "oid": "5f0d6e1c-1111-4222-8333-944455556666", "sub": "5f0d6e1c-1111-4222-8333-944455556666",
        "roles": ["ActionGroupsSecureWebhook"],
        "tid": TENANT, "ver": "2.0",
    })
}

pub fn claims_of_version_1() -> Value {
    let mut claims = claims();
    claims["aud"] = json!(AUDIENCE);
    claims["iss"] = json!(format!("https://sts.windows.net/{TENANT}/"));
    claims["appid"] = claims["azp"].take();
    claims.as_object_mut().unwrap().remove("azp");
    claims["ver"] = json!("1.0");
    claims
}

/// A token of the first key.
pub fn token(claims: &Value) -> String {
    signed(Algorithm::RS256, KEY_ID, claims, key(0))
}

pub fn signed(algorithm: Algorithm, key_id: &str, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: Some(key_id.to_owned()), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}
