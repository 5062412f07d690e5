//! Typed documents over the store, with the nonce that tells our own retried write from somebody else's.

use std::sync::Arc;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    domain::{
        record::RecordId,
        target::{TargetKey, VersionToken, short_hash},
    },
    ports::{Inserted, Key, PortError, PortErrorKind, Replaced, StateStore, Version},
};

/// A document and the version at which it was read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    pub value: T,
    pub version: Version,
}

/// What an insert came to.
#[derive(Debug)]
pub enum Insert<T> {
    Now(Loaded<T>),
    /// Somebody else's document stands there.
    Taken(Loaded<T>),
}

/// What a compare-and-set came to.
#[derive(Debug)]
pub enum Replace<T> {
    Now(Loaded<T>),
    ChangedMeanwhile,
}

/// What a caller knows of a document before it changes it.
#[derive(Debug, Clone)]
pub enum ReadBefore<T> {
    NotRead,
    Absent,
    There(Loaded<T>),
}

impl<T> From<Option<Loaded<T>>> for ReadBefore<T> {
    fn from(read: Option<Loaded<T>>) -> Self {
        read.map_or(Self::Absent, Self::There)
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    nonce: Uuid,
    value: T,
}

/// How often a read-modify-write is tried again when somebody else was faster.
const UPDATES_MAX: usize = 10;

/// Calls of the store at once for a list: one after the other, each would take a trip.
pub const SIDE_BY_SIDE: usize = 16;

#[derive(Clone)]
pub struct Documents {
    store: Arc<dyn StateStore>,
    turns: Arc<Turns>,
}

/// Where those stand in line who lost a race for a document inside this process. Sixteen at once that only tried again would lose
/// to each other, the last of them more often than [`UPDATES_MAX`]. Two documents may share a line, which costs time only.
struct Turns([Mutex<()>; 64]);

impl Turns {
    fn of(&self, key: &Key) -> &Mutex<()> {
        let sum = key.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        &self.0[sum % self.0.len()]
    }
}

impl Documents {
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store, turns: Arc::new(Turns(std::array::from_fn(|_| Mutex::default()))) }
    }

    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    pub async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Loaded<T>>, PortError> {
        Ok(self.read_envelope(key).await?.map(|(envelope, version)| Loaded { value: envelope.value, version }))
    }

    /// What is there of several documents, in the order of their keys.
    pub async fn read_each<T: DeserializeOwned + Send>(&self, keys: &[Key]) -> Result<Vec<T>, PortError> {
        let reads: Vec<_> = keys.iter().map(|key| self.read::<T>(key).boxed()).collect();
        let read: Vec<Option<Loaded<T>>> = stream::iter(reads).buffered(SIDE_BY_SIDE).try_collect().await?;
        Ok(read.into_iter().flatten().map(|loaded| loaded.value).collect())
    }

    /// Inserts if the key is free. Our own write whose answer got lost counts as `Now`.
    pub async fn insert<T: Serialize + DeserializeOwned>(&self, key: &Key, value: T) -> Result<Insert<T>, PortError> {
        let envelope = Envelope { nonce: Uuid::new_v4(), value };
        match self.store.insert(key, &encode(&envelope)?).await? {
            Inserted::Now(version) => Ok(Insert::Now(Loaded { value: envelope.value, version })),
            Inserted::AlreadyThere => match self.read_envelope::<T>(key).await? {
                Some((found, version)) if found.nonce == envelope.nonce => {
                    Ok(Insert::Now(Loaded { value: found.value, version }))
                }
                Some((found, version)) => Ok(Insert::Taken(Loaded { value: found.value, version })),
                None => Err(PortError::new(
                    "insert a document",
                    PortErrorKind::Transient,
                    format!("`{key}` was removed while it was written"),
                )),
            },
        }
    }

    /// Writes if the document is still at `version`. Our own write whose answer got lost counts as `Now`.
    pub async fn replace<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key,
        version: &Version,
        value: T,
    ) -> Result<Replace<T>, PortError> {
        let envelope = Envelope { nonce: Uuid::new_v4(), value };
        match self.store.replace(key, version, &encode(&envelope)?).await? {
            Replaced::Now(version) => Ok(Replace::Now(Loaded { value: envelope.value, version })),
            Replaced::ChangedMeanwhile => match self.read_envelope::<T>(key).await? {
                Some((found, version)) if found.nonce == envelope.nonce => {
                    Ok(Replace::Now(Loaded { value: found.value, version }))
                }
                Some(_) | None => Ok(Replace::ChangedMeanwhile),
            },
        }
    }

    /// Reads, changes and writes until nobody was faster. `change` gets the current value, or `fresh` where there is none,
    /// and may be called again; it returns `None` to leave all as it is.
    pub async fn update<T, R>(
        &self,
        key: &Key,
        fresh: impl Fn() -> Option<T> + Send,
        change: impl FnMut(&mut T) -> Option<R> + Send,
    ) -> Result<Option<(Loaded<T>, R)>, PortError>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Send,
    {
        self.update_from(key, ReadBefore::NotRead, fresh, change).await
    }

    /// [`Self::update`] whose first try starts from what was read before, and so saves the trip.
    pub async fn update_from<T, R>(
        &self,
        key: &Key,
        mut read_before: ReadBefore<T>,
        fresh: impl Fn() -> Option<T> + Send,
        mut change: impl FnMut(&mut T) -> Option<R> + Send,
    ) -> Result<Option<(Loaded<T>, R)>, PortError>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Send,
    {
        // Nobody waits without need: what holds up one caller of the store does not hold up the others.
        let mut turn = None;
        for _ in 0..UPDATES_MAX {
            let loaded = match std::mem::replace(&mut read_before, ReadBefore::NotRead) {
                ReadBefore::There(loaded) => Some(loaded),
                ReadBefore::Absent => None,
                ReadBefore::NotRead => self.read::<T>(key).await?,
            };
            let (mut value, version) = match loaded {
                Some(loaded) => (loaded.value, Some(loaded.version)),
                None => match fresh() {
                    Some(value) => (value, None),
                    None => return Ok(None),
                },
            };
            let Some(result) = change(&mut value) else { return Ok(None) };
            match version {
                Some(version) => {
                    if let Replace::Now(loaded) = self.replace(key, &version, value).await? {
                        return Ok(Some((loaded, result)));
                    }
                }
                None => {
                    if let Insert::Now(loaded) = self.insert(key, value).await? {
                        return Ok(Some((loaded, result)));
                    }
                }
            }
            if turn.is_none() {
                turn = Some(self.turns.of(key).lock().await);
            }
        }
        Err(PortError::new(
            "update a document",
            PortErrorKind::Transient,
            format!("`{key}` kept changing; it will be tried again"),
        ))
    }

    async fn read_envelope<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<(Envelope<T>, Version)>, PortError> {
        let Some(stored) = self.store.read(key).await? else { return Ok(None) };
        // Checked for UTF-8 as a whole, which is quicker than string by string; what is none is told with its place.
        let envelope = match std::str::from_utf8(&stored.body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(&stored.body),
        };
        let envelope = envelope.map_err(|error| {
            // The error's own words quote what stands there.
            let (line, column) = (error.line(), error.column());
            let says = format!(
                "document `{key}` is not readable (at line {line}, column {column}); it may come from a newer version of backout"
            );
            PortError::new("read a document", PortErrorKind::Invalid, says)
        })?;
        Ok(Some((envelope, stored.version)))
    }
}

