//! The small world as a value: what is stored, what runs, what lies in the queue, and two workers that stand at a call.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use super::tape::{Answer, BodyId, CallId, Copied, Ended, Keeping, KeyId, Message, Request, Seconds, WayKind};
use super::{
    documents::Reader,
    engine::{Engine, NodeId},
    platform::{ACCUSED, GOOD, Site},
};

/// What an exploration may do, and how often on one path.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub name: &'static str,
    pub way: WayKind,
    /// One second submission is allowed after the quiet time, also of a toggle.
    pub resubmit: bool,
    /// Deliveries of each firing.
    pub copies: [usize; 2],
    /// Switches from a worker that could go on.
    pub preemptions: u8,
    /// Crashes and lost answers.
    pub faults: u8,
    /// Times that pass while a worker stands still.
    pub stalls: u8,
    /// All of these together.
    pub disturbances: u8,
    /// Looks that find the operation still under way.
    pub patience: u8,
    /// Answers of the store get lost too.
    pub store_faults: bool,
    /// A crash may be the last delivery of its message.
    pub losses: bool,
    /// Calls of one worker that it makes side by side take effect in every order, not just in theirs.
    pub own_order: bool,
    /// The platform may also refuse, or turn away.
    pub refusals: bool,
    pub points: Points,
    /// Sweeps that come at any time, beside those that come when nothing else does.
    pub sweeps: u8,
}

/// Where a worker may be interrupted: by the other one, by time, by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// Before each of its calls.
    Every,
    /// Until the platform has taken a call: before it writes a claim, and before it looks at the platform or calls it.
    UntilTheCall,
    /// Before it writes a claim, and before it looks at the platform or calls it.
    Calls,
    /// Before these, and before it writes the target.
    Writes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doc {
    pub body: BodyId,
    pub version: u32,
    /// Written by that worker, who was not told.
    own: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copy {
    /// It may come at any time.
    Waits,
    /// It was delivered, and comes again at once.
    Again,
    /// A delivery of it is at work, or has ended, or it is not part of the world.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker {
    pub message: Message,
    pub node: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    preemptions: u8,
    faults: u8,
    stalls: u8,
    disturbances: u8,
    sweeps: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub now: Seconds,
    pub docs: BTreeMap<KeyId, Doc>,
    pub site: Site,
    pub queue: BTreeSet<(Seconds, BodyId)>,
    pub copies: [[Copy; 2]; 2],
    /// Firings of which a message is a dead letter, which a person is told of.
    pub lost: [bool; 2],
    pub workers: [Option<Worker>; 2],
    turn: u8,
    left: Left,
    idle_sweeps: u8,
    swept_at: Seconds,
}

impl Left {
    /// What can't be used any more counts as used up.
    fn disturb(&mut self) {
        self.disturbances -= 1;
        self.preemptions = self.preemptions.min(self.disturbances);
        self.faults = self.faults.min(self.disturbances);
        self.stalls = self.stalls.min(self.disturbances);
    }
}

/// One of the ways in which the world can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Go { worker: usize, call: CallId, request: Request, how: How },
    Start(Message),
    Crash { worker: usize, last_delivery: bool },
    Pass(Pass),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Plain,
    /// The operation under way takes effect first.
    Applied,
    /// It has its effect, and the answer is lost; of the store: an error.
    LostAfter,
    /// It has no effect, and nobody can tell.
    LostBefore,
    /// The store retries by itself, and meets its own write.
    Retried,
    Refused,
    NotSent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Nobody is at work.
    ToNext,
    ToSweep,
    /// Somebody stands still meanwhile.
    StalledToNext,
    StalledPastFresh,
    StalledPastQuiet,
}

/// Just beyond [`backout::process::act::FRESH`], and beyond the policy's quiet time.
const PAST_FRESH: Seconds = 11;
const PAST_QUIET: Seconds = 601;

/// Where nothing else comes. While something does, the sweeps between two long ones change nothing: they are left out.
const SWEEP_EVERY: Seconds = 300;
const SWEEP_WITHIN: Seconds = 1_800;

