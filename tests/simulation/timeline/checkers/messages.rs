//! Invariant 7: what becomes of each message.

use std::{collections::BTreeSet, sync::Arc};

use backout::process::documents::keys;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::super::{
    counts::Kind,
    queue::Queued,
    story::{Firing, Meaning},
    time::{MINUTE, Micros, SECOND},
    world::World,
};
use super::{Invariant, StoredDocuments};

#[derive(Default)]
pub struct Messages {
    /// Messages of the story that were sent.
    sent: BTreeSet<usize>,
    /// Those of which a copy was completed.
    completed: BTreeSet<usize>,
    /// Firings whose message was completed when it was neither parked nor put back; of these, those that it said are resolved.
    firings: BTreeSet<usize>,
    resolved: BTreeSet<usize>,
    /// Deployment events, by message, that were completed so.
    deployments: BTreeSet<usize>,
    /// Whatever was ever parked; a person may have replayed it since.
    parked: Vec<ParkedValue>,
}

impl Messages {
    pub fn handled_firings(&self) -> impl Iterator<Item = usize> {
        self.firings.iter().copied()
    }
}

impl World {
    pub fn sent_from_outside(&mut self, message: usize) {
        let first = self.checks.messages.sent.insert(message);
        match &self.story.messages[message].meaning {
            Meaning::Alert { resolved: false, firing } => {
                let outside = self.story.firings[*firing].service.is_none();
                self.count(if first { Kind::Firing } else { Kind::AlertCopy });
                if first && outside {
                    self.count(Kind::OutsideFiring);
                }
            }
            Meaning::Alert { resolved: true, .. } => self.count(Kind::Resolved),
            Meaning::Deployment { .. } | Meaning::Elsewhere => self.count(Kind::DeploymentEvent),
            Meaning::Nonsense => self.count(Kind::Malformed),
        }
    }

    pub fn parked_written(&mut self, key: &str, body: &str) {
        let Ok(ParkedDocument { value }) = serde_json::from_str(body) else {
            self.broken(Invariant::NothingLost, || format!("`{key}` is not readable"));
            return;
        };
        self.checks.messages.parked.push(value);
    }

    /// A message was taken out of its queue for good.
    pub fn completed(&mut self, done: &Queued) {
        let Some(origin) = done.origin.or_else(|| self.origin_of(done)) else { return };
        self.checks.messages.completed.insert(origin);
        let sent = &self.story.messages[origin];
        let parked = self.checks.messages.parked.iter().any(|parked| parked.body_sha256 == sent.body_sha256);
        let again = self.queue.messages.values().any(|queued| queued.message.body == sent.body);
        if parked || again {
            return;
        }
        let lost = match &sent.meaning {
            Meaning::Alert { firing, resolved } => {
                let (firing, resolved) = (*firing, *resolved);
                self.checks.messages.firings.insert(firing);
                if resolved {
                    self.checks.messages.resolved.insert(firing);
                }
                !self.checks.records.is_there(&self.story.firings[firing].record.0)
            }
            Meaning::Nonsense => true,
            // What becomes of it is seen at the end.
            Meaning::Deployment { .. } => {
                self.checks.messages.deployments.insert(origin);
                false
            }
            Meaning::Elsewhere => false,
        };
        if lost {
            let queue = done.message.queue.clone();
            self.broken(Invariant::NothingLost, || {
                format!("a message of `{queue}` is done: it has no record, is not parked, and does not come back")
            });
        }
    }

