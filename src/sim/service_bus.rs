//! Queues as Service Bus keeps them: scheduled, locked, given back, dead-lettered.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A message as a receiver holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedMessage {
    /// Names one delivery; complete or abandon with it.
    pub lock: String,
    pub locked_until: Timestamp,
    pub body: Bytes,
    pub message_id: String,
    pub content_type: Option<String>,
    /// Application properties.
    pub properties: BTreeMap<String, Value>,
    /// 1 at the first delivery.
    pub delivery_count: u32,
    pub sequence_number: u64,
    pub enqueued_at: Timestamp,
}

/// What can be set for a queue; the defaults are Service Bus's own.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    pub lock_duration: Duration,
    pub max_delivery_count: u32,
    /// Repeats of a `MessageId` within this time are taken and dropped; off by default.
    pub duplicate_detection: Option<Duration>,
    /// Of body and properties; 256 KiB in the Standard tier.
    pub message_bytes_max: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            lock_duration: Duration::from_mins(1),
            max_delivery_count: 10,
            duplicate_detection: None,
            message_bytes_max: 256 * 1024,
        }
    }
}

/// A queue or its dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    /// Lower case.
    pub queue: String,
    pub dead_letters: bool,
}

impl Entity {
    pub fn queue(name: &str) -> Self {
        Self { queue: name.to_ascii_lowercase(), dead_letters: false }
    }

    pub fn dead_letters_of(name: &str) -> Self {
        Self { queue: name.to_ascii_lowercase(), dead_letters: true }
    }
}

/// A message before it is in a queue.
#[derive(Debug, Default)]
pub(super) struct NewMessage {
    pub body: Bytes,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    pub properties: BTreeMap<String, Value>,
    pub scheduled_for: Option<Timestamp>,
    /// Broker properties that are handed on as they came, such as `Label`.
    pub broker: Map<String, Value>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendRefusal {
    NoSuchQueue,
    TooLarge { bytes_max: usize },
}

#[derive(Debug, Default)]
pub(super) struct Bus {
    queues: BTreeMap<String, Queue>,
    last_sequence_number: u64,
}

#[derive(Debug)]
struct Queue {
    options: QueueOptions,
    active: VecDeque<Message>,
    dead: VecDeque<Message>,
    /// For duplicate detection, oldest first.
    seen: VecDeque<(String, Timestamp)>,
}

#[derive(Debug, Clone)]
struct Message {
    new: BrokeredMessage,
    visible_at: Timestamp,
    delivery_count: u32,
    lock: Option<(String, Timestamp)>,
}

#[derive(Debug, Clone)]
struct BrokeredMessage {
    body: Bytes,
    message_id: String,
    content_type: Option<String>,
    properties: BTreeMap<String, Value>,
    broker: Map<String, Value>,
    sequence_number: u64,
}

impl Bus {
    pub fn new() -> Self {
        let mut bus = Self::default();
        for name in ["alerts", "deployments", "markers", "followups"] {
            bus.add_queue(name, QueueOptions::default());
        }
        bus
    }

    /// Adds a queue, or gives one new options.
    pub fn add_queue(&mut self, name: &str, options: QueueOptions) {
        let name = name.to_ascii_lowercase();
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.options = options;
            return;
        }
        let queue = Queue { options, active: VecDeque::new(), dead: VecDeque::new(), seen: VecDeque::new() };
        self.queues.insert(name, queue);
    }

    /// Messages are numbered on from here; a partitioned queue has numbers above 2^32.
    pub fn number_from(&mut self, sequence_number: u64) {
        self.last_sequence_number = self.last_sequence_number.max(sequence_number.saturating_sub(1));
    }

    pub fn has(&self, entity: &Entity) -> bool {
        self.queues.contains_key(&entity.queue)
    }

    /// Ends the locks that ran out: the message comes back, or is dead-lettered after its last delivery.
    pub fn settle(&mut self, now: Timestamp) {
        for queue in self.queues.values_mut() {
            for messages in [&mut queue.active, &mut queue.dead] {
                for message in messages {
                    if message.lock.as_ref().is_some_and(|(_, until)| *until <= now) {
                        message.lock = None;
                    }
                }
            }
            queue.bury();
        }
    }

    /// True if a message was stored, false if it was a duplicate.
    pub fn send(&mut self, queue: &str, message: NewMessage, now: Timestamp) -> Result<bool, SendRefusal> {
        let Some(queue) = self.queues.get_mut(&queue.to_ascii_lowercase()) else {
            return Err(SendRefusal::NoSuchQueue);
        };
        let bytes = message.body.len()
            + message.properties.iter().map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>();
        if bytes > queue.options.message_bytes_max {
            return Err(SendRefusal::TooLarge { bytes_max: queue.options.message_bytes_max });
        }
        let message_id = message.message_id.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        if let Some(window) = queue.options.duplicate_detection {
            let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
            queue.seen.retain(|(_, at)| now.duration_since(*at) <= window);
            if queue.seen.iter().any(|(seen, _)| *seen == message_id) {
                return Ok(false);
            }
            queue.seen.push_back((message_id.clone(), now));
        }
        self.last_sequence_number += 1;
        let brokered = BrokeredMessage {
            body: message.body,
            message_id,
            content_type: message.content_type,
            properties: message.properties,
            broker: message.broker,
            sequence_number: self.last_sequence_number,
        };
        let visible_at = message.scheduled_for.map_or(now, |due| due.max(now));
        queue.active.push_back(Message { new: brokered, visible_at, delivery_count: 0, lock: None });
        Ok(true)
    }

