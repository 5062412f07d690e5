//! The newest records first. Their own keys are hashes, so each has a second, tiny document whose key descends with time.
//!
//! Both are written side by side when the alert arrives, and each copy of it leads to the same two keys. A crash in between leaves one
//! of them: a record without its entry gets it when the message is delivered again, as every message is whose delivery did not
//! end; an entry without its record is passed over. Records from before there were entries come last, and beyond the limit any of
//! them.

use jiff::Timestamp;
use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    Process,
    documents::{Loaded, keys},
};
use crate::{
    domain::record::{Record, RecordId},
    ports::{Key, PortError},
};
use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};

/// Records read at once for a list: one after the other they would take a trip each.
const READ_SIDE_BY_SIDE: usize = 16;

/// Of an entry; its key says it all.
const BODY: &[u8] = b"{}";

impl Process {
    /// Puts the record on the list. Called again: no effect.
    pub(super) async fn put_on_list(&self, record: &Record) -> Result<(), PortError> {
        self.documents.store().insert(&keys::recent(fired_at(record), &record.id), BODY).await?;
        Ok(())
    }

    /// Records, the newest first; at most `limit`.
    pub async fn records(&self, limit: usize) -> Result<Vec<Record>, PortError> {
        let store = self.documents.store();
        let mut records: Vec<Record> = Vec::new();
        let mut seen: BTreeSet<RecordId> = BTreeSet::new();
        let mut after: Option<Key> = None;
        while records.len() < limit {
            let wanted = limit - records.len();
            let keys = store.list(keys::RECENT, after.as_ref(), wanted).await?;
            // A firing that does not tell its time has an entry for each time it arrived.
            let new = keys.iter().filter_map(keys::record_of_recent).filter(|id| seen.insert(id.clone()));
            records.extend(self.read_records(new.collect()).await?);
            match keys.last() {
                Some(last) if keys.len() == wanted => after = Some(last.clone()),
                Some(_) | None => break,
            }
        }
        if records.len() < limit {
            let left = limit - records.len();
            let keys = store.list(keys::RECORDS, None, limit).await?;
            let ids = keys.iter().filter_map(|key| RecordId::parse(key.as_str().strip_prefix(keys::RECORDS)?).ok());
            records.extend(self.read_records(ids.filter(|id| !seen.contains(id)).take(left).collect()).await?);
        }
        records.sort_by_key(|record| Reverse(fired_at(record)));
        Ok(records)
    }

    async fn read_records(&self, ids: Vec<RecordId>) -> Result<Vec<Record>, PortError> {
        let keys: Vec<Key> = ids.iter().map(keys::record).collect();
        let reads: Vec<_> = keys.iter().map(|key| self.documents.read::<Record>(key).boxed()).collect();
        let read: Vec<Option<Loaded<Record>>> = stream::iter(reads).buffered(READ_SIDE_BY_SIDE).try_collect().await?;
        Ok(read.into_iter().flatten().map(|loaded| loaded.value).collect())
    }
}

/// The same for every copy of a firing. One that claims the future has no place above those to come.
fn fired_at(record: &Record) -> Timestamp {
    record.alert.fired_at.map_or(record.received_at, |at| at.min(record.received_at))
}
