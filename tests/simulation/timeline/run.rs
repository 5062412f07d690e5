//! One timeline from its seed to its judgement: instances come and go, messages are handed out, people look in now and then.

use std::sync::Arc;

use backout::{
    domain::{approval::Verdict, record::RecordId},
    host::{
        delivery::{Deliveries, Delivery, Function},
        dispatch::Dispatcher,
        reply::reply,
    },
    local::{back_off::before_return, memory_store::MemoryStore},
    ports::QueueMessage,
    process::{Ports, Process},
};

use tracing::{Level, subscriber};
use tracing_subscriber::filter::Targets;

use super::{
    around::{FaultyAlerts, FaultyNotifier, FaultyPolicy, SkewedClock},
    bugs::AnyBug,
    checkers::{Broken, final_judgement},
    counts::{Counts, Kind},
    executor::Executor,
    platform::FaultyPlatforms,
    queue::{FaultyQueue, Queued},
    store::FaultyStore,
    story::{Deed, END, Part, Story},
    telemetry::FaultyTelemetry,
    time::{MINUTE, Micros, SECOND},
    world::{Event, Handle, PERSON, Shared, World},
};
use crate::support::{fake_alerts::FakeAlerts, kept_log::KeptLog};

/// Messages that one instance works on at a time.
const SIDE_BY_SIDE: usize = 6;

/// The log of one timeline in so many is written, and read for secrets.
const LOG_READ_EVERY: u64 = 16;

/// `functionTimeout` of host.json.
const TIME_OUT: Micros = 5 * MINUTE;

/// How a timeline went.
pub struct Told {
    pub broken: Option<Broken>,
    pub counts: Counts,
    pub digest: u64,
    pub trace: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Options {
    pub traced: bool,
    /// Lines of the story that are left out, by number.
    pub without: Vec<usize>,
    /// Parts of the weather that are calm.
    pub still: Vec<Part>,
    pub bug: Option<AnyBug>,
}

/// Runs the timeline of a seed.
pub fn run(seed: u64, options: &Options) -> Told {
    if seed.is_multiple_of(LOG_READ_EVERY) {
        let log = KeptLog::default();
        let filter = Targets::new().with_default(Level::INFO);
        return subscriber::with_default(log.subscriber(filter), || run_timeline(seed, options, Some(&log)));
    }
    run_timeline(seed, options, None)
}

fn run_timeline(seed: u64, options: &Options, log: Option<&KeptLog>) -> Told {
    let mut story = Story::of(seed);
    for part in &options.still {
        story.still(*part);
    }
    let mut number = 0;
    story.lines.retain(|_| {
        number += 1;
        !options.without.contains(&(number - 1))
    });
    Timeline::new(Arc::new(story), seed, options).run(log)
}

struct Timeline {
    story: Arc<Story>,
    shared: Arc<Shared>,
    executor: Executor,
    memory: Arc<MemoryStore>,
    kept: FakeAlerts,
    handlers: Vec<Option<Arc<Dispatcher>>>,
    person: Arc<Process>,
    in_work: Vec<usize>,
    /// Every task's instance and message, by its place.
    tasks: Vec<Option<(usize, Option<u64>)>>,
    bug: Option<AnyBug>,
    calm_ticks: u32,
}

impl Timeline {
    fn new(story: Arc<Story>, seed: u64, options: &Options) -> Self {
        let shared = Arc::new(Shared::of(World::new(Arc::clone(&story), seed, options.traced)));
        let memory = Arc::new(MemoryStore::new());
        let kept = FakeAlerts::default();
        let mut timeline = Self {
            person: Arc::new(process(&shared, PERSON, &memory, &kept, None)),
            executor: Executor::default(),
            handlers: vec![None; story.instances],
            in_work: vec![0; story.instances],
            tasks: Vec::new(),
            bug: options.bug,
            calm_ticks: 0,
            story,
            shared,
            memory,
            kept,
        };
        {
            let mut world = timeline.shared.lock();
            world.hosts[PERSON].alive = true;
            world.repeats_calls = options.bug.is_some_and(AnyBug::repeats_calls);
            for kind in &timeline.story.contents {
                world.count(*kind);
            }
            for (number, line) in timeline.story.lines.iter().enumerate() {
                world.push(line.at, Event::Line(number));
            }
            for (instance, skew) in timeline.story.skews.iter().take(timeline.story.instances).enumerate() {
                world.hosts[instance].skew = *skew;
            }
            world.push(MINUTE, Event::Tick);
            world.push(6 * MINUTE, Event::Person);
            world.push(timeline.story.faults_end, Event::FaultsEnd);
        }
        for instance in 0..timeline.story.instances {
            timeline.start(instance);
        }
        timeline
    }

