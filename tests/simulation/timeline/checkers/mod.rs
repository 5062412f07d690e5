//! What must always hold, judged from the truth of the world: what ran, what was written, sent and told. The code that is judged is
//! never asked.
//!
//! One file for invariants that look at the same thing; each failure names its invariant.

mod calls;
mod ends;
mod evidence;
mod messages;
mod records;
mod rollbacks;
mod secrets;

use std::{collections::BTreeMap, fmt};

use backout::{local::memory_store::MemoryStore, process::outcome::Outcome};

use super::{
    counts::Kind,
    executor::TaskId,
    story::Story,
    telemetry::Reading,
    time::Micros,
    world::{INSTANCES_MAX, World},
};

/// The ten of the crate's documentation, that what led to a call still holds when it leaves (A11, A13), that nothing is silent (V6), and
/// that everything comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    OnceOnly,
    NeverOurOwn,
    ExplicitAndReRead,
    SentOnce,
    UnknownIsNeither,
    OneRecord,
    NothingLost,
    OnlyOurTargets,
    NoSecrets,
    KillSwitch,
    Stands,
    Told,
    Ends,
}

impl Invariant {
    pub const ALL: [Self; 13] = [
        Self::OnceOnly,
        Self::NeverOurOwn,
        Self::ExplicitAndReRead,
        Self::SentOnce,
        Self::UnknownIsNeither,
        Self::OneRecord,
        Self::NothingLost,
        Self::OnlyOurTargets,
        Self::NoSecrets,
        Self::KillSwitch,
        Self::Stands,
        Self::Told,
        Self::Ends,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnceOnly => "1 (a version is taken back at most once)",
            Self::NeverOurOwn => "2 (a rollback is never taken back by us)",
            Self::ExplicitAndReRead => "3 (an explicit version, after a fresh look)",
            Self::SentOnce => "4 (a mutating call is sent once)",
            Self::UnknownIsNeither => "5 (unknown is neither good nor bad)",
            Self::OneRecord => "6 (one record and one terminal decision a firing)",
            Self::NothingLost => "7 (no message is lost)",
            Self::OnlyOurTargets => "8 (only targets of the policy)",
            Self::NoSecrets => "9 (no secret in a log, a receipt or a page)",
            Self::KillSwitch => "10 (pause stops every call)",
            Self::Stands => "stands (a call leaves only while its decision holds)",
            Self::Told => "told (no outcome is silent)",
            Self::Ends => "ends (everything comes to its end)",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub invariant: Invariant,
    pub says: String,
}

/// What one invocation has been told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    tenant: u64,
    readings: Vec<Reading>,
    /// Sites in the order in which they were read, in vain or not; those whose way back could not be checked, or is closed.
    reads: Vec<(usize, bool)>,
    unchecked: Vec<usize>,
    /// When it last read the kill switch, and what that said.
    paused: Option<(Micros, bool)>,
    /// The policy file that it last read, by number.
    policy: usize,
}

/// Everything that the checkers remember.
pub struct Checks {
    pub broken: Option<(Invariant, String)>,
    facts: Vec<Facts>,
    calls: calls::Calls,
    rollbacks: rollbacks::Rollbacks,
    records: records::Records,
    messages: messages::Messages,
    notices: secrets::Notices,
}

impl Checks {
    pub fn new(story: &Story) -> Self {
        Self {
            broken: None,
            facts: Vec::new(),
            calls: calls::Calls::new(story.services.len() + 2, INSTANCES_MAX),
            rollbacks: rollbacks::Rollbacks::default(),
            records: records::Records::of(story),
            messages: messages::Messages::default(),
            notices: secrets::Notices::default(),
        }
    }
}

impl World {
    /// An invocation, or a person's command, begins.
    pub fn begins(&mut self, id: TaskId) {
        if self.checks.facts.len() <= id.place {
            self.checks.facts.resize(id.place + 1, Facts::default());
        }
        self.checks.facts[id.place] = Facts { tenant: id.tenant, ..Facts::default() };
    }

    fn facts(&mut self) -> &mut Facts {
        let current = self.current;
        let facts = &mut self.checks.facts[current.place];
        debug_assert_eq!(facts.tenant, current.tenant);
        facts
    }

    /// Not for what arrives when its sender is gone.
    fn facts_are_known(&self) -> bool {
        self.checks.facts.get(self.current.place).is_some_and(|facts| facts.tenant == self.current.tenant)
    }

    /// An invocation reads the policy file; its number.
    pub fn policy_read(&mut self) -> usize {
        let number = self.story.policy_at(self.now);
        self.facts().policy = number;
        number
    }

    pub fn ended_with(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Settled { .. } | Outcome::DeliverAgain { .. } => {}
            Outcome::Parked { .. } => self.count(Kind::Parked),
            Outcome::PutBack { .. } => self.count(Kind::PutBack),
        }
    }
}

/// Looks at everything once more when nothing goes on any more.
pub fn final_judgement(world: &mut World, memory: &MemoryStore) {
    let documents = documents(memory);
    secrets::judge(world, &documents);
    // First what is stuck: that something was not told, or is not decided, follows from it.
    ends::judge(world);
    records::judge(world, &documents);
    messages::judge(world, &documents);
}

pub(super) type StoredDocuments = BTreeMap<String, Vec<u8>>;

/// Everything that is in the store.
fn documents(memory: &MemoryStore) -> StoredDocuments {
    use backout::ports::StateStore as _;
    use futures::FutureExt as _;

    let keys = memory.list("", None, usize::MAX).now_or_never().expect("at once").unwrap_or_default();
    keys.into_iter()
        .filter_map(|key| {
            let stored = memory.read(&key).now_or_never().expect("at once").ok().flatten()?;
            Some((key.to_string(), stored.body))
        })
        .collect()
}

/// The text behind `before`, up to the next quotation mark.
pub(super) fn text_after<'a>(body: &'a str, before: &str) -> Option<&'a str> {
    let at = body.find(before)?;
    body[at + before.len()..].split('"').next()
}
