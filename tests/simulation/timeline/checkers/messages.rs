//! Invariant 7: what becomes of each message.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::{counts::Kind, queue::Queued, story::Meaning, world::World};
use super::{Invariant, StoredDocuments};

#[derive(Default)]
pub struct Messages {
    /// Messages of the story that were sent.
    sent: BTreeSet<usize>,
    /// Those of which a copy was completed.
    completed: BTreeSet<usize>,
    /// Firings whose message was completed when it was neither parked nor put back.
    firings: BTreeSet<usize>,
    /// Hashes of bodies that were parked.
    parked: BTreeSet<String>,
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

    pub fn body_parked(&mut self, sha256: &str) {
        self.checks.messages.parked.insert(sha256.to_owned());
    }

    /// A message was taken out of its queue for good.
    pub fn completed(&mut self, done: &Queued) {
        let Some(origin) = done.origin.or_else(|| self.origin_of(done)) else { return };
        self.checks.messages.completed.insert(origin);
        let sent = &self.story.messages[origin];
        let parked = self.checks.messages.parked.contains(&sent.body_sha256);
        let again = self.queue.messages.values().any(|queued| queued.message.body == sent.body);
        if parked || again {
            return;
        }
        let lost = match &sent.meaning {
            Meaning::Alert { firing, .. } => {
                let firing = *firing;
                self.checks.messages.firings.insert(firing);
                !self.checks.records.is_there(&self.story.firings[firing].record.0)
            }
            Meaning::Nonsense => true,
            Meaning::Deployment { .. } | Meaning::Elsewhere => false,
        };
        if lost {
            let queue = done.message.queue.clone();
            self.broken(Invariant::NothingLost, || {
                format!("a message of `{queue}` is done: it has no record, is not parked, and does not come back")
            });
        }
    }

    /// Whether a message about the firing of a record is left to a person in the queue.
    pub(super) fn is_dead_letter(&self, record: &str) -> bool {
        let about = |meaning: &Meaning| match meaning {
            Meaning::Alert { firing, .. } => self.story.firings[*firing].record.0 == record,
            Meaning::Deployment { .. } | Meaning::Elsewhere | Meaning::Nonsense => false,
        };
        let bodies: Vec<&Vec<u8>> =
            self.story.messages.iter().filter(|sent| about(&sent.meaning)).map(|sent| &sent.body).collect();
        self.queue.dead.iter().any(|dead| bodies.contains(&&dead.message.body))
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
    body_bytes: usize,
    body_base64: String,
}

/// Everything that was sent is done, parked with its body, or a dead letter; and each parked one was told.
pub fn judge(world: &mut World, documents: &StoredDocuments) {
    for (key, body) in documents.range("parked/".to_owned()..).take_while(|(key, _)| key.starts_with("parked/")) {
        let Ok(ParkedDocument { value }) = serde_json::from_slice::<ParkedDocument>(body) else {
            world.broken(Invariant::NothingLost, || format!("`{key}` is not readable"));
            return;
        };
        if value.body_base64.len() < value.body_bytes {
            world.broken(Invariant::NothingLost, || format!("`{key}` does not hold its body"));
        }
        if !world.checks.notices.names(&value.id) {
            world.broken(Invariant::Told, || format!("`{key}` was parked, and nobody was told"));
        }
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
