//! Tokens of the secure webhook: what gets in, and every single thing that keeps one out.

use std::{sync::Arc, time::Duration};

use backout::{
    azure::cloud::Cloud,
    host::webhook::token::ExpectedToken,
    settings::{WebhookSecrets, WebhookToken},
    sim::{
        clock::ManualClock,
        host::{HttpCall, HttpReply},
    },
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{
    ALERTS, Door, fixture, now,
    tenant::{AUDIENCE, CALLER, KEY_ID, TENANT, Tenant, claims, claims_of_version_1, key, public, signed, token},
};
use crate::support::kept_log::KeptLog;

async fn guarded() -> (Door, Tenant) {
    let tenant = Tenant::start().await;
    let clock = Arc::new(ManualClock::at(now()));
    let check = tenant.check(clock.clone());
    (Door::with(clock, Some(check), WebhookSecrets::default()).await, tenant)
}

fn with_token(token: &str) -> HttpCall {
    HttpCall::post(ALERTS, fixture("common-metric")).with("Authorization", format!("Bearer {token}"))
}

fn changed(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim).unwrap();
    claims
}

/// Refused in the same words whatever is wrong with the token.
fn is_refused(reply: &HttpReply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}");
    assert!(reply.body.starts_with("the function key alone is not enough here"), "{what}: {}", reply.body);
    let challenge = reply.headers.get("www-authenticate").map(String::as_str);
    assert_eq!(challenge, (status == 401).then_some("Bearer"), "{what}");
}

#[tokio::test]
async fn an_action_group_is_let_in_with_tokens_of_both_versions() {
    let (door, tenant) = guarded().await;
    assert_eq!(tenant.fetches(), 0, "nothing is fetched before the first token");
    for claims in [claims(), claims_of_version_1()] {
        let reply = door.call(&with_token(&token(&claims))).await;
        assert_eq!((reply.status, reply.body.as_str()), (202, "it is on the queue `alerts`\n"));
    }
    let queued = door.queued();
    assert_eq!(queued.len(), 2);
    assert_eq!((queued[0].queue.as_str(), &queued[0].body), ("alerts", &fixture("common-metric")));
    assert_eq!(queued[0].message_id, queued[1].message_id, "the same firing is the same message");
    assert_eq!(tenant.fetches(), 1);
}

#[tokio::test]
async fn each_claim_alone_keeps_a_token_out() {
    let (door, _tenant) = guarded().await;
    let at = now().as_second();
    let other = "99999999-4b5a-4697-8877-665544332211";
    let cases = [
        ("another tenant", changed("iss", json!(format!("https://login.microsoftonline.com/{other}/v2.0"))), 401),
        ("an issuer without its slash", changed("iss", json!(format!("https://sts.windows.net/{TENANT}"))), 401),
        ("an issuer in capitals", changed("iss", json!(format!("https://LOGIN.microsoftonline.com/{TENANT}/v2.0"))), 401),
        ("another cloud", changed("iss", json!(format!("https://login.microsoftonline.us/{TENANT}/v2.0"))), 401),
        ("two issuers", changed("iss", json!([claims()["iss"], "https://evil.example"])), 401),
        ("no issuer", without("iss"), 401),
        ("another audience", changed("aud", json!(format!("api://{other}"))), 401),
        ("the beginning of the audience", changed("aud", json!("api://7c5d8f10")), 401),
        ("two audiences", changed("aud", json!([claims()["aud"], "api://evil"])), 401),
        ("no audience", without("aud"), 401),
        ("expired", changed("exp", json!(at - 301)), 401),
        ("no end", without("exp"), 401),
        ("an end that is no number", changed("exp", json!("never")), 401),
        ("not yet valid", changed("nbf", json!(at + 301)), 401),
        ("another role", changed("roles", json!(["ActionGroupsSecureWebhookReader"])), 403),
        ("the role in another case", changed("roles", json!(["actiongroupssecurewebhook"])), 403),
        ("no role", changed("roles", json!([])), 403),
        ("roles absent", without("roles"), 403),
        ("the role as one text", changed("roles", json!("ActionGroupsSecureWebhook")), 401),
        ("another application", changed("azp", json!(other)), 403),
        ("no application", without("azp"), 403),
        ("a second, other application", changed("appid", json!(other)), 403),
    ];
    for (what, claims, status) in cases {
        let reply = door.call(&with_token(&token(&claims))).await;
        is_refused(&reply, status, what);
    }
    assert_eq!(door.queued(), []);
}

