//! Firings that never arrived: whatever the monitoring service keeps and no record knows is put on queue `alerts`, and so takes the
//! path of every alert. A copy that comes late, or comes from two sweeps, meets the record that its firing has.

use std::collections::BTreeMap;

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{
    Process,
    documents::{Insert, Loaded, SIDE_BY_SIDE, keys},
    trouble::Trouble,
};
use crate::{
    decide::who,
    domain::{
        alert::{Alert, Condition},
        policy::{NoticeKind, Policy},
        record::RecordId,
        service::Service,
        target::{TargetKey, short_hash},
        target_state::TargetState,
    },
    host::delivery::Function,
    ports::{KeptAlert, Notice, PortError, PortErrorKind, QueueMessage},
};

/// How far back firings are looked for. What is older has waited for longer than anything should be acted upon unasked.
pub const LOOKED_BACK: SignedDuration = SignedDuration::from_mins(60);

/// So long the usual way has to bring it: an action group tries again, and the queue may have a line.
pub const USUAL_WAY_TAKES: SignedDuration = SignedDuration::from_mins(3);

/// How long looking may fail, for what may pass, before people are told.
const MAY_FAIL_FOR: SignedDuration = SignedDuration::from_mins(30);

/// Two forms of one firing may cut its time differently.
const TIMES_DIFFER: SignedDuration = SignedDuration::from_secs(1);

const SUBSCRIPTIONS_SIDE_BY_SIDE: usize = 8;

/// Messages of one sweep for each subscription; the next one goes on. In the hour that firings are looked for, that is more than a
/// subscription's list holds, so none is passed over for ever; and none waits because another subscription has as many.
const FETCHED_MAX: usize = 100;

/// That a subscription's alerts can't be looked for; removed when they can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unreadable {
    since: Timestamp,
    told: bool,
}

/// What matters here of the record that a firing has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resolution {
    resolved_at: Option<Timestamp>,
}

impl Process {
    /// Puts what never arrived on its queue; the number of messages. A subscription that can't be read keeps no other from it.
    pub(super) async fn fetch_lost_alerts(&self, policy: &Policy) -> Result<usize, Trouble> {
        let since = self.ports.clock.now() - LOOKED_BACK;
        let subscriptions = policy.subscriptions();
        let reads: Vec<_> = subscriptions
            .iter()
            .map(|subscription| {
                async move { (subscription.as_str(), self.ports.alerts.changed_since(subscription, since).await) }.boxed()
            })
            .collect();
        let read: Vec<_> = stream::iter(reads).buffer_unordered(SUBSCRIPTIONS_SIDE_BY_SIDE).collect().await;
        let mut states = BTreeMap::new();
        let mut fetched = 0;
        for (subscription, kept) in read {
            match kept {
                Err(error) => self.alerts_are_unreadable(subscription, &error).await?,
                Ok(kept) => {
                    self.alerts_are_readable(subscription).await?;
                    let due = kept.into_iter().filter(|kept| self.is_due(&kept.alert, policy));
                    let reads = due.map(|kept| {
                        let key = keys::record(&RecordId::of(&kept.alert));
                        async move { (self.documents.read::<Resolution>(&key).await, kept) }.boxed()
                    });
                    let known: Vec<_> = stream::iter(reads.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE).collect().await;
                    let mut of_this_one = 0;
                    for (known, kept) in known {
                        let known = known?.map(|loaded| loaded.value);
                        if of_this_one < FETCHED_MAX && self.is_lost(&kept.alert, known, policy, &mut states).await? {
                            self.fetch(kept).await?;
                            of_this_one += 1;
                        }
                    }
                    fetched += of_this_one;
                }
            }
        }
        Ok(fetched)
    }

    /// Whether it speaks about a service, and the usual way should have brought what it says by now.
    fn is_due(&self, alert: &Alert, policy: &Policy) -> bool {
        let Some(fired_at) = alert.fired_at else { return false };
        let at = match alert.condition {
            Condition::Fired => fired_at,
            Condition::Resolved => alert.resolved_at.unwrap_or(fired_at),
        };
        self.is_in_reach(at) && !who::services_meant(alert, policy).is_empty()
    }

    fn is_in_reach(&self, at: Timestamp) -> bool {
        let now = self.ports.clock.now();
        at >= now - LOOKED_BACK && at <= now - USUAL_WAY_TAKES
    }