/// After so many sweeps that woke nothing, nothing ever will.
const IDLE_SWEEPS_MAX: u8 = 3;

const PUT_BACK_AFTER: Seconds = 15;

impl State {
    /// The good build runs since a day.
    pub fn new(bounds: &Bounds, start: Seconds) -> Self {
        let copies = bounds.copies.map(|copies| std::array::from_fn(|copy| if copy < copies { Copy::Waits } else { Copy::Gone }));
        Self {
            now: start,
            docs: BTreeMap::new(),
            site: Site::new(start, bounds.patience),
            queue: BTreeSet::new(),
            copies,
            lost: [false; 2],
            workers: [None; 2],
            turn: 0,
            left: Left {
                preemptions: bounds.preemptions.min(bounds.disturbances),
                faults: bounds.faults.min(bounds.disturbances),
                stalls: bounds.stalls.min(bounds.disturbances),
                disturbances: bounds.disturbances,
                sweeps: bounds.sweeps,
            },
            idle_sweeps: 0,
            swept_at: start,
        }
    }

    /// One more sweep than the bounds allow.
    pub fn sweep_first(&mut self) {
        self.left.sweeps += 1;
    }

    /// The team swaps the bad build in.
    pub fn break_it(&mut self, now: Seconds) {
        self.now = now;
        self.swept_at = now;
        self.site.break_it(now);
    }

    pub fn is_at_rest(&self) -> bool {
        self.workers.iter().all(Option::is_none)
    }

    /// What else a state at rest is, beside its documents and its queue; without the time.
    pub fn at_rest(&self) -> Self {
        let since = if self.site.token == ACCUSED { 0 } else { self.site.since - self.now };
        let site = Site { since, ..self.site.clone() };
        Self {
            now: 0,
            docs: BTreeMap::new(),
            queue: BTreeSet::new(),
            site,
            turn: 0,
            swept_at: self.swept_at - self.now,
            ..self.clone()
        }
    }

    /// Whoever was last to go on and still can; else the other one.
    fn current(&self) -> Option<usize> {
        let turn = usize::from(self.turn);
        [turn, 1 - turn].into_iter().find(|worker| self.workers[*worker].is_some())
    }

    /// Whether each firing has been delivered, and nothing is scheduled.
    pub fn is_delivered(&self) -> bool {
        self.is_at_rest()
            && self.queue.is_empty()
            && !self.copies.iter().any(|copies| copies[0] != Copy::Gone || copies[1] == Copy::Again)
    }

    /// Everything that can happen next; the first is what happens when nothing goes wrong.
    pub fn choices(&self, bounds: &Bounds, engine: &Engine, reader: &mut Reader, sweeps: bool) -> Vec<Choice> {
        let mut choices = Vec::new();
        let Some(current) = self.current() else {
            let due = self.queue.iter().filter(|(due, _)| *due <= self.now);
            choices.extend(due.map(|(_, body)| Choice::Start(Message::FollowUp(*body))));
            let is_due = !choices.is_empty() || self.copies.iter().flatten().any(|copy| *copy == Copy::Again);
            self.others_that_wait(sweeps, &mut choices);
            let nothing_is_due = !is_due && !self.queue.is_empty();
            if nothing_is_due && sweeps && self.now - self.swept_at > SWEEP_WITHIN {
                choices.push(Choice::Pass(Pass::ToSweep));
            } else if nothing_is_due {
                choices.push(Choice::Pass(Pass::ToNext));
            }
            let unfinished = !is_due && self.queue.is_empty() && self.unfinished(reader).is_some();
            if unfinished && sweeps && self.idle_sweeps < IDLE_SWEEPS_MAX {
                choices.push(Choice::Pass(Pass::ToSweep));
            }
            return choices;
        };
        let disturbances = self.left.disturbances > 0 && self.is_point(current, bounds, engine);
        let faults = disturbances && self.left.faults > 0;
        self.steps_of(current, faults, bounds, engine, &mut choices);
        if faults {
            choices.push(Choice::Crash { worker: current, last_delivery: false });
            if bounds.losses {
                choices.push(Choice::Crash { worker: current, last_delivery: true });
            }
        }
        if disturbances && self.left.preemptions > 0 {
            let other = 1 - current;
            if self.workers[other].is_some() {
                self.steps_of(other, faults && self.left.disturbances > 1, bounds, engine, &mut choices);
            } else {
                let due = self.queue.iter().filter(|(due, _)| *due <= self.now);
                choices.extend(due.map(|(_, body)| Choice::Start(Message::FollowUp(*body))));
                self.others_that_wait(sweeps, &mut choices);
            }
        }
        // Between the check that claim and look are fresh, and the call, no time passes.
        let calling = self
            .workers
            .iter()
            .flatten()
            .any(|worker| engine.node(worker.node).pending.iter().any(|(_, request)| matches!(request, Request::Submit(_))));
        if disturbances && self.left.stalls > 0 && !calling {
            if self.queue.first().is_some_and(|(due, _)| *due > self.now) {
                choices.push(Choice::Pass(Pass::StalledToNext));
            }
            choices.push(Choice::Pass(Pass::StalledPastFresh));
            choices.push(Choice::Pass(Pass::StalledPastQuiet));
        }
        choices
    }

