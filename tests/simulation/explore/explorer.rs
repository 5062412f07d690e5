//! Goes through every choice, depth first, and remembers where it has been.

use std::{
    collections::HashSet,
    fmt,
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

use backout::domain::{record::RecordId, service::Resubmit};

use super::{
    documents::Reader,
    engine::Engine,
    tape::{Fixed, Keeping, Message, Request, Seconds, at},
    world::{Bounds, Choice, How, Pass, State},
};
use crate::support::{
    policy::{alert, policy, service},
    seeded::Bug,
};

/// 2026-03-02T03:00:00Z.
const START: Seconds = 1_772_420_400;
const BROKEN_AFTER: Seconds = 40 * 60;
const FIRED_AFTER: Seconds = BROKEN_AFTER + 7 * 60;
const ARRIVES_AFTER: Seconds = BROKEN_AFTER + 8 * 60;

#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub states: usize,
    pub choices: u64,
    pub ends: u64,
    pub depth: usize,
    /// Different places at which a delivery stood, and polls of real code to come there.
    pub places: usize,
    pub steps: u64,
    pub steps_again: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} choices, {} ends, at most {} choices deep; {} places of the real code, reached by {} of its steps and {} repeated ones",
            self.states, self.choices, self.ends, self.depth, self.places, self.steps, self.steps_again
        )
    }
}

/// What must never be, and the way there.
#[derive(Debug)]
pub struct Found {
    pub why: String,
    /// Of each choice its number; replays the path.
    pub choices: Vec<usize>,
    pub trail: String,
    pub states: usize,
}

pub struct Explorer {
    bounds: Bounds,
    bug: Option<Bug>,
    engine: Engine,
    reader: Reader,
    start: State,
    visited: HashSet<u128>,
    figures: Figures,
}

/// A state on the path, and the choices that are left there.
struct Frame {
    state: State,
    key: u128,
    choices: Vec<Choice>,
    next: usize,
}

/// What never changes within these bounds.
pub fn fixed(bounds: &Bounds, bug: Option<Bug>) -> Fixed {
    let mut checkout = service("checkout");
    checkout.resubmit = if bounds.resubmit { Resubmit::Once } else { Resubmit::Never };
    Fixed {
        policy: Arc::new(policy(vec![checkout])),
        way: bounds.way,
        builds: vec!["build-41", "build-42", "build-40"],
        start: START,
        broken_at: START + BROKEN_AFTER,
        alerts: ["a1", "a2"].map(|id| alert(id, "checkout", at(START + FIRED_AFTER))),
        bug,
    }
}

impl Explorer {
    pub fn new(bounds: Bounds, bug: Option<Bug>) -> Self {
        let world = fixed(&bounds, bug);
        let firings = [RecordId::of(&world.alerts[0]), RecordId::of(&world.alerts[1])];
        let texts: Arc<Mutex<Keeping>> = Arc::default();
        // What is known before is what the real sweep makes of the good build.
        let mut before = Engine::new(Arc::new(fixed(&bounds, None)), Arc::clone(&texts));
        let mut reader = Reader::new(Arc::clone(&texts), firings);
        let mut start = State::new(&bounds, START);
        start.sweep_first();
        start = start.after(Choice::Start(Message::Sweep), &mut before);
        while !start.is_at_rest() {
            let choice = start.choices(&bounds, &before, &mut reader, true)[0];
            start = start.after(choice, &mut before);
        }
        start.break_it(START + BROKEN_AFTER);
        start.now = START + ARRIVES_AFTER;
        let engine = Engine::new(Arc::new(world), texts);
        Self { bounds, bug, engine, reader, start, visited: HashSet::new(), figures: Figures::default() }
    }

    fn sweeps(&self) -> bool {
        self.bug.is_none_or(Bug::sweeps)
    }

    /// Every state that can be reached, each looked at once.
    pub fn explore(&mut self) -> Result<Figures, Found> {
        let mut path: Vec<Frame> = Vec::new();
        let start = self.start.clone();
        if let Some(frame) = self.enter(start, &path)? {
            path.push(frame);
        }
        while let Some(frame) = path.last_mut() {
            let Some(choice) = frame.choices.get(frame.next).copied() else {
                path.pop();
                continue;
            };
            frame.next += 1;
            let state = frame.state.after(choice, &mut self.engine);
            self.figures.choices += 1;
            if let Some(frame) = self.enter(state, &path)? {
                path.push(frame);
                self.figures.depth = self.figures.depth.max(path.len());
            }
        }
        self.figures.states = self.visited.len();
        self.figures.places = self.engine.nodes();
        self.figures.steps = self.engine.steps;
        self.figures.steps_again = self.engine.steps_again;
        Ok(self.figures)
    }

    fn enter(&mut self, state: State, path: &[Frame]) -> Result<Option<Frame>, Found> {
        let key = self.key(&state);
        let on_the_way = state.is_at_rest() && path.iter().any(|frame| frame.key == key);
        if !self.visited.insert(key) && !on_the_way {
            return Ok(None);
        }
        let (choices, why) = self.look(&state);
        if let Some(why) = why.or_else(|| on_the_way.then(|| "it goes round and comes to no end".to_owned())) {
            let choices: Vec<usize> = path.iter().map(|frame| frame.next - 1).collect();
            let trail = self.trail(&choices);
            return Err(Found { why, choices, trail, states: self.visited.len() });
        }
        Ok(Some(Frame { state, key, choices, next: 0 }))
    }