    /// Whether the usual way has not brought what is due. `known`: what the record of this firing says.
    async fn is_lost(
        &self,
        alert: &Alert,
        known: Option<Resolution>,
        policy: &Policy,
        states: &mut BTreeMap<TargetKey, Option<TargetState>>,
    ) -> Result<bool, PortError> {
        if let Some(known) = known {
            return Ok(alert.condition == Condition::Resolved && known.resolved_at.is_none());
        }
        // That something ended which nobody saw begin is news only while its beginning would have been.
        let Some(fired_at) = alert.fired_at.filter(|fired_at| self.is_in_reach(*fired_at)) else { return Ok(false) };
        let meant = who::services_meant(alert, policy);
        Ok(!self.is_known_in_another_form(alert, fired_at, &meant, states).await?)
    }

    /// A schema without alert ids, or a time cut differently, names the record of one and the same firing otherwise.
    async fn is_known_in_another_form(
        &self,
        alert: &Alert,
        fired_at: Timestamp,
        meant: &[&Service],
        states: &mut BTreeMap<TargetKey, Option<TargetState>>,
    ) -> Result<bool, PortError> {
        let Some(rule) = alert.rule.as_deref() else { return Ok(false) };
        for service in meant {
            let target = service.target.key();
            if !states.contains_key(&target) {
                let loaded = self.documents.read::<TargetState>(&keys::target(&target)).await?;
                states.insert(target.clone(), loaded.map(|loaded| loaded.value));
            }
            let firings = states.get(&target).and_then(Option::as_ref).map(|state| state.firings.as_slice()).unwrap_or_default();
            let is_it = firings.iter().any(|firing| {
                firing.rule.eq_ignore_ascii_case(rule) && firing.fired_at.duration_since(fired_at).abs() <= TIMES_DIFFER
            });
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn fetch(&self, kept: KeptAlert) -> Result<(), Trouble> {
        let record = RecordId::of(&kept.alert);
        let condition = match kept.alert.condition {
            Condition::Fired => "fired",
            Condition::Resolved => "resolved",
        };
        info!(%record, rule = kept.alert.rule, condition, "an alert never arrived; it is put on its queue");
        let message_id = Some(short_hash(&["fetched", &record.0, condition]));
        let message = QueueMessage { queue: Function::Alerts.name().to_owned(), body: kept.message, returns: 0, message_id };
        self.send_patiently(message, std::time::Duration::ZERO).await
    }

    /// Remembers since when, and tells once: at once where only a person can help.
    async fn alerts_are_unreadable(&self, subscription: &str, error: &PortError) -> Result<(), Trouble> {
        warn!(subscription, %error, "alerts of a subscription could not be looked for");
        let now = self.ports.clock.now();
        let key = keys::unreadable_alerts(subscription);
        let (Insert::Now(Loaded { value: found, .. }) | Insert::Taken(Loaded { value: found, .. })) =
            self.documents.insert(&key, Unreadable { since: now, told: false }).await?;
        let may_pass = match error.kind {
            PortErrorKind::Transient | PortErrorKind::Throttled => true,
            PortErrorKind::Denied | PortErrorKind::NotFound | PortErrorKind::Invalid => false,
        };
        if found.told || may_pass && now.duration_since(found.since) < MAY_FAIL_FOR {
            return Ok(());
        }
        let notice = Notice {
            kind: NoticeKind::Page,
            title: format!("lost alerts of subscription {subscription} can't be looked for"),
            text: format!(
                "{error}. What reaches queue `alerts` is handled as ever; an alert that is lost on the way stays lost, and where alerts \
                 are only pulled, none is handled. `backout check` says what is missing."
            ),
            record: None,
        };
        self.tell(&format!("unreadable-alerts {subscription} {}", found.since), notice).await?;
        self.documents
            .update(&key, || None, |unreadable: &mut Unreadable| (!unreadable.told).then(|| unreadable.told = true))
            .await?;
        Ok(())
    }

    async fn alerts_are_readable(&self, subscription: &str) -> Result<(), PortError> {
        let key = keys::unreadable_alerts(subscription);
        if let Some(found) = self.documents.store().read(&key).await? {
            self.documents.store().delete(&key, &found.version).await?;
        }
        Ok(())
    }
}