    fn run(mut self, log: Option<&KeptLog>) -> Told {
        loop {
            self.settle();
            if self.shared.lock().checks.broken.is_some() {
                break;
            }
            let event = self.shared.lock().next(END);
            let Some(event) = event else { break };
            if self.happens(event) {
                break;
            }
        }
        let mut world = self.shared.lock();
        if world.checks.broken.is_none() {
            final_judgement(&mut world, &self.memory);
        }
        if let Some(log) = log {
            world.logged(&log.text());
        }
        world.count(Kind::Timeline);
        let broken = world.checks.broken.take();
        Told {
            broken: broken.map(|(invariant, says)| Broken { invariant, says }),
            counts: world.counts.clone(),
            digest: world.digest(),
            trace: world.trace.take().unwrap_or_default(),
        }
    }

    /// Everything that can go on at this moment does.
    fn settle(&mut self) {
        loop {
            self.hand_out();
            let shared = &self.shared;
            let Some(step) = self.executor.step(|id| shared.lock().current = id) else { return };
            if step.ended
                && let Some((instance, _)) = self.tasks[step.id.place].take()
                && instance != PERSON
            {
                self.in_work[instance] -= 1;
            }
            let deaths = std::mem::take(&mut self.shared.lock().deaths);
            for (instance, host_lives) in deaths {
                self.kill(instance, host_lives);
            }
        }
    }