#[tokio::test]
async fn clocks_may_differ_by_five_minutes() {
    let (door, _tenant) = guarded().await;
    let at = now().as_second();
    let cases = [("exp", at - 299, 202), ("exp", at - 300, 401), ("nbf", at + 300, 202), ("nbf", at + 301, 401)];
    for (claim, seconds, status) in cases {
        let reply = door.call(&with_token(&token(&changed(claim, json!(seconds))))).await;
        assert_eq!(reply.status, status, "{claim} {seconds}");
    }
    assert_eq!(door.call(&with_token(&token(&without("nbf")))).await.status, 202, "a token need not say when it begins");
}

#[tokio::test]
async fn only_rs256_by_a_key_of_the_tenant_counts() {
    let (door, tenant) = guarded().await;
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = |algorithm: &str| part(&json!({ "alg": algorithm, "typ": "JWT", "kid": KEY_ID }));
    let good = token(&claims());
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let published = public(KEY_ID, key(0));
    // The public key as the secret of an HMAC: the classic confusion.
    let public_as_secret = |text: &str| EncodingKey::from_secret(text.as_bytes());
    let modulus = published["n"].as_str().unwrap();
    let modulus_bytes = BASE64URL_NOPAD.decode(modulus.as_bytes()).unwrap();
    let cases = [
        ("none", format!("{}.{}.", header("none"), part(&claims()))),
        ("none in capitals", format!("{}.{}.", header("NONE"), part(&claims()))),
        ("none with a signature", format!("{}.{}.{signature}", header("none"), part(&claims()))),
        ("HS256 by the modulus as text", signed(Algorithm::HS256, KEY_ID, &claims(), &public_as_secret(modulus))),
        ("HS256 by the modulus", signed(Algorithm::HS256, KEY_ID, &claims(), &EncodingKey::from_secret(&modulus_bytes))),
        ("HS256 by the whole key", signed(Algorithm::HS256, KEY_ID, &claims(), &public_as_secret(&published.to_string()))),
        ("HS256 by nothing", signed(Algorithm::HS256, KEY_ID, &claims(), &public_as_secret(""))),
        ("RS384", signed(Algorithm::RS384, KEY_ID, &claims(), key(0))),
        ("PS256", signed(Algorithm::PS256, KEY_ID, &claims(), key(0))),
        ("another key under the same name", signed(Algorithm::RS256, KEY_ID, &claims(), key(1))),
        ("another payload", format!("{}.{}.{signature}", header("RS256"), part(&changed("roles", json!(["other"]))))),
        ("no signature", format!("{signed_part}.")),
        ("a cut signature", good[..good.len() - 4].to_owned()),
        ("two parts", signed_part.to_owned()),
        ("no token at all", "x".to_owned()),
    ];
    for (what, token) in cases {
        is_refused(&door.call(&with_token(&token)).await, 401, what);
    }
    let mut nameless = jsonwebtoken::Header::new(Algorithm::RS256);
    nameless.kid = None;
    let nameless = jsonwebtoken::encode(&nameless, &claims(), key(0)).unwrap();
    is_refused(&door.call(&with_token(&nameless)).await, 401, "no key id");

    // A key that the token itself brings is not looked at, and an address of one not asked.
    let mut own = jsonwebtoken::Header::new(Algorithm::RS256);
    own.kid = Some("own".to_owned());
    own.jku = Some(tenant.login.join("/own-keys").unwrap().to_string());
    own.jwk = Some(jsonwebtoken::jwk::Jwk::from_encoding_key(key(1), Algorithm::RS256).unwrap());
    is_refused(&door.call(&with_token(&jsonwebtoken::encode(&own, &claims(), key(1)).unwrap())).await, 401, "its own key");
    assert!(!tenant.asked().contains(&"/own-keys".to_owned()));
    assert_eq!(door.queued(), []);
    assert_eq!(door.call(&with_token(&good)).await.status, 202);
}

