//! A store that counts what is asked of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use backout::ports::{Inserted, Key, PortError, Replaced, StateStore, Stored, Version};

/// Calls and bytes by operation and kind of document, such as `read targets`: bytes that came back of reads, that went out of
/// writes, and of lists the number of keys.
pub type Counts = BTreeMap<String, (usize, usize)>;

pub struct Counted {
    inner: Arc<dyn StateStore>,
    counts: Mutex<Counts>,
}

impl Counted {
    pub fn new(inner: Arc<dyn StateStore>) -> Arc<Self> {
        Arc::new(Self { inner, counts: Mutex::default() })
    }

    /// Since it was asked last.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    fn count(&self, operation: &str, key: &str, size: usize) {
        let kind = key.split('/').next().unwrap_or_default();
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(format!("{operation} {kind}")).or_default();
        *count = (count.0 + 1, count.1 + size);
    }
}

#[async_trait::async_trait]
impl StateStore for Counted {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let stored = self.inner.read(key).await?;
        self.count("read", key.as_str(), stored.as_ref().map_or(0, |stored| stored.body.len()));
        Ok(stored)
    }
    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.count("insert", key.as_str(), body.len());
        self.inner.insert(key, body).await
    }
    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.count("replace", key.as_str(), body.len());
        self.inner.replace(key, version, body).await
    }
    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.count("delete", key.as_str(), 0);
        self.inner.delete(key, version).await
    }
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        let keys = self.inner.list(prefix, after, limit).await?;
        self.count("list", prefix, keys.len());
        Ok(keys)
    }
}
