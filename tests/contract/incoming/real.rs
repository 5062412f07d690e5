//! The embedded queue, and Service Bus by its real client against the simulated one.

use std::{sync::Arc, time::Duration};

use backout::{
    azure::service_bus::ServiceBusQueues,
    local::embedded_queue::EmbeddedQueue,
    ports::{Clock, DeadLetters, FollowUps, Incoming, Walk},
    sim::{AzureSimulation, QueueOptions, clock::ManualClock},
};
use jiff::Timestamp;

use super::{bodies, stage::Stage};
use crate::support::simulated::identity;

pub struct RealStage {
    sender: Arc<dyn FollowUps>,
    incoming: Arc<dyn Incoming>,
    pub dead_letters: Arc<dyn DeadLetters>,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
    azure: Option<AzureSimulation>,
}

impl RealStage {
    pub fn embedded_in_memory() -> Self {
        let clock = clock();
        Self::over(Arc::new(EmbeddedQueue::in_memory(clock.clone())), clock, tempfile::tempdir().unwrap(), None)
    }

    pub fn embedded_in_a_file() -> Self {
        let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
        let queue = EmbeddedQueue::in_file(folder.path().join("deep/state.db"), clock.clone());
        Self::over(Arc::new(queue), clock, folder, None)
    }

    pub async fn service_bus() -> Self {
        let clock = clock();
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let queues =
            ServiceBusQueues::with_identity(azure.namespace(), Some(azure.bus_url()), identity(&azure, None), clock.clone());
        Self::over(Arc::new(queues.unwrap()), clock, tempfile::tempdir().unwrap(), Some(azure))
    }

    pub async fn service_bus_that_detects_duplicates() -> Self {
        let stage = Self::service_bus().await;
        let options = QueueOptions { duplicate_detection: Some(Duration::from_mins(10)), ..QueueOptions::default() };
        stage.azure.as_ref().unwrap().add_queue("followups", options);
        stage
    }

    fn over<Q: FollowUps + Incoming + DeadLetters + 'static>(
        queue: Arc<Q>,
        clock: Arc<ManualClock>,
        folder: tempfile::TempDir,
        azure: Option<AzureSimulation>,
    ) -> Self {
        Self { sender: queue.clone(), incoming: queue.clone(), dead_letters: queue, clock, _folder: folder, azure }
    }

    pub async fn look(&self, queue: &str) -> Walk {
        self.dead_letters.walk(queue, 100, &|_| false).await
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-25T10:00:00Z".parse().unwrap()))
}

impl Stage for RealStage {
    fn sender(&self) -> Arc<dyn FollowUps> {
        Arc::clone(&self.sender)
    }

    fn incoming(&self) -> Arc<dyn Incoming> {
        Arc::clone(&self.incoming)
    }

    async fn dead(&self, queue: &str) -> Vec<String> {
        bodies(&self.look(queue).await).into_iter().map(ToOwned::to_owned).collect()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}