    /// Locks the message that has been visible the longest.
    pub fn take(&mut self, entity: &Entity, now: Timestamp) -> Option<SimulatedMessage> {
        let queue = self.queues.get_mut(&entity.queue)?;
        let lock_duration = SignedDuration::try_from(queue.options.lock_duration).unwrap_or(SignedDuration::MAX);
        let messages = if entity.dead_letters { &mut queue.dead } else { &mut queue.active };
        let message = messages
            .iter_mut()
            .filter(|message| message.lock.is_none() && message.visible_at <= now)
            .min_by_key(|message| (message.visible_at, message.new.sequence_number))?;
        message.delivery_count += 1;
        let lock = Uuid::new_v4().to_string();
        let until = now.checked_add(lock_duration).unwrap_or(Timestamp::MAX);
        message.lock = Some((lock.clone(), until));
        Some(message.held(lock, until))
    }

    /// Takes the locked message out; false when the lock is lost.
    pub fn complete(&mut self, lock: &str) -> bool {
        self.queues.values_mut().any(|queue| {
            [&mut queue.active, &mut queue.dead].into_iter().any(|messages| {
                let at = messages.iter().position(|message| message.is_locked_by(lock));
                at.is_some_and(|at| messages.remove(at).is_some())
            })
        })
    }

    /// Gives the locked message back, or buries it after its last delivery; false when the lock is lost.
    pub fn abandon(&mut self, lock: &str) -> bool {
        self.queues.values_mut().any(|queue| {
            let mut messages = queue.active.iter_mut().chain(&mut queue.dead);
            let Some(message) = messages.find(|message| message.is_locked_by(lock)) else {
                return false;
            };
            message.lock = None;
            queue.bury();
            true
        })
    }

    /// False when the lock is lost.
    pub fn renew(&mut self, lock: &str, now: Timestamp) -> bool {
        self.queues.values_mut().any(|queue| {
            let lock_duration = SignedDuration::try_from(queue.options.lock_duration).unwrap_or(SignedDuration::MAX);
            let mut messages = queue.active.iter_mut().chain(&mut queue.dead);
            messages.find(|message| message.is_locked_by(lock)).is_some_and(|message| {
                message.lock = Some((lock.to_owned(), now.checked_add(lock_duration).unwrap_or(Timestamp::MAX)));
                true
            })
        })
    }

    /// Messages that a receiver could take or holds.
    pub fn length(&self, entity: &Entity, now: Timestamp) -> usize {
        self.messages(entity).filter(|message| message.visible_at <= now).count()
    }

    /// When the messages that are not visible yet are due, the next one first.
    pub fn scheduled(&self, queue: &str, now: Timestamp) -> Vec<Timestamp> {
        let mut due: Vec<Timestamp> =
            self.messages(&Entity::queue(queue)).map(|message| message.visible_at).filter(|due| *due > now).collect();
        due.sort();
        due
    }

    /// Copies of what is in there, without a lock of one's own.
    pub fn peek(&self, entity: &Entity) -> Vec<SimulatedMessage> {
        self.messages(entity).map(|message| message.held(String::new(), Timestamp::MIN)).collect()
    }

    fn messages(&self, entity: &Entity) -> impl Iterator<Item = &Message> {
        let queue = self.queues.get(&entity.queue);
        queue.into_iter().flat_map(move |queue| if entity.dead_letters { &queue.dead } else { &queue.active })
    }

    /// Broker properties as a receiver sees them beyond what the message itself says.
    pub fn handed_on(&self, sequence_number: u64) -> Map<String, Value> {
        let mut messages = self.queues.values().flat_map(|queue| queue.active.iter().chain(&queue.dead));
        messages
            .find(|message| message.new.sequence_number == sequence_number)
            .map(|message| message.new.broker.clone())
            .unwrap_or_default()
    }
}

impl Queue {
    /// Moves what was delivered too often to the dead letters.
    fn bury(&mut self) {
        let mut at = 0;
        while at < self.active.len() {
            let message = &self.active[at];
            if message.lock.is_none() && message.delivery_count >= self.options.max_delivery_count {
                if let Some(mut message) = self.active.remove(at) {
                    message.new.properties.insert("DeadLetterReason".to_owned(), json!("MaxDeliveryCountExceeded"));
                    message.new.properties.insert(
                        "DeadLetterErrorDescription".to_owned(),
                        json!(format!("Message could not be consumed after {} delivery attempts.", message.delivery_count)),
                    );
                    self.dead.push_back(message);
                }
            } else {
                at += 1;
            }
        }
    }
}

impl Message {
    fn is_locked_by(&self, lock: &str) -> bool {
        self.lock.as_ref().is_some_and(|(held, _)| held.eq_ignore_ascii_case(lock))
    }

    fn held(&self, lock: String, locked_until: Timestamp) -> SimulatedMessage {
        SimulatedMessage {
            lock,
            locked_until,
            body: self.new.body.clone(),
            message_id: self.new.message_id.clone(),
            content_type: self.new.content_type.clone(),
            properties: self.new.properties.clone(),
            delivery_count: self.delivery_count,
            sequence_number: self.new.sequence_number,
            enqueued_at: self.visible_at,
        }
    }
}
