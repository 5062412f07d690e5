//! The broker: at least once, in no promised order, with locks that end, copies, delays, and dead letters after ten deliveries.

use std::{collections::BTreeMap, time::Duration};

use backout::ports::{FollowUps, PortError, PortErrorKind, QueueMessage};

use super::{
    counts::Kind,
    time::{MINUTE, Micros, SECOND},
    world::{Event, FaultIn, Handle, Side, World},
};

const DELIVERIES_MAX: u32 = 10;
const LOCK: Micros = MINUTE;
const RENEW_EVERY: Micros = 30 * SECOND;

/// One message that lies in a queue, or is being worked on.
#[derive(Debug, Clone)]
pub struct Queued {
    pub message: QueueMessage,
    pub deliveries: u32,
    /// Who works on it: the delivery, the instance and its start.
    lock: Option<(u64, usize, u64)>,
    /// The outside sent it, as this line of the story's messages.
    pub origin: Option<usize>,
}

#[derive(Default)]
pub struct Queue {
    pub messages: BTreeMap<u64, Queued>,
    /// Due, and not locked.
    pub ready: Vec<u64>,
    numbers: u64,
    deliveries: u64,
    pub dead: Vec<Queued>,
    /// When each message id came last.
    seen: BTreeMap<String, Micros>,
}

impl World {
    /// Somebody sends; the broker may copy it.
    pub fn enqueue(&mut self, message: QueueMessage, after: Micros, origin: Option<usize>) {
        if self.is_repeat(&message) {
            return;
        }
        let copied = self.faults && self.chance.happens(self.weather.copies);
        if copied {
            self.count(Kind::Duplicate);
            let later = self.chance.between(0, 3 * MINUTE);
            self.lay_down(message.clone(), after + later, origin);
        }
        let late = if self.faults && self.chance.happens(self.weather.late) { self.chance.between(0, 5 * MINUTE) } else { 0 };
        self.lay_down(message, after + late, origin);
    }

    /// Whether the broker takes it for a repeat, where that is switched on: taken, and dropped.
    fn is_repeat(&mut self, message: &QueueMessage) -> bool {
        let Some(id) = message.message_id.clone().filter(|_| self.weather.detects_duplicates) else { return false };
        let before = self.queue.seen.insert(id, self.now);
        before.is_some_and(|before| self.now - before < 10 * MINUTE)
    }

    fn lay_down(&mut self, message: QueueMessage, after: Micros, origin: Option<usize>) {
        self.queue.numbers += 1;
        let (id, due) = (self.queue.numbers, self.now + after);
        self.tell(|| format!("  queue `{}` takes message {id}, due in {} s", message.queue, after / SECOND));
        self.queue.messages.insert(id, Queued { message, deliveries: 0, lock: None, origin });
        self.push(due, Event::Due(id));
    }

    pub fn message_due(&mut self, id: u64) {
        if self.queue.messages.get(&id).is_some_and(|queued| queued.lock.is_none()) && !self.queue.ready.contains(&id) {
            self.queue.ready.push(id);
        }
    }

    /// Hands a message to an instance under a lock. `None`: it has had all its deliveries.
    pub fn hand_out(&mut self, id: u64, instance: usize) -> Option<(u64, Queued)> {
        let start = self.hosts[instance].start;
        self.queue.deliveries += 1;
        let delivery = self.queue.deliveries;
        let now = self.now;
        let queued = self.queue.messages.get_mut(&id)?;
        if queued.deliveries >= DELIVERIES_MAX {
            if let Some(dead) = self.queue.messages.remove(&id) {
                self.count(Kind::DeadLetter);
                self.tell(|| format!("  message {id} is a dead letter"));
                self.queue.dead.push(dead);
            }
            return None;
        }
        queued.deliveries += 1;
        queued.lock = Some((delivery, instance, start));
        let copy = queued.clone();
        if copy.deliveries > 1 {
            self.count(Kind::Redelivered);
        }
        self.push(now + LOCK, Event::Lock { message: id, delivery });
        Some((delivery, copy))
    }

    /// A lock ends, unless whoever holds it is well and renews it.
    pub fn lock_ends(&mut self, message: u64, delivery: u64) {
        let Some((held, instance, start)) = self.queue.messages.get(&message).and_then(|queued| queued.lock) else { return };
        if held != delivery {
            return;
        }
        let host = &self.hosts[instance];
        let well = host.alive && host.start == start && host.stalled_until <= self.now;
        let renewed = well && !(self.faults && self.chance.happens(self.weather.lost_locks));
        if renewed {
            self.push(self.now + RENEW_EVERY, Event::Lock { message, delivery });
        } else {
            self.count(Kind::LockEnded);
            self.tell(|| format!("  the lock on message {message} ends"));
            self.give_back(message, delivery);
        }
    }

    /// Whether a delivery still has the lock on its message.
    pub fn holds(&self, message: u64, delivery: u64) -> bool {
        self.queue.messages.get(&message).and_then(|queued| queued.lock).is_some_and(|(held, _, _)| held == delivery)
    }

    /// `false`: the lock had ended, and nothing changes.
    pub fn give_back(&mut self, message: u64, delivery: u64) -> bool {
        let held = self.holds(message, delivery);
        if held && let Some(queued) = self.queue.messages.get_mut(&message) {
            queued.lock = None;
            self.message_due(message);
        }
        held
    }

    /// `None`: the lock had ended, and the message stays.
    pub fn complete(&mut self, message: u64, delivery: u64) -> Option<Queued> {
        if self.holds(message, delivery) { self.queue.messages.remove(&message) } else { None }
    }

    /// The host of an instance lives on and gives back at once what the instance was working on.
    pub fn give_back_all_of(&mut self, instance: usize) {
        let held: Vec<(u64, u64)> = self
            .queue
            .messages
            .iter()
            .filter_map(|(id, queued)| queued.lock.filter(|(_, who, _)| *who == instance).map(|(delivery, _, _)| (*id, delivery)))
            .collect();
        for (message, delivery) in held {
            self.give_back(message, delivery);
        }
    }
}

/// The sending side.
pub struct FaultyQueue(pub Handle);

#[async_trait::async_trait]
impl FollowUps for FaultyQueue {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let travel = self.0.set_out(Side::Bus).await;
        if travel.fault != Some(FaultIn::Request) {
            let after = Micros::try_from(delay.as_micros()).unwrap_or(Micros::MAX / 4);
            self.0.with(|world| world.enqueue(message, after, None));
        }
        self.0.come_back(travel, Side::Bus).await;
        match travel.fault {
            None => Ok(()),
            Some(FaultIn::Request | FaultIn::Answer) => {
                self.0.with(|world| world.count(Kind::BusFault));
                Err(PortError::new("send a message", PortErrorKind::Transient, "no answer from the queue"))
            }
        }
    }
}