    /// What we put back ourselves has the same bytes.
    fn origin_of(&self, done: &Queued) -> Option<usize> {
        if done.message.returns == 0 && done.message.message_id.is_none() {
            return None;
        }
        self.story.messages.iter().position(|sent| sent.queue == done.message.queue && sent.body == done.message.body)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParkedDocument {
    value: ParkedValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParkedValue {
    id: String,
    queue: String,
    parked_at: Timestamp,
    body_sha256: String,
    body_bytes: usize,
    body_base64: String,
}

impl ParkedValue {
    fn body(&self) -> Option<Vec<u8>> {
        data_encoding::BASE64.decode(self.body_base64.as_bytes()).ok()
    }

    /// A notice speaks for what is parked from its queue within the hour, by clocks that differ a little.
    fn is_spoken_for_by(&self, other: &Self) -> bool {
        let apart = self.parked_at.duration_since(other.parked_at).abs();
        self.queue == other.queue && apart <= SignedDuration::from_mins(63)
    }
}

/// A sweep finds what never arrived within an hour of its firing. It comes every quarter of an hour, and may have to wait for an
/// instance that stands still when faults end.
const LOST_IS_FOUND_WITHIN: Micros = 20 * MINUTE;

/// What completed messages said is kept where decisions read it, and what never arrived was looked for.
fn judge_what_is_kept(world: &mut World, documents: &StoredDocuments) {
    let story = Arc::clone(&world.story);
    let record = |firing: &Firing| {
        let stored = documents.get(&format!("records/{}", firing.record))?;
        serde_json::from_slice::<ResolvedDocument>(stored).ok()
    };
    let unresolved = world.checks.messages.resolved.iter().map(|firing| &story.firings[*firing]);
    if let Some(firing) = unresolved.clone().find(|firing| record(firing).is_none_or(|kept| kept.value.resolved_at.is_none())) {
        world.broken(Invariant::NothingLost, || {
            format!("record {} does not say that its alert is resolved, and its message is done", firing.record)
        });
    }
    let said = world.checks.messages.deployments.iter().filter_map(|message| match &story.messages[*message].meaning {
        Meaning::Deployment { id, site } => Some((id, *site)),
        Meaning::Alert { .. } | Meaning::Elsewhere | Meaning::Nonsense => None,
    });
    // What the policy did not name when it came is about nothing.
    let said = said.filter(|(_, site)| story.is_always_named(*site));
    let is_kept = |(id, site): &(&String, usize)| {
        let stored = documents.get(keys::target(&world.sites[*site].key).as_str());
        stored.is_some_and(|body| String::from_utf8_lossy(body).contains(&format!("\"eventId\":\"{id}\"")))
    };
    if let Some((id, site)) = said.clone().find(|said| !is_kept(said)) {
        world.broken(Invariant::NothingLost, || format!("event `{id}` about site {site} is done, and nowhere kept"));
    }
    // Without a policy nobody knows whose alerts to look for.
    let mut without_policy = story.weather.policy_wrong.iter().chain(&story.weather.policy_away);
    if without_policy.any(|window| window.to > story.faults_end) {
        return;
    }
    let found = story.faults_end.saturating_sub(LOST_IS_FOUND_WITHIN);
    let lost = story.firings.iter().filter(|firing| firing.lost && firing.at > found && firing.at < story.faults_end);
    let lost = lost.filter(|firing| firing.service.is_some_and(|service| story.is_always_named(service)));
    let is_known = |firing: &&Firing| {
        // Another one of the same rule at the same time is taken for it.
        let same = |other: &&Firing| other.service == firing.service && other.at.abs_diff(firing.at) <= 2 * SECOND;
        story.firings.iter().filter(same).any(|firing| record(firing).is_some())
    };
    // What was fetched has other bytes than what never arrived.
    let bodies: Vec<Vec<u8>> = world.checks.messages.parked.iter().filter_map(ParkedValue::body).collect();
    let is_kept_otherwise = |firing: &&Firing| {
        let Some(id) = &firing.alert.id else { return false };
        let dead = world.queue.dead.iter().map(|dead| dead.message.body.as_slice());
        bodies.iter().map(Vec::as_slice).chain(dead).any(|body| String::from_utf8_lossy(body).contains(id.as_str()))
    };
    if let Some(firing) = lost.clone().find(|firing| !is_known(firing) && !is_kept_otherwise(firing)) {
        world.broken(Invariant::NothingLost, || {
            format!("the monitoring service keeps the firing of record {}, which never arrived, and nobody looked", firing.record)
        });
    }
}

#[derive(Deserialize)]
struct ResolvedDocument {
    value: ResolvedValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedValue {
    resolved_at: Option<Timestamp>,
}

/// Everything that was sent is done, parked with its body, or a dead letter; and people were told of each parked one.
pub fn judge(world: &mut World, documents: &StoredDocuments) {
    judge_what_is_kept(world, documents);
    for (key, body) in documents.range("parked/".to_owned()..).take_while(|(key, _)| key.starts_with("parked/")) {
        let Ok(ParkedDocument { value }) = serde_json::from_slice::<ParkedDocument>(body) else {
            world.broken(Invariant::NothingLost, || format!("`{key}` is not readable"));
            return;
        };
        if value.body_base64.len() < value.body_bytes {
            world.broken(Invariant::NothingLost, || format!("`{key}` does not hold its body"));
        }
    }
    let parked = &world.checks.messages.parked;
    let named: Vec<&ParkedValue> = parked.iter().filter(|value| world.checks.notices.names(&value.id)).collect();
    // Told before it is kept: who was told of may have died, and its message be parked for another reason, which the notice speaks for.
    let kept: Vec<&str> = parked.iter().map(|value| value.id.as_str()).collect();
    let is_told = |value: &ParkedValue| {
        named.iter().any(|named| value.is_spoken_for_by(named)) || world.checks.notices.names_another_of(&value.queue, &kept)
    };
    let untold = parked.iter().find(|value| !is_told(value)).map(|value| value.id.clone());
    if let Some(untold) = untold {
        world.broken(Invariant::Told, || format!("`{untold}` was parked, and nobody was told"));
    }
    let dead: Vec<Vec<u8>> = world.queue.dead.iter().map(|dead| dead.message.body.clone()).collect();
    let lost = world.checks.messages.sent.iter().copied().find(|message| {
        let sent = &world.story.messages[*message];
        let queued = world.queue.messages.values().any(|queued| queued.message.body == sent.body);
        !world.checks.messages.completed.contains(message) && !queued && !dead.contains(&sent.body)
    });
    if let Some(lost) = lost {
        let queue = world.story.messages[lost].queue;
        world.broken(Invariant::NothingLost, || format!("message {lost} of `{queue}` is nowhere any more"));
    }
}
