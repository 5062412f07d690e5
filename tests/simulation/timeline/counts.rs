//! How often each kind of thing happened: a world in which nothing happens proves nothing.

macro_rules! kinds {
    ($($variant:ident => $says:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($variant,)* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }
        }
    };
}

kinds! {
    Timeline => "timelines",
    Message => "messages handled",
    Tick => "timer ticks handled",
    StoreCall => "store calls",
    StoreWrite => "documents written",
    StoreFault => "store: no answer, or an answer without effect",
    OwnWriteMet => "store: own write met after a lost answer",
    LostRace => "store: a compare-and-set lost to somebody else",
    LateWrite => "store: a write that took effect after its writer died",
    BusFault => "queue: a send failed, before or after its effect",
    Redelivered => "queue: delivered once more",
    Duplicate => "queue: a copy by the broker",
    LockEnded => "queue: a lock ended during the work",
    DeadLetter => "queue: dead letters",
    PutBack => "messages put back by us",
    Parked => "messages parked",
    Death => "instances that died",
    DeathInCall => "  of these while a rollback's call was under way",
    Stall => "stalls of an instance",
    LongStall => "  of these longer than the quiet time",
    TimedOut => "invocations that the host ended after five minutes",
    Deployment => "deployments by the team",
    BadDeployment => "  of these bad",
    Overlap => "  begun while an operation was under way",
    Superseded => "operations whose place a newer one took",
    Meddling => "changes by a person in the middle of a rollback",
    DeploymentEvent => "deployment events",
    Malformed => "messages that make no sense, or came by a wrong queue",
    PolicyEdit => "edits of the policy: a service gone, an automation turned down, a dependency less",
    Firing => "firings",
    FalseFiring => "  of these without a bad deployment",
    OutsideFiring => "  of these about nothing in the policy",
    AlertLost => "alerts that never arrived by the usual way",
    AlertCopy => "further copies of an alert",
    Resolved => "alerts resolved",
    Act => "decided: act",
    Propose => "decided: propose",
    Hold => "decided: hold",
    Page => "decided: page",
    Ignore => "decided: ignore",
    Approved => "approved by a person",
    Declined => "declined by a person",
    Paused => "paused by a person",
    Cleared => "targets cleared by a person",
    Sent => "rollback calls sent",
    SentBesidePolicy => "  of these while the policy did not name the target any more, or not to act on it",
    SentAgain => "  of these for the second time, after one that never told",
    CallAccepted => "  answered: accepted, or done",
    CallRefused => "  answered: refused",
    CallBusy => "  answered: something else is under way",
    CallNotSent => "  answered: not processed",
    CallLost => "  not answered, with or without effect",
    EffectLate => "  took effect after the answer was given up",
    OperationFailed => "operations that failed at their end",
    Effect => "rollbacks that took effect",
    Recovered => "rollbacks: recovered",
    NotRecovered => "rollbacks: not recovered",
    Failed => "rollbacks: failed",
    Unknown => "rollbacks: unknown, left to a person",
    Notice => "notices told",
    NoticeFailed => "notices that failed",
    Storm => "storms",
    Gap => "readings of a signal with gaps, or none",
}

#[derive(Debug, Clone)]
pub struct Counts([u64; Kind::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Kind::ALL.len()])
    }
}

impl Counts {
    pub fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
