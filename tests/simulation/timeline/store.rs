//! The store that passes the contract suite, behind a way on which calls and answers get lost.

use std::sync::Arc;

use backout::{
    local::memory_store::MemoryStore,
    ports::{Inserted, Key, PortError, PortErrorKind, Replaced, StateStore, Stored, Version},
};
use futures::FutureExt as _;

use super::{
    counts::Kind,
    time::SECOND,
    world::{Dies, FaultIn, Handle, Side, World},
};

pub struct FaultyStore {
    pub memory: Arc<MemoryStore>,
    pub handle: Handle,
}

fn lost() -> PortError {
    PortError::new("reach the store", PortErrorKind::Transient, "no answer from the store")
}

fn throttled() -> PortError {
    PortError::new("reach the store", PortErrorKind::Throttled, "503 ServerBusy")
}

/// The store in memory never waits.
fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("a store in memory answers at once")
}

impl FaultyStore {
    fn fault(&self) -> PortError {
        self.handle.with(|world| {
            world.count(Kind::StoreFault);
            if world.chance.percent(50) { lost() } else { throttled() }
        })
    }

    /// A write. Now and then it arrives after its writer has died, or stands still.
    async fn write<T>(
        &self,
        now: impl FnOnce(&mut World) -> T,
        own_again: impl FnOnce() -> T,
        detached: impl FnOnce() -> Box<dyn FnOnce(&mut World) + Send>,
    ) -> Result<T, PortError> {
        let mut travel = self.handle.set_out(Side::Store).await;
        let late = self.handle.with(|world| {
            world.count(Kind::StoreCall);
            // Only a write whose writer hears nothing can come late.
            if travel.fault == Some(FaultIn::Answer) && world.chance.percent(30) {
                world.count(Kind::LateWrite);
                let after = world.chance.between(1, 20 * SECOND);
                Some(after)
            } else {
                None
            }
        });
        if let Some(after) = late {
            let deed = detached();
            self.handle.with(|world| {
                let writer = world.current;
                world.later(after, move |world| {
                    let current = std::mem::replace(&mut world.current, writer);
                    deed(world);
                    world.current = current;
                });
            });
            if self.handle.with(|world| world.chance.percent(50)) {
                travel.dies = Some(Dies::After);
            }
            self.handle.come_back(travel, Side::Store).await;
            return Err(self.fault());
        }
        if travel.fault == Some(FaultIn::Request) {
            self.handle.come_back(travel, Side::Store).await;
            return Err(self.fault());
        }
        let result = self.handle.with(now);
        self.handle.come_back(travel, Side::Store).await;
        if travel.fault == Some(FaultIn::Answer) {
            // The client itself tried again, and met its own write; or it gave up.
            if self.handle.with(|world| world.chance.percent(50)) {
                self.handle.with(|world| world.count(Kind::OwnWriteMet));
                return Ok(own_again());
            }
            return Err(self.fault());
        }
        Ok(result)
    }
}

#[async_trait::async_trait]
impl StateStore for FaultyStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let travel = self.handle.set_out(Side::Store).await;
        let (instance, memory) = (self.handle.instance, &self.memory);
        let read = self.handle.with(|world| {
            world.count(Kind::StoreCall);
            let read = at_once(memory.read(key))?;
            if travel.fault.is_none() {
                world.store_read(instance, key, read.as_ref().map(|stored| stored.body.as_slice()));
            }
            Ok(read)
        });
        self.handle.come_back(travel, Side::Store).await;
        if travel.fault.is_some() { Err(self.fault()) } else { read }
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        let (instance, memory) = (self.handle.instance, Arc::clone(&self.memory));
        self.write(
            |world| insert(world, instance, &self.memory, key, body),
            || Ok(Inserted::AlreadyThere),
            || {
                let (key, body) = (key.clone(), body.to_vec());
                Box::new(move |world| drop(insert(world, instance, &memory, &key, &body)))
            },
        )
        .await?
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        let (instance, memory) = (self.handle.instance, Arc::clone(&self.memory));
        self.write(
            |world| replace(world, instance, &self.memory, key, version, body),
            || Ok(Replaced::ChangedMeanwhile),
            || {
                let (key, version, body) = (key.clone(), version.clone(), body.to_vec());
                Box::new(move |world| drop(replace(world, instance, &memory, &key, &version, &body)))
            },
        )
        .await?
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        let (instance, memory) = (self.handle.instance, Arc::clone(&self.memory));
        self.write(
            |world| delete(world, instance, &self.memory, key, version),
            || Ok(false),
            || {
                let (key, version) = (key.clone(), version.clone());
                Box::new(move |world| drop(delete(world, instance, &memory, &key, &version)))
            },
        )
        .await?
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        let travel = self.handle.set_out(Side::Store).await;
        let listed = at_once(self.memory.list(prefix, after, limit));
        self.handle.with(|world| world.count(Kind::StoreCall));
        self.handle.come_back(travel, Side::Store).await;
        if travel.fault.is_some() { Err(self.fault()) } else { listed }
    }
}

fn insert(world: &mut World, instance: usize, memory: &MemoryStore, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
    let inserted = at_once(memory.insert(key, body))?;
    match &inserted {
        Inserted::Now(_) => world.store_written(instance, key, body),
        Inserted::AlreadyThere => {}
    }
    Ok(inserted)
}

fn replace(
    world: &mut World,
    instance: usize,
    memory: &MemoryStore,
    key: &Key,
    version: &Version,
    body: &[u8],
) -> Result<Replaced, PortError> {
    let replaced = at_once(memory.replace(key, version, body))?;
    match &replaced {
        Replaced::Now(_) => world.store_written(instance, key, body),
        Replaced::ChangedMeanwhile => world.count(Kind::LostRace),
    }
    Ok(replaced)
}

fn delete(world: &mut World, instance: usize, memory: &MemoryStore, key: &Key, version: &Version) -> Result<bool, PortError> {
    let deleted = at_once(memory.delete(key, version))?;
    if deleted {
        world.store_deleted(instance, key);
    }
    Ok(deleted)
}
