//! No more requests to one address at once than an instance has ports for: the others wait for their turn, and all are answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use backout::{
    azure::http::AT_ONCE_MAX,
    ports::{Key, StateStore},
    settings::blob_container::{BlobAccess, BlobContainer},
};
use futures::future::join_all;
use tokio::{net::TcpListener, sync::watch};
use url::Url;

use super::server::arm_at;
use crate::support::azurite;

const WANTED: usize = 3 * AT_ONCE_MAX;

/// A server that answers nothing before its gate is opened; then each request with what blob storage says of a blob that is not
/// there.
struct Gate {
    url: Url,
    arrived: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn build() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (open, opened) = watch::channel(false);
        let arrived = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&arrived);
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            opened.clone().wait_for(|open| *open).await.unwrap();
            (StatusCode::NOT_FOUND, [("x-ms-error-code", "BlobNotFound")])
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, arrived, open }
    }

    /// How many arrive while none is answered.
    async fn arrive_before_it_opens(&self) -> usize {
        while self.arrived.load(Ordering::SeqCst) < AT_ONCE_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Time for one too many.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let arrived = self.arrived.load(Ordering::SeqCst);
        self.open.send(true).unwrap();
        arrived
    }
}

#[tokio::test]
async fn requests_to_blob_storage_wait_for_their_turn() {
    let gate = Gate::build().await;
    let container =
        BlobContainer { url: gate.url.join("account/state").unwrap(), access: BlobAccess::Signature("sig=x".to_owned().into()) };
    let store = azurite::store(&container);
    let keys: Vec<Key> = (0..WANTED).map(|number| Key::new(format!("records/{number}"))).collect();
    let (read, arrived) = futures::join!(join_all(keys.iter().map(|key| store.read(key))), gate.arrive_before_it_opens());
    assert_eq!(arrived, AT_ONCE_MAX);
    assert!(read.into_iter().all(|read| read.unwrap().is_none()));
    assert_eq!(gate.arrived.load(Ordering::SeqCst), WANTED);
}

#[tokio::test]
async fn reads_of_the_resource_manager_wait_for_their_turn() {
    let gate = Gate::build().await;
    let arm = arm_at(gate.url.clone());
    let reads = (0..WANTED).map(|number| {
        let (arm, path) = (&arm, format!("/sites/{number}"));
        async move { arm.read("read a site", &path).await }
    });
    let (read, arrived) = futures::join!(join_all(reads), gate.arrive_before_it_opens());
    assert_eq!(arrived, AT_ONCE_MAX);
    assert!(read.iter().all(Result::is_err), "each was answered: not there");
    assert_eq!(gate.arrived.load(Ordering::SeqCst), WANTED);
}