    fn is_point(&self, worker: usize, bounds: &Bounds, engine: &Engine) -> bool {
        let Some(at_work) = self.workers[worker] else { return false };
        let texts = engine.texts.lock().unwrap();
        let is_of = |key: u32, prefix: &str| texts.keys.text(key).starts_with(prefix.as_bytes());
        if bounds.points == Points::UntilTheCall && self.site.operations > 0 {
            return false;
        }
        bounds.points == Points::Every
            || engine.node(at_work.node).pending.iter().any(|(_, request)| match request {
                Request::Insert(key, _) | Request::Replace(key, ..) => {
                    is_of(*key, "claims/") || (bounds.points == Points::Writes && is_of(*key, "targets/"))
                }
                Request::Submit(_) | Request::Observe => true,
                Request::Read(_) | Request::Poll(_) | Request::Series | Request::Send { .. } | Request::Sleep => false,
            })
    }

    /// Alerts, and a sweep where one may come.
    fn others_that_wait(&self, sweeps: bool, choices: &mut Vec<Choice>) {
        let sweeping = self.workers.iter().flatten().any(|worker| worker.message == Message::Sweep);
        if sweeps && self.left.sweeps > 0 && !sweeping {
            choices.push(Choice::Start(Message::Sweep));
        }
        for (firing, copies) in self.copies.iter().enumerate() {
            // Copies of one firing are alike.
            if let Some(copy) = copies.iter().position(|copy| *copy != Copy::Gone) {
                choices.push(Choice::Start(Message::Alert { firing, copy }));
            }
        }
    }

    fn steps_of(&self, worker: usize, faults: bool, bounds: &Bounds, engine: &Engine, choices: &mut Vec<Choice>) {
        let Some(at_work) = self.workers[worker] else { return };
        let pending = &engine.node(at_work.node).pending;
        let count = if bounds.own_order { pending.len() } else { 1 };
        for (call, request) in pending.iter().take(count).copied() {
            let mut go = |how| choices.push(Choice::Go { worker, call, request, how });
            match request {
                Request::Observe | Request::Poll(_) if self.site.under_way.is_some() => {
                    go(How::Applied);
                    if self.site.patience > 0 {
                        go(How::Plain);
                    }
                }
                Request::Submit(_) => {
                    let under_way = self.site.under_way.is_some();
                    go(if under_way { How::Applied } else { How::Plain });
                    if under_way {
                        go(How::Plain);
                    } else if faults {
                        go(How::LostAfter);
                        go(How::LostBefore);
                        if bounds.refusals {
                            go(How::Refused);
                            go(How::NotSent);
                        }
                    }
                }
                Request::Insert(..) | Request::Replace(..) => {
                    go(How::Plain);
                    if faults && bounds.store_faults && self.would_write(request) {
                        go(How::LostAfter);
                        go(How::LostBefore);
                        go(How::Retried);
                    }
                }
                Request::Read(_)
                | Request::Observe
                | Request::Poll(_)
                | Request::Series
                | Request::Send { .. }
                | Request::Sleep => go(How::Plain),
            }
        }
    }

