//! The platform of the small world: one target with two slots, and at most one operation.

use super::{
    tape::{Answer, Seconds, Sight},
    world::How,
};

/// Builds by number, as in [`super::tape::Fixed::builds`].
pub const GOOD: u32 = 0;
pub const BAD: u32 = 1;
pub const OLDER: u32 = 2;

/// The rollout that is to be taken back, and the one that our call leads to.
pub const ACCUSED: u32 = 1;
pub const RESULT: u32 = 2;

/// What an operation does at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    Swap,
    Set(u32),
    Prepare,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    pub token: u32,
    pub build: u32,
    pub since: Seconds,
    pub slot: u32,
    pub under_way: Option<(u32, Effect)>,
    pub operations: u32,
    pub patience: u8,
    /// Calls that change what runs, and were taken.
    pub calls: u8,
    /// A call that was taken although something else ran than what is accused.
    pub wrong_call: bool,
}

impl Site {
    /// The good build runs since a day.
    pub fn new(start: Seconds, patience: u8) -> Self {
        Self {
            token: 0,
            build: GOOD,
            since: start - 26 * 3600,
            slot: OLDER,
            under_way: None,
            operations: 0,
            patience,
            calls: 0,
            wrong_call: false,
        }
    }

    /// The team swaps a build in.
    pub fn roll_out(&mut self, build: u32, now: Seconds) {
        self.token += 1;
        self.slot = std::mem::replace(&mut self.build, build);
        self.since = now;
    }

    /// The team swaps the bad build in.
    pub fn break_it(&mut self, now: Seconds) {
        self.roll_out(BAD, now);
        assert_eq!(self.token, ACCUSED, "the first rollout is the bad one");
    }

    pub fn sight(&self) -> Sight {
        let under_way = self.under_way.is_some();
        Sight { token: self.token, build: self.build, since: self.since, slot: self.slot, under_way }
    }

    /// The operation under way takes effect, or is seen once more before it does.
    pub fn apply(&mut self, how: How, now: Seconds) {
        let Some((_, effect)) = self.under_way else { return };
        if how != How::Applied {
            self.patience = self.patience.saturating_sub(1);
            return;
        }
        self.under_way = None;
        let before = self.build;
        match effect {
            Effect::Swap => std::mem::swap(&mut self.build, &mut self.slot),
            Effect::Set(build) => self.build = build,
            Effect::Prepare => return,
        }
        if self.build != before {
            self.token += 1;
            self.since = now;
        }
    }

    /// How an operation stands that a call of ours began.
    pub fn polled(&self, number: u32) -> Answer {
        if !(1..=self.operations).contains(&number) {
            return Answer::NoSuchOperation;
        }
        Answer::Polled { running: self.under_way.is_some_and(|(under_way, _)| under_way == number) }
    }

    /// A call of ours arrives.
    pub fn submit(&mut self, detail: &serde_json::Value, how: How) -> Answer {
        if self.under_way.is_some() {
            return Answer::Busy;
        }
        match how {
            How::LostBefore => return Answer::Unknown,
            How::Refused => return Answer::Refused,
            How::NotSent => return Answer::NotSent,
            How::Plain | How::Applied | How::LostAfter | How::Retried => {}
        }
        let effect = match detail["does"].as_str() {
            Some("swap") => Effect::Swap,
            Some("set") => Effect::Set(detail["build"].as_u64().and_then(|build| u32::try_from(build).ok()).unwrap()),
            Some("prepare") => Effect::Prepare,
            other => panic!("a step that does {other:?}"),
        };
        if effect != Effect::Prepare {
            self.calls += 1;
            self.wrong_call |= self.token != ACCUSED;
        }
        self.operations += 1;
        self.under_way = Some((self.operations, effect));
        if how == How::LostAfter { Answer::Unknown } else { Answer::Accepted { operation: self.operations } }
    }
}
