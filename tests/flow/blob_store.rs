//! Stories over state in blob storage: the real store against Azurite, which loses answers, stops and comes back.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use PortErrorKind::{Denied, Invalid, NotFound, Throttled, Transient};
use axum::{Json, Router, http::StatusCode, routing::get};
use azure_core::http::{
    AsyncRawResponse, HttpClient, Method, Request,
    headers::{HeaderName, Headers},
};
use backout::{
    domain::{record::RecordId, rollback::RollbackState},
    ports::{Inserted, Key, PortErrorKind, StateStore},
    process::{
        Ports,
        documents::{Documents, Insert, Replace},
    },
    settings::blob_container::{BlobAccess, BlobContainer},
};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::{
    azurite,
    broker::Broker,
    leaks::watched_process,
    policy::{FixedPolicy, site},
    program::Program,
    scene,
    world::{GOOD, World},
};

fn world_over(store: impl StateStore + 'static) -> World {
    let mut world = World::new();
    world.ports.store = Arc::new(store);
    world
}

/// What an HTTP client does to a request on its way.
#[derive(Debug, Clone)]
enum Way {
    /// Every first try of a write has its effect, and its answer gets lost.
    LosesAnswers,
    /// The service itself is not asked: this answer, with these headers.
    Answers(u16, Vec<(&'static str, &'static str)>),
}

#[derive(Debug)]
struct Bent {
    way: Way,
    inner: reqwest::Client,
    calls: AtomicU32,
    seen: Mutex<BTreeSet<String>>,
}

impl Bent {
    fn new(way: Way) -> Arc<Self> {
        let inner = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Arc::new(Self { way, inner, calls: AtomicU32::new(0), seen: Mutex::default() })
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl HttpClient for Bent {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.way {
            Way::Answers(status, pairs) => {
                let mut headers = Headers::new();
                for (name, value) in pairs {
                    headers.insert(HeaderName::from_static(name), *value);
                }
                Ok(AsyncRawResponse::from_bytes((*status).into(), headers, ""))
            }
            Way::LosesAnswers => {
                let answer = self.inner.execute_request(request).await?;
                let condition = request.headers().get_optional_string(&"if-match".into());
                let first = self.seen.lock().unwrap().insert(format!("{} {condition:?}", request.url().path()));
                if first && request.method() == Method::Put {
                    return Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "the answer is lost"));
                }
                Ok(answer)
            }
        }
    }
}

#[tokio::test]
async fn a_rollback_over_blob_storage_recovers_and_can_be_explained() {
    let Some(store) = azurite::token_store() else { return };
    let world = world_over(store);
    let firing = world.break_it().await;
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run_to_end(&world.process(), &firing, 3).await;
    let record = world.process().record(&RecordId::of(&firing)).await.unwrap().unwrap();
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (1, 1, GOOD));
    let receipt = world.process().receipt(record.receipt.as_ref().unwrap()).await.unwrap().unwrap();
    assert_eq!((receipt.record, receipt.rollback), (record.id, Some(RollbackState::Recovered)));
}

#[tokio::test]
async fn with_the_first_answer_to_every_write_lost_a_rollback_goes_the_same_way() {
    let Some(azurite) = azurite::over_http() else { return };
    let bent = Bent::new(Way::LosesAnswers);
    let container = azurite.by_signature(&azurite.container_by_key()).await;
    let world = world_over(azurite::store_over(&container, bent.clone()));
    let firing = world.break_it().await;
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run_to_end(&world.process(), &firing, 3).await;
    let record = world.process().record(&RecordId::of(&firing)).await.unwrap().unwrap();
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 1));
}

