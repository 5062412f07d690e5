//! One delivery of one message to the real process, whose ports do nothing but ask: it stands still at its calls until each is
//! answered. What it does next follows from the message and the answers so far, and from nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use backout::{
    domain::{
        alert::Alert,
        observation::{Observation, Preflight, RunningVersion, WayBack},
        policy::{NotifyRule, Policy},
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        series::{EvidenceMetric, Point, Series},
        target::{Fingerprint, Target, VersionToken},
    },
    ports::{
        Alerts, Clock, FollowUp, FollowUps, Inserted, KeptAlert, Key, Notice, Notifier, Platform, Platforms, PortError,
        PortErrorKind, QueueMessage, Replaced, SendBy, StateStore, Stored, Telemetry, Version,
    },
    process::{Ports, Process, outcome::Outcome, trouble::Trouble},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{policy::FixedPolicy, seeded::Bug};

/// Seconds since 1970; everything in these worlds happens at whole seconds.
pub type Seconds = i64;

pub fn at(seconds: Seconds) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Keys and bodies by number: equal ones have the same.
pub type KeyId = u32;
pub type BodyId = u32;

/// Documents whose content decides anything here. All others are answered as if nobody else wrote them, and are not kept.
pub const KEPT: [&str; 3] = ["claims/", "records/", "targets/"];

/// What a nonce is written as; whose write it is the state says.
const NO_NONCE: &str = "00000000-0000-0000-0000-000000000000";

/// Where a nonce stands in a stored document.
const NONCE_AT: std::ops::Range<usize> = 10..46;

#[derive(Default)]
pub struct Texts {
    by_text: HashMap<Arc<[u8]>, u32>,
    texts: Vec<Arc<[u8]>>,
}

impl Texts {
    pub fn id(&mut self, text: &[u8]) -> u32 {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        let id = u32::try_from(self.texts.len()).unwrap();
        let text: Arc<[u8]> = text.into();
        self.texts.push(Arc::clone(&text));
        self.by_text.insert(text, id);
        id
    }

    pub fn text(&self, id: u32) -> Arc<[u8]> {
        Arc::clone(&self.texts[id as usize])
    }

    pub fn string(&self, id: u32) -> String {
        String::from_utf8(self.text(id).to_vec()).unwrap()
    }
}

/// What a process asks for, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    Read(KeyId),
    Insert(KeyId, BodyId),
    Replace(KeyId, u32, BodyId),
    Observe,
    Poll(u32),
    /// Its number is that of the step's detail.
    Submit(BodyId),
    Series,
    Send {
        body: BodyId,
        delay: Seconds,
    },
    Sleep,
}