    /// What can happen next, or what is wrong.
    fn look(&mut self, state: &State) -> (Vec<Choice>, Option<String>) {
        if let Some(why) = state.wrong(START, &mut self.reader) {
            return (Vec::new(), Some(why));
        }
        let sweeps = self.sweeps();
        let choices = state.choices(&self.bounds, &self.engine, &mut self.reader, sweeps);
        if state.is_delivered() && !choices.contains(&Choice::Pass(Pass::ToSweep)) {
            self.figures.ends += 1;
            if let Some(why) = state.unfinished(&mut self.reader) {
                return (choices, Some(why));
            }
        }
        (choices, None)
    }

    /// Between deliveries two states are one if nothing that is decided can tell them apart, but for when it is; during one, only if
    /// they are equal.
    fn key(&mut self, state: &State) -> u128 {
        let now = state.now;
        let essence = state.is_at_rest().then(|| {
            let docs: Vec<(u32, u64)> =
                state.docs.iter().map(|(key, doc)| (*key, self.reader.essence(Some(*key), doc.body, now))).collect();
            let queue: Vec<(Seconds, u64)> =
                state.queue.iter().map(|(due, body)| (due - now, self.reader.essence(None, *body, now))).collect();
            (docs, queue, state.at_rest())
        });
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            match &essence {
                Some(essence) => essence.hash(&mut hasher),
                None => state.hash(&mut hasher),
            }
            u128::from(hasher.finish())
        };
        (half(1) << 64) | half(2)
    }

    /// Goes the way of these choices, and undisturbed on from there; what happens, in words, and what is wrong at the end.
    pub fn replay(&mut self, choices: &[usize]) -> (String, Option<String>) {
        let mut state = self.start.clone();
        let mut chosen = Vec::new();
        loop {
            let (possible, wrong) = self.look(&state);
            let next = choices.get(chosen.len()).copied().unwrap_or(0);
            if wrong.is_some() || possible.is_empty() {
                assert!(chosen.len() >= choices.len(), "it ends before these choices do: {wrong:?}");
                return (self.trail(&chosen), wrong);
            }
            assert!(next < possible.len(), "of {} choices number {next} can't be made", possible.len());
            chosen.push(next);
            state = state.after(possible[next], &mut self.engine);
        }
    }

    fn trail(&mut self, choices: &[usize]) -> String {
        let mut state = self.start.clone();
        let mut trail = String::new();
        for choice in choices {
            let sweeps = self.sweeps();
            let possible = state.choices(&self.bounds, &self.engine, &mut self.reader, sweeps);
            let chosen = possible[*choice];
            let words = self.words(chosen);
            let next = state.after(chosen, &mut self.engine);
            let after = state.now - START - ARRIVES_AFTER;
            let _ = writeln!(trail, "  {after:>5} s  {words}");
            for (worker, name) in ["A", "B"].into_iter().enumerate() {
                if state.workers[worker].is_some() && next.workers[worker].is_none() && !matches!(chosen, Choice::Crash { .. }) {
                    let _ = writeln!(trail, "           {name} has ended");
                }
            }
            state = next;
        }
        trail
    }

    fn words(&mut self, choice: Choice) -> String {
        let worker_name = |worker: usize| if worker == 0 { "A" } else { "B" };
        match choice {
            Choice::Start(Message::Alert { firing, copy }) => format!("firing {} arrives, copy {}", firing + 1, copy + 1),
            Choice::Start(Message::Sweep) => "a sweep".to_owned(),
            Choice::Start(Message::FollowUp(body)) => {
                format!("a wake-up arrives: {}", self.engine.texts.lock().unwrap().bodies.string(body))
            }
            Choice::Crash { worker, last_delivery } => {
                let then = if last_delivery { "; it was the last delivery" } else { "; the message comes again" };
                format!("{} crashes{then}", worker_name(worker))
            }
            Choice::Pass(pass) => match pass {
                Pass::ToNext => "time passes until something is due",
                Pass::ToSweep => "five minutes pass, and a sweep comes",
                Pass::StalledToNext => "all stand still until something is due",
                Pass::StalledPastFresh => "all stand still past freshness",
                Pass::StalledPastQuiet => "all stand still past the quiet time",
            }
            .to_owned(),
            Choice::Go { worker, request, how, .. } => {
                let asked = self.asked(request);
                let how = match how {
                    How::Plain => "",
                    How::Applied => ", the operation having taken effect",
                    How::LostAfter => ", done, answer lost",
                    How::LostBefore => ", not done, answer lost",
                    How::Retried => ", done, and sent again by the store",
                    How::Refused => ", refused",
                    How::NotSent => ", turned away",
                };
                format!("{}: {asked}{how}", worker_name(worker))
            }
        }
    }

    fn asked(&mut self, request: Request) -> String {
        match request {
            Request::Read(key) => format!("read {}", self.reader.name(key)),
            Request::Insert(key, body) => format!("insert {}: {}", self.reader.name(key), self.reader.words(key, body)),
            Request::Replace(key, version, body) => {
                format!("write {} from version {version}: {}", self.reader.name(key), self.reader.words(key, body))
            }
            Request::Observe => "look at the platform".to_owned(),
            Request::Poll(_) => "poll the operation".to_owned(),
            Request::Submit(detail) => format!("POST {}", self.engine.texts.lock().unwrap().bodies.string(detail)),
            Request::Series => "read the signal".to_owned(),
            Request::Send { .. } => "send a wake-up".to_owned(),
            Request::Sleep => "sleep".to_owned(),
        }
    }
}