#[tokio::test]
async fn a_write_that_meets_itself_counts_as_done_and_one_that_meets_another_does_not() {
    let Some(azurite) = azurite::over_http() else { return };
    let container = azurite.by_signature(&azurite.container_by_key()).await;
    let plain = azurite::store(&container);
    let bent = Documents::new(Arc::new(azurite::store_over(&container, Bent::new(Way::LosesAnswers))));
    let key = Key::new("claims/a");
    let Insert::Now(mine) = bent.insert(&key, "mine".to_owned()).await.unwrap() else { panic!("it was our own") };
    let Replace::Now(next) = bent.replace(&key, &mine.version, "next".to_owned()).await.unwrap() else {
        panic!("it was our own")
    };
    assert_eq!(plain.read(&key).await.unwrap().unwrap().version, next.version);
    let Insert::Taken(taken) = bent.insert(&key, "second".to_owned()).await.unwrap() else { panic!("it is taken") };
    assert_eq!(taken.value, "next");
    assert!(matches!(bent.replace(&key, &mine.version, "late".to_owned()).await.unwrap(), Replace::ChangedMeanwhile));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_that_race_for_a_claim_exactly_one_wins() {
    let Some(azurite) = azurite::over_http() else { return };
    let container = azurite.by_signature(&azurite.container_by_key()).await;
    let [one, other] = [azurite::store(&container), azurite::store(&container)];
    for round in 0..200 {
        let key = Key::new(format!("claims/{round}"));
        let (first, second) = tokio::join!(one.insert(&key, b"one"), other.insert(&key, b"other"));
        let (first, second) = (first.unwrap(), second.unwrap());
        let stored = one.read(&key).await.unwrap().unwrap();
        match (first, second) {
            (Inserted::Now(version), Inserted::AlreadyThere) => {
                assert_eq!((stored.body, stored.version), (b"one".to_vec(), version));
            }
            (Inserted::AlreadyThere, Inserted::Now(version)) => {
                assert_eq!((stored.body, stored.version), (b"other".to_vec(), version));
            }
            both => panic!("round {round}: {both:?}"),
        }
    }
}

#[tokio::test]
async fn two_handlers_with_the_same_alert_at_once_call_the_platform_once() {
    let Some(azurite) = azurite::over_http() else { return };
    for round in 0..12 {
        let container = azurite.by_signature(&azurite.container_by_key()).await;
        let world = world_over(azurite::store(&container));
        let firing = world.break_it().await;
        let handler = || {
            let ports = Ports { store: Arc::new(azurite::store(&container)), ..world.ports.clone() };
            watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))))
        };
        let (one, other) = (handler(), handler());
        let both = futures::join!(
            Box::pin(one.alert_received(firing.clone(), &world.policy)),
            Box::pin(other.alert_received(firing.clone(), &world.policy))
        );
        assert!(world.platform.calls() <= 1, "round {round}: {both:?}");
        // Who lost gets its message again.
        one.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.run_to_end(&one, &firing, 3).await;
        let record = one.record(&RecordId::of(&firing)).await.unwrap().unwrap();
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "round {round}: {both:?} {:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD), "round {round}");
    }
}

#[tokio::test]
async fn while_the_store_is_stopped_the_message_comes_back_and_afterwards_is_decided_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(azurite) = azurite::of_ones_own(folder.path(), 0) else { return };
    let port = azurite.port();
    let container: BlobContainer = azurite.container_by_key();
    let world = world_over(azurite::store(&container));
    world.break_it().await;
    let (body, id) = scene::alert(&site("checkout"), world.now() - SignedDuration::from_mins(1));
    let broker = Broker::of(&world, &world.ports);
    broker.send("alerts", &body).await;
    drop(azurite);
    let heard = broker.deliver_one().await.unwrap();
    assert_eq!(heard.status, StatusCode::OK);
    assert!(heard.says.starts_with("the store: ") && heard.says.contains("no connection to blob storage"), "{heard:?}");
    assert!(heard.says.ends_with("the message comes back in 15 s"), "{heard:?}");
    let [(_, back)] = world.queue.queued().try_into().unwrap();
    assert_eq!((back.body, back.returns, world.platform.calls()), (body, 1, 0));
    let again = azurite::of_ones_own(folder.path(), port).expect("it was there a moment ago");
    world.advance(SignedDuration::from_secs(15));
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    let record = broker.process.record(&id).await.unwrap().unwrap();
    assert_eq!((record.rollback, record.duplicates), (Some(RollbackState::Recovered), 0), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD));
    drop(again);
}