impl Request {
    /// Nobody else's step changes its answer, and it changes nobody else's: it is answered at once.
    pub fn is_private(self) -> bool {
        match self {
            Self::Series | Self::Send { .. } | Self::Sleep => true,
            Self::Read(_) | Self::Insert(..) | Self::Replace(..) | Self::Observe | Self::Poll(_) | Self::Submit(_) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Document(Option<Copied>),
    Written(u32),
    /// Already there, or changed meanwhile.
    NotWritten,
    /// A store's error, which does not tell whether the write happened.
    Failed,
    Seen(Sight),
    Polled {
        running: bool,
    },
    Accepted {
        operation: u32,
    },
    Unknown,
    Refused,
    NotSent,
    Busy,
    /// The measured fault ended then.
    Measured {
        good_since: Option<Seconds>,
    },
    Done,
    NoSuchOperation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Copied {
    pub body: BodyId,
    pub version: u32,
    /// It is what this very worker wrote, and was not told of.
    pub own: bool,
}

/// What a look at the platform shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sight {
    pub token: u32,
    pub build: u32,
    pub since: Seconds,
    pub slot: u32,
    pub under_way: bool,
}

pub fn token(number: u32) -> VersionToken {
    VersionToken(format!("rollout-{number}"))
}

/// How the small world's platform goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WayKind {
    /// Swaps two slots: sent twice, it is undone.
    Toggle,
    /// Sets the good build.
    Convergent,
    /// A convergent step that prepares, then a toggle.
    TwoSteps,
}

/// One process for one message, and what it asks.
pub struct Tape {
    state: Mutex<TapeState>,
    pub texts: Arc<Mutex<Keeping>>,
}

/// Keys and bodies of a whole exploration.
#[derive(Default)]
pub struct Keeping {
    pub keys: Texts,
    pub bodies: Texts,
}

struct TapeState {
    now: Seconds,
    pending: Vec<(CallId, Request)>,
    answers: HashMap<CallId, Answer>,
    wakers: HashMap<CallId, Waker>,
    asked: BTreeMap<Request, u32>,
    nonces: HashMap<KeyId, Vec<u8>>,
}

/// Names a call of one delivery, whatever was answered before it: what it asks, and how many times that was asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(u64);

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Tape {
    pub fn new(now: Seconds, texts: Arc<Mutex<Keeping>>) -> Self {
        let state = TapeState {
            now,
            pending: Vec::new(),
            answers: HashMap::new(),
            wakers: HashMap::new(),
            asked: BTreeMap::new(),
            nonces: HashMap::new(),
        };
        Self { state: Mutex::new(state), texts }
    }

    fn now(&self) -> Seconds {
        self.state.lock().unwrap().now
    }

    pub fn set_now(&self, now: Seconds) {
        self.state.lock().unwrap().now = now;
    }

    pub fn pending(&self) -> Vec<(CallId, Request)> {
        self.state.lock().unwrap().pending.clone()
    }

    pub fn answer(&self, call: CallId, answer: Answer, now: Seconds) {
        let mut state = self.state.lock().unwrap();
        state.now = now;
        let place = state.pending.iter().position(|(id, _)| *id == call).expect("the call is pending");
        state.pending.remove(place);
        state.answers.insert(call, answer);
        if let Some(waker) = state.wakers.remove(&call) {
            drop(state);
            waker.wake();
        }
    }

    async fn ask(&self, request: Request) -> Answer {
        let id = {
            let mut state = self.state.lock().unwrap();
            let times = state.asked.entry(request).or_insert(0);
            *times += 1;
            let id = CallId(hash_of((request, *times)));
            state.pending.push((id, request));
            id
        };
        // A call that nobody waits for any more is not made.
        let _waiting = Waiting { tape: self, id };
        std::future::poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if let Some(answer) = state.answers.remove(&id) {
                return Poll::Ready(answer);
            }
            state.wakers.insert(id, context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn key(&self, key: &Key) -> Option<KeyId> {
        let kept = KEPT.iter().any(|prefix| key.as_str().starts_with(prefix));
        kept.then(|| self.texts.lock().unwrap().keys.id(key.as_str().as_bytes()))
    }

    /// The body without its nonce, which is kept aside, and without what is only ever read by people.
    fn body(&self, key: KeyId, body: &[u8]) -> BodyId {
        let mut plain = body.to_vec();
        let nonce = plain[NONCE_AT].to_vec();
        plain[NONCE_AT].copy_from_slice(NO_NONCE.as_bytes());
        self.state.lock().unwrap().nonces.insert(key, nonce);
        let mut texts = self.texts.lock().unwrap();
        if texts.keys.text(key).starts_with(b"records/") {
            let mut document: Value = serde_json::from_slice(&plain).unwrap();
            document["value"]["decidedFrom"] = Value::Null;
            document["value"]["timeline"] = json!([]);
            document["value"]["duplicates"] = json!(0);
            plain = serde_json::to_vec(&document).unwrap();
        }
        texts.bodies.id(&plain)
    }

    fn stored(&self, key: KeyId, copied: Copied) -> Stored {
        let mut body = self.texts.lock().unwrap().bodies.text(copied.body).to_vec();
        if copied.own {
            let state = self.state.lock().unwrap();
            body[NONCE_AT].copy_from_slice(&state.nonces[&key]);
        }
        Stored { body, version: Version(copied.version.to_string()) }
    }
}

struct Waiting<'a> {
    tape: &'a Tape,
    id: CallId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.tape.state.lock().unwrap().pending.retain(|(id, _)| *id != self.id);
    }
}

fn unexpected(request: &str, answer: Answer) -> ! {
    panic!("{request} was answered by {answer:?}")
}

fn lost(operation: &'static str) -> PortError {
    PortError::new(operation, PortErrorKind::Transient, "the connection was reset")
}

/// Every port of a process.
pub struct Asking {
    pub tape: Arc<Tape>,
    pub world: Arc<Fixed>,
}

/// What never changes in one exploration.
pub struct Fixed {
    pub policy: Arc<Policy>,
    pub way: WayKind,
    pub builds: Vec<&'static str>,
    pub start: Seconds,
    pub broken_at: Seconds,
    pub alerts: [Alert; 2],
    pub bug: Option<Bug>,
}

#[async_trait::async_trait]
impl StateStore for Asking {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let Some(id) = self.tape.key(key) else { return Ok(None) };
        match self.tape.ask(Request::Read(id)).await {
            Answer::Document(copied) => Ok(copied.map(|copied| self.tape.stored(id, copied))),
            Answer::Failed => Err(lost("read a document")),
            other => unexpected("a read", other),
        }
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        let Some(id) = self.tape.key(key) else { return Ok(Inserted::Now(Version("1".to_owned()))) };
        let body = self.tape.body(id, body);
        match self.tape.ask(Request::Insert(id, body)).await {
            Answer::Written(version) => Ok(Inserted::Now(Version(version.to_string()))),
            Answer::NotWritten => Ok(Inserted::AlreadyThere),
            Answer::Failed => Err(lost("insert a document")),
            other => unexpected("an insert", other),
        }
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        let Some(id) = self.tape.key(key) else { return Ok(Replaced::Now(Version("1".to_owned()))) };
        let body = self.tape.body(id, body);
        // Only what was written as a version names one.
        let number = version.0.parse().ok().filter(|number: &u32| number.to_string() == version.0);
        match self.tape.ask(Request::Replace(id, number.unwrap_or(u32::MAX), body)).await {
            Answer::Written(version) => Ok(Replaced::Now(Version(version.to_string()))),
            Answer::NotWritten => Ok(Replaced::ChangedMeanwhile),
            Answer::Failed => Err(lost("write a document")),
            other => unexpected("a write", other),
        }
    }

