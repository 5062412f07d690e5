//! Firings nearby in time, for the storm rule (P1): each alert leaves a note and reads those of others.
//!
//! A note a resource and a slice of time, under a key that descends with time: the newest are found first however many there are,
//! and what no rule looks at any more is found behind them.

use std::collections::BTreeSet;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Process,
    documents::{SIDE_BY_SIDE, keys},
};
use crate::{
    decide::{
        case::{LATE_WINDOW, StormAlert},
        storm, who,
    },
    domain::{
        alert::Alert,
        policy::{Policy, StormRule},
        service::{Service, ServiceName},
    },
    ports::{Key, PortError},
};

/// Notes that are listed first; twice as many as are read of them, since a resource may have several.
const LISTED_FIRST: usize = 2 * READ_FIRST;

/// Notes that are listed at least where the first ones do not settle it; more where the rule's number asks for more.
const LISTED: usize = 200;

/// Slices of the rule's time, each with one note a resource at most: what fires again counts again.
const SLICES: u32 = 5;

/// Notes that are read at least before the rest is.
const READ_FIRST: usize = 16;

/// Old notes that are looked for at once, and that one sweep removes.
const OLD_PAGE: usize = 500;
const OLD_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StormDocument {
    resource: String,
    at: Timestamp,
    explained_by: Vec<ServiceName>,
}

impl Process {
    /// Notes this firing for others and lists theirs, side by side. As many as make a storm whatever is accused are enough: in a
    /// storm of thousands each alert lists and reads a few. What a store sends for a key can be ten times the key.
    pub(super) async fn read_storm(
        &self,
        alert: &Alert,
        received_at: Timestamp,
        now: Timestamp,
        meant: &[&Service],
        policy: &Policy,
    ) -> Result<Vec<StormAlert>, PortError> {
        let Some(resource) = alert.resources.first().map(|resource| resource.trim_end_matches('/').to_ascii_lowercase()) else {
            return Ok(Vec::new());
        };
        let ours: BTreeSet<ServiceName> =
            who::scope(meant, policy).into_iter().map(|(service, _)| service.name.clone()).collect();
        let rule = policy.storm;
        let own = keys::storm(slice_of(received_at, rule), &resource);
        let document = StormDocument { resource, at: received_at, explained_by: ours.iter().cloned().collect() };
        let enough = (rule.resources as usize).saturating_sub(1);
        let listed_first = LISTED_FIRST.max(enough.saturating_mul(4));
        let (inserted, listed) =
            futures::join!(self.documents.insert(&own, document), self.documents.store().list(keys::STORM, None, listed_first));
        inserted?;
        let listed = listed?;
        let horizon = storm::counts_since(received_at, now, rule);
        // What is older may wait for the next sweep to remove it, but no rule looks at it.
        let oldest = keys::storm_before(slice_of(horizon, rule) - SignedDuration::from_secs(1));
        let notes_of_others = |listed: &[Key]| newest_of_each_other(listed.iter().take_while(|key| **key < oldest), &own);
        let about =
            |note: &StormAlert| alert.resources.iter().any(|own| own.trim_end_matches('/').eq_ignore_ascii_case(&note.resource));
        let counts_anyway =
            |note: &&StormAlert| note.at >= horizon && !about(note) && note.explained_by.iter().all(|name| !ours.contains(name));
        let mut others = notes_of_others(&listed);
        // Bodies are read only when there are enough firings for a storm at all.
        let first =
            if others.len() < enough { Vec::new() } else { others[..others.len().min(READ_FIRST.max(enough * 2))].to_vec() };
        let mut storm = self.read_notes(&first).await?;
        if storm.iter().filter(counts_anyway).count() >= enough {
            return Ok(storm);
        }
        if listed.len() == listed_first && listed.last().is_some_and(|last| *last < oldest) {
            // One resource has a note in each slice, and the time may begin inside of one.
            let slices = usize::try_from(now.duration_since(horizon).as_secs() / slice_seconds(rule) + 1).unwrap_or(usize::MAX);
            let all = LISTED.max(enough.saturating_mul(slices.saturating_mul(2)));
            others = notes_of_others(&self.documents.store().list(keys::STORM, None, all).await?);
        }
        if others.len() >= enough {
            others.retain(|key| !first.contains(key));
            storm.extend(self.read_notes(&others).await?);
        }
        Ok(storm)
    }

    async fn read_notes(&self, keys: &[Key]) -> Result<Vec<StormAlert>, PortError> {
        let notes: Vec<StormDocument> = self.documents.read_each(keys).await?;
        let note = |StormDocument { resource, at, explained_by }| StormAlert { resource, at, explained_by };
        Ok(notes.into_iter().map(note).collect())
    }

    /// Removes notes that no rule looks at any more.
    pub(super) async fn forget_old_storms(&self, policy: &Policy) -> Result<(), PortError> {
        let store = self.documents.store();
        let oldest = self.ports.clock.now() - (LATE_WINDOW + policy.storm.within * 2);
        let mut after = keys::storm_before(oldest);
        for _ in 0..OLD_MAX / OLD_PAGE {
            let keys = store.list(keys::STORM, Some(&after), OLD_PAGE).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = last.clone();
            let removals = keys.iter().map(|key| {
                async move {
                    if let Some(stored) = store.read(key).await? {
                        store.delete(key, &stored.version).await?;
                    }
                    Ok::<(), PortError>(())
                }
                .boxed()
            });
            let removals: Vec<_> = removals.collect();
            stream::iter(removals).buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }
}

/// When the slice began that a moment lies in.
fn slice_of(at: Timestamp, rule: StormRule) -> Timestamp {
    at - SignedDuration::from_secs(at.as_second().rem_euclid(slice_seconds(rule)))
}

fn slice_seconds(rule: StormRule) -> i64 {
    (rule.within.as_secs() / i64::from(SLICES)).max(1)
}

/// Without the firing's own resource, and each other one once.
fn newest_of_each_other<'k>(keys: impl Iterator<Item = &'k Key>, own: &Key) -> Vec<Key> {
    let resource = |key: &Key| key.as_str().rsplit('-').next().map(str::to_owned);
    let mut seen = BTreeSet::from([resource(own)]);
    keys.filter(|key| seen.insert(resource(key))).cloned().collect()
}