/// No Azurite is needed: what is answered is composed after the error codes' reference page.
#[tokio::test]
async fn every_refusal_says_what_to_do_and_shows_no_signature() {
    let secret = "c2lnbmF0dXJl";
    let text = format!("BlobEndpoint=http://127.0.0.1:9;SharedAccessSignature=sv=1&sig={secret};container=state");
    let container = BlobContainer::from_connection(&text).unwrap();
    let code = |code| ("x-ms-error-code", code);
    let pause = ("retry-after", "30");
    for (status, headers, calls, kind, says) in [
        (403, vec![code("AuthenticationFailed")], 1, Denied, "make a new shared access signature"),
        (403, vec![code("AuthorizationPermissionMismatch")], 1, Denied, "make a new shared access signature"),
        (403, vec![code("AuthorizationFailure")], 1, Denied, "network rules"),
        (404, vec![code("ContainerNotFound")], 2, NotFound, "check the URL"),
        (429, vec![pause], 1, Throttled, "asks for a pause"),
        (503, vec![code("ServerBusy"), pause], 1, Throttled, "503 ServerBusy"),
        (503, vec![code("ServerBusy")], 3, Throttled, "503 ServerBusy"),
        (500, vec![code("InternalError")], 3, Transient, "blob storage failed"),
        (412, vec![code("LeaseIdMissing")], 1, Transient, "break the lease"),
        (409, vec![code("BlobImmutableDueToPolicy")], 1, Invalid, "immutability"),
        (400, vec![code("InvalidHeaderValue")], 1, Invalid, "400 InvalidHeaderValue"),
        (307, vec![], 1, Invalid, "sent us elsewhere"),
    ] {
        let asked_to_wait = headers.contains(&pause);
        let bent = Bent::new(Way::Answers(status, headers));
        let error = azurite::store_over(&container, bent.clone()).insert(&Key::new("control"), b"{}").await.unwrap_err();
        assert_eq!((error.kind, bent.calls()), (kind, calls), "{status}: {error:?}");
        assert!(error.says.contains(says), "{status}: {error:?}");
        assert_eq!(error.retry_after, asked_to_wait.then_some(Duration::from_secs(30)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains(secret));
    }
    let unreachable = azurite::store(&container).read(&Key::new("control")).await.unwrap_err();
    assert_eq!(unreachable.kind, Transient, "{unreachable:?}");
    assert!(unreachable.says.contains("no connection to blob storage"), "{unreachable:?}");
    assert!(!format!("{unreachable:?}").contains(secret));
}

#[tokio::test]
async fn what_azurite_refuses_is_told_as_well() {
    let Some(azurite) = azurite::over_http() else { return };
    let fresh = azurite.container_by_key();
    let with = |signature: &str| {
        let (endpoint, name) = (&azurite.endpoint, fresh.name());
        azurite::store(&BlobContainer::from_url(&format!("{endpoint}/{name}?{signature}")).unwrap())
    };
    let key = Key::new("control");
    let all = azurite::container_signature(fresh.name(), "racwdl", "2099-12-31T00:00:00Z");
    let missing = with(&all).read(&key).await.unwrap_err();
    assert_eq!(missing.kind, NotFound, "{missing:?}");
    assert!(missing.says.contains("az storage container create"), "{missing:?}");
    assert_eq!(azurite::store(&fresh).read(&key).await.unwrap(), None, "who may make the container finds nothing in it");
    assert_eq!(with(&all).read(&key).await.unwrap(), None);
    let ended = azurite::container_signature(fresh.name(), "racwdl", "2020-01-01T00:00:00Z");
    let reads_only = azurite::container_signature(fresh.name(), "rl", "2099-12-31T00:00:00Z");
    assert_eq!(with(&reads_only).read(&key).await.unwrap(), None);
    for signature in [ended, reads_only, all.replace("sig=", "sig=x")] {
        let refused = with(&signature).insert(&key, b"{}").await.unwrap_err();
        assert_eq!(refused.kind, Denied, "{refused:?}");
    }
    assert!(matches!(with(&all).insert(&key, b"{}").await.unwrap(), Inserted::Now(_)));
}

#[tokio::test]
async fn foreign_blobs_in_the_container_are_left_out_of_lists() {
    let Some(azurite) = azurite::over_http() else { return };
    let container = azurite.by_signature(&azurite.container_by_key()).await;
    let store = azurite::store(&container);
    for name in ["records/A", "records/a b", "records/b%2520c"] {
        let BlobAccess::Signature(signature) = &container.access else { panic!("{container:?}") };
        let url = format!("{}/{name}?{}", container.url, signature.expose_secret());
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let put = http.put(url).header("x-ms-blob-type", "BlockBlob").header("x-ms-version", "2021-06-08").body("x");
        assert_eq!(put.send().await.unwrap().status(), 201, "{name}");
    }
    for name in ["records/a", "records/b", "records/c"] {
        store.insert(&Key::new(name), b"{}").await.unwrap();
    }
    let names = |keys: Vec<Key>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(store.list("records/", None, 2).await.unwrap()), ["records/a", "records/b"]);
    assert_eq!(names(store.list("records/", Some(&Key::new("records/a")), 9).await.unwrap()), ["records/b", "records/c"]);
}

