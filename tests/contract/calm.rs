//! The simulation's world in calm weather: nothing of a story is told in it, and nothing goes wrong.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::simulation::timeline::{
    executor::TaskId,
    story::Story,
    time::{HOUR, Micros},
    world::{Event, Handle, Shared, World},
};

/// When no call takes that long, something waits for ever.
const END: Micros = 100 * 24 * HOUR;

pub struct CalmWorld {
    pub handle: Handle,
}

impl CalmWorld {
    pub fn of(story: Story, seed: u64) -> Self {
        let mut world = World::new(Arc::new(story), seed, false);
        world.faults = false;
        // The checkers ask on whose behalf a call is made.
        world.current = TaskId { place: 0, tenant: 1 };
        world.begins(world.current);
        Self { handle: Handle { shared: Arc::new(Shared::of(world)), instance: 0 } }
    }

    pub async fn pass(&self, span: Duration) {
        self.handle.sleep(span.as_micros().try_into().expect("a short time")).await;
    }

    /// Whenever `story` cannot go on, the next thing happens in the world.
    pub fn play(&self, story: impl Future<Output = ()>) {
        let mut story = pin!(story);
        while story.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            let mut world = self.handle.shared.lock();
            match world.next(END).expect("something to wait for") {
                Event::Timer(id) => {
                    world.timers.fire(id);
                }
                Event::Deed(deed) => deed(&mut world),
                Event::Due(message) => world.message_due(message),
                Event::Lock { message, delivery } => world.lock_ends(message, delivery),
                Event::Line(_) | Event::Tick | Event::Start(_) | Event::TimeOut(_) | Event::Person | Event::FaultsEnd => {
                    panic!("nothing of a story is told here")
                }
            }
        }
    }
}
