//! The truth of one timeline: what time it is, what runs where, what was written, sent and told; and what is about to happen.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    checkers::{Checks, Invariant},
    counts::{Counts, Kind},
    executor::{Sleep, TaskId, TimerId, Timers},
    platform::Site,
    queue::Queue,
    seed::Chance,
    story::{Story, Weather},
    time::{MILLISECOND, Micros, SECOND, clock_face},
};

/// Places of instances: the handlers first, then one for people at a command line.
pub const PERSON: usize = 3;
pub const INSTANCES_MAX: usize = 4;

pub type Deed = Box<dyn FnOnce(&mut World) + Send>;

/// What happens at a moment.
pub enum Event {
    /// A sleep ends.
    Timer(TimerId),
    /// A call arrives, or an operation ends, whatever became of its sender.
    Deed(Deed),
    /// A line of the story.
    Line(usize),
    /// A message is due.
    Due(u64),
    /// A lock ends, unless it is renewed.
    Lock { message: u64, delivery: u64 },
    /// The timer of the host.
    Tick,
    /// An instance comes back.
    Start(usize),
    /// The host ends what takes too long.
    TimeOut(TaskId),
    /// A person looks what needs an answer.
    Person,
    /// From now on nothing goes wrong.
    FaultsEnd,
}

struct Entry {
    at: Micros,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// One instance of the handler, as far as its fakes need to know.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub alive: bool,
    /// Grows with each start.
    pub start: u64,
    pub started_at: Micros,
    /// How far its wall clock is off, in microseconds.
    pub skew: i64,
    pub stalled_until: Micros,
}

/// When something is away, or lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Micros,
    pub to: Micros,
}

impl Window {
    pub fn holds(&self, at: Micros) -> bool {
        self.from <= at && at < self.to
    }
}

pub struct World {
    pub now: Micros,
    heap: BinaryHeap<Entry>,
    pushed: u64,
    pub timers: Timers,
    pub chance: Chance,
    pub weather: Weather,
    pub story: Arc<Story>,
    pub hosts: Vec<Host>,
    /// The task whose future is being polled.
    pub current: TaskId,
    /// Instances that die before the next step; `true`: their host lives on.
    pub deaths: Vec<(usize, bool)>,
    pub queue: Queue,
    pub sites: Vec<Site>,
    pub site_of: BTreeMap<String, usize>,
    pub checks: Checks,
    pub counts: Counts,
    /// Lines of the trace, if anybody reads them.
    pub trace: Option<Vec<String>>,
    digest: u64,
    pub faults: bool,
    /// Put in on purpose: the way to a platform brings each call twice.
    pub repeats_calls: bool,
}

impl World {
    pub fn new(story: Arc<Story>, seed: u64, traced: bool) -> Self {
        let (sites, site_of) = story.sites();
        let checks = Checks::new(&story);
        Self {
            now: 0,
            heap: BinaryHeap::new(),
            pushed: 0,
            timers: Timers::default(),
            chance: Chance::of(seed, 2),
            weather: story.weather.clone(),
            hosts: vec![Host::default(); INSTANCES_MAX],
            current: TaskId { place: usize::MAX, tenant: 0 },
            deaths: Vec::new(),
            queue: Queue::default(),
            sites,
            site_of,
            checks,
            counts: Counts::default(),
            trace: traced.then(Vec::new),
            digest: 0,
            faults: true,
            repeats_calls: false,
            story,
        }
    }

    pub fn push(&mut self, at: Micros, event: Event) {
        self.pushed += 1;
        self.heap.push(Entry { at: at.max(self.now), number: self.pushed, event });
    }

    pub fn later(&mut self, after: Micros, deed: impl FnOnce(&mut World) + Send + 'static) {
        self.push(self.now + after, Event::Deed(Box::new(deed)));
    }

    /// Moves on to the next event; `None` at the end of everything, or of time.
    pub fn next(&mut self, until: Micros) -> Option<Event> {
        if self.heap.peek().is_none_or(|entry| entry.at > until) {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        self.digest = (self.digest ^ entry.at ^ self.chance.state()).wrapping_mul(0x0000_0100_0000_01B3);
        Some(entry.event)
    }

    /// Names everything that happened and its order: the same for the same seed.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn count(&mut self, kind: Kind) {
        self.counts.add(kind);
    }

    /// Adds a line to the trace, if there is one.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", clock_face(now), line()));
        }
    }

    pub fn broken(&mut self, invariant: Invariant, says: impl FnOnce() -> String) {
        if self.checks.broken.is_none() {
            let says = says();
            self.tell(|| format!("BROKEN {invariant}: {says}"));
            self.checks.broken = Some((invariant, format!("{} {says}", clock_face(self.now))));
        }
    }

    pub fn is_stalled(&self, instance: usize) -> bool {
        self.hosts[instance].stalled_until > self.now
    }
}

#[derive(Default)]
pub struct Shared(Mutex<Option<World>>);

/// The world, while somebody touches it.
pub struct Touch<'a>(MutexGuard<'a, Option<World>>);

