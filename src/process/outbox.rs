//! Telling people: a notice is stored before it is sent, and `sweep` sends what is left over (V6). Told once, but after a crash
//! between the sending and its mark.

use std::time::Duration;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    Process,
    documents::{Insert, Loaded, Replace, SIDE_BY_SIDE, keys},
    trouble::Trouble,
};
use crate::{
    domain::{
        policy::{Channel, NoticeKind, NotifyRule},
        target::short_hash,
    },
    ports::{Key, Notice, PortError, PortErrorKind},
};

/// How long a sender may take; after that it has died, and another one may send.
const SENDING_MAX: SignedDuration = SignedDuration::from_mins(6);

/// How long a told notice leaves its mark, so that a late second teller finds it: longer than a message is put back for.
const TOLD_KEPT: SignedDuration = SignedDuration::from_mins(60);

/// How long one sweep sends: far below `functionTimeout`, after which the host kills the handler, and whatever else it does.
const SENDING_TIME: Duration = Duration::from_mins(1);

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

/// A channel that fails this often in a row is left alone until the next sweep: it would use up the time of those that work.
const FAILURES_MAX: u32 = 3;

/// What one sweep knows of its sending.
struct Pass {
    /// By the monotonic clock.
    ends_at: Duration,
    /// In a row, by channel.
    failures: Vec<(NotifyRule, u32)>,
}

impl Pass {
    fn of_one() -> Self {
        Self { ends_at: Duration::MAX, failures: Vec::new() }
    }

    fn has_given_up(&self, rule: &NotifyRule) -> bool {
        self.failures.iter().any(|(known, count)| known == rule && *count >= FAILURES_MAX)
    }

    fn count(&mut self, rule: &NotifyRule, worked: bool) {
        match self.failures.iter_mut().find(|(known, _)| known == rule) {
            Some((_, count)) if worked => *count = 0,
            Some((_, count)) => *count += 1,
            None if worked => {}
            None => self.failures.push((rule.clone(), 1)),
        }
    }
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
        let key = keys::outbox(&short_hash(&[id]));
        let sending_since = Some(self.ports.clock.now());
        let outgoing = Outgoing { notice, tries: 0, sending_since, told: Vec::new(), told_at: None };
        match self.documents.insert(&key, outgoing).await? {
            Insert::Now(loaded) => {
                self.send_outgoing(&key, loaded, &mut Pass::of_one()).await?;
            }
            Insert::Taken(_) => {}
        }
        Ok(())
    }

    /// Sends what was stored and not told, and forgets what was told long ago. Returns how many were told now.
    ///
    /// Where a channel answers slowly or not at all, the time ends before the notices do. So each sweep begins at another place: none
    /// waits behind those that always fail.
    pub(super) async fn send_outbox(&self, page: usize) -> Result<usize, PortError> {
        let now = self.ports.clock.now();
        let begin = keys::outbox(&short_hash(&["begin", &now.to_string()]));
        let mut pass = Pass { ends_at: self.ports.clock.monotonic() + SENDING_TIME, failures: Vec::new() };
        let mut listed = self.documents.store().list(keys::OUTBOX, None, page).await?;
        if listed.len() < page {
            let place = listed.partition_point(|key| *key <= begin);
            listed.rotate_left(place);
            return self.send_listed(&listed, &mut pass).await;
        }
        let behind = self.send_part(page, Some(&begin), None, &mut pass).await?;
        Ok(behind + self.send_part(page, None, Some(&begin), &mut pass).await?)
    }

    /// The notices after one key, up to another.
    async fn send_part(&self, page: usize, after: Option<&Key>, last: Option<&Key>, pass: &mut Pass) -> Result<usize, PortError> {
        let mut told = 0;
        let mut after = after.cloned();
        loop {
            let listed = self.documents.store().list(keys::OUTBOX, after.as_ref(), page).await?;
            let within = last.map_or(listed.len(), |last| listed.partition_point(|key| key <= last));
            told += self.send_listed(&listed[..within], pass).await?;
            match listed.last() {
                Some(end) if within == page && self.ports.clock.monotonic() < pass.ends_at => after = Some(end.clone()),
                Some(_) | None => return Ok(told),
            }
        }
    }

    /// Those of some notices that are to be sent now, while there is time.
    async fn send_listed(&self, keys: &[Key], pass: &mut Pass) -> Result<usize, PortError> {
        let looks: Vec<_> = keys.iter().map(|key| self.due(key).boxed()).collect();
        let due: Vec<_> = stream::iter(looks).buffered(SIDE_BY_SIDE).try_collect().await?;
        let mut told = 0;
        // One after the other: a channel takes a few a second.
        for (key, loaded) in keys.iter().zip(due).filter_map(|(key, due)| Some((key, due?))) {
            if self.ports.clock.monotonic() >= pass.ends_at {
                warn!("not all notices could be told in this sweep; the next one goes on");
                break;
            }
            let channels = self.channels_for(loaded.value.notice.kind).await;
            let is_open = |rule: &NotifyRule| !loaded.value.told.contains(rule) && !pass.has_given_up(rule);
            // With no channel left that lacks it, it counts as told.
            if channels.iter().any(is_open) || channels.iter().all(|rule| loaded.value.told.contains(rule)) {
                told += usize::from(self.tell_again(key, loaded, pass).await?);
            }
        }
        Ok(told)
    }

    /// The notice if it is to be sent now; one that was told long ago is forgotten.
    async fn due(&self, key: &Key) -> Result<Option<Loaded<Outgoing>>, PortError> {
        let loaded = match self.documents.read::<Outgoing>(key).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(None),
            // One notice that cannot be read must not keep the others untold.
            Err(error) if error.kind == PortErrorKind::Invalid => {
                warn!(%error, "a notice is lost");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let now = self.ports.clock.now();
        if let Some(told_at) = loaded.value.told_at {
            if now.duration_since(told_at) > TOLD_KEPT {
                self.documents.store().delete(key, &loaded.version).await?;
            }
            return Ok(None);
        }
        let sending = loaded.value.sending_since.is_some_and(|since| now.duration_since(since) < SENDING_MAX);
        Ok((!sending).then_some(loaded))
    }

    async fn tell_again(&self, key: &Key, loaded: Loaded<Outgoing>, pass: &mut Pass) -> Result<bool, PortError> {
        let Loaded { value: mut outgoing, version } = loaded;
        outgoing.sending_since = Some(self.ports.clock.now());
        match self.documents.replace(key, &version, outgoing).await? {
            Replace::Now(ours) => self.send_outgoing(key, ours, pass).await,
            Replace::ChangedMeanwhile => Ok(false),
        }
    }

    /// Sends a notice that is ours to send.
    async fn send_outgoing(&self, key: &Key, ours: Loaded<Outgoing>, pass: &mut Pass) -> Result<bool, PortError> {
        let Loaded { value: mut outgoing, version } = ours;
        let mut failed = false;
        for rule in self.channels_for(outgoing.notice.kind).await {
            if outgoing.told.contains(&rule) {
                continue;
            }
            if pass.has_given_up(&rule) {
                failed = true;
                continue;
            }
            let result = self.ports.notifier.tell(&outgoing.notice, &rule).await;
            pass.count(&rule, result.is_ok());
            match result {
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
