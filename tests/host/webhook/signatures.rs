//! GitHub, Flux and CDEvents: whose events come in, by the HMAC over the body.

use backout::{
    host::webhook::signature::{SignatureProblem, check},
    settings::WebhookSecrets,
    sim::host::HttpCall,
};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{CDEVENTS, CDEVENTS_SECRET, Door, FLUX, FLUX_SECRET, GITHUB, GITHUB_SECRET, fixture, time};

fn signature(body: &[u8], secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

fn github(event: &str, body: &[u8]) -> HttpCall {
    HttpCall::post(GITHUB, body)
        .with("X-GitHub-Event", event)
        .with("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .with("X-Hub-Signature-256", signature(body, GITHUB_SECRET))
}

fn flux(body: &[u8]) -> HttpCall {
    HttpCall::post(FLUX, body).with("X-Signature", signature(body, FLUX_SECRET))
}

fn cdevents(body: &[u8]) -> HttpCall {
    HttpCall::post(CDEVENTS, body).with("X-Signature", signature(body, CDEVENTS_SECRET))
}

/// GitHub documentation, "Validating webhook deliveries", "Testing the webhook payload validation".
#[test]
fn the_published_example_of_github_holds() {
    let secret = SecretString::from("It's a Secret to Everybody");
    let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(check(Some(header), b"Hello, World!", &secret), Ok(()));
    assert_eq!(check(Some(&header.to_uppercase().replace("SHA", "sha")), b"Hello, World!", &secret), Ok(()));
    assert_eq!(check(Some(header), b"Hello, World?", &secret), Err(SignatureProblem::DoesNotFit));
    let other = SecretString::from("It's a secret to Everybody");
    assert_eq!(check(Some(header), b"Hello, World!", &other), Err(SignatureProblem::DoesNotFit));
    assert_eq!(check(None, b"Hello, World!", &secret), Err(SignatureProblem::Missing));
    let digits = &header["sha256=".len()..];
    for wrong in [
        "",
        "sha256=",
        digits,
        &format!("sha1={digits}"),
        &format!("sha256={}", &digits[2..]),
        "sha256=zz",
        &format!("{header}00"),
    ] {
        assert_eq!(check(Some(wrong), b"Hello, World!", &secret), Err(SignatureProblem::NotInThatForm), "{wrong}");
    }
    let first_wrong = header.replacen('7', "8", 1);
    let last_wrong = format!("{}8", &header[..header.len() - 1]);
    for wrong in [first_wrong, last_wrong] {
        assert_eq!(check(Some(&wrong), b"Hello, World!", &secret), Err(SignatureProblem::DoesNotFit), "{wrong}");
    }
}

#[tokio::test]
async fn each_sender_reaches_the_markers_with_its_own_bytes() {
    let door = Door::open().await;
    let sent = [
        github("deployment_status", &fixture("github-deployment-status")),
        github("deployment", &fixture("github-deployment")),
        github("workflow_run", &fixture("github-workflow-run")),
        flux(&fixture("flux")),
        cdevents(&fixture("cdevents-bare")),
        cdevents(&fixture("cdevents-in-cloud-event")).with_only("Content-Type", "application/cloudevents+json; charset=UTF-8"),
    ];
    for call in &sent {
        let reply = door.call(call).await;
        assert_eq!((reply.status, reply.body.as_str()), (202, "it is on the queue `markers`\n"), "{call:?}");
    }
    let queued = door.queued();
    assert!(queued.iter().all(|message| message.queue == "markers"));
    let bodies: Vec<_> = queued.iter().map(|message| message.body.clone()).collect();
    assert_eq!(bodies, sent.map(|call| call.body));
}

#[tokio::test]
async fn a_repeat_has_the_same_message_id_and_another_event_has_not() {
    let door = Door::open().await;
    let body = fixture("github-deployment-status");
    let other_delivery =
        github("deployment_status", &body).with_only("X-GitHub-Delivery", "00000000-cc78-11e3-81ab-4c9367dc0958");
    let mut later: Value = serde_json::from_slice(&fixture("flux")).unwrap();
    later["timestamp"] = json!("2026-03-04T01:59:00Z");
    let later = later.to_string().into_bytes();
    let calls = [
        github("deployment_status", &body),
        github("deployment_status", &body),
        other_delivery,
        flux(&fixture("flux")),
        flux(&fixture("flux")),
        flux(&later),
    ];
    for call in &calls {
        assert_eq!(door.call(call).await.status, 202);
    }
    let ids: Vec<_> = door.queued().into_iter().map(|message| message.message_id.unwrap()).collect();
    assert!(ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
    assert!(ids[3] == ids[4] && ids[3] != ids[5], "{ids:?}");
    assert!(ids.iter().all(|id| id.len() <= 128), "Service Bus takes 128 characters");
}

#[tokio::test]
async fn what_is_not_signed_by_the_sender_stays_out() {
    let door = Door::open().await;
    let body = fixture("github-deployment-status");
    let mut altered = body.clone();
    let at = altered.iter().position(|byte| *byte == b'4').unwrap();
    altered[at] = b'5';
    let header = "X-Hub-Signature-256";
    let twice = github("deployment_status", &body).with(header, signature(&body, GITHUB_SECRET));
    let unsigned = HttpCall::post(GITHUB, body.clone());
    let cases = [
        (unsigned.clone(), "is missing"),
        (unsigned.clone().with("X-Hub-Signature", signature(&body, GITHUB_SECRET)), "is missing"),
        (unsigned.with(header, signature(&body, FLUX_SECRET)), "does not fit"),
        (HttpCall { body: altered, ..github("deployment_status", &body) }, "does not fit"),
        (HttpCall { body: [body.as_slice(), b"\n"].concat(), ..github("deployment_status", &body) }, "does not fit"),
        (twice, "sent more than once"),
        (flux(&fixture("flux")).with_only("X-Signature", &signature(&fixture("flux"), CDEVENTS_SECRET)), "does not fit"),
        (cdevents(&fixture("cdevents-bare")).with_only("X-Signature", "sha256=00"), "64 hexadecimal digits"),
    ];
    for (call, says) in cases {
        door.refuses(&call, 401, says).await;
    }
}

#[tokio::test]
async fn a_sender_without_a_secret_is_refused_and_told_which() {
    let door = Door::with(Door::open().await.clock, None, WebhookSecrets::default()).await;
    let cases = [
        (github("ping", b"{}"), "`BACKOUT_GITHUB_WEBHOOK_SECRET` is not set"),
        (flux(&fixture("flux")), "`BACKOUT_FLUX_WEBHOOK_SECRET` is not set"),
        (cdevents(&fixture("cdevents-bare")), "`BACKOUT_CDEVENTS_WEBHOOK_SECRET` is not set"),
    ];
    for (call, says) in cases {
        door.refuses(&call, 403, says).await;
    }
}

#[tokio::test]
async fn github_is_thanked_for_what_says_nothing_about_deployments() {
    let door = Door::open().await;
    let ping = br#"{"zen":"composed","hook_id":1}"#;
    door.refuses(&github("ping", ping), 200, "backout hears you").await;
    door.refuses(&github("push", br#"{"ref":"refs/heads/main"}"#), 200, "has no use for this event").await;
    // Not even that without a signature.
    door.refuses(&github("ping", ping).with_only("X-Hub-Signature-256", "sha256=00"), 401, "").await;
}

#[tokio::test]
async fn a_secret_is_good_for_the_events_of_its_sender_only() {
    let door = Door::open().await;
    let alert = fixture("common-metric");
    let cases = [
        (flux(&fixture("github-deployment")), "this is a GitHub deployment, which `flux` does not send"),
        (cdevents(&fixture("flux")), "this is a Flux event, which `cdevents` does not send"),
        (github("deployment", &alert), "this is a common alert schema, which `github` does not send"),
        (cdevents(&fixture("event-grid-slot-swap")), "which `cdevents` does not send"),
        (cdevents(br#"{"hello":1}"#), "the body is not understood: `body`: is in no format that is known"),
        (flux(b"not json"), "the body is not understood: `body`: is not JSON"),
    ];
    for (call, says) in cases {
        door.refuses(&call, 400, says).await;
    }
}

#[tokio::test]
async fn an_old_event_is_a_replay() {
    let at = |text: &str| {
        let mut event: Value = serde_json::from_slice(&fixture("cdevents-bare")).unwrap();
        event["context"]["timestamp"] = json!(text);
        cdevents(event.to_string().as_bytes())
    };
    // It is 02:12.
    for (text, status) in [
        ("2026-03-04T01:12:00Z", 202),
        ("2026-03-04T01:11:59Z", 400),
        ("2025-03-04T02:12:00Z", 400),
        ("2026-03-04T02:17:00Z", 202),
        ("2026-03-04T02:17:01Z", 400),
    ] {
        assert_eq!(Door::open().await.call(&at(text)).await.status, status, "{text}");
    }
    let door = Door::open().await;
    let mut timeless: Value = serde_json::from_slice(&fixture("flux")).unwrap();
    timeless.as_object_mut().unwrap().remove("timestamp").unwrap();
    door.refuses(&flux(timeless.to_string().as_bytes()), 400, "does not say when it happened").await;
    // What was let in once is a replay an hour later.
    let status = github("deployment_status", &fixture("github-deployment-status"));
    door.clock.set(time("2026-03-04T02:55:01Z"));
    door.refuses(&status, 400, "more than an hour old").await;
    door.clock.set(time("2026-03-04T02:55:00Z"));
    assert_eq!(door.call(&status).await.status, 202);
}

#[tokio::test]
async fn the_host_changes_bytes_that_are_no_utf8_so_that_their_signature_cannot_hold() {
    let door = Door::open().await;
    for body in [[&b"\xEF\xBB\xBF"[..], &fixture("flux")].concat(), [&fixture("flux"), &b"\xFF"[..]].concat()] {
        door.refuses(&flux(&body), 401, "was the body sent as it was signed").await;
    }
    // Everything else comes through, whatever JSON has to escape.
    let mut event: Value = serde_json::from_slice(&fixture("flux")).unwrap();
    event["message"] = json!("tab\t quote\" back\\slash \u{1F680} \u{2028} \u{7f} 2026-03-04T02:12:00Z");
    let body = serde_json::to_vec_pretty(&event).unwrap();
    assert_eq!(door.call(&flux(&body)).await.status, 202);
    assert_eq!(door.queued()[0].body, body);
}