    async fn delete(&self, key: &Key, _version: &Version) -> Result<bool, PortError> {
        assert!(self.tape.key(key).is_none(), "`{key}` is never deleted");
        Ok(true)
    }

    async fn list(&self, prefix: &str, _after: Option<&Key>, _limit: usize) -> Result<Vec<Key>, PortError> {
        assert!(!KEPT.contains(&prefix), "nothing here lists `{prefix}`");
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl FollowUps for Asking {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        // All that a wake-up has beside its body.
        assert_eq!((message.queue.as_str(), message.returns, delay.subsec_nanos()), ("followups", 0, 0));
        let body = self.tape.texts.lock().unwrap().bodies.id(&message.body);
        let delay = Seconds::try_from(delay.as_secs()).unwrap();
        assert_eq!(self.tape.ask(Request::Send { body, delay }).await, Answer::Done);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Telemetry for Asking {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        _resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        let Answer::Measured { good_since } = self.tape.ask(Request::Series).await else { panic!("a measurement") };
        let interval = SignedDuration::from_mins(1);
        let first = from.max(at(self.world.broken_at) - interval * 8).as_second().div_euclid(60) * 60 + 60;
        let windows = (0..).map(|number| first + number * 60).take_while(|end| *end <= to.as_second());
        let bad = |start: Seconds| start >= self.world.broken_at && good_since.is_none_or(|since| start < since);
        let points = windows
            .map(|end| Point { end: at(end), value: Some(if bad(end - 60) { 0.31 } else { 0.001 }), weight: Some(300.0) })
            .collect();
        Ok(Series { name: metric.name(), worse_when: metric.worse_when, interval, source_lag: SignedDuration::ZERO, points })
    }
}

#[async_trait::async_trait]
impl Alerts for Asking {
    async fn changed_since(&self, _subscription: &str, _since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl Notifier for Asking {
    async fn tell(&self, _notice: &Notice, _rule: &NotifyRule) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Clock for Asking {
    fn now(&self) -> Timestamp {
        at(self.tape.now())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.tape.now() - self.world.start).unwrap())
    }

    async fn sleep(&self, _duration: Duration) {
        assert_eq!(self.tape.ask(Request::Sleep).await, Answer::Done);
    }
}

impl Platforms for Asking {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        let is_there = self.world.policy.services.values().any(|service| service.target == *target);
        Arc::new(AskingPlatform { tape: Arc::clone(&self.tape), world: Arc::clone(&self.world), is_there })
    }
}

struct AskingPlatform {
    tape: Arc<Tape>,
    world: Arc<Fixed>,
    /// Whether this is the one target of the world.
    is_there: bool,
}

#[async_trait::async_trait]
impl Platform for AskingPlatform {
    async fn observe(&self) -> Result<Observation, PortError> {
        if !self.is_there {
            return Err(PortError::new("look at a target", PortErrorKind::NotFound, "there is no such target"));
        }
        let Answer::Seen(sight) = self.tape.ask(Request::Observe).await else { panic!("a look") };
        let build = |number: u32| self.world.builds[number as usize].to_owned();
        Ok(Observation {
            observed_at: at(self.tape.now()),
            running: RunningVersion {
                token: token(sight.token),
                fingerprint: Some(Fingerprint(build(sight.build))),
                serving_since: Some(at(sight.since)),
                label: build(sight.build),
            },
            under_way: sight.under_way.then(|| "a swap".to_owned()),
            ways_back: vec![WayBack {
                name: "slot staging".to_owned(),
                fingerprint: Some(Fingerprint(build(sight.slot))),
                label: build(sight.slot),
                obstacles: Vec::new(),
                detail: json!({ "build": sight.slot }),
            }],
            obstacles: Vec::new(),
        })
    }

    fn rights(&self) -> Vec<NeededRight> {
        Vec::new()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(Preflight { obstacles: Vec::new(), ways_back: Vec::new() })
    }

    fn steps(&self, way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        let step = |says: &str, kind, does: &str| Step {
            says: says.to_owned(),
            kind,
            detail: json!({ "does": does, "build": way_back.detail["build"] }),
        };
        match self.world.way {
            WayKind::Toggle => vec![step("swap staging with production", StepKind::Toggle, "swap")],
            WayKind::Convergent => vec![step("set the build of production", StepKind::Convergent, "set")],
            WayKind::TwoSteps => vec![
                step("prepare staging", StepKind::Convergent, "prepare"),
                step("swap staging with production", StepKind::Toggle, "swap"),
            ],
        }
    }

    async fn submit(&self, step: &Step) -> Submission {
        if SendBy::has_passed() {
            return Submission::NotSent { says: "too late to send a call".to_owned(), retry_after_seconds: None };
        }
        let detail = self.tape.texts.lock().unwrap().bodies.id(step.detail.to_string().as_bytes());
        match self.tape.ask(Request::Submit(detail)).await {
            Answer::Accepted { operation } => {
                Submission::Accepted { operation: json!({ "number": operation }), poll_after_seconds: 15 }
            }
            Answer::Unknown => Submission::Unknown { says: "the connection was reset".to_owned() },
            Answer::Refused => Submission::Refused { says: "403".to_owned() },
            Answer::NotSent => Submission::NotSent { says: "429".to_owned(), retry_after_seconds: None },
            Answer::Busy => Submission::Busy { says: "another operation is in progress".to_owned() },
            other => unexpected("a call", other),
        }
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        let unknown = OperationState::Unknown { says: "no operation of this target".to_owned() };
        let number = operation["number"].as_u64().and_then(|number| u32::try_from(number).ok());
        let Some(number) = number else { return Ok(unknown) };
        match self.tape.ask(Request::Poll(number)).await {
            Answer::Polled { running: true } => Ok(OperationState::Running { poll_after_seconds: 15 }),
            Answer::Polled { running: false } => Ok(OperationState::Succeeded),
            Answer::NoSuchOperation => Ok(unknown),
            other => unexpected("a poll", other),
        }
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    Alert { firing: usize, copy: usize },
    FollowUp(BodyId),
    Sweep,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    Settled,
    /// Trouble with the store: the message is put back.
    PutBack,
}

/// A delivery that stands at its calls.
pub struct Live {
    tape: Arc<Tape>,
    future: Pin<Box<dyn Future<Output = Result<Outcome, Trouble>>>>,
    ended: Option<Ended>,
}

impl Live {
    pub fn start(world: &Arc<Fixed>, texts: &Arc<Mutex<Keeping>>, message: Message, now: Seconds) -> Self {
        let tape = Arc::new(Tape::new(now, Arc::clone(texts)));
        let asking = || Asking { tape: Arc::clone(&tape), world: Arc::clone(world) };
        let ports = Ports {
            store: Arc::new(asking()),
            follow_ups: Arc::new(asking()),
            platforms: Arc::new(asking()),
            telemetry: Arc::new(asking()),
            alerts: Arc::new(asking()),
            notifier: Arc::new(asking()),
            clock: Arc::new(asking()),
        };
        let ports = world.bug.map_or_else(|| ports.clone(), |bug| bug.put_into(&ports));
        let process = Process::new(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))), None, None);
        let policy = Arc::clone(&world.policy);
        let future: Pin<Box<dyn Future<Output = Result<Outcome, Trouble>>>> = match message {
            Message::Alert { firing, .. } => {
                let alert = world.alerts[firing].clone();
                Box::pin(async move { process.alert_received(alert, &policy).await })
            }
            Message::FollowUp(body) => {
                let follow_up: FollowUp = serde_json::from_slice(&texts.lock().unwrap().bodies.text(body)).unwrap();
                Box::pin(async move { process.follow_up_received(follow_up, &policy).await })
            }
            Message::Sweep => Box::pin(async move { process.sweep(&policy).await }),
        };
        let mut live = Self { tape, future, ended: None };
        live.poll();
        live
    }

    pub fn answer(&mut self, call: CallId, answer: Answer, now: Seconds) {
        self.tape.answer(call, answer, now);
        self.poll();
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = self.future.as_mut().poll(&mut context) {
            self.ended = Some(match outcome {
                Ok(Outcome::Settled { .. } | Outcome::Parked { .. }) => Ended::Settled,
                Ok(Outcome::PutBack { .. } | Outcome::DeliverAgain { .. }) | Err(_) => Ended::PutBack,
            });
        }
    }

    pub fn pending(&self) -> Vec<(CallId, Request)> {
        self.tape.pending()
    }

    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }
}
