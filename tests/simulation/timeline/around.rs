//! What else is around an instance: its clock, the monitoring service's list of alerts, the channels to people, the policy file.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::policy::{Channel, NotifyRule, Policy},
    ports::{Alerts, Clock, KeptAlert, Notice, Notifier, PortError, PortErrorKind},
    process::{Policies, PolicyTrouble},
};
use jiff::Timestamp;

use super::{
    counts::Kind,
    time::{Micros, skewed},
    world::{FaultIn, Handle, PERSON, Side, Window},
};
use crate::support::fake_alerts::FakeAlerts;

pub struct SkewedClock(pub Handle);

#[async_trait::async_trait]
impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let instance = self.0.instance;
        self.0.with(|world| skewed(world.now, world.hosts[instance].skew))
    }

    fn monotonic(&self) -> Duration {
        let instance = self.0.instance;
        self.0.with(|world| Duration::from_micros(world.now - world.hosts[instance].started_at))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4)).await;
    }
}

pub struct FaultyAlerts {
    pub kept: FakeAlerts,
    pub handle: Handle,
}

#[async_trait::async_trait]
impl Alerts for FaultyAlerts {
    async fn changed_since(&self, subscription: &str, since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        let travel = self.handle.set_out(Side::Alerts).await;
        let listed = self.kept.changed_since(subscription, since).await;
        self.handle.come_back(travel, Side::Alerts).await;
        match travel.fault {
            None => listed,
            Some(FaultIn::Request | FaultIn::Answer) => {
                Err(PortError::new("list alerts", PortErrorKind::Throttled, "429 from the alerts"))
            }
        }
    }
}

pub struct FaultyNotifier(pub Handle);

#[async_trait::async_trait]
impl Notifier for FaultyNotifier {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        if rule.channel == Channel::Log {
            // A log is no other side.
            self.0.with(|world| world.told(notice, rule));
            return Ok(());
        }
        let travel = self.0.set_out(Side::Notifier).await;
        if travel.fault != Some(FaultIn::Request) {
            self.0.with(|world| world.told(notice, rule));
        }
        self.0.come_back(travel, Side::Notifier).await;
        match travel.fault {
            None => Ok(()),
            Some(FaultIn::Request | FaultIn::Answer) => {
                self.0.with(|world| world.count(Kind::NoticeFailed));
                Err(PortError::new("tell a channel", PortErrorKind::Transient, "no answer from the channel"))
            }
        }
    }
}

/// The policy file, which for a while may be wrong, or out of reach, and which people edit.
pub struct FaultyPolicy {
    pub handle: Handle,
    pub bug: Option<PolicyBug>,
}

/// Put in on purpose: what is known of the file from its first reading, and never learned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyBug {
    Services,
    Modes,
}

#[async_trait::async_trait]
impl Policies for FaultyPolicy {
    async fn load(&self) -> Result<Arc<Policy>, PolicyTrouble> {
        let (wrong, away) = self.handle.with(|world| {
            let (now, person) = (world.now, self.handle.instance == PERSON);
            let holds = |windows: &[Window]| !person && windows.iter().any(|window| window.holds(now));
            (holds(&world.weather.policy_wrong), holds(&world.weather.policy_away))
        });
        if wrong {
            return Err(PolicyTrouble::Wrong("backout.yaml:5:11: `akt` is no mode; did you mean `act`?".to_owned()));
        }
        if away {
            let gone = PortError::new("read the policy", PortErrorKind::Transient, "no connection");
            return Err(PolicyTrouble::Unreachable(gone));
        }
        Ok(self.handle.with(|world| {
            let number = world.policy_read();
            let [first, written] = [0, number].map(|number| &world.story.policies[number].policy);
            match self.bug {
                None => Arc::clone(written),
                Some(PolicyBug::Services) => Arc::clone(first),
                Some(PolicyBug::Modes) => {
                    let mut policy = Policy::clone(written);
                    for (name, service) in &mut policy.services {
                        service.mode = first.services[name].mode;
                    }
                    Arc::new(policy)
                }
            }
        }))
    }
}
