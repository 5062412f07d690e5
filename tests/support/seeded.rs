//! Bugs that are put in on purpose, so that a checker shows that it can fail. Each stands between the real process and its ports, and
//! changes what passes as if the code had been written wrong; no code of the product knows of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    domain::{
        observation::{Observation, Preflight, WayBack},
        policy::NotifyRule,
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Claim, ClaimKind, Fence, OperationState, Phase, Step, Submission},
        series::{EvidenceMetric, Point, Series, WorseWhen},
        target::{Fingerprint, Target, TargetKey},
        target_state::TargetState,
    },
    ports::{
        Clock, FollowUps, Inserted, Key, Notice, Notifier, Platform, Platforms, PortError, QueueMessage, Replaced, StateStore,
        Stored, Telemetry, Version,
    },
    process::{Ports, documents::keys},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

/// A single rule of the protocol, or of what surrounds it, that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    NoClaim,
    TombstoneLate,
    FreshByReadOnly,
    NoFreshness,
    NoQuietTime,
    ConcludeWithoutClosing,
    RetryPost,
    ClearEarly,
    NoSweep,
    TombstoneMissing,
    BusyNeverWritten,
    PreviousInsteadOfExplicit,
    ClaimSkipped,
    LookSkipped,
    UnknownReadAsGood,
    PauseIgnored,
    NoticeSwallowed,
    CompleteBeforeStore,
    PutBackForgotten,
}

impl Bug {
    /// One for each rule that the protocol cannot do without.
    pub const OF_THE_PROTOCOL: [Self; 9] = [
        Self::NoClaim,
        Self::TombstoneLate,
        Self::FreshByReadOnly,
        Self::NoFreshness,
        Self::NoQuietTime,
        Self::ConcludeWithoutClosing,
        Self::RetryPost,
        Self::ClearEarly,
        Self::NoSweep,
    ];

    pub const ALL: [Self; 19] = [
        Self::NoClaim,
        Self::TombstoneLate,
        Self::FreshByReadOnly,
        Self::NoFreshness,
        Self::NoQuietTime,
        Self::ConcludeWithoutClosing,
        Self::RetryPost,
        Self::ClearEarly,
        Self::NoSweep,
        Self::TombstoneMissing,
        Self::BusyNeverWritten,
        Self::PreviousInsteadOfExplicit,
        Self::ClaimSkipped,
        Self::LookSkipped,
        Self::UnknownReadAsGood,
        Self::PauseIgnored,
        Self::NoticeSwallowed,
        Self::CompleteBeforeStore,
        Self::PutBackForgotten,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::NoClaim => "no-claim",
            Self::TombstoneLate => "tombstone-late",
            Self::FreshByReadOnly => "fresh-by-read-only",
            Self::NoFreshness => "no-freshness",
            Self::NoQuietTime => "no-quiet-time",
            Self::ConcludeWithoutClosing => "conclude-without-closing",
            Self::RetryPost => "retry-post",
            Self::ClearEarly => "clear-early",
            Self::NoSweep => "no-sweep",
            Self::TombstoneMissing => "tombstone-missing",
            Self::BusyNeverWritten => "busy-never-written",
            Self::PreviousInsteadOfExplicit => "previous-instead-of-explicit",
            Self::ClaimSkipped => "claim-skipped",
            Self::LookSkipped => "look-skipped",
            Self::UnknownReadAsGood => "unknown-read-as-good",
            Self::PauseIgnored => "pause-ignored",
            Self::NoticeSwallowed => "notice-swallowed",
            Self::CompleteBeforeStore => "complete-before-store",
            Self::PutBackForgotten => "put-back-forgotten",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// What the code does wrong.
    pub fn says(self) -> &'static str {
        match self {
            Self::NoClaim => "the insert of a claim that is taken writes over it and counts as ours",
            Self::TombstoneLate => "our own result is marked as ours only after the target is free again",
            Self::FreshByReadOnly => "a claim counts as renewed once it was read, without a write",
            Self::NoFreshness => "the monotonic clock stands still, so every claim and every look counts as fresh",
            Self::NoQuietTime => "a claim counts as written long ago, so nothing waits for the end of the quiet time",
            Self::ConcludeWithoutClosing => "a rollback is given up without closing its claim",
            Self::RetryPost => "the call is sent a second time after an answer that does not tell",
            Self::ClearEarly => "the target is free as soon as the call was sent",
            Self::NoSweep => "nothing sweeps",
            Self::TombstoneMissing => "our own result is never marked as ours",
            Self::BusyNeverWritten => "the target never becomes busy",
            Self::PreviousInsteadOfExplicit => "each way back counts as holding what ran before, whatever it holds now",
            Self::ClaimSkipped => "the claim is never written",
            Self::LookSkipped => "the look just before the call is answered from what was seen when it was decided",
            Self::UnknownReadAsGood => "measurements that are missing or can't be read count as good",
            Self::PauseIgnored => "the kill switch reads as off",
            Self::NoticeSwallowed => "a notice counts as told and is told to nobody",
            Self::CompleteBeforeStore => "a message is completed before it is handled",
            Self::PutBackForgotten => "a message that is to come back later is completed and not sent again",
        }
    }