impl std::ops::Deref for Touch<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        self.0.as_ref().expect("the world lasts as long as its timeline")
    }
}

impl std::ops::DerefMut for Touch<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.0.as_mut().expect("the world lasts as long as its timeline")
    }
}

impl Shared {
    pub fn of(world: World) -> Self {
        Self(Mutex::new(Some(world)))
    }

    pub fn lock(&self) -> Touch<'_> {
        Touch(self.0.lock().unwrap())
    }
}

/// How one call through a port goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Travel {
    /// Until the other side has it, and until the answer is here.
    pub there: Micros,
    pub back: Micros,
    pub dies: Option<Dies>,
    pub fault: Option<FaultIn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dies {
    Before,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultIn {
    Request,
    Answer,
}

/// A kind of other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Store,
    Bus,
    Platform,
    Telemetry,
    Alerts,
    Notifier,
}

impl World {
    /// What is in store for the next call of an instance.
    fn travel(&mut self, instance: usize, side: Side) -> Travel {
        let mut travel = Travel::default();
        let slow_in_10_000 = self.weather.slow;
        let usual = match side {
            Side::Store => 12 * MILLISECOND,
            Side::Bus => 20 * MILLISECOND,
            Side::Platform => 250 * MILLISECOND,
            Side::Telemetry | Side::Alerts => 400 * MILLISECOND,
            Side::Notifier => 300 * MILLISECOND,
        };
        let mut lasts = 1 + self.chance.below(usual);
        if self.faults && self.chance.happens(slow_in_10_000) {
            lasts = self.chance.between(SECOND, 45 * SECOND);
        }
        if self.chance.next() & 1 == 0 {
            travel.there = lasts;
        } else {
            travel.back = lasts;
        }
        if !self.faults || instance == PERSON {
            return travel;
        }
        if self.chance.happens(self.weather.deaths) {
            travel.dies = Some(if self.chance.percent(50) { Dies::Before } else { Dies::After });
        }
        if self.chance.happens(self.weather.stalls) {
            self.stall(instance);
        }
        let errors = match side {
            Side::Store => self.weather.store_errors,
            Side::Bus => self.weather.bus_errors,
            Side::Platform => self.weather.platform_errors,
            Side::Telemetry | Side::Alerts => self.weather.telemetry_errors,
            Side::Notifier => self.weather.notifier_errors,
        };
        let away = match side {
            Side::Store => self.weather.store_away.iter().any(|window| window.holds(self.now)),
            Side::Bus => self.weather.bus_away.iter().any(|window| window.holds(self.now)),
            Side::Platform | Side::Telemetry | Side::Alerts | Side::Notifier => false,
        };
        if away {
            travel.fault = Some(FaultIn::Request);
        } else if self.chance.happens(errors) {
            travel.fault = Some(if self.chance.percent(50) { FaultIn::Request } else { FaultIn::Answer });
        }
        travel
    }

    /// The instance stands still for a while, and notices nothing.
    pub fn stall(&mut self, instance: usize) {
        let long = self.chance.percent(40);
        let lasts =
            if long { self.chance.between(601 * SECOND, 1_900 * SECOND) } else { self.chance.between(SECOND, 600 * SECOND) };
        self.count(Kind::Stall);
        if long {
            self.count(Kind::LongStall);
        }
        let until = self.now + lasts;
        self.hosts[instance].stalled_until = self.hosts[instance].stalled_until.max(until);
        self.tell(|| format!("instance {instance} stands still until {}", clock_face(until)));
    }
}

/// The world as one start of one instance sees it.
#[derive(Clone)]
pub struct Handle {
    pub shared: Arc<Shared>,
    pub instance: usize,
}

impl Handle {
    pub fn with<R>(&self, touch: impl FnOnce(&mut World) -> R) -> R {
        touch(&mut self.shared.lock())
    }

    pub fn sleep(&self, lasts: Micros) -> Sleep {
        Sleep::new(Arc::clone(&self.shared), self.instance, lasts)
    }

    /// Plans a call and goes the first half of its way.
    pub async fn set_out(&self, side: Side) -> Travel {
        let travel = self.with(|world| world.travel(self.instance, side));
        if travel.dies == Some(Dies::Before) {
            self.die(side).await;
        }
        if travel.there > 0 {
            self.sleep(travel.there).await;
        }
        travel
    }

    /// The way back with the answer.
    pub async fn come_back(&self, travel: Travel, side: Side) {
        if travel.dies == Some(Dies::After) {
            self.die(side).await;
        }
        if travel.back > 0 {
            self.sleep(travel.back).await;
        }
    }

    /// The instance ends here, with everything that it was about to do.
    pub async fn die(&self, side: Side) {
        self.with(|world| {
            let host_lives = world.chance.percent(50);
            world.deaths.push((self.instance, host_lives));
            world.tell(|| format!("instance {} dies at a call to its {side:?}", self.instance));
        });
        std::future::pending::<()>().await;
    }
}
