//! Telling people: a notice is stored before it is sent, and `sweep` sends what is left over (V6). Told once, but after a crash
//! between the sending and its mark.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    Process,
    documents::{Insert, Loaded, Replace, keys},
    trouble::Trouble,
};
use crate::{
    domain::policy::{Channel, NoticeKind, NotifyRule},
    ports::{Key, Notice, PortError, PortErrorKind},
};

/// How long a sender may take; after that it has died, and another one may send.
const SENDING_MAX: SignedDuration = SignedDuration::from_mins(6);

/// How long a told notice leaves its mark, so that a late second teller finds it: longer than a message is put back for.
const TOLD_KEPT: SignedDuration = SignedDuration::from_mins(60);

/// Kept under a key made of what is told. Whoever moves it to `sendingSince` by compare-and-set sends it, nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing {
    notice: Notice,
    tries: u32,
    #[serde(default)]
    sending_since: Option<Timestamp>,
    /// Channels which have it already: one that fails does not make the others hear it again.
    #[serde(default)]
    told: Vec<NotifyRule>,
    /// All have it.
    #[serde(default)]
    told_at: Option<Timestamp>,
}

impl Process {
    /// Tells `notice`; two at once with the same `id` tell it once. A channel that fails holds nothing up; `sweep` tries again.
    ///
    /// Where the policy names no channel for this kind, the log is the channel, at once, and counts as told.
    pub(super) async fn tell(&self, id: &str, notice: Notice) -> Result<(), Trouble> {
        if self.channels_for(notice.kind).await.is_empty() {
            let log = NotifyRule { channel: Channel::Log, url_from: None, kinds: vec![notice.kind] };
            if let Err(error) = self.ports.notifier.tell(&notice, &log).await {
                warn!(%error, "a notice could not be logged");
            }
            return Ok(());
        }
        let key = keys::outbox(&crate::domain::target::short_hash(&[id]));
        let sending_since = Some(self.ports.clock.now());
        let outgoing = Outgoing { notice, tries: 0, sending_since, told: Vec::new(), told_at: None };
        match self.documents.insert(&key, outgoing).await? {
            Insert::Now(loaded) => {
                self.send_outgoing(&key, loaded).await?;
            }
            Insert::Taken(_) => {}
        }
        Ok(())
    }

    /// Sends what was stored and not told, and forgets what was told long ago. Returns how many were told now.
    pub(super) async fn send_outbox(&self, page: usize) -> Result<usize, PortError> {
        let mut told = 0;
        let mut after: Option<Key> = None;
        loop {
            let keys = self.documents.store().list(keys::OUTBOX, after.as_ref(), page).await?;
            for key in &keys {
                match self.documents.read::<Outgoing>(key).await {
                    Ok(Some(loaded)) => told += usize::from(self.go_through(key, loaded).await?),
                    Ok(None) => {}
                    // One notice that cannot be read must not keep the others untold.
                    Err(error) if error.kind == PortErrorKind::Invalid => warn!(%error, "a notice is lost"),
                    Err(error) => return Err(error),
                }
            }
            match keys.last() {
                Some(last) if keys.len() == page => after = Some(last.clone()),
                Some(_) | None => return Ok(told),
            }
        }
    }

    /// What a sweep does about one notice; `true` if it told it.
    async fn go_through(&self, key: &Key, loaded: Loaded<Outgoing>) -> Result<bool, PortError> {
        let Loaded { value: mut outgoing, version } = loaded;
        let now = self.ports.clock.now();
        if let Some(told_at) = outgoing.told_at {
            if now.duration_since(told_at) > TOLD_KEPT {
                self.documents.store().delete(key, &version).await?;
            }
            return Ok(false);
        }
        if outgoing.sending_since.is_some_and(|since| now.duration_since(since) < SENDING_MAX) {
            return Ok(false);
        }
        outgoing.sending_since = Some(now);
        match self.documents.replace(key, &version, outgoing).await? {
            Replace::Now(ours) => self.send_outgoing(key, ours).await,
            Replace::ChangedMeanwhile => Ok(false),
        }
    }

    /// Sends a notice that is ours to send.
    async fn send_outgoing(&self, key: &Key, ours: Loaded<Outgoing>) -> Result<bool, PortError> {
        let Loaded { value: mut outgoing, version } = ours;
        let mut failed = false;
        for rule in self.channels_for(outgoing.notice.kind).await {
            if outgoing.told.contains(&rule) {
                continue;
            }
            match self.ports.notifier.tell(&outgoing.notice, &rule).await {
                Ok(()) => outgoing.told.push(rule),
                Err(error) => {
                    failed = true;
                    warn!(channel = ?rule.channel, %error, "a notice could not be told; the next sweep tries again");
                }
            }
        }
        outgoing.sending_since = None;
        if failed {
            outgoing.tries += 1;
        } else {
            outgoing.told_at = Some(self.ports.clock.now());
        }
        self.documents.replace(key, &version, outgoing).await?;
        Ok(!failed)
    }

    async fn channels_for(&self, kind: NoticeKind) -> Vec<NotifyRule> {
        let policy = self.policy_at_hand().await;
        policy.iter().flat_map(|policy| &policy.notify).filter(|rule| rule.kinds.contains(&kind)).cloned().collect()
    }
}
