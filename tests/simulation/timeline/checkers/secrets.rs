//! Invariant 9, and what people were told.

use std::{borrow::Cow, collections::BTreeSet};

use backout::{
    domain::policy::{Channel, NoticeKind, NotifyRule},
    ports::Notice,
};

use super::super::{
    bodies::{CLAIM, SECRET},
    counts::Kind,
    world::World,
};
use super::{Invariant, StoredDocuments};

#[derive(Default)]
pub struct Notices {
    /// Record, kind and channel of each that arrived.
    told: BTreeSet<(String, String, String)>,
    /// Titles and texts of those about no record.
    others: Vec<String>,
}

impl Notices {
    /// `channel` is `None` where the log is the channel.
    pub fn was_told(&self, record: &str, kind: NoticeKind, channel: Option<Channel>) -> bool {
        let channel = channel.unwrap_or(Channel::Log);
        self.told.contains(&(record.to_owned(), format!("{kind:?}"), format!("{channel:?}")))
    }

    pub fn names(&self, id: &str) -> bool {
        self.others.iter().any(|text| text.contains(id))
    }

    /// Whether people were sent to a queue's parked messages by the name of one that is none of `kept`.
    pub fn names_another_of(&self, queue: &str, kept: &[&str]) -> bool {
        let about = format!("queue `{queue}`");
        self.others.iter().any(|text| text.contains(&about) && !kept.iter().any(|id| text.contains(id)))
    }
}

impl World {
    /// A notice reached people.
    pub fn told(&mut self, notice: &Notice, rule: &NotifyRule) {
        self.count(Kind::Notice);
        self.tell(|| format!("  told by {:?}: {}", rule.channel, notice.title));
        for text in [&notice.title, &notice.text] {
            if text.contains(SECRET) || text.contains(CLAIM) {
                self.broken(Invariant::NoSecrets, || format!("a notice holds a secret: {text}"));
            }
        }
        match &notice.record {
            Some(record) => {
                let told = (record.clone(), format!("{:?}", notice.kind), format!("{:?}", rule.channel));
                self.checks.notices.told.insert(told);
            }
            None => self.checks.notices.others.push(format!("{}: {}", notice.title, notice.text)),
        }
    }

    /// The log of a whole timeline.
    pub fn logged(&mut self, log: &str) {
        if let Some(line) = log.lines().find(|line| line.contains(SECRET) || line.contains(CLAIM)) {
            self.broken(Invariant::NoSecrets, || format!("a line of the log holds a secret: {line}"));
        }
    }
}

/// Receipts hold no secret; claims are kept nowhere.
pub fn judge(world: &mut World, documents: &StoredDocuments) {
    for (key, body) in documents {
        // Nearly every body is text, and looked at as a whole that is quick.
        let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::from);
        let shown = key.starts_with("receipts/") || key.starts_with("outbox/");
        if shown && text.contains(SECRET) || text.contains(CLAIM) {
            world.broken(Invariant::NoSecrets, || format!("`{key}` holds a secret"));
        }
    }
}
