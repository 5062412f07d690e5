//! URLs in answers: asked on the origin that was configured, or not at all.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use backout::{
    azure::{identity::TokenSource, resource_manager::ResourceManager},
    domain::rollback::OperationState,
    settings::endpoint,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

#[derive(Debug)]
struct Always;

#[async_trait::async_trait]
impl TokenCredential for Always {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new("secret-token".to_owned(), OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()))
    }
}

/// A server which notes what it is asked, and answers every list with one `nextLink`.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
    next_link: Arc<Mutex<String>>,
}

async fn answer(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    let token = headers.contains_key("authorization");
    server.asked.lock().unwrap().push(format!("{uri} {token}"));
    let next = server.next_link.lock().unwrap().clone();
    let body =
        if uri.path() == "/list" && !next.is_empty() { json!({"value": [], "nextLink": next}) } else { json!({"value": []}) };
    axum::Json(body).into_response()
}

async fn serve() -> (Url, Server) {
    let server = Server::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let router = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, server)
}

#[tokio::test]
async fn an_url_in_an_answer_is_asked_on_its_own_origin_only() {
    let (home, server) = serve().await;
    let (elsewhere, stranger) = serve().await;
    let token = || TokenSource::new(Arc::new(Always), "s");
    let arm = ResourceManager::new(home.clone(), token(), token());
    let port = home.port().unwrap();
    let foreign = [
        elsewhere.join("/x").unwrap().to_string(),
        format!("http://user:pass@127.0.0.1:{port}/x"),
        format!("http://user@127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("http://localhost:{port}/x"),
        format!("http://127.0.0.1.nip.test:{port}/x"),
        format!("http://127.0.0.1:{port}@{}:{}/x", elsewhere.host_str().unwrap(), elsewhere.port().unwrap()),
        "http://127.0.0.1/x".to_owned(),
        "http://169.254.169.254/metadata/identity/oauth2/token?resource=https://management.azure.com/".to_owned(),
        format!("//{}:{}/x", elsewhere.host_str().unwrap(), elsewhere.port().unwrap()),
        format!("\\\\{}/x", elsewhere.host_str().unwrap()),
        "file:///etc/passwd".to_owned(),
        "javascript:alert(1)".to_owned(),
        "x".repeat(100_000),
    ];
    for url in &foreign {
        for key in ["asyncOperation", "location"] {
            let state = arm.poll(&json!({ key: url })).await.unwrap();
            assert!(matches!(state, OperationState::Unknown { .. }), "{url}: {state:?}");
        }
        *server.next_link.lock().unwrap() = url.clone();
        let error = arm.read_all("read a list", "/list").await.unwrap_err();
        assert!(error.says.contains("goes on at another host"), "{url}: {error}");
    }
    assert_eq!(stranger.asked.lock().unwrap().clone(), Vec::<String>::new(), "the other host was never asked");
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|line| line == "/list true"), "only the lists themselves: {asked:?}");

    *server.next_link.lock().unwrap() = home.join("/next").unwrap().to_string();
    assert_eq!(arm.read_all("read a list", "/list").await.unwrap(), Vec::<Value>::new());
    assert_eq!(server.asked.lock().unwrap().last().unwrap(), "/next true");
}

/// Names from a policy or an observation become parts of paths; none leads to another one.
#[tokio::test]
async fn a_path_that_a_parser_reads_differently_is_not_asked() {
    let (home, server) = serve().await;
    let token = || TokenSource::new(Arc::new(Always), "s");
    let arm = ResourceManager::new(home, token(), token());
    for path in ["/a/../b", "/a/./b", "@evil.test/", "/a\nb", "/a b", "/a\\b", "/a/%2e%2e/b", "", "a", "/ä"] {
        let refused = arm.read("read", path).await;
        assert!(refused.is_err(), "{path:?}");
    }
    assert_eq!(server.asked.lock().unwrap().clone(), Vec::<String>::new());
}

#[test]
fn plain_http_is_for_loopback_and_nothing_that_only_looks_like_it() {
    for url in
        ["http://127.0.0.1:1", "http://localhost:1", "http://a.localhost", "http://[::1]:1", "https://management.azure.com"]
    {
        assert!(endpoint::parse(url).is_ok(), "{url}");
    }
    for url in [
        "http://169.254.169.254",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "http://evil.test#127.0.0.1",
        "https://user:pass@management.azure.com",
        "https://127.0.0.1@evil.test",
        "ftp://127.0.0.1",
        "https://",
        "//127.0.0.1",
    ] {
        assert!(endpoint::parse(url).is_err(), "{url}");
    }
}
