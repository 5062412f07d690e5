//! From the alert to the call there are at most three sequential round trips, however far away store and platform are.

use std::{sync::Arc, time::Duration};

use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use backout::{
    domain::{
        observation::{Observation, Preflight, WayBack},
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        series::{EvidenceMetric, Series},
        target::{Fingerprint, Target},
    },
    ports::{Inserted, Key, Platform, Platforms, PortError, Replaced, StateStore, Stored, Telemetry, Version},
    process::Ports,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{runtime::Handle, sync::Mutex, time::Instant};

use crate::support::{azurite, leaks::watched_process, policy::FixedPolicy, world::World};

/// What one trip takes on the paused clock: the time that has passed is the number of trips in a row.
const TRIP: Duration = Duration::from_secs(1);

struct Far<T: ?Sized>(Arc<T>, Arc<Mutex<Option<Instant>>>);

impl<T: ?Sized> Far<T> {
    async fn trip<R>(&self, call: impl Future<Output = R>) -> R {
        tokio::time::sleep(TRIP).await;
        call.await
    }
}

#[async_trait::async_trait]
impl StateStore for Far<dyn StateStore> {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.trip(self.0.read(key)).await
    }
    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.trip(self.0.insert(key, body)).await
    }
    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.trip(self.0.replace(key, version, body)).await
    }
    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.trip(self.0.delete(key, version)).await
    }
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.trip(self.0.list(prefix, after, limit)).await
    }
}

#[async_trait::async_trait]
impl Telemetry for Far<dyn Telemetry> {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        self.trip(self.0.series(metric, resource, from, to)).await
    }
}

impl Platforms for Far<dyn Platforms> {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::new(Far(self.0.of(target), Arc::clone(&self.1)))
    }
}

#[async_trait::async_trait]
impl Platform for Far<dyn Platform> {
    async fn observe(&self) -> Result<Observation, PortError> {
        self.trip(self.0.observe()).await
    }
    fn ways_back(&self, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
        self.0.ways_back(observation, proven)
    }
    fn rights(&self) -> Vec<NeededRight> {
        self.0.rights()
    }
    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.trip(self.0.preflight()).await
    }
    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.0.steps(way_back, fence)
    }
    async fn submit(&self, step: &Step) -> Submission {
        *self.1.lock().await = Some(Instant::now());
        self.0.submit(step).await
    }
    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.0.poll(operation).await
    }
    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.0.verify(way_back).await
    }
}

/// Each request of the store takes one trip; the clock stands still while it is answered elsewhere.
#[derive(Debug)]
struct FarStorage {
    inner: Arc<reqwest::Client>,
    elsewhere: Handle,
}

#[async_trait::async_trait]
impl HttpClient for FarStorage {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        tokio::time::sleep(TRIP).await;
        let (inner, elsewhere, request) = (Arc::clone(&self.inner), self.elsewhere.clone(), request.clone());
        let answered = tokio::task::spawn_blocking(move || {
            elsewhere.block_on(async {
                let (status, headers, body) = inner.execute_request(&request).await?.deconstruct();
                Ok(AsyncRawResponse::from_bytes(status, headers, body.collect().await?))
            })
        });
        answered.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn three_trips_lead_from_the_alert_to_the_call() {
    let world = World::new();
    let far = |sent: &Arc<Mutex<Option<Instant>>>| -> Arc<dyn StateStore> {
        Arc::new(Far(world.ports.store.clone(), Arc::clone(sent)))
    };
    assert_eq!(trips(&world, far).await, TRIP * 3);
}

/// Counted at the requests themselves, of which one call of the store might need several.
#[test]
fn three_requests_in_a_row_lead_from_the_alert_to_the_call_with_state_in_blob_storage() {
    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Some(azurite) = azurite::over_http() else { return };
    let container = elsewhere.block_on(azurite.by_signature(&azurite.container_by_key()));
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let storage = FarStorage { inner: Arc::new(http), elsewhere: elsewhere.handle().clone() };
    let here = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    here.block_on(async {
        let mut world = World::new();
        world.ports.store = Arc::new(azurite::store_over(&container, Arc::new(storage)));
        let store = world.ports.store.clone();
        assert_eq!(trips(&world, |_| store).await, TRIP * 3);
    });
}

/// The time from the alert to the call, with platform and measurements one trip away each.
async fn trips(world: &World, store: impl FnOnce(&Arc<Mutex<Option<Instant>>>) -> Arc<dyn StateStore>) -> Duration {
    let firing = world.break_it().await;
    let sent = Arc::new(Mutex::new(None));
    let ports = Ports {
        store: store(&sent),
        platforms: Arc::new(Far(world.ports.platforms.clone(), Arc::clone(&sent))),
        telemetry: Arc::new(Far(world.ports.telemetry.clone(), Arc::clone(&sent))),
        ..world.ports.clone()
    };
    let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))));
    let begun = Instant::now();
    process.alert_received(firing, &world.policy).await.unwrap();
    let sent = sent.lock().await.expect("the call was sent");
    sent.duration_since(begun)
}