/// The binary as it runs in Azure: a token from the platform's endpoint, over https, with the certificates of the system.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_reads_and_writes_with_a_managed_identity() {
    let Some(secure) = azurite::over_https() else { return };
    let token = || async {
        Json(json!({
            "access_token": azurite::emulator_token(), "expires_on": "4000000000", "token_type": "Bearer",
            "resource": "https://storage.azure.com"
        }))
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let identity = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/token", get(token))).await });
    let folder = tempfile::tempdir().unwrap();
    let container = secure.container();
    let run = |arguments: &'static [&'static str]| {
        let program = Program::new(arguments).in_folder(folder.path()).without_environment();
        let program = program.with([("SSL_CERT_FILE", &secure.authority_file)]).with([
            ("BACKOUT_STORE", container.url.as_str()),
            ("IDENTITY_ENDPOINT", &identity),
            ("IDENTITY_HEADER", "h"),
        ]);
        async {
            let output = program.ran().await;
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (output.status.code(), text(output.stdout), text(output.stderr))
        }
    };
    let (code, out, err) = run(&["history"]).await;
    assert_eq!((code, out.trim()), (Some(0), "no alert was seen yet"), "{err}");
    let (code, out, err) = run(&["pause", "--by", "ann"]).await;
    assert_eq!(code, Some(0), "{out} {err}");
    let kept = azurite::token_store_of(secure, &container).read(&Key::new("control")).await.unwrap().unwrap();
    assert!(String::from_utf8(kept.body).unwrap().contains(r#""paused":true"#));
}

#[tokio::test]
async fn a_container_is_made_once_and_only_when_something_is_asked_of_it() {
    let Some(azurite) = azurite::over_http() else { return };
    let container = azurite.container_by_key();
    let bent = Bent::new(Way::LosesAnswers);
    let store = azurite::store_over(&container, bent.clone());
    assert_eq!(bent.calls(), 0, "nothing is contacted before it is needed");
    assert_eq!(store.read(&Key::new("control")).await.unwrap(), None);
    let first = bent.calls();
    assert_eq!(store.read(&Key::new("control")).await.unwrap(), None);
    assert_eq!(bent.calls() - first, 1, "a read is one request");
}
