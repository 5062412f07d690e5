//! The broker of the simulation, in calm weather; its host takes from it without this port.

use std::{sync::Arc, time::Duration};

use backout::ports::{Clock, FollowUps, Incoming, LockProblem, MessageLock, PortError, Received};
use jiff::{SignedDuration, Timestamp};

use super::stage::Stage;
use crate::{
    contract::calm::CalmWorld,
    simulation::timeline::{around::SkewedClock, queue::FaultyQueue, story::Story, world::Handle},
};

pub struct TimelineStage {
    world: CalmWorld,
}

impl TimelineStage {
    pub fn open() -> Self {
        Self::of(false)
    }

    pub fn that_detects_duplicates() -> Self {
        Self::of(true)
    }

    fn of(detects_duplicates: bool) -> Self {
        let mut story = Story::of(0);
        story.weather.detects_duplicates = detects_duplicates;
        Self { world: CalmWorld::of(story, 0) }
    }
}

impl Stage for TimelineStage {
    fn sender(&self) -> Arc<dyn FollowUps> {
        Arc::new(FaultyQueue(self.world.handle.clone()))
    }

    fn incoming(&self) -> Arc<dyn Incoming> {
        Arc::new(Receiver(self.world.handle.clone()))
    }

    async fn dead(&self, queue: &str) -> Vec<String> {
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        self.world.handle.with(|world| {
            let dead = world.queue.dead.iter().filter(|letter| letter.message.queue == queue);
            dead.map(|letter| text(&letter.message.body)).collect()
        })
    }

    fn now(&self) -> Timestamp {
        SkewedClock(self.world.handle.clone()).now()
    }

    async fn pass(&self, span: Duration) {
        self.world.pass(span).await;
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.world.play(story);
    }
}

struct Receiver(Handle);

#[async_trait::async_trait]
impl Incoming for Receiver {
    async fn receive(&self, queue: &str, _wait: Duration) -> Result<Option<Received>, PortError> {
        let now = SkewedClock(self.0.clone()).now();
        let handed_out = self.0.with(|world| {
            loop {
                let messages = &world.queue.messages;
                let place = world.queue.ready.iter().position(|message| messages[message].message.queue == queue)?;
                let message = world.queue.ready.swap_remove(place);
                if let Some((delivery, queued)) = world.hand_out(message, self.0.instance) {
                    return Some((message, delivery, queued));
                }
            }
        });
        Ok(handed_out.map(|(message, delivery, queued)| Received {
            body: queued.message.body,
            message_id: queued.message.message_id,
            returns: queued.message.returns,
            delivery_count: queued.deliveries,
            locked_until: now + SignedDuration::from_mins(1),
            lock: Box::new(Lock { handle: self.0.clone(), message, delivery }),
        }))
    }
}

struct Lock {
    handle: Handle,
    message: u64,
    delivery: u64,
}

fn held(held: bool) -> Result<(), LockProblem> {
    if held { Ok(()) } else { Err(LockProblem::Lost) }
}

#[async_trait::async_trait]
impl MessageLock for Lock {
    /// The host renews the locks of an instance for as long as that is well, and here it is so from now on.
    async fn renew(&self) -> Result<(), LockProblem> {
        held(self.handle.with(|world| {
            let is_held = world.holds(self.message, self.delivery);
            world.hosts[self.handle.instance].alive |= is_held;
            is_held
        }))
    }

    async fn complete(&self) -> Result<(), LockProblem> {
        held(self.handle.with(|world| world.complete(self.message, self.delivery)).is_some())
    }

    async fn abandon(&self) -> Result<(), LockProblem> {
        held(self.handle.with(|world| world.give_back(self.message, self.delivery)))
    }
}
