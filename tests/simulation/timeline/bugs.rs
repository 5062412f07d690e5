//! Bugs of which each must be caught: those of `support::seeded`, and what only this world can show.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{policy::NotifyRule, target::Target},
    host::delivery::Function,
    ports::{
        Alerts, FollowUp, FollowUps, Inserted, KeptAlert, Key, Notice, Notifier, Platform, Platforms, PortError, QueueMessage,
        Replaced, StateStore, StepName, Stored, Version,
    },
    process::Ports,
};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::{around::PolicyBug, bodies::SECRET, checkers::Invariant, services};
use crate::support::seeded::Bug;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyBug {
    Seeded(Bug),
    /// A target is picked that the policy does not name.
    TargetOfOthers,
    /// A notice holds what the message held.
    SecretTold,
    /// A receipt holds what the message held.
    SecretInReceipt,
    /// Records count as written and are not.
    RecordForgotten,
    /// What is parked counts as kept and is not.
    ParkedForgotten,
    /// What a decision was made from counts as kept and is not.
    InputsForgotten,
    /// A record whose rollback recovered is written as if it were undecided.
    DecisionForgotten,
    /// What a pipeline or the activity log said of a change counts as kept and is not.
    DeploymentForgotten,
    /// That an alert was resolved counts as kept and is not.
    ResolvedForgotten,
    /// Nobody looks for alerts that never arrived.
    LostAlertsIgnored,
    /// The wake-ups of a rollback count as sent and are not.
    WakeUpsForgotten,
    /// A call that was sent once arrives once more.
    RepeatedOnTheWire,
    /// The policy file is read once, and never again.
    PolicyReadOnce,
    /// What the policy lets each service do is read once, and never again.
    ModesReadOnce,
}

impl AnyBug {
    pub fn all() -> Vec<Self> {
        let own = [
            Self::TargetOfOthers,
            Self::SecretTold,
            Self::SecretInReceipt,
            Self::RecordForgotten,
            Self::ParkedForgotten,
            Self::InputsForgotten,
            Self::DecisionForgotten,
            Self::DeploymentForgotten,
            Self::ResolvedForgotten,
            Self::LostAlertsIgnored,
            Self::WakeUpsForgotten,
            Self::RepeatedOnTheWire,
            Self::PolicyReadOnce,
            Self::ModesReadOnce,
        ];
        Bug::ALL.into_iter().map(Self::Seeded).chain(own).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Seeded(bug) => bug.name(),
            Self::TargetOfOthers => "target-of-others",
            Self::SecretTold => "secret-told",
            Self::SecretInReceipt => "secret-in-receipt",
            Self::RecordForgotten => "record-forgotten",
            Self::ParkedForgotten => "parked-forgotten",
            Self::InputsForgotten => "inputs-forgotten",
            Self::DecisionForgotten => "decision-forgotten",
            Self::DeploymentForgotten => "deployment-forgotten",
            Self::ResolvedForgotten => "resolved-forgotten",
            Self::LostAlertsIgnored => "lost-alerts-ignored",
            Self::WakeUpsForgotten => "wake-ups-forgotten",
            Self::RepeatedOnTheWire => "repeated-on-the-wire",
            Self::PolicyReadOnce => "policy-read-once",
            Self::ModesReadOnce => "modes-read-once",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|bug| bug.name() == name)
    }

    pub fn says(self) -> &'static str {
        match self {
            Self::Seeded(bug) => bug.says(),
            Self::TargetOfOthers => "a target is picked that the policy does not name",
            Self::SecretTold => "a notice quotes the message",
            Self::SecretInReceipt => "a receipt quotes the message",
            Self::RecordForgotten => "a record counts as written and is not",
            Self::ParkedForgotten => "a parked message counts as kept and is not",
            Self::InputsForgotten => "what a decision was made from counts as kept and is not",
            Self::DecisionForgotten => "the decision of a rollback that recovered is written over",
            Self::DeploymentForgotten => "what was said of a change counts as kept and is not",
            Self::ResolvedForgotten => "that an alert was resolved counts as kept and is not",
            Self::LostAlertsIgnored => "nobody looks for alerts that never arrived",
            Self::WakeUpsForgotten => "the wake-ups of a rollback count as sent and are not",
            Self::RepeatedOnTheWire => "a call that was sent once arrives once more, some minutes later",
            Self::PolicyReadOnce => "the policy file is read once, and never again",
            Self::ModesReadOnce => "what the policy lets each service do is read once, and never again",
        }
    }

    pub fn sweeps(self) -> bool {
        match self {
            Self::Seeded(bug) => bug.sweeps(),
            _ => true,
        }
    }

    pub fn completes_before_handling(self) -> bool {
        match self {
            Self::Seeded(bug) => bug.completes_before_handling(),
            _ => false,
        }
    }

    /// `true`: the way to the platform brings each call twice.
    pub fn repeats_calls(self) -> bool {
        self == Self::RepeatedOnTheWire
    }

    /// What is wrong with the reading of the policy file.
    pub fn of_the_policy(self) -> Option<PolicyBug> {
        match self {
            Self::PolicyReadOnce => Some(PolicyBug::Services),
            Self::ModesReadOnce => Some(PolicyBug::Modes),
            _ => None,
        }
    }

    pub fn put_into(self, ports: &Ports) -> Ports {
        match self {
            Self::Seeded(bug) => bug.put_into(ports),
            Self::TargetOfOthers => Ports { platforms: Arc::new(OfOthers(Arc::clone(&ports.platforms))), ..ports.clone() },
            Self::SecretTold => Ports { notifier: Arc::new(Talkative(Arc::clone(&ports.notifier))), ..ports.clone() },
            Self::SecretInReceipt
            | Self::RecordForgotten
            | Self::ParkedForgotten
            | Self::InputsForgotten
            | Self::DecisionForgotten
            | Self::DeploymentForgotten
            | Self::ResolvedForgotten => {
                Ports { store: Arc::new(Forgetful { bug: self, real: Arc::clone(&ports.store) }), ..ports.clone() }
            }
            Self::LostAlertsIgnored => Ports { alerts: Arc::new(NoAlerts), ..ports.clone() },
            Self::WakeUpsForgotten => Ports { follow_ups: Arc::new(NoWakeUps(Arc::clone(&ports.follow_ups))), ..ports.clone() },
            // Between the port and the platform, and beside the ports: see [`Self::repeats_calls`] and [`Self::of_the_policy`].
            Self::RepeatedOnTheWire | Self::PolicyReadOnce | Self::ModesReadOnce => ports.clone(),
        }
    }
}

