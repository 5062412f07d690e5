//! The store in memory: for tests, and for a policy under which nothing may act.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::ports::{Inserted, Key, PortError, Replaced, StateStore, Stored, Version};

#[derive(Debug, Default)]
pub struct MemoryStore {
    documents: Mutex<Documents>,
}

#[derive(Debug, Default)]
struct Documents {
    by_key: BTreeMap<String, (Vec<u8>, u64)>,
    writes: u64,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn with<R>(&self, work: impl FnOnce(&mut Documents) -> R) -> R {
        work(&mut self.documents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait::async_trait]
impl StateStore for MemoryStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        Ok(self.with(|documents| {
            documents
                .by_key
                .get(key.as_str())
                .map(|(body, version)| Stored { body: body.clone(), version: Version(version.to_string()) })
        }))
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        Ok(self.with(|documents| {
            if documents.by_key.contains_key(key.as_str()) {
                return Inserted::AlreadyThere;
            }
            documents.writes += 1;
            documents.by_key.insert(key.as_str().to_owned(), (body.to_vec(), documents.writes));
            Inserted::Now(Version(documents.writes.to_string()))
        }))
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        Ok(self.with(|documents| {
            documents.writes += 1;
            let written = documents.writes;
            match documents.by_key.get_mut(key.as_str()) {
                Some((stored, at)) if at.to_string() == version.0 => {
                    *stored = body.to_vec();
                    *at = written;
                    Replaced::Now(Version(written.to_string()))
                }
                Some(_) | None => Replaced::ChangedMeanwhile,
            }
        }))
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        Ok(self.with(|documents| {
            let there = documents.by_key.get(key.as_str()).is_some_and(|(_, at)| at.to_string() == version.0);
            if there {
                documents.by_key.remove(key.as_str());
            }
            there
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        Ok(self.with(|documents| {
            documents
                .by_key
                .range(prefix.to_owned()..)
                .map(|(key, _)| key)
                .take_while(|key| key.starts_with(prefix))
                .filter(|key| after.is_none_or(|after| key.as_str() > after.as_str()))
                .take(limit)
                .map(|key| Key::new(key.clone()))
                .collect()
        }))
    }
}