#[tokio::test]
async fn with_a_tenant_the_function_key_alone_is_not_enough() {
    let (door, tenant) = guarded().await;
    let call = HttpCall::post(ALERTS, fixture("common-metric"));
    is_refused(&door.call(&call).await, 401, "no token");
    let good = token(&claims());
    for header in [format!("Basic {good}"), good.clone(), "Bearer".to_owned(), "Bearer  ".to_owned()] {
        is_refused(&door.call(&call.clone().with("Authorization", header.clone())).await, 401, &header);
    }
    let twice = with_token(&good).with("Authorization", format!("Bearer {good}"));
    is_refused(&door.call(&twice).await, 401, "two tokens");
    assert_eq!(tenant.fetches(), 0, "what is no token of a key makes us ask nobody");
    // And the token alone is not: the host asks for its key first.
    let keyless = HttpCall { path_and_query: ALERTS.to_owned(), ..with_token(&good) };
    assert_eq!((door.call(&keyless).await.status, door.queued()), (401, Vec::new()));
    let in_header = keyless.with("x-functions-key", backout::sim::host::FUNCTION_KEY);
    assert_eq!(door.call(&in_header).await.status, 202);
}

#[tokio::test]
async fn made_up_key_ids_do_not_make_us_ask() {
    let (door, tenant) = guarded().await;
    assert_eq!(door.call(&with_token(&token(&claims()))).await.status, 202);
    for minute in 0..10 {
        for number in 0..5 {
            let forged = signed(Algorithm::RS256, &format!("forged-{minute}-{number}"), &claims(), key(1));
            is_refused(&door.call(&with_token(&forged)).await, 401, "forged");
        }
        door.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(tenant.fetches(), 2, "fifty forged ids in ten minutes: once more than needed");
    let fresh = changed("exp", json!(now().as_second() + 7200));
    assert_eq!(door.call(&with_token(&token(&fresh))).await.status, 202);
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let (door, tenant) = guarded().await;
    assert_eq!(door.call(&with_token(&token(&claims()))).await.status, 202);
    tenant.publish(vec![json!({ "kty": "EC", "kid": "ec" }), public("composed-key-2", key(1))]);
    door.clock.advance(Duration::from_mins(5));
    let of_new = signed(Algorithm::RS256, "composed-key-2", &claims(), key(1));
    assert_eq!(door.call(&with_token(&of_new)).await.status, 202);
    is_refused(&door.call(&with_token(&token(&claims()))).await, 401, "a key that was withdrawn");
    assert_eq!(tenant.fetches(), 2);
}

#[tokio::test]
async fn a_key_is_looked_up_again_once_a_day() {
    let (door, tenant) = guarded().await;
    let lasting = changed("exp", json!(now().as_second() + 1_000_000));
    assert_eq!(door.call(&with_token(&token(&lasting))).await.status, 202);
    door.clock.advance(Duration::from_hours(24) - Duration::from_secs(1));
    assert_eq!((door.call(&with_token(&token(&lasting))).await.status, tenant.fetches()), (202, 1));
    tenant.publish(vec![]);
    door.clock.advance(Duration::from_secs(1));
    is_refused(&door.call(&with_token(&token(&lasting))).await, 401, "withdrawn");
    assert_eq!(tenant.fetches(), 2);
}

#[tokio::test]
async fn while_the_tenant_cannot_be_asked_the_sender_is_to_come_again() {
    let (door, tenant) = guarded().await;
    tenant.fail(true);
    for _ in 0..3 {
        let reply = door.refuses(&with_token(&token(&claims())), 503, "the token cannot be checked now").await;
        assert_eq!(reply.headers["retry-after"], "10");
    }
    assert_eq!(tenant.fetches(), 1, "a tenant that fails is left alone for ten seconds");
    tenant.fail(false);
    door.clock.advance(Duration::from_secs(10));
    assert_eq!(door.call(&with_token(&token(&claims()))).await.status, 202);
    // Known keys outlive an outage.
    tenant.fail(true);
    door.clock.advance(Duration::from_hours(30));
    let lasting = changed("exp", json!(now().as_second() + 1_000_000));
    assert_eq!(door.call(&with_token(&token(&lasting))).await.status, 202);
}

#[tokio::test]
async fn keys_at_another_host_are_not_fetched() {
    let (door, tenant) = guarded().await;
    let stranger = Tenant::start().await;
    tenant.send_elsewhere(stranger.login.join(&format!("/{TENANT}/discovery/v2.0/keys")).unwrap());
    door.refuses(&with_token(&token(&claims())), 503, "the token cannot be checked now").await;
    assert_eq!(stranger.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_tenant_the_function_key_is_all_there_is() {
    let door = Door::open().await;
    let call = HttpCall::post(ALERTS, fixture("common-metric"));
    let keyless = HttpCall { path_and_query: ALERTS.to_owned(), ..call.clone() };
    assert_eq!((door.call(&keyless).await.status, door.queued()), (401, Vec::new()), "the host refuses it");
    assert_eq!(door.call(&call).await.status, 202);
}

#[test]
fn a_tenant_names_itself_and_its_application_in_two_ways_in_each_cloud() {
    let setting =
        |audience: &str| WebhookToken { tenant: TENANT.to_owned(), audience: audience.to_owned(), caller: CALLER.to_owned() };
    let bare = AUDIENCE.trim_start_matches("api://");
    let audiences = |audience: &str| ExpectedToken::of(&setting(audience), &[]).audiences;
    assert_eq!(audiences(AUDIENCE), [AUDIENCE, bare]);
    assert_eq!(audiences(bare), [bare, AUDIENCE]);
    assert_eq!(audiences("api://contoso.example/backout"), ["api://contoso.example/backout"]);
    for (cloud, first, second) in [
        (Cloud::Public, "https://sts.windows.net/t/", "https://login.microsoftonline.com/t/v2.0"),
        (Cloud::UsGovernment, "https://sts.windows.net/t/", "https://login.microsoftonline.us/t/v2.0"),
        (Cloud::China, "https://sts.chinacloudapi.cn/t/", "https://login.partner.microsoftonline.cn/t/v2.0"),
    ] {
        assert_eq!(cloud.token_issuers("t"), [first, second]);
    }
}

#[tokio::test]
async fn the_log_says_which_check_failed_and_nothing_of_the_token() {
    let kept = KeptLog::default();
    let everything = tracing_subscriber::filter::Targets::new().with_default(tracing::Level::TRACE);
    let _guard = tracing::subscriber::set_default(kept.subscriber(everything));
    let (door, _tenant) = guarded().await;
    let sent = [changed("aud", json!("api://secret-audience")), changed("azp", json!("secret-application")), claims()];
    let sent = sent.map(|claims| token(&claims));
    for token in &sent {
        door.call(&with_token(token).with("x-secret", "secret-header")).await;
    }
    let log = kept.text();
    assert!(log.contains("it is for another audience than `BACKOUT_WEBHOOK_AUDIENCE`"), "{log}");
    assert!(log.contains("issued to another application than Azure Monitor's action groups"), "{log}");
    assert!(log.contains("202: it is on the queue `alerts`"), "{log}");
    let parts = sent.iter().flat_map(|token| token.split('.'));
    for secret in parts.chain(["secret-", "checkout-5xx", backout::sim::host::FUNCTION_KEY, TENANT, "5f0d6e1c"]) {
        assert!(!log.contains(secret), "`{secret}` is in the log");
    }
}

#[tokio::test]
async fn headers_without_end_are_refused_and_cost_nothing() {
    let (door, tenant) = guarded().await;
    let good = token(&claims());
    let long = "A".repeat(2_000_000);
    for header in [
        format!("Bearer {long}"),
        format!("Bearer {good}{long}"),
        format!("Bearer {}", ".".repeat(1_000_000)),
        format!("Bearer {}", "eyJ.".repeat(500_000)),
        format!("{long} {good}"),
        format!("Bearer {}", " ".repeat(1_000_000)),
        "Bearer \u{202e}\u{1b}[31m\r\nAuthorization: Bearer x".to_owned(),
    ] {
        let call = HttpCall::post(ALERTS, fixture("common-metric")).with("Authorization", header);
        is_refused(&door.call(&call).await, 401, "a long header");
    }
    assert!(tenant.fetches() <= 1, "one of them begins like a token of a key: {}", tenant.fetches());
    let named = signed(Algorithm::RS256, &"k".repeat(1_000_000), &claims(), key(1));
    is_refused(&door.call(&with_token(&named)).await, 401, "a key id of a megabyte");
    let mut many = with_token(&good);
    for number in 0..5_000 {
        many = many.with(&format!("X-Filler-{number}"), "y".repeat(100));
    }
    assert_eq!(door.call(&many).await.status, 202, "what nobody reads does no harm");
}