    /// `false`: whoever drives the world must not sweep.
    pub fn sweeps(self) -> bool {
        self != Self::NoSweep
    }

    /// `true`: whoever drives the world must complete a message before it hands it to the process.
    pub fn completes_before_handling(self) -> bool {
        self == Self::CompleteBeforeStore
    }

    /// The ports of one instance, with the bug between them and the process. What an instance keeps in memory, it keeps in these.
    pub fn put_into(self, ports: &Ports) -> Ports {
        Ports {
            store: Arc::new(WrongStore { bug: self, real: Arc::clone(&ports.store), clock: Arc::clone(&ports.clock) }),
            follow_ups: Arc::new(WrongFollowUps { bug: self, real: Arc::clone(&ports.follow_ups) }),
            platforms: Arc::new(WrongPlatforms {
                bug: self,
                real: Arc::clone(&ports.platforms),
                store: Arc::clone(&ports.store),
                clock: Arc::clone(&ports.clock),
                seen: Arc::default(),
            }),
            telemetry: Arc::new(WrongTelemetry { bug: self, real: Arc::clone(&ports.telemetry) }),
            alerts: Arc::clone(&ports.alerts),
            notifier: Arc::new(WrongNotifier { bug: self, real: Arc::clone(&ports.notifier) }),
            clock: Arc::new(WrongClock { bug: self, real: Arc::clone(&ports.clock), slept: Mutex::default() }),
        }
    }
}

/// The version of a document that was never written.
const UNWRITTEN: &str = "unwritten";

struct WrongStore {
    bug: Bug,
    real: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
}

/// A document as it is stored (`process/documents`): what it says beside the mark of its writer.
struct Document {
    envelope: Value,
}

impl Document {
    fn parse(body: &[u8]) -> Self {
        Self { envelope: serde_json::from_slice(body).expect("documents are JSON") }
    }

    fn value(&self) -> Value {
        self.envelope["value"].clone()
    }

    fn claim(&self) -> Claim {
        serde_json::from_value(self.value()).expect("a claim")
    }

    fn target(&self) -> TargetState {
        serde_json::from_value(self.value()).expect("a target's document")
    }

    /// In the order in which the product writes: checkers may read the text.
    fn with(self, value: impl Serialize) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<T> {
            nonce: Value,
            value: T,
        }
        let nonce = self.envelope["nonce"].clone();
        serde_json::to_vec(&Envelope { nonce, value }).expect("documents are JSON")
    }
}

fn is_claim(key: &Key) -> bool {
    key.as_str().starts_with("claims/")
}

fn is_target(key: &Key) -> bool {
    key.as_str().starts_with("targets/")
}

