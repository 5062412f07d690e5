//! What only a person can deal with is kept with its body and the reason, told once, and listed.

use std::time::Duration;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    Process,
    documents::{SIDE_BY_SIDE, keys},
    outcome::Outcome,
    trouble::Trouble,
};
use crate::{
    domain::{
        policy::NoticeKind,
        target::{sha256_hex, short_hash},
    },
    ports::{Key, Notice, PortError, PortErrorKind, QueueMessage},
};

/// Bodies above this are cut; the hash still names the whole.
pub const PARKED_BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    pub id: String,
    pub queue: String,
    pub reason: String,
    pub parked_at: Timestamp,
    pub body_sha256: String,
    pub body_bytes: usize,
    /// The first [`PARKED_BODY_BYTES_MAX`] bytes, in base64.
    pub body_base64: String,
}

/// What became of a parked message that a person wants to have handled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedReplay {
    QueuedAgain,
    /// Somebody else has replayed it meanwhile.
    Gone,
    /// What is kept is not the whole message: a sentence.
    Refused(String),
}

impl Parked {
    /// The whole body, or why there is none.
    pub fn whole_body(&self) -> Result<Vec<u8>, String> {
        match data_encoding::BASE64.decode(self.body_base64.as_bytes()) {
            Ok(body) if sha256_hex(&body) == self.body_sha256 => Ok(body),
            Ok(body) if body.len() < self.body_bytes => Err(format!(
                "only the first {} of its {} bytes were kept; let its sender send it again",
                body.len(),
                self.body_bytes
            )),
            Ok(_) | Err(_) => Err("the kept body is not what was received; let its sender send it again".to_owned()),
        }
    }
}

impl Process {
    /// Puts a parked message back on its queue, and forgets it. A crash in between leaves both, which is harmless.
    pub async fn replay_parked(&self, parked: &Parked) -> Result<ParkedReplay, PortError> {
        let key = keys::parked(&parked.id);
        let Some(loaded) = self.documents.read::<Parked>(&key).await? else { return Ok(ParkedReplay::Gone) };
        let body = match loaded.value.whole_body() {
            Ok(body) => body,
            Err(why) => return Ok(ParkedReplay::Refused(why)),
        };
        // Parked once more, it is another one: the time is new.
        let message_id = short_hash(&["replay", &parked.id, &loaded.value.parked_at.to_string()]);
        let message = QueueMessage { queue: loaded.value.queue.clone(), body, returns: 0, message_id: Some(message_id) };
        self.ports.follow_ups.send(message, Duration::ZERO).await?;
        self.documents.store().delete(&key, &loaded.version).await?;
        Ok(ParkedReplay::QueuedAgain)
    }

    /// Keeps a message for a person. The same message for the same reason is kept and told once.
    pub async fn park(&self, queue: &str, body: &[u8], reason: &str) -> Result<Outcome, Trouble> {
        let body_sha256 = sha256_hex(body);
        let id = short_hash(&[queue, &body_sha256, reason]);
        let kept = &body[..body.len().min(PARKED_BODY_BYTES_MAX)];
        let parked = Parked {
            id: id.clone(),
            queue: queue.to_owned(),
            reason: reason.to_owned(),
            parked_at: self.ports.clock.now(),
            body_sha256,
            body_bytes: body.len(),
            body_base64: data_encoding::BASE64.encode(kept),
        };
        let key = keys::parked(&id);
        // Told before it is kept: what is there was told, whatever died in between.
        if self.documents.read::<Parked>(&key).await?.is_none() {
            warn!(parked.id = %id, queue, reason, "parking a message; see `backout dead-letters list`");
            self.tell_of_parked(&parked).await?;
            self.documents.insert(&key, parked).await?;
        }
        Ok(Outcome::Parked { says: format!("parked as {id}: {reason}") })
    }

    /// Once an hour and queue: whoever may send could fill the chat otherwise.
    async fn tell_of_parked(&self, parked: &Parked) -> Result<(), Trouble> {
        let Parked { id, queue, reason, .. } = parked;
        let notice = Notice {
            kind: NoticeKind::Page,
            title: format!("a message on queue `{queue}` needs a person"),
            text: format!(
                "{reason}. It is kept as {id}; `backout dead-letters list` shows it, and whatever else is parked from this queue \
                 within the hour, which is not told one by one."
            ),
            record: None,
        };
        let hour = parked.parked_at.as_second().div_euclid(3600);
        self.tell(&format!("parked-{queue}-{hour}"), notice).await
    }

    /// What is parked, the oldest first; at most `limit`, and of more than that any.
    pub async fn parked(&self, limit: usize) -> Result<Vec<Parked>, PortError> {
        let keys: Vec<Key> = self.documents.store().list(keys::PARKED, None, limit).await?;
        let reads: Vec<_> = keys.iter().map(|key| self.parked_under(key).boxed()).collect();
        let read: Vec<_> = stream::iter(reads).buffered(SIDE_BY_SIDE).try_collect().await?;
        let mut parked: Vec<Parked> = read.into_iter().flatten().collect();
        parked.sort_by_key(|parked| parked.parked_at);
        Ok(parked)
    }

    async fn parked_under(&self, key: &Key) -> Result<Option<Parked>, PortError> {
        // The key tells its id, whatever became of the document.
        let id = key.as_str().strip_prefix(keys::PARKED).unwrap_or_default().to_owned();
        match self.documents.read::<Parked>(key).await {
            Ok(loaded) => Ok(loaded.map(|loaded| Parked { id, ..loaded.value })),
            // One that cannot be read must not hide the others from the person who looks.
            Err(error) if error.kind == PortErrorKind::Invalid => Ok(Some(self.unreadable(id, &error))),
            Err(error) => Err(error),
        }
    }

    fn unreadable(&self, id: String, error: &PortError) -> Parked {
        Parked {
            id,
            queue: "unknown".to_owned(),
            reason: error.to_string(),
            parked_at: self.ports.clock.now(),
            body_sha256: String::new(),
            body_bytes: 0,
            body_base64: String::new(),
        }
    }
}
