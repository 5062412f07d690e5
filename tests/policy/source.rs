//! Loading the policy from a file and from a URL: revalidated each time, parsed only when it changed.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    response::Response,
};
use backout::{
    cli::wiring::policy_client,
    policy::{BearerSource, PolicySource, PolicyUnavailable},
    ports::{PortError, PortErrorKind},
    settings::PolicyLocation,
};
use secrecy::SecretString;
use url::Url;

use crate::support::redirects::{Redirects, STATUSES};

fn text(service: &str) -> String {
    format!(
        "version: 1\nservices:\n  {service}:\n    target: {{ platform: app-service, site: /subscriptions/1/resourceGroups/g/providers/Microsoft.Web/sites/{service} }}\n"
    )
}

/// Over the client that the handler asks with.
fn source(location: PolicyLocation, bearer: Option<Arc<dyn BearerSource>>) -> PolicySource {
    let client = policy_client(&location).unwrap();
    PolicySource::new(location, None, client, bearer)
}

fn names(policy: &backout::domain::policy::Policy) -> Vec<&str> {
    policy.services.keys().map(|name| name.0.as_str()).collect()
}

#[tokio::test]
async fn a_file_is_parsed_again_only_when_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backout.yaml");
    let source = source(PolicyLocation::File(path.clone()), None);

    let missing = source.load().await.unwrap_err();
    assert_eq!(missing.kind, PortErrorKind::NotFound);
    assert!(missing.says.contains("is not there: name it in `BACKOUT_POLICY`"), "{missing}");

    std::fs::write(&path, text("one")).unwrap();
    let first = source.load().await.unwrap();
    assert_eq!(names(&first), ["one"]);
    assert!(Arc::ptr_eq(&first, &source.load().await.unwrap()), "a warm load hands out the same policy");

    // The same length, another time.
    std::fs::write(&path, text("two")).unwrap();
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    assert_eq!(names(&source.load().await.unwrap()), ["two"]);

    // The same time, another length.
    std::fs::write(&path, text("three")).unwrap();
    std::fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
        .unwrap();
    assert_eq!(names(&source.load().await.unwrap()), ["three"]);

    std::fs::File::options().append(true).open(&path).unwrap().write_all(b"oops: 1\n").unwrap();
    let wrong = source.load().await.unwrap_err();
    assert_eq!(wrong.kind, PortErrorKind::Invalid);
    assert!(wrong.says.contains("has 1 problem: correct them"), "{wrong}");
    let expected = format!("{}:5:1: `oops` is not a key of this place", path.display());
    assert!(wrong.problems.as_ref().unwrap().to_string().starts_with(&expected), "{wrong}");
    assert_eq!(source.load().await.unwrap_err(), wrong);

    std::fs::write(&path, text("four")).unwrap();
    assert_eq!(names(&source.load().await.unwrap()), ["four"]);
}

#[tokio::test]
async fn a_huge_file_is_refused_without_reading_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backout.yaml");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = source(PolicyLocation::File(path), None).load().await.unwrap_err();
    assert!(error.to_string().contains("larger than 256 KiB"), "{error}");
}

/// What the next requests get, and what was asked.
#[derive(Default)]
struct Blob {
    status: u16,
    etag: Option<&'static str>,
    body: String,
    asked: Vec<HeaderMap>,
}

type Shared = Arc<Mutex<Blob>>;

async fn serve(State(blob): State<Shared>, request: Request<Body>) -> Response {
    let mut blob = blob.lock().unwrap();
    blob.asked.push(request.headers().clone());
    let known = request.headers().get("if-none-match").and_then(|etag| etag.to_str().ok());
    let mut response = Response::builder();
    if let Some(etag) = blob.etag {
        response = response.header("etag", etag);
    }
    if blob.status == 200 && known.is_some() && known == blob.etag {
        return response.status(StatusCode::NOT_MODIFIED).body(Body::empty()).unwrap();
    }
    response.status(blob.status).body(Body::from(blob.body.clone())).unwrap()
}

struct Token;

#[async_trait::async_trait]
impl BearerSource for Token {
    async fn token(&self) -> Result<SecretString, PortError> {
        Ok(SecretString::from("the-token"))
    }
}