    fn would_write(&self, request: Request) -> bool {
        match request {
            Request::Insert(key, _) => !self.docs.contains_key(&key),
            Request::Replace(key, version, _) => self.docs.get(&key).is_some_and(|doc| doc.version == version),
            Request::Read(_)
            | Request::Observe
            | Request::Poll(_)
            | Request::Submit(_)
            | Request::Series
            | Request::Send { .. }
            | Request::Sleep => false,
        }
    }

    /// The world after a choice.
    pub fn after(&self, choice: Choice, engine: &mut Engine) -> Self {
        let mut next = self.clone();
        match choice {
            Choice::Go { worker, call, request, how } => {
                if self.current() != Some(worker) {
                    next.left.preemptions -= 1;
                    next.left.disturb();
                }
                match how {
                    How::Plain | How::Applied => {}
                    How::LostAfter | How::LostBefore | How::Retried | How::Refused | How::NotSent => next.fault(),
                }
                next.turn = u8::try_from(worker).unwrap();
                let answer = next.perform(worker, request, how, &engine.texts);
                next.answer(worker, call, answer, engine);
            }
            Choice::Start(message) => {
                if !self.is_at_rest() {
                    next.left.preemptions -= 1;
                    next.left.disturb();
                }
                next.left.sweeps -= u8::from(message == Message::Sweep);
                next.start(message, engine);
            }
            Choice::Crash { worker, last_delivery } => {
                next.fault();
                let Some(dead) = next.workers[worker].take() else { unreachable!("only who is at work crashes") };
                next.forget_own(worker);
                match (dead.message, last_delivery) {
                    (Message::Alert { firing, copy }, false) => next.copies[firing][copy] = Copy::Again,
                    (Message::Alert { firing, .. }, true) => next.lost[firing] = true,
                    (Message::FollowUp(body), false) => {
                        next.queue.insert((next.now, body));
                    }
                    (Message::FollowUp(body), true) => next.lost[engine.firing_of(body)] = true,
                    (Message::Sweep, _) => {}
                }
            }
            Choice::Pass(pass) => {
                let first = next.queue.first().map(|(due, _)| *due);
                match pass {
                    Pass::ToNext | Pass::StalledToNext => next.now = first.unwrap_or(next.now),
                    Pass::ToSweep => {
                        next.now = first.map_or(next.now + SWEEP_EVERY, |first| first.min(next.now + SWEEP_EVERY));
                        next.idle_sweeps += 1;
                        next.start(Message::Sweep, engine);
                    }
                    Pass::StalledPastFresh => next.now += PAST_FRESH,
                    Pass::StalledPastQuiet => {
                        next.now += PAST_QUIET;
                        next.end_locks();
                    }
                }
                match pass {
                    Pass::ToNext | Pass::ToSweep => {}
                    Pass::StalledToNext | Pass::StalledPastFresh | Pass::StalledPastQuiet => {
                        next.left.stalls -= 1;
                        next.left.disturb();
                    }
                }
            }
        }
        next
    }

    /// A queue hands out again what nobody has completed for so long.
    fn end_locks(&mut self) {
        for worker in self.workers.into_iter().flatten() {
            if let Message::FollowUp(body) = worker.message {
                self.queue.insert((self.now, body));
            }
        }
    }

    fn fault(&mut self) {
        self.left.faults -= 1;
        self.left.disturb();
    }

