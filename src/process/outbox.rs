//! Telling people, at least once: a notice is stored before it is sent, and `sweep` sends what is left over (V6).

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    Process,
    documents::{Insert, Loaded, keys},
    trouble::Trouble,
};
use crate::{
    domain::policy::{Channel, NoticeKind, NotifyRule},
    ports::{Notice, PortError},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing {
    notice: Notice,
    tries: u32,
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
        let outgoing = Outgoing { notice, tries: 0 };
        match self.documents.insert(&key, outgoing).await? {
            Insert::Now(loaded) => {
                self.send_outgoing(&key, loaded).await?;
            }
            Insert::Taken(_) => {}
        }
        Ok(())
    }

    /// Sends what was stored and not told. Returns how many were told now.
    pub(super) async fn send_outbox(&self, limit: usize) -> Result<usize, PortError> {
        let mut told = 0;
        for key in self.documents.store().list(keys::OUTBOX, None, limit).await? {
            if let Some(loaded) = self.documents.read::<Outgoing>(&key).await? {
                told += usize::from(self.send_outgoing(&key, loaded).await?);
            }
        }
        Ok(told)
    }

    async fn send_outgoing(&self, key: &crate::ports::Key, loaded: Loaded<Outgoing>) -> Result<bool, PortError> {
        let Loaded { value: mut outgoing, version } = loaded;
        let rules = self.channels_for(outgoing.notice.kind).await;
        let mut failed = false;
        for rule in &rules {
            if let Err(error) = self.ports.notifier.tell(&outgoing.notice, rule).await {
                failed = true;
                warn!(channel = ?rule.channel, %error, "a notice could not be told; the next sweep tries again");
            }
        }
        if failed {
            outgoing.tries += 1;
            self.documents.replace(key, &version, outgoing).await?;
        } else {
            self.documents.store().delete(key, &version).await?;
        }
        Ok(!failed)
    }

    async fn channels_for(&self, kind: NoticeKind) -> Vec<NotifyRule> {
        let policy = self.policy_at_hand().await;
        policy.iter().flat_map(|policy| &policy.notify).filter(|rule| rule.kinds.contains(&kind)).cloned().collect()
    }
}