/// Resubmissions and whether it is closed; `None` for a tombstone.
fn as_rollback(claim: &Claim) -> Option<(u32, bool)> {
    match claim.kind {
        ClaimKind::Rollback { resubmissions, closed, .. } => Some((resubmissions, closed)),
        ClaimKind::Tombstone { .. } => None,
    }
}

fn forget_results(state: &mut TargetState) {
    for taken in &mut state.taken_back {
        taken.result = None;
        taken.result_fingerprint = None;
        taken.expected = None;
    }
}

impl WrongStore {
    async fn claim(&self, key: &Key) -> Result<Option<(Claim, Version)>, PortError> {
        Ok(self.real.read(key).await?.map(|stored| (Document::parse(&stored.body).claim(), stored.version)))
    }

    async fn write_over(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        loop {
            if let Inserted::Now(version) = self.real.insert(key, body).await? {
                return Ok(Inserted::Now(version));
            }
            let Some(there) = self.real.read(key).await? else {
                continue;
            };
            if let Replaced::Now(version) = self.real.replace(key, &there.version, body).await? {
                return Ok(Inserted::Now(version));
            }
        }
    }

    /// Frees the target first, and only then marks the result as ours.
    async fn free_then_mark(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        let document = Document::parse(body);
        let mut state = document.target();
        let before = self.real.read(key).await?.map(|stored| Document::parse(&stored.body).target());
        let freed = before.and_then(|before| before.busy).filter(|_| state.busy.is_none());
        let Some((busy, result)) = freed.and_then(|busy| busy.result.clone().map(|result| (busy, result))) else {
            if let Some(busy) = &state.busy
                && let Some(own) = state.taken_back.iter_mut().find(|taken| taken.record == busy.record)
            {
                own.result = None;
                own.result_fingerprint = None;
            }
            return self.real.replace(key, version, &document.with(&state)).await;
        };
        if let Some(own) = state.taken_back.iter_mut().find(|taken| taken.record == busy.record) {
            own.result = None;
            own.result_fingerprint = None;
        }
        let Replaced::Now(_) = self.real.replace(key, version, &document.with(&state)).await? else {
            return Ok(Replaced::ChangedMeanwhile);
        };
        let tombstone = Claim {
            target: state.target.clone(),
            token: result.clone(),
            kind: ClaimKind::Tombstone { record: busy.record.clone(), fingerprint: busy.good.fingerprint.clone() },
            written_at: self.clock.now(),
        };
        let envelope = json!({ "nonce": "00000000-0000-0000-0000-000000000000", "value": tombstone });
        self.real.insert(&keys::claim(&state.target, &result), envelope.to_string().as_bytes()).await?;
        loop {
            let Some(there) = self.real.read(key).await? else {
                return Ok(Replaced::ChangedMeanwhile);
            };
            let document = Document::parse(&there.body);
            let mut now = document.target();
            let Some(own) = now.taken_back.iter_mut().find(|taken| taken.record == busy.record) else {
                return Ok(Replaced::Now(there.version));
            };
            own.result = Some(result.clone());
            own.result_fingerprint.clone_from(&busy.good.fingerprint);
            if let Replaced::Now(version) = self.real.replace(key, &there.version, &document.with(&now)).await? {
                return Ok(Replaced::Now(version));
            }
        }
    }

    /// What is written in place of a target's document.
    fn wrong_target(&self, body: &[u8]) -> Vec<u8> {
        let document = Document::parse(body);
        let mut state = document.target();
        match self.bug {
            Bug::TombstoneMissing => forget_results(&mut state),
            Bug::BusyNeverWritten => state.busy = None,
            Bug::ClearEarly => {
                let sent = state.busy.take_if(|busy| matches!(busy.phase, Phase::Submitting | Phase::Accepted));
                state.generation += u64::from(sent.is_some());
            }
            _ => return body.to_vec(),
        }
        document.with(state)
    }
}

