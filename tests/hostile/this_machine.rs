//! The ports of this machine, and what leaves it through somebody else's proxy.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use backout::{
    domain::resource_id::ResourceId,
    host::server::router,
    local::{embedded_queue::EmbeddedQueue, intake},
    ports::Incoming,
    settings::names,
    sim::{AzureSimulation, Role, SimulatedSite, clock::ScaledClock},
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{
    host::scripted::Scripted,
    support::{policy::site, program::Program},
};

#[tokio::test]
async fn a_page_in_a_browser_can_use_neither_port() {
    // `text/plain` needs no question beforehand: a page may post it to any address.
    let posted = |path: &str, origin: Option<&str>| {
        let mut request = Request::post(path).header("content-type", "text/plain");
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        request.body(Body::from(r#"{"Data":{"message":"c2V0dGxl"},"Metadata":{}}"#)).unwrap()
    };
    let scripted = Arc::new(Scripted::default());
    let clock = Arc::new(ScaledClock::from_setting("1").unwrap());
    let queue = Arc::new(EmbeddedQueue::in_memory(clock));
    let (handler, intake) = (router(scripted.clone()), intake::router(queue.clone()));
    for origin in ["https://evil.test", "null", "http://127.0.0.1:7071", "http://rebound.evil.test:7071", ""] {
        for (router, path) in
            [(&handler, "/alerts"), (&handler, "/followups"), (&handler, "/sweep"), (&intake, "/alerts"), (&intake, "/markers")]
        {
            let answer = router.clone().oneshot(posted(path, Some(origin))).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin} {path}");
        }
    }
    assert!(scripted.seen.lock().unwrap().is_empty());
    assert!(queue.receive("alerts", std::time::Duration::ZERO).await.unwrap().is_none());

    assert_eq!(handler.oneshot(posted("/alerts", None)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(intake.oneshot(posted("/alerts", None)).await.unwrap().status(), StatusCode::ACCEPTED);
}

/// A proxy of the environment would see every token in plain text: identity, resource manager and queues on this machine are
/// asked without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proxy_sees_what_stays_on_this_machine() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let counting = tokio::spawn(async move {
        while let Ok((_connection, _)) = proxy.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let azure = AzureSimulation::start(Arc::new(ScaledClock::from_setting("1").unwrap())).await.unwrap();
    let site: ResourceId = site("checkout");
    azure.add_site(SimulatedSite::new(site.clone(), "build-41"));
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("backout.yaml");
    std::fs::write(
        &policy,
        format!(
            "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {site}, goodSlots: [staging] }}\n"
        ),
    )
    .unwrap();
    let store = format!("sqlite:{}", folder.path().join("state.db").display());
    let settings = [
        (names::BACKOUT_POLICY, policy.display().to_string()),
        (names::BACKOUT_STORE, store),
        (names::BACKOUT_ARM_ENDPOINT, azure.resource_manager_url().to_string()),
        (names::BACKOUT_BUS_ENDPOINT, azure.bus_url().to_string()),
        (names::IDENTITY_ENDPOINT, azure.identity_endpoint()),
        (names::IDENTITY_HEADER, azure.identity_header()),
        ("ServiceBus__fullyQualifiedNamespace", azure.namespace().to_owned()),
    ];
    let proxies = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let output = Program::new(["check", "--format", "json"])
        .in_folder(folder.path())
        .without_environment()
        .with(proxies.map(|name| (name, &proxy_url)))
        .with(settings)
        .ran()
        .await;
    let asked = |role: Role| azure.journal().into_iter().filter(|entry| entry.role == role).count();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(asked(Role::Identity) > 0 && asked(Role::ResourceManager) > 0 && asked(Role::ServiceBus) > 0, "{said}");

    assert_eq!(connections.load(Ordering::SeqCst), 0, "{said}");
    counting.abort();
}