async fn start(blob: &Shared, query: &str, bearer: Option<Arc<dyn BearerSource>>) -> PolicySource {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(serve).with_state(blob.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let url = Url::parse(&format!("http://{address}/config/backout.yaml{query}")).unwrap();
    source(PolicyLocation::Url(url), bearer)
}

#[tokio::test]
async fn a_url_is_revalidated_by_its_etag() {
    let blob = Shared::default();
    *blob.lock().unwrap() = Blob { status: 200, etag: Some("\"1\""), body: text("one"), asked: Vec::new() };
    let source = start(&blob, "", Some(Arc::new(Token))).await;
    let first = source.load().await.unwrap();
    assert!(Arc::ptr_eq(&first, &source.load().await.unwrap()));
    {
        let mut blob = blob.lock().unwrap();
        assert_eq!(blob.asked.len(), 2);
        assert_eq!(blob.asked[0].get("if-none-match"), None);
        assert_eq!(blob.asked[0]["authorization"], "Bearer the-token");
        assert_eq!(blob.asked[0]["x-ms-version"], "2021-12-02");
        assert_eq!(blob.asked[1]["if-none-match"], "\"1\"");
        blob.etag = Some("\"2\"");
        blob.body = text("two");
    }
    assert_eq!(names(&source.load().await.unwrap()), ["two"]);
    // A state that cannot be checked is not used, however good the last one was.
    blob.lock().unwrap().status = 503;
    let error = source.load().await.unwrap_err();
    assert_eq!((error.kind, error.problems), (PortErrorKind::Transient, None));
    blob.lock().unwrap().status = 200;
    assert_eq!(names(&source.load().await.unwrap()), ["two"]);
}

#[tokio::test]
async fn without_an_etag_every_load_reads_anew() {
    let blob = Shared::default();
    *blob.lock().unwrap() = Blob { status: 200, etag: None, body: text("one"), asked: Vec::new() };
    let source = start(&blob, "", None).await;
    assert_eq!(names(&source.load().await.unwrap()), ["one"]);
    blob.lock().unwrap().body = text("two");
    assert_eq!(names(&source.load().await.unwrap()), ["two"]);
    let blob = blob.lock().unwrap();
    assert!(blob.asked.iter().all(|asked| !asked.contains_key("if-none-match") && !asked.contains_key("authorization")));
}

#[tokio::test]
async fn what_a_url_may_answer() {
    let blob = Shared::default();
    let source = start(&blob, "?sv=1&sig=s3cr3t", Some(Arc::new(Token))).await;
    let mut seen: Vec<(u16, PortErrorKind, &str)> = Vec::new();
    let expected = [
        (302, PortErrorKind::Invalid, "gives no file"),
        (400, PortErrorKind::Invalid, "gives no file"),
        (401, PortErrorKind::Denied, "Storage Blob Data Reader"),
        (403, PortErrorKind::Denied, "Storage Blob Data Reader"),
        (404, PortErrorKind::NotFound, "upload the file"),
        (429, PortErrorKind::Throttled, "asks for a pause"),
        (500, PortErrorKind::Transient, "server error"),
    ];
    for (status, kind, says) in expected {
        blob.lock().unwrap().status = status;
        let error = source.load().await.unwrap_err();
        assert!(error.says.contains(says) && error.says.contains(&status.to_string()), "{error}");
        assert!(error.says.contains("/config/backout.yaml`"), "{error}");
        assert!(!format!("{error} {error:?} {source:?}").contains("s3cr3t"), "{error}");
        seen.push((status, error.kind, says));
        assert_eq!(error.kind, kind);
    }
    assert_eq!(seen, expected);
    let blob = blob.lock().unwrap();
    assert!(blob.asked.iter().all(|asked| !asked.contains_key("authorization")), "a signature stands for itself");
}

/// Neither with a token nor with a signature.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in STATUSES {
        let redirects = Redirects::start(status).await;
        for (query, bearer) in [("", Some(Arc::new(Token) as Arc<dyn BearerSource>)), ("?sv=1&sig=s3cr3t", None)] {
            let url = redirects.url().join(&format!("config/backout.yaml{query}")).unwrap();
            let error = source(PolicyLocation::Url(url), bearer).load().await.unwrap_err();
            assert_eq!(error.kind, PortErrorKind::Invalid, "{status}: {error}");
            assert!(error.says.contains("gives no file") && error.says.contains(&status.to_string()), "{error}");
        }
        assert_eq!((redirects.asked(), redirects.led_away()), (2, 0), "{status}");
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let blob = Shared::default();
    *blob.lock().unwrap() = Blob { status: 200, etag: None, body: "x".repeat(3 << 20), asked: Vec::new() };
    let error = start(&blob, "", None).await.load().await.unwrap_err();
    assert!(error.to_string().contains("larger than 256 KiB"), "{error}");
}

#[tokio::test]
async fn nobody_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/p?sig=s3cr3t", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let source = source(PolicyLocation::Url(url), None);
    let PolicyUnavailable { kind, says, problems } = source.load().await.unwrap_err();
    assert_eq!((kind, problems), (PortErrorKind::Transient, None));
    assert!(says.contains("does not answer") && !says.contains("s3cr3t"), "{says}");
}

struct NoToken;

#[async_trait::async_trait]
impl BearerSource for NoToken {
    async fn token(&self) -> Result<SecretString, PortError> {
        Err(PortError::new("get a token", PortErrorKind::Denied, "there is no managed identity: assign one"))
    }
}

#[tokio::test]
async fn no_token() {
    let blob = Shared::default();
    let error = start(&blob, "", Some(Arc::new(NoToken))).await.load().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Denied);
    assert!(error.says.contains("get a token: there is no managed identity"), "{error}");
    assert!(blob.lock().unwrap().asked.is_empty());
}