struct OfOthers(Arc<dyn Platforms>);

impl Platforms for OfOthers {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        let others = services::outside();
        let same = |other: &&Target| other.platform() == target.platform();
        self.0.of(others.iter().find(same).unwrap_or(target))
    }
}

struct Talkative(Arc<dyn Notifier>);

#[async_trait::async_trait]
impl Notifier for Talkative {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        let notice = Notice { text: format!("{} {SECRET}", notice.text), ..notice.clone() };
        self.0.tell(&notice, rule).await
    }
}

struct NoAlerts;

#[async_trait::async_trait]
impl Alerts for NoAlerts {
    async fn changed_since(&self, _subscription: &str, _since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        Ok(Vec::new())
    }
}

struct NoWakeUps(Arc<dyn FollowUps>);

#[async_trait::async_trait]
impl FollowUps for NoWakeUps {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let is_wake_up = message.queue == Function::FollowUps.name();
        match FollowUp::read(&message.body) {
            Ok(FollowUp { step: StepName::Rollback, .. }) if is_wake_up => Ok(()),
            Ok(_) | Err(_) => self.0.send(message, delay).await,
        }
    }
}

struct Forgetful {
    bug: AnyBug,
    real: Arc<dyn StateStore>,
}

impl Forgetful {
    fn forgets(&self, key: &Key) -> bool {
        match self.bug {
            AnyBug::RecordForgotten => key.as_str().starts_with("records/"),
            AnyBug::ParkedForgotten => key.as_str().starts_with("parked/"),
            AnyBug::InputsForgotten => key.as_str().starts_with("inputs/"),
            _ => false,
        }
    }

    fn written(&self, key: &Key, body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(body);
        match self.bug {
            AnyBug::SecretInReceipt if key.as_str().starts_with("receipts/") => {
                text.replacen("\"because\":\"", &format!("\"because\":\"{SECRET} "), 1).into_bytes()
            }
            AnyBug::DecisionForgotten if key.as_str().starts_with("records/") && text.contains("\"rollback\":\"recovered\"") => {
                with(&text, "policySha256", "decision", "null").into_bytes()
            }
            AnyBug::DeploymentForgotten if key.as_str().starts_with("targets/") => {
                with(&text, "rollouts", "markers", "[]").into_bytes()
            }
            AnyBug::ResolvedForgotten if key.as_str().starts_with("records/") => {
                with(&text, "toldGeneration", "resolvedAt", "null").into_bytes()
            }
            _ => body.to_vec(),
        }
    }
}