    /// `true` when nothing more can happen.
    fn happens(&mut self, event: Event) -> bool {
        match event {
            Event::Timer(id) => {
                let mut world = self.shared.lock();
                let Some(instance) = world.timers.instance_of(id) else { return false };
                let until = world.hosts[instance].stalled_until;
                if until > world.now {
                    world.push(until, Event::Timer(id));
                    return false;
                }
                let waker = world.timers.fire(id);
                drop(world);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Event::Deed(deed) => deed(&mut self.shared.lock()),
            Event::Line(number) => self.line(number),
            Event::Due(message) => self.shared.lock().message_due(message),
            Event::Lock { message, delivery } => self.shared.lock().lock_ends(message, delivery),
            Event::Tick => return self.tick(),
            Event::Start(instance) => self.start(instance),
            Event::TimeOut(id) => {
                if self.executor.is_alive(id)
                    && let Some((instance, _)) = self.tasks[id.place]
                {
                    let mut world = self.shared.lock();
                    // Handler and host stand still together.
                    let until = world.hosts[instance].stalled_until;
                    if until > world.now {
                        world.push(until + 5 * SECOND, Event::TimeOut(id));
                    } else {
                        world.count(Kind::TimedOut);
                        world.tell(|| format!("the host ends instance {instance}: an invocation took five minutes"));
                        drop(world);
                        self.kill(instance, true);
                    }
                }
            }
            Event::Person => self.person_looks(),
            Event::FaultsEnd => {
                let mut world = self.shared.lock();
                world.faults = false;
                world.tell(|| "from here on nothing goes wrong any more".to_owned());
                let dead = std::mem::take(&mut world.queue.dead);
                // Half of the people who look after it queue dead letters again.
                if world.chance.percent(50) {
                    for letter in dead {
                        world.enqueue(letter.message, SECOND, letter.origin);
                    }
                } else {
                    world.queue.dead = dead;
                }
            }
        }
        false
    }

    fn line(&mut self, number: usize) {
        let deed = self.story.lines[number].deed.clone();
        match deed {
            Deed::Deploy { site, build, takes } => self.shared.lock().team_deploys(site, build, takes),
            Deed::Send(message) => {
                let mut world = self.shared.lock();
                world.sent_from_outside(message);
                let sent = &self.story.messages[message];
                let queued = QueueMessage { queue: sent.queue.to_owned(), body: sent.body.clone(), returns: 0, message_id: None };
                world.enqueue(queued, 0, Some(message));
            }
            Deed::Keep(firing) => self.kept.keep(&self.story.firings[firing].alert),
            Deed::Pause(paused) => {
                let person = Arc::clone(&self.person);
                self.shared.lock().count(Kind::Paused);
                self.spawn(PERSON, None, async move {
                    // A person tries until it works.
                    while person.set_paused(paused, "ana").await.is_err() {}
                });
            }
            Deed::Meddle { site, build } => self.shared.lock().person_changes(site, build),
            Deed::Overwrite { site, build } => self.shared.lock().person_overwrites_place(site, build),
            Deed::Stall(instance) => self.shared.lock().stall(instance),
            Deed::Kill(instance) => self.kill(instance, true),
        }
    }

    fn start(&mut self, instance: usize) {
        {
            let mut world = self.shared.lock();
            let now = world.now;
            let host = &mut world.hosts[instance];
            host.alive = true;
            host.start += 1;
            host.started_at = now;
            host.stalled_until = 0;
        }
        let process = process(&self.shared, instance, &self.memory, &self.kept, self.bug);
        self.handlers[instance] = Some(Arc::new(Dispatcher::new(Arc::new(process))));
    }

    /// The instance is gone, with all that it was doing; it comes back after a while.
    fn kill(&mut self, instance: usize, host_lives: bool) {
        if !self.shared.lock().hosts[instance].alive {
            return;
        }
        for id in self.executor.kill(instance) {
            self.tasks[id.place] = None;
        }
        self.in_work[instance] = 0;
        self.handlers[instance] = None;
        let mut world = self.shared.lock();
        world.count(Kind::Death);
        world.hosts[instance].alive = false;
        world.hosts[instance].stalled_until = 0;
        if host_lives {
            world.give_back_all_of(instance);
        }
        let after = world.chance.between(SECOND, 90 * SECOND);
        let at = world.now + after;
        world.push(at, Event::Start(instance));
    }

    /// Hands due messages to instances that have a hand free.
    fn hand_out(&mut self) {
        loop {
            let (instance, message, delivery, queued) = {
                let mut world = self.shared.lock();
                if world.queue.ready.is_empty() {
                    return;
                }
                let free = |instance: &usize| {
                    world.hosts[*instance].alive && !world.is_stalled(*instance) && self.in_work[*instance] < SIDE_BY_SIDE
                };
                let instances: Vec<usize> = (0..self.story.instances).filter(free).collect();
                if instances.is_empty() {
                    return;
                }
                let instance = *world.chance.one_of(&instances);
                let ready = world.queue.ready.len();
                let place = world.chance.index(ready);
                let message = world.queue.ready.swap_remove(place);
                let Some((delivery, queued)) = world.hand_out(message, instance) else { continue };
                world.count(Kind::Message);
                world.tell(|| {
                    let shown = String::from_utf8_lossy(&queued.message.body[..queued.message.body.len().min(160)]).into_owned();
                    format!(
                        "instance {instance} takes message {message} of `{}`, delivery {}: {shown}",
                        queued.message.queue, queued.deliveries
                    )
                });
                (instance, message, delivery, queued)
            };
            self.handle(instance, message, delivery, queued);
        }
    }

    fn handle(&mut self, instance: usize, message: u64, delivery: u64, queued: Queued) {
        let Some(handler) = self.handlers[instance].clone() else { return };
        let handle = Handle { shared: Arc::clone(&self.shared), instance };
        let holds_failed = self.story.holds_failed;
        let function = function(&queued.message.queue);
        if self.bug.is_some_and(AnyBug::completes_before_handling) {
            let mut world = self.shared.lock();
            if let Some(done) = world.complete(message, delivery) {
                world.completed(&done);
            }
        }
        self.spawn(instance, Some(message), async move {
            let outcome = handler
                .deliver(Delivery {
                    function,
                    body: queued.message.body.clone(),
                    returns: queued.message.returns,
                    delivered_before: queued.deliveries > 1 || queued.message.returns > 0,
                    envelope_problem: None,
                    invocation_id: String::new(),
                    trace_parent: None,
                })
                .await;
            handle.with(|world| {
                let shown = &outcome;
                world.tell(|| format!("  message {message}: {shown:?}"));
                world.ended_with(&outcome);
            });
            if reply(&outcome).status().is_success() {
                handle.with(|world| {
                    if let Some(done) = world.complete(message, delivery) {
                        world.completed(&done);
                    }
                });
            } else {
                if holds_failed {
                    let pause = before_return(queued.deliveries);
                    handle.sleep(Micros::try_from(pause.as_micros()).unwrap_or(MINUTE)).await;
                }
                handle.with(|world| world.give_back(message, delivery));
            }
        });
    }

    fn spawn(&mut self, instance: usize, message: Option<u64>, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.executor.spawn(instance, Box::pin(work));
        if self.tasks.len() <= id.place {
            self.tasks.resize(id.place + 1, None);
        }
        self.tasks[id.place] = Some((instance, message));
        let mut world = self.shared.lock();
        world.begins(id);
        if instance != PERSON {
            self.in_work[instance] += 1;
            let at = world.now + TIME_OUT;
            world.push(at, Event::TimeOut(id));
        }
    }

    /// The timer fires on one instance, and this stops the timeline when nothing is left to do.
    fn tick(&mut self) -> bool {
        let (instance, sweeps) = {
            let mut world = self.shared.lock();
            // Once nothing goes wrong any more, there is little to find.
            let every = if world.faults { self.story.sweep_every } else { 12 * MINUTE };
            let next = world.now + every;
            world.push(next, Event::Tick);
            let instance = world.chance.index(self.story.instances);
            let sweeps = self.handlers[instance].is_some() && !world.is_stalled(instance);
            if world.faults || !world.queue.messages.is_empty() || !self.executor.is_idle() || !world.is_at_rest() {
                self.calm_ticks = 0;
            } else if sweeps {
                // A tick that nobody was there for shows nothing.
                self.calm_ticks += 1;
            }
            (instance, sweeps)
        };
        // A notice that its teller could not send is told by the second sweep at the latest.
        if self.calm_ticks >= 3 {
            return true;
        }
        let sweeps = sweeps && self.bug.is_none_or(AnyBug::sweeps);
        let Some(handler) = self.handlers[instance].clone().filter(|_| sweeps) else { return false };
        self.shared.lock().count(Kind::Tick);
        self.spawn(instance, None, async move {
            handler
                .deliver(Delivery {
                    function: Function::Sweep,
                    body: Vec::new(),
                    returns: 0,
                    delivered_before: false,
                    envelope_problem: None,
                    invocation_id: String::new(),
                    trace_parent: None,
                })
                .await;
        });
        false
    }

    /// A person answers proposals, clears what was left to a person, and has parked messages handled again.
    fn person_looks(&mut self) {
        let (proposals, left, parked) = {
            let mut world = self.shared.lock();
            let next = world.now + world.chance.between(3 * MINUTE, 12 * MINUTE);
            world.push(next, Event::Person);
            world.for_a_person()
        };
        for (record, approves) in proposals {
            let (person, shared) = (Arc::clone(&self.person), Arc::clone(&self.shared));
            self.spawn(PERSON, None, async move {
                let verdict = if approves { Verdict::Approved } else { Verdict::Declined };
                let answered = person.answer(&RecordId(record.clone()), verdict, "ben").await;
                let mut world = shared.lock();
                world.tell(|| format!("a person answers record {record}: {verdict:?}: {answered:?}"));
                if answered.is_ok() {
                    world.count(if approves { Kind::Approved } else { Kind::Declined });
                }
            });
        }
        for target in left {
            let (person, shared) = (Arc::clone(&self.person), Arc::clone(&self.shared));
            self.spawn(PERSON, None, async move {
                let cleared = person.clear(&target, "ben").await;
                let mut world = shared.lock();
                world.count(Kind::Cleared);
                world.tell(|| format!("a person clears {target}: {cleared:?}"));
            });
        }
        if parked {
            let person = Arc::clone(&self.person);
            self.spawn(PERSON, None, async move {
                for parked in person.parked(20).await.unwrap_or_default() {
                    if parked.reason.starts_with("backout.yaml") {
                        drop(person.replay_parked(&parked).await);
                    }
                }
            });
        }
    }
}

fn function(queue: &str) -> Function {
    Function::ALL.iter().copied().find(|function| function.name() == queue).unwrap_or(Function::FollowUps)
}

fn process(shared: &Arc<Shared>, instance: usize, memory: &Arc<MemoryStore>, kept: &FakeAlerts, bug: Option<AnyBug>) -> Process {
    let handle = Handle { shared: Arc::clone(shared), instance };
    let ports = Ports {
        store: Arc::new(FaultyStore { memory: Arc::clone(memory), handle: handle.clone() }),
        follow_ups: Arc::new(FaultyQueue(handle.clone())),
        platforms: Arc::new(FaultyPlatforms(handle.clone())),
        telemetry: Arc::new(FaultyTelemetry(handle.clone())),
        alerts: Arc::new(FaultyAlerts { kept: kept.clone(), handle: handle.clone() }),
        notifier: Arc::new(FaultyNotifier(handle.clone())),
        clock: Arc::new(SkewedClock(handle.clone())),
    };
    let ports = match bug {
        Some(bug) if instance != PERSON => bug.put_into(&ports),
        Some(_) | None => ports,
    };
    let policy_bug = bug.filter(|_| instance != PERSON).and_then(AnyBug::of_the_policy);
    let policy = Arc::new(FaultyPolicy { handle, bug: policy_bug });
    Process::new(ports, policy, None, None)
}
