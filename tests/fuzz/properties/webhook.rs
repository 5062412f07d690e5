//! Calls of `alert-webhook` from outside: who is let in, what is put on a queue, and what is cut to fit there.

use std::{collections::BTreeMap, sync::Arc};

use backout::{
    domain::event::Event,
    host::{
        http::{HttpFunction, HttpRequest},
        webhook::{
            AlertWebhook,
            acceptance::{Acceptance, BODY_BYTES_MAX, MESSAGE_BYTES_MAX},
            shrink::{self, Shrunk},
            signature,
            token::{ExpectedToken, TokenCheck},
        },
    },
    inbound::{DROPPED_MEMBER, recognise},
    ports::{PortError, SigningKey, SigningKeySource},
    settings::{WebhookSecrets, WebhookToken},
    sim::clock::ManualClock,
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::Value;
use sha2::Sha256;

use super::{super::support::fake_queue::FakeQueue, choose, is_sentence, run};

const SECRET: &str = "a composed secret of a sender";
/// A public key that was made for this; its other half was thrown away.
const MODULUS: &str = "0YNGSMvT-Zsg3RjpZMhukFNd_M37SwWgkZrO14U0sk8yrth-M9aMx0k4QAZG9b1HScggsB8iYBNA6Pv9_RXCDtGXUKmVRjJF7sDcxuYoRfMIMNLqVtjztzP7bZIUE4hbB5b1b8kG5aZvhpKnIUN6O3i6jEEGK_k2Zv_HfI2LthVB0LmVANkdke8QZg6hacvWSRkGON3ihUPlY31YLTbTm3BPx3yqSKnF-9fEo9_GbAl7QZup9HXyNbA7WGAOSjf_TFWhd7x-X2OcgXhwNaX3qJIPmSFXwnFgG_zgZxp6KdeaKd-t_fAP0A97P7CelWLi7hBJRS6z2a4V2wXaz2LnQw";

pub fn holds(input: &[u8]) {
    let (kind, rest) = choose(&["call", "signed-call", "shrink", "signature", "token"], input);
    match kind {
        "call" => call(rest, false),
        "signed-call" => call(rest, true),
        "shrink" => fits(rest),
        "signature" => signatures(rest),
        "token" => no_forged_token(rest),
        other => unreachable!("{other}"),
    }
}

/// Lines `name: value` up to an empty one, then the body. `:method` and `:source` are what the URL would say.
fn request(input: &[u8], signed: bool) -> HttpRequest {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let body = input.get(end + 2..).unwrap_or_default().to_vec();
    let mut request = HttpRequest {
        function: HttpFunction::AlertWebhook,
        method: "POST".to_owned(),
        route: BTreeMap::new(),
        headers: BTreeMap::from([("content-type".to_owned(), vec!["application/json".to_owned()])]),
        body,
    };
    for line in String::from_utf8_lossy(&input[..end]).lines() {
        let Some((name, value)) = line.rsplit_once(": ") else { continue };
        match name {
            ":method" => value.clone_into(&mut request.method),
            ":source" => drop(request.route.insert("source".to_owned(), value.to_owned())),
            _ => request.headers.entry(name.to_ascii_lowercase()).or_default().push(value.to_owned()),
        }
    }
    if signed {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(&request.body);
        let digits = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        for header in ["x-hub-signature-256", "x-signature"] {
            request.headers.insert(header.to_owned(), vec![format!("sha256={digits}")]);
        }
    }
    request
}

/// 202 means exactly one message on the right queue, anything else none; never 500; and no sender is let in unsigned.
fn call(input: &[u8], signed: bool) {
    let request = request(input, signed);
    let (source, body) = (request.route.get("source").cloned().unwrap_or_default(), request.body.clone());
    let clock = Arc::new(ManualClock::at("2026-03-04T02:12:00Z".parse().unwrap()));
    let queue = FakeQueue::new(clock.clone());
    let secret = || Some(SecretString::from(SECRET));
    let secrets = WebhookSecrets { github: secret(), flux: secret(), cdevents: secret() };
    let webhook = AlertWebhook::new(Acceptance::new(Arc::new(queue.clone())), None, secrets, clock);
    let answer = run(webhook.answer(request));
    is_sentence(answer.body.trim_end_matches('\n'), 2_000);
    let status = answer.status.as_u16();
    assert!([200, 202, 400, 401, 404, 405, 411, 413, 415].contains(&status), "{status}");
    let queued = queue.queued();
    assert_eq!(queued.len(), usize::from(status == 202), "{status}: {}", answer.body);
    let Some((_, message)) = queued.into_iter().next() else { return };
    let from_azure = source.is_empty() || source.eq_ignore_ascii_case("azure-monitor");
    assert!(from_azure || signed, "`{source}` was let in without a signature");
    assert_eq!(message.queue, if from_azure { "alerts" } else { "markers" });
    assert!(body.len() <= BODY_BYTES_MAX && message.body.len() <= body.len());
    assert!(body.len() > MESSAGE_BYTES_MAX || message.body == body, "a body that fits is changed");
    assert!(message.message_id.is_some_and(|id| id.len() <= 128));
}

/// A decision made of the smaller message would be the same.
fn fits(input: &[u8]) {
    for bytes_max in [input.len(), input.len() / 2, input.len() / 4, 2_000, 600] {
        let Shrunk { body, dropped } = shrink::to_fit(input.to_vec(), bytes_max);
        assert!(body.len() <= input.len(), "{} bytes became {}", input.len(), body.len());
        let Some(dropped) = dropped else {
            assert_eq!(body, input);
            continue;
        };
        assert!(input.len() > bytes_max);
        assert!(!dropped.is_empty());
        let (before, after) = (recognise(input), recognise(&body));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.into_iter().zip(after) {
            let (Ok(before), Ok(mut after)) = (before.clone(), after.clone()) else {
                // Of what is not understood the reason stays, unless what was wrong with it was dropped.
                assert!(before.is_err(), "understood no more: {after:?}");
                continue;
            };
            let mut before = before;
            for event in [&mut before.event, &mut after.event] {
                if let Event::Alert(alert) = event {
                    alert.properties.remove(DROPPED_MEMBER);
                }
            }
            assert_eq!(before, after);
        }
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert!(value.to_string().contains(DROPPED_MEMBER), "what was dropped is not told");
    }
}

fn signatures(input: &[u8]) {
    let (header, body) = choose(&["sha256=00"], input);
    let text = String::from_utf8_lossy(&input[..input.len() - body.len()]).trim_end_matches('\n').to_owned();
    let secret = SecretString::from(SECRET);
    for header in [Some(text.as_str()), Some(header), None] {
        // Nobody finds the right 64 digits by chance.
        is_sentence(&signature::check(header, body, &secret).unwrap_err().to_string(), 200);
    }
}

/// Whatever stands in the header: no one is let in whose token no key of the tenant signed.
fn no_forged_token(input: &[u8]) {
    let header = String::from_utf8_lossy(input).into_owned();
    let clock = Arc::new(ManualClock::at("2026-03-04T02:12:00Z".parse().unwrap()));
    let setting = WebhookToken {
        tenant: "5a0d1c7e-0000-4000-8000-000000000001".to_owned(),
        audience: "api://5a0d1c7e-0000-4000-8000-000000000002".to_owned(),
        caller: "5a0d1c7e-0000-4000-8000-000000000003".to_owned(),
    };
    let expected = ExpectedToken::of(&setting, &["https://sts.windows.net/5a0d1c7e-0000-4000-8000-000000000001/".to_owned()]);
    let check = TokenCheck::new(expected, Arc::new(OneKey), clock);
    for header in [header.clone(), format!("Bearer {header}")] {
        let refused = run(check.check(Some(&header))).unwrap_err();
        is_sentence(&refused.to_string(), 200);
    }
}

struct OneKey;

#[async_trait::async_trait]
impl SigningKeySource for OneKey {
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, PortError> {
        let key =
            |id: &str, modulus: &str| SigningKey { id: id.to_owned(), modulus: modulus.to_owned(), exponent: "AQAB".to_owned() };
        Ok(vec![key("one", MODULUS), key("odd", "no base64!"), key("", "")])
    }
}
