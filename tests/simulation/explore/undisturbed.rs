//! The small world without a process: whoever asks is answered at once, and nothing goes wrong.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use backout::{
    domain::target::Target,
    ports::{Clock, Platforms, StateStore},
};

pub use super::tape::WayKind;
use super::{
    SMALL,
    explorer::fixed,
    tape::{Asking, Fixed, Seconds, Tape},
    world::{Bounds, How, State},
};

/// In an exploration an operation takes as long as it likes.
const OPERATION_TAKES: Seconds = 30;

/// Builds that only [`UndisturbedWorld::roll_out`] names.
const MORE_BUILDS: [&str; 4] = ["build-43", "build-51", "build-52", "build-53"];

pub struct UndisturbedWorld {
    world: Arc<Fixed>,
    tape: Arc<Tape>,
    moving: Mutex<Moving>,
}

struct Moving {
    state: State,
    /// When the operation that began last takes effect.
    operation_ends: Seconds,
}

impl UndisturbedWorld {
    pub fn new(way: WayKind) -> Self {
        let bounds = Bounds { way, ..SMALL };
        let mut world = fixed(&bounds, None);
        world.builds.extend(MORE_BUILDS);
        let tape = Arc::new(Tape::new(world.start, Arc::default()));
        let moving = Mutex::new(Moving { state: State::new(&bounds, world.start), operation_ends: world.start });
        Self { world: Arc::new(world), tape, moving }
    }

    fn asking(&self) -> Asking {
        Asking { tape: Arc::clone(&self.tape), world: Arc::clone(&self.world) }
    }

    pub fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(self.asking())
    }

    pub fn platforms(&self) -> Arc<dyn Platforms> {
        Arc::new(self.asking())
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.asking())
    }

    /// The one target of this world.
    pub fn target(&self) -> Target {
        self.world.policy.services.values().next().expect("a service").target.clone()
    }

    pub fn roll_out(&self, build: &str) {
        let number = self.world.builds.iter().position(|known| *known == build).expect("a build that this world knows");
        let state = &mut self.moving.lock().unwrap().state;
        state.site.roll_out(number.try_into().unwrap(), state.now);
    }

    pub fn pass(&self, span: Duration) {
        let state = &mut self.moving.lock().unwrap().state;
        state.now += Seconds::try_from(span.as_secs()).unwrap();
        self.tape.set_now(state.now);
    }

    /// Answers whatever is asked until the work has ended.
    pub fn play<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return done;
            }
            self.answer_all();
        }
    }

    fn answer_all(&self) {
        let pending = self.tape.pending();
        assert!(!pending.is_empty(), "it waits for nothing");
        let Moving { state, operation_ends } = &mut *self.moving.lock().unwrap();
        for (call, request) in pending {
            let ends = state.site.under_way.is_some() && state.now >= *operation_ends;
            let before = state.site.operations;
            let answer = state.perform(0, request, if ends { How::Applied } else { How::Plain }, &self.tape.texts);
            if state.site.operations > before {
                *operation_ends = state.now + OPERATION_TAKES;
            }
            self.tape.answer(call, answer, state.now);
        }
    }
}
