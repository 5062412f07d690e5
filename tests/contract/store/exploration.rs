//! The store of the exhaustive exploration, undisturbed, with its calls one after the other.

use std::sync::{Arc, Mutex};

use backout::ports::{Inserted, Key, PortError, Replaced, StateStore, Stored, Version};
use serde_json::{Value, json};

use crate::simulation::explore::undisturbed::{UndisturbedWorld, WayKind};

/// It takes documents as a process writes them, so every body travels as the value of one.
pub struct ExplorationStore {
    world: Mutex<UndisturbedWorld>,
    store: Arc<dyn StateStore>,
}

impl ExplorationStore {
    pub fn new() -> Self {
        let world = UndisturbedWorld::new(WayKind::Toggle);
        Self { store: world.store(), world: Mutex::new(world) }
    }

    fn answered<T>(&self, call: impl Future<Output = T>) -> T {
        self.world.lock().unwrap().play(call)
    }
}

fn document(body: &[u8]) -> Vec<u8> {
    let document = json!({ "nonce": "00000000-0000-0000-0000-000000000000", "value": str::from_utf8(body).unwrap() });
    document.to_string().into_bytes()
}

fn body(document: &[u8]) -> Vec<u8> {
    let document: Value = serde_json::from_slice(document).unwrap();
    document["value"].as_str().unwrap().as_bytes().to_vec()
}

#[async_trait::async_trait]
impl StateStore for ExplorationStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let read = self.answered(self.store.read(key))?;
        Ok(read.map(|stored| Stored { body: body(&stored.body), version: stored.version }))
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.answered(self.store.insert(key, &document(body)))
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.answered(self.store.replace(key, version, &document(body)))
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.answered(self.store.delete(key, version))
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.answered(self.store.list(prefix, after, limit))
    }
}