#[async_trait::async_trait]
impl StateStore for WrongStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let stored = self.real.read(key).await?;
        if self.bug == Bug::PauseIgnored && *key == keys::control() {
            return Ok(stored.map(|Stored { body, version }| {
                let document = Document::parse(&body);
                let mut control = document.value();
                control["paused"] = json!(false);
                Stored { body: document.with(control), version }
            }));
        }
        if self.bug == Bug::NoQuietTime && is_claim(key) {
            return Ok(stored.map(|Stored { body, version }| {
                let document = Document::parse(&body);
                let mut claim = document.claim();
                claim.written_at -= SignedDuration::from_hours(24);
                Stored { body: document.with(claim), version }
            }));
        }
        Ok(stored)
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        if is_claim(key) {
            let is_tombstone = as_rollback(&Document::parse(body).claim()).is_none();
            match (self.bug, is_tombstone) {
                (Bug::NoClaim, false) => return self.write_over(key, body).await,
                (Bug::ClaimSkipped, false) | (Bug::TombstoneLate | Bug::TombstoneMissing, true) => {
                    return Ok(Inserted::Now(Version(UNWRITTEN.to_owned())));
                }
                _ => {}
            }
        }
        if is_target(key) {
            return self.real.insert(key, &self.wrong_target(body)).await;
        }
        self.real.insert(key, body).await
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        if is_claim(key)
            && let Some((resubmissions, closed)) = as_rollback(&Document::parse(body).claim())
        {
            match self.bug {
                Bug::ConcludeWithoutClosing if closed => return Ok(Replaced::Now(version.clone())),
                Bug::FreshByReadOnly if !closed => {
                    if let Some((there, at)) = self.claim(key).await?
                        && as_rollback(&there).is_some_and(|(before, _)| before == resubmissions)
                    {
                        return Ok(Replaced::Now(at));
                    }
                }
                _ => {}
            }
        }
        match self.bug {
            Bug::TombstoneLate if is_target(key) => self.free_then_mark(key, version, body).await,
            _ if is_target(key) => self.real.replace(key, version, &self.wrong_target(body)).await,
            _ => self.real.replace(key, version, body).await,
        }
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.real.delete(key, version).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.real.list(prefix, after, limit).await
    }
}

struct WrongFollowUps {
    bug: Bug,
    real: Arc<dyn FollowUps>,
}

#[async_trait::async_trait]
impl FollowUps for WrongFollowUps {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        if self.bug == Bug::PutBackForgotten && message.returns > 0 {
            return Ok(());
        }
        self.real.send(message, delay).await
    }
}

/// What was last seen of each target, and when by the monotonic clock.
type Seen = Arc<Mutex<BTreeMap<TargetKey, (Duration, Observation)>>>;

/// For so long a look is answered from the one before.
const SEEN_COUNTS: Duration = Duration::from_mins(5);

/// The pause before a call is sent again.
const RETRY_AFTER: Duration = Duration::from_mins(2);

struct WrongPlatforms {
    bug: Bug,
    real: Arc<dyn Platforms>,
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    seen: Seen,
}

impl Platforms for WrongPlatforms {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::new(WrongPlatform {
            bug: self.bug,
            real: self.real.of(target),
            target: target.key(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            seen: Arc::clone(&self.seen),
        })
    }
}

struct WrongPlatform {
    bug: Bug,
    real: Arc<dyn Platform>,
    target: TargetKey,
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    seen: Seen,
}

impl WrongPlatform {
    /// What ran before, by our own history.
    async fn previous(&self, running: Option<&Fingerprint>) -> Result<Option<(Fingerprint, String)>, PortError> {
        let Some(stored) = self.store.read(&keys::target(&self.target)).await? else {
            return Ok(None);
        };
        let rollouts = Document::parse(&stored.body).target().rollouts;
        let other = rollouts.into_iter().rev().find(|rollout| rollout.fingerprint.as_ref() != running);
        Ok(other.and_then(|other| other.fingerprint.map(|fingerprint| (fingerprint, other.label))))
    }
}