fn encode<T: Serialize>(envelope: &Envelope<T>) -> Result<Vec<u8>, PortError> {
    // Nearly all documents are smaller, but for the inputs of a decision: they need not grow in between.
    let mut body = Vec::with_capacity(4_096);
    serde_json::to_writer(&mut body, envelope)
        .map_err(|error| PortError::new("write a document", PortErrorKind::Invalid, error))?;
    Ok(body)
}

/// The keys of the store, all in one place (design section 5).
pub mod keys {
    use super::{Key, RecordId, TargetKey, Timestamp, VersionToken, short_hash};

    pub const RECORDS: &str = "records/";
    /// The records once more, the newest first.
    pub const RECENT: &str = "recent/";
    pub const PARKED: &str = "parked/";
    pub const OUTBOX: &str = "outbox/";
    /// Firings of the last minutes, the newest first.
    pub const STORM: &str = "storms/";

    pub fn target(target: &TargetKey) -> Key {
        Key::new(format!("targets/{}", target.hash()))
    }

    /// A claim and a tombstone of one token share the key: whoever comes second finds the first.
    pub fn claim(target: &TargetKey, token: &VersionToken) -> Key {
        Key::new(format!("claims/{}", short_hash(&[target.claimed(), &token.0])))
    }

    pub fn record(record: &RecordId) -> Key {
        Key::new(format!("{RECORDS}{record}"))
    }

    /// Equal inputs of a record are one document.
    pub fn inputs(record: &RecordId, sha256: &str) -> Key {
        Key::new(format!("inputs/{record}/{sha256}"))
    }

    pub fn control() -> Key {
        Key::new("control")
    }

    pub fn budget(scope: &str) -> Key {
        Key::new(format!("budget/{}", short_hash(&[scope])))
    }

    pub fn recent(fired_at: Timestamp, record: &RecordId) -> Key {
        Key::new(format!("{RECENT}{}-{record}", newest_first(fired_at.as_millisecond())))
    }

    /// Behind the records of firings after `at`, and before the others.
    pub fn recent_before(at: Timestamp) -> Key {
        Key::new(format!("{RECENT}{}", newest_first(at.as_millisecond())))
    }

    /// `None` for a name that is not of [`recent`].
    pub fn record_of_recent(key: &Key) -> Option<RecordId> {
        let (_, record) = key.as_str().strip_prefix(RECENT)?.split_once('-')?;
        RecordId::parse(record).ok()
    }

    /// A firing on a resource, in the seconds that begin at `since`.
    pub fn storm(since: Timestamp, resource: &str) -> Key {
        Key::new(format!("{}-{}", storm_before(since), short_hash(&[resource])))
    }

    /// Behind the firings after `at`, and before the others.
    pub fn storm_before(at: Timestamp) -> Key {
        Key::new(format!("{STORM}{}", newest_first(at.as_second())))
    }

    /// Keys are listed in ascending order only.
    fn newest_first(number: i64) -> String {
        const LAST: i64 = 99_999_999_999_999;
        format!("{:014}", LAST - number.clamp(0, LAST))
    }

    pub fn parked(id: &str) -> Key {
        Key::new(format!("{PARKED}{id}"))
    }

    pub fn outbox(id: &str) -> Key {
        Key::new(format!("{OUTBOX}{id}"))
    }

    /// That alerts of a subscription can't be looked for.
    pub fn unreadable_alerts(subscription: &str) -> Key {
        Key::new(format!("unreadable-alerts/{}", short_hash(&[subscription])))
    }

    /// Receipts of a target's chain, by number.
    pub fn target_receipt(target: &TargetKey, number: u64) -> Key {
        Key::new(format!("receipts/{}/{number:010}", target.hash()))
    }

    /// Receipts of a record that means no target.
    pub fn record_receipt(record: &RecordId, number: u64) -> Key {
        Key::new(format!("receipts/r-{record}/{number:010}"))
    }
}