/// A document in which one member is something else, and all else as it was written: checkers may read the text. `behind`: a member
/// that comes before, and behind which there is only one of that name.
fn with(document: &str, behind: &str, member: &str, value: &str) -> String {
    let end_of = |member: &str, from: usize| {
        let name = format!("\"{member}\":");
        from + document[from..].find(&name).expect("the member is there") + name.len()
    };
    let at = end_of(member, end_of(behind, 0));
    let mut before = serde_json::Deserializer::from_str(&document[at..]).into_iter::<IgnoredAny>();
    before.next().expect("a value").expect("documents are JSON");
    format!("{}{value}{}", &document[..at], &document[at + before.byte_offset()..])
}

#[async_trait::async_trait]
impl StateStore for Forgetful {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.real.read(key).await
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        if self.forgets(key) {
            return Ok(Inserted::Now(Version("never".to_owned())));
        }
        self.real.insert(key, &self.written(key, body)).await
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.real.replace(key, version, &self.written(key, body)).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.real.delete(key, version).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.real.list(prefix, after, limit).await
    }
}

/// A bug that this invariant catches and no other: a checker that only ever breaks together with others may have no hand in it.
pub fn caught_alone_by(invariant: Invariant) -> Option<AnyBug> {
    AnyBug::all().into_iter().find(|bug| caught_by(*bug) == [invariant])
}

/// Which invariants catch a bug; the first to break ends a timeline, so there may be several. Tried on the seeds from 0 on.
pub fn caught_by(bug: AnyBug) -> &'static [Invariant] {
    match bug {
        AnyBug::Seeded(bug) => match bug {
            Bug::NoClaim => &[Invariant::NeverOurOwn, Invariant::OnceOnly, Invariant::SentOnce],
            // Where it is to be closed, there is nothing to close, for ever.
            Bug::ClaimSkipped => {
                &[Invariant::NeverOurOwn, Invariant::OnceOnly, Invariant::SentOnce, Invariant::OneRecord, Invariant::Ends]
            }
            // What the second call brought is not marked as ours.
            Bug::FreshByReadOnly | Bug::RetryPost => &[Invariant::SentOnce, Invariant::NeverOurOwn],
            Bug::NoQuietTime | Bug::ConcludeWithoutClosing => &[Invariant::SentOnce],
            Bug::TombstoneLate | Bug::TombstoneMissing => &[Invariant::NeverOurOwn],
            // The target is free while its result is not marked, or its record goes on.
            Bug::ClearEarly | Bug::BusyNeverWritten => &[Invariant::OneRecord, Invariant::NeverOurOwn],
            Bug::NoFreshness => &[Invariant::ExplicitAndReRead, Invariant::KillSwitch],
            Bug::PreviousInsteadOfExplicit => &[Invariant::ExplicitAndReRead],
            Bug::LookSkipped => &[Invariant::ExplicitAndReRead, Invariant::UnknownIsNeither],
            Bug::UnknownReadAsGood => &[Invariant::UnknownIsNeither],
            Bug::PauseIgnored => &[Invariant::KillSwitch],
            // It also looks for alerts that never arrived.
            Bug::NoSweep => &[Invariant::Told, Invariant::Ends, Invariant::OneRecord, Invariant::NothingLost],
            Bug::NoticeSwallowed => &[Invariant::Told],
            Bug::CompleteBeforeStore => &[Invariant::NothingLost],
            Bug::PutBackForgotten => &[Invariant::NothingLost, Invariant::Told],
        },
        AnyBug::TargetOfOthers => &[Invariant::OnlyOurTargets],
        AnyBug::PolicyReadOnce => &[Invariant::OnlyOurTargets, Invariant::Stands, Invariant::UnknownIsNeither],
        AnyBug::ModesReadOnce => &[Invariant::Stands],
        AnyBug::SecretTold | AnyBug::SecretInReceipt => &[Invariant::NoSecrets],
        AnyBug::RecordForgotten
        | AnyBug::ParkedForgotten
        | AnyBug::DeploymentForgotten
        | AnyBug::ResolvedForgotten
        | AnyBug::LostAlertsIgnored => &[Invariant::NothingLost],
        AnyBug::InputsForgotten | AnyBug::DecisionForgotten => &[Invariant::OneRecord],
        AnyBug::WakeUpsForgotten => &[Invariant::Ends],
        AnyBug::RepeatedOnTheWire => &[Invariant::OnceOnly],
    }
}