#[async_trait::async_trait]
impl Platform for WrongPlatform {
    async fn observe(&self) -> Result<Observation, PortError> {
        let now = self.clock.monotonic();
        if self.bug == Bug::LookSkipped {
            let seen = self.seen.lock().unwrap().get(&self.target).cloned();
            if let Some((_, observation)) = seen.filter(|(at, _)| now.saturating_sub(*at) < SEEN_COUNTS) {
                return Ok(observation);
            }
        }
        let mut observation = self.real.observe().await?;
        if self.bug == Bug::PreviousInsteadOfExplicit
            && let Some((fingerprint, label)) = self.previous(observation.running.fingerprint.as_ref()).await?
        {
            for way in &mut observation.ways_back {
                way.fingerprint = Some(fingerprint.clone());
                way.label.clone_from(&label);
            }
        }
        if self.bug == Bug::LookSkipped {
            self.seen.lock().unwrap().insert(self.target.clone(), (now, observation.clone()));
        }
        Ok(observation)
    }

    fn rights(&self) -> Vec<NeededRight> {
        self.real.rights()
    }

    fn ways_back(&self, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
        self.real.ways_back(observation, proven)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.real.preflight().await
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.real.steps(way_back, fence)
    }

    async fn submit(&self, step: &Step) -> Submission {
        self.seen.lock().unwrap().remove(&self.target);
        let answer = self.real.submit(step).await;
        if self.bug == Bug::RetryPost && matches!(answer, Submission::Unknown { .. }) {
            self.clock.sleep(RETRY_AFTER).await;
            return self.real.submit(step).await;
        }
        answer
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.real.poll(operation).await
    }

    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.real.verify(way_back).await
    }
}

struct WrongTelemetry {
    bug: Bug,
    real: Arc<dyn Telemetry>,
}

/// A window that looks as good as can be.
fn good(worse_when: WorseWhen, end: Timestamp) -> Point {
    let value = match worse_when {
        WorseWhen::Higher => 0.0,
        WorseWhen::Lower => 1e6,
    };
    Point { end, value: Some(value), weight: Some(1000.0) }
}

#[async_trait::async_trait]
impl Telemetry for WrongTelemetry {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        let read = self.real.series(metric, resource, from, to).await;
        if self.bug != Bug::UnknownReadAsGood {
            return read;
        }
        let interval = SignedDuration::from_mins(1);
        let mut series = read.unwrap_or_else(|_| Series {
            name: metric.name(),
            worse_when: metric.worse_when,
            interval,
            source_lag: SignedDuration::ZERO,
            points: Vec::new(),
        });
        let worse_when = series.worse_when;
        for point in series.points.iter_mut().filter(|point| point.value.is_none()) {
            *point = good(worse_when, point.end);
        }
        if series.points.is_empty() {
            let windows = std::iter::successors(Some(from + interval), |end| Some(*end + interval));
            series.points = windows.take_while(|end| *end <= to).map(|end| good(worse_when, end)).collect();
        }
        Ok(series)
    }
}

struct WrongNotifier {
    bug: Bug,
    real: Arc<dyn Notifier>,
}

#[async_trait::async_trait]
impl Notifier for WrongNotifier {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        if self.bug == Bug::NoticeSwallowed {
            return Ok(());
        }
        self.real.tell(notice, rule).await
    }
}

struct WrongClock {
    bug: Bug,
    real: Arc<dyn Clock>,
    /// Sleeps must end, also of a clock that stands still.
    slept: Mutex<Duration>,
}

#[async_trait::async_trait]
impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        self.real.now()
    }

    fn monotonic(&self) -> Duration {
        if self.bug == Bug::NoFreshness { *self.slept.lock().unwrap() } else { self.real.monotonic() }
    }

    async fn sleep(&self, duration: Duration) {
        self.real.sleep(duration).await;
        *self.slept.lock().unwrap() += duration;
    }
}
