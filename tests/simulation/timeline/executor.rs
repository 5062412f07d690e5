//! Futures on one thread in an order that only the seed decides: a future goes on when its own virtual time has come.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use super::{
    time::Micros,
    world::{Event, Shared},
};

/// A place in the list of tasks, and which of its tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskId {
    pub place: usize,
    pub tenant: u64,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    id: TaskId,
    /// The instance that it runs on.
    instance: usize,
    work: Work,
    waker: Waker,
}

#[derive(Default)]
struct Ready(Mutex<Vec<TaskId>>);

struct WakeUp {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ready = self.ready.0.lock().unwrap();
        if !ready.contains(&self.id) {
            ready.push(self.id);
        }
    }
}

#[derive(Default)]
pub struct Executor {
    tasks: Vec<Option<Task>>,
    free: Vec<usize>,
    tenants: u64,
    ready: Arc<Ready>,
}

impl Executor {
    /// The id that the next task will have.
    pub fn next_id(&mut self) -> TaskId {
        let place = self.free.last().copied().unwrap_or(self.tasks.len());
        TaskId { place, tenant: self.tenants + 1 }
    }

    pub fn spawn(&mut self, instance: usize, work: Work) -> TaskId {
        let id = self.next_id();
        self.tenants = id.tenant;
        let waker = Waker::from(Arc::new(WakeUp { id, ready: Arc::clone(&self.ready) }));
        let task = Some(Task { id, instance, work, waker });
        if self.free.pop().is_some() {
            self.tasks[id.place] = task;
        } else {
            self.tasks.push(task);
        }
        self.ready.0.lock().unwrap().push(id);
        id
    }

    /// Polls the first task that can go on; `None` when none can. `before`: what must be known of the task while it runs.
    pub fn step(&mut self, before: impl FnOnce(TaskId)) -> Option<Ended> {
        let id = {
            let mut ready = self.ready.0.lock().unwrap();
            if ready.is_empty() {
                return None;
            }
            ready.remove(0)
        };
        let Some(task) = self.tasks.get_mut(id.place).and_then(Option::as_mut).filter(|task| task.id == id) else {
            return Some(Ended { id, ended: false });
        };
        before(id);
        let waker = task.waker.clone();
        let ended = task.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ended {
            self.remove(id);
        }
        Some(Ended { id, ended })
    }

    pub fn is_alive(&self, id: TaskId) -> bool {
        self.tasks.get(id.place).and_then(Option::as_ref).is_some_and(|task| task.id == id)
    }

    /// An instance dies: its futures are dropped wherever they are.
    pub fn kill(&mut self, instance: usize) -> Vec<TaskId> {
        let killed: Vec<TaskId> =
            self.tasks.iter().flatten().filter(|task| task.instance == instance).map(|task| task.id).collect();
        for id in &killed {
            self.remove(*id);
        }
        killed
    }

    pub fn is_idle(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }

    fn remove(&mut self, id: TaskId) {
        self.tasks[id.place] = None;
        self.free.push(id.place);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub id: TaskId,
    pub ended: bool,
}

/// A wait of virtual time on an instance; a stalled instance notices its end when it runs again.
pub struct Sleep {
    shared: Arc<Shared>,
    instance: usize,
    lasts: Micros,
    timer: Option<TimerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerId {
    place: usize,
    tenant: u64,
}

impl Sleep {
    pub fn new(shared: Arc<Shared>, instance: usize, lasts: Micros) -> Self {
        Self { shared, instance, lasts, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        let mut world = shared.lock();
        match self.timer {
            None => {
                let (id, due) = (world.timers.arm(self.instance, context.waker().clone()), world.now + self.lasts);
                world.push(due, Event::Timer(id));
                self.timer = Some(id);
                Poll::Pending
            }
            Some(id) if world.timers.fired(id) => Poll::Ready(()),
            Some(_) => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.timer.take() {
            self.shared.lock().timers.free(id);
        }
    }
}

struct Timer {
    tenant: u64,
    instance: usize,
    waker: Option<Waker>,
}

/// Sleeps under way.
#[derive(Default)]
pub struct Timers {
    all: Vec<Option<Timer>>,
    free: Vec<usize>,
    tenants: u64,
}

impl Timers {
    fn arm(&mut self, instance: usize, waker: Waker) -> TimerId {
        self.tenants += 1;
        let timer = Some(Timer { tenant: self.tenants, instance, waker: Some(waker) });
        let place = if let Some(place) = self.free.pop() {
            self.all[place] = timer;
            place
        } else {
            self.all.push(timer);
            self.all.len() - 1
        };
        TimerId { place, tenant: self.tenants }
    }

    fn get(&mut self, id: TimerId) -> Option<&mut Timer> {
        self.all.get_mut(id.place).and_then(Option::as_mut).filter(|timer| timer.tenant == id.tenant)
    }

    /// The instance that waits; `None` when nobody does any more.
    pub fn instance_of(&mut self, id: TimerId) -> Option<usize> {
        self.get(id).map(|timer| timer.instance)
    }

    pub fn fire(&mut self, id: TimerId) -> Option<Waker> {
        self.get(id).and_then(|timer| timer.waker.take())
    }

    fn fired(&mut self, id: TimerId) -> bool {
        self.get(id).is_none_or(|timer| timer.waker.is_none())
    }

    fn free(&mut self, id: TimerId) {
        if self.get(id).is_some() {
            self.all[id.place] = None;
            self.free.push(id.place);
        }
    }
}