    fn start(&mut self, message: Message, engine: &mut Engine) {
        let worker = usize::from(self.workers[0].is_some());
        match message {
            Message::Alert { firing, copy } => self.copies[firing][copy] = Copy::Gone,
            Message::FollowUp(body) => {
                if let Some(taken) = self.queue.iter().find(|(_, queued)| *queued == body).copied() {
                    self.queue.remove(&taken);
                }
                self.idle_sweeps = 0;
            }
            Message::Sweep => self.swept_at = self.now,
        }
        self.turn = u8::try_from(worker).unwrap();
        self.workers[worker] = Some(Worker { message, node: engine.start(message, self.now) });
        self.settle(worker, engine);
    }

    fn answer(&mut self, worker: usize, call: CallId, answer: Answer, engine: &mut Engine) {
        let Some(at_work) = &mut self.workers[worker] else { unreachable!("only who is at work is answered") };
        at_work.node = engine.answer(at_work.node, call, answer, self.now);
        self.settle(worker, engine);
    }

    /// Answers what concerns nobody else, and ends a delivery that has ended.
    fn settle(&mut self, worker: usize, engine: &mut Engine) {
        while let Some(at_work) = self.workers[worker] {
            let node = engine.node(at_work.node);
            if let Some(ended) = node.ended {
                self.workers[worker] = None;
                self.forget_own(worker);
                match (ended, at_work.message) {
                    (Ended::PutBack, Message::FollowUp(body)) => {
                        self.queue.insert((self.now + PUT_BACK_AFTER, body));
                    }
                    (Ended::PutBack, Message::Alert { firing, copy }) => self.copies[firing][copy] = Copy::Again,
                    (Ended::PutBack, Message::Sweep) | (Ended::Settled, _) => {}
                }
                return;
            }
            let Some((call, request)) = node.pending.iter().find(|(_, request)| request.is_private()).copied() else { return };
            let answer = self.perform(worker, request, How::Plain, &engine.texts);
            let Some(at_work) = &mut self.workers[worker] else { return };
            at_work.node = engine.answer(at_work.node, call, answer, self.now);
        }
    }

    fn forget_own(&mut self, worker: usize) {
        for doc in self.docs.values_mut().filter(|doc| doc.own == u8::try_from(worker).ok()) {
            doc.own = None;
        }
    }

    /// What a request does, and what is answered.
    pub fn perform(&mut self, worker: usize, request: Request, how: How, texts: &Mutex<Keeping>) -> Answer {
        let own = u8::try_from(worker).ok();
        match request {
            Request::Read(key) => Answer::Document(self.docs.get_mut(&key).map(|doc| {
                let is_own = doc.own.is_some() && doc.own == own;
                if is_own {
                    doc.own = None;
                }
                Copied { body: doc.body, version: doc.version, own: is_own }
            })),
            Request::Insert(key, body) | Request::Replace(key, _, body) => {
                if !self.would_write(request) {
                    return Answer::NotWritten;
                }
                if how == How::LostBefore {
                    return Answer::Failed;
                }
                let version = self.docs.get(&key).map_or(0, |doc| doc.version) + 1;
                let own = own.filter(|_| how == How::Retried);
                self.docs.insert(key, Doc { body, version, own });
                match how {
                    How::LostAfter => Answer::Failed,
                    How::Retried => Answer::NotWritten,
                    How::Plain | How::Applied | How::LostBefore | How::Refused | How::NotSent => Answer::Written(version),
                }
            }
            Request::Observe => {
                self.site.apply(how, self.now);
                Answer::Seen(self.site.sight())
            }
            Request::Poll(number) => {
                self.site.apply(how, self.now);
                self.site.polled(number)
            }
            Request::Submit(detail) => {
                self.site.apply(how, self.now);
                let detail: serde_json::Value = serde_json::from_slice(&texts.lock().unwrap().bodies.text(detail)).unwrap();
                self.site.submit(&detail, how)
            }
            Request::Series => {
                let good = self.site.build == GOOD;
                Answer::Measured { good_since: good.then_some(self.site.since) }
            }
            Request::Send { body, delay } => {
                self.queue.insert((self.now + delay, body));
                Answer::Done
            }
            Request::Sleep => Answer::Done,
        }
    }
}
