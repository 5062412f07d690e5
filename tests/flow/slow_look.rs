//! A look at the live state that takes longer than a claim stays fresh: the claim is renewed after it, or nothing is sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backout::{
    domain::{
        approval::Control,
        observation::{Observation, Preflight, WayBack},
        policy::Policy,
        right::NeededRight,
        rollback::{Fence, OperationState, RollbackState, Step, StepKind, Submission},
        target_state::TargetState,
    },
    ports::{Clock, Platform, PortError, Replaced, StateStore},
    process::{
        Process,
        act::FRESH,
        documents::{Documents, keys},
    },
    sim::clock::ManualClock,
};
use serde_json::{Value, json};

use crate::support::{
    fake_platform::{Answer, FakePlatform, OnePlatform},
    fake_queue::FakeQueue,
    world::{BAD, GOOD, World},
};

const LOOK_TAKES: Duration = Duration::from_secs(25);

/// What somebody else does while we look, once there is a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Concludes, as after a quiet time.
    ClosesTheClaim,
    /// Stops everything.
    Pauses,
    /// Takes over after the quiet time, and sends.
    Sends,
    /// The same when the look is over, and then more than another quiet time passes.
    SendsAfterTheLook,
    /// Nobody else does anything, and the first look takes longer than a decision stands.
    StandsStill,
}

struct Slow {
    real: FakePlatform,
    clock: Arc<ManualClock>,
    store: Arc<dyn StateStore>,
    kind: StepKind,
    meanwhile: Meanwhile,
    has_stood_still: AtomicBool,
    other: Process,
    queue: FakeQueue,
    policy: Arc<Policy>,
}

impl Slow {
    async fn somebody_else_acts(&self) {
        let claims = self.store.list("claims/", None, 10).await.unwrap();
        let Some(key) = claims.first() else { return };
        match self.meanwhile {
            Meanwhile::Nothing | Meanwhile::StandsStill => {}
            Meanwhile::ClosesTheClaim => {
                let stored = self.store.read(key).await.unwrap().unwrap();
                let mut document: Value = serde_json::from_slice(&stored.body).unwrap();
                close(&mut document);
                let replaced = self.store.replace(key, &stored.version, document.to_string().as_bytes()).await.unwrap();
                assert!(matches!(replaced, Replaced::Now(_)));
            }
            Meanwhile::Pauses => {
                let control = Control { paused: true, by: "ann".to_owned(), since: self.clock.now() };
                Documents::new(Arc::clone(&self.store)).insert(&keys::control(), control).await.unwrap();
            }
            Meanwhile::Sends | Meanwhile::SendsAfterTheLook => {
                let mut minutes = 0;
                while self.real.effects() == 0 {
                    self.clock.advance(Duration::from_mins(1));
                    self.other.sweep(&self.policy).await.unwrap();
                    while let Some((id, message)) = self.queue.take() {
                        let follow_up = serde_json::from_slice(&message.body).unwrap();
                        self.other.follow_up_received(follow_up, &self.policy).await.unwrap();
                        self.queue.complete(id);
                    }
                    minutes += 1;
                    assert!(minutes < 60, "nobody took over");
                }
            }
        }
    }
}

fn close(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        if map.contains_key("closed") {
            map.insert("closed".to_owned(), json!(true));
        }
        map.values_mut().for_each(close);
    }
}

#[async_trait::async_trait]
impl Platform for Slow {
    async fn observe(&self) -> Result<Observation, PortError> {
        if self.meanwhile == Meanwhile::Sends {
            // What is done beside the look is done by then: the decision is stored.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.somebody_else_acts().await;
            return self.real.observe().await;
        }
        let claims = self.store.list("claims/", None, 1).await.unwrap().len();
        let takes_long = match self.meanwhile {
            Meanwhile::SendsAfterTheLook => self.real.effects() == 0,
            Meanwhile::StandsStill => claims > 0 && !self.has_stood_still.swap(true, Ordering::Relaxed),
            Meanwhile::Nothing | Meanwhile::ClosesTheClaim | Meanwhile::Pauses | Meanwhile::Sends => false,
        };
        let seen = self.real.observe().await;
        self.somebody_else_acts().await;
        self.clock.sleep(if takes_long { Duration::from_mins(12) } else { LOOK_TAKES }).await;
        seen
    }

    fn rights(&self) -> Vec<NeededRight> {
        self.real.rights()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.real.preflight().await
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.real.steps(way_back, fence).into_iter().map(|step| Step { kind: self.kind, ..step }).collect()
    }

    async fn submit(&self, step: &Step) -> Submission {
        self.real.submit(step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.real.poll(operation).await
    }

    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.real.verify(way_back).await
    }
}

/// A broken world whose looks are slow, and its process.
fn slow(world: &mut World, kind: StepKind, meanwhile: Meanwhile) -> Process {
    let platform = Slow {
        real: world.platform.clone(),
        clock: world.clock.clone(),
        store: world.ports.store.clone(),
        kind,
        meanwhile,
        has_stood_still: AtomicBool::new(false),
        other: world.process(),
        queue: world.queue.clone(),
        policy: Arc::clone(&world.policy),
    };
    world.ports.platforms = Arc::new(OnePlatform(Arc::new(platform)));
    world.process()
}

#[tokio::test]
async fn a_slow_look_is_followed_by_a_renewed_claim_and_one_call() {
    assert!(LOOK_TAKES > FRESH);
    let mut world = World::new();
    let firing = world.break_it().await;
    let process = slow(&mut world, StepKind::Convergent, Meanwhile::Nothing);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.platform.calls(), 1, "{:#?}", world.record(&firing).await.timeline);
    for _ in 0..3 {
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
    }
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.running().as_str(), world.platform.calls(), world.platform.effects()), (GOOD, 1, 1));
}

#[tokio::test]
async fn whoever_lost_the_claim_or_was_paused_during_a_slow_look_sends_nothing() {
    for meanwhile in [Meanwhile::ClosesTheClaim, Meanwhile::Pauses] {
        let mut world = World::new();
        let firing = world.break_it().await;
        let process = slow(&mut world, StepKind::Convergent, meanwhile);
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        let says = format!("{meanwhile:?}: {:#?}", world.record(&firing).await.timeline);
        assert_eq!(world.platform.calls(), 0, "{says}");
        world.run(&process, 2).await;
        let record = world.record(&firing).await;
        assert_eq!((world.platform.running().as_str(), world.platform.calls()), (BAD, 0), "{meanwhile:?}");
        assert_eq!(record.rollback, Some(RollbackState::Failed), "{meanwhile:?}: {:#?}", record.timeline);
    }
}

/// What it sees is what the other one did, and nothing of what that one has the right to do.
#[tokio::test]
async fn whoever_was_overtaken_during_a_look_ends_nothing_of_the_other_ones_rollback() {
    let mut world = World::new();
    let firing = world.break_it().await;
    let process = slow(&mut world, StepKind::Convergent, Meanwhile::Sends);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 1), "{:#?}", record.timeline);
    assert!(record.rollback.is_some_and(|state| !state.is_terminal()), "{:?} {:#?}", record.rollback, record.timeline);
    world.run(&world.process(), 2).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (GOOD, 1));
    let key = keys::target(&world.target("checkout").key());
    let state = Documents::new(Arc::clone(&world.ports.store)).read::<TargetState>(&key).await.unwrap().unwrap().value;
    assert!(state.busy.is_none() && state.taken_back.iter().all(|taken| taken.result.is_some()), "{state:#?}");
}

/// Found by the simulation: what a look had not seen was held against the claim of a call that was sent after it.
#[tokio::test]
async fn a_look_from_before_another_ones_call_ends_nothing_of_it() {
    let mut world = World::new();
    let firing = world.break_it().await;
    world.platform.answer_next(&[Answer::LostBeforeEffect]);
    let first = slow(&mut world, StepKind::Convergent, Meanwhile::Nothing);
    first.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 0));
    world.ports.platforms = Arc::new(OnePlatform(Arc::new(world.platform.clone())));
    let process = slow(&mut world, StepKind::Convergent, Meanwhile::SendsAfterTheLook);
    world.clock.set(world.queue.next_due().unwrap());
    let (id, message) = world.queue.take().unwrap();
    process.follow_up_received(serde_json::from_slice(&message.body).unwrap(), &world.policy).await.unwrap();
    world.queue.complete(id);
    let record = world.record(&firing).await;
    assert_eq!((world.platform.calls(), world.platform.effects()), (2, 1), "{:#?}", record.timeline);
    assert_ne!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    world.ports.platforms = Arc::new(OnePlatform(Arc::new(world.platform.clone())));
    world.run(&world.process(), 2).await;
    let ended = world.record(&firing).await.rollback;
    assert_eq!(ended, Some(RollbackState::NotRecovered), "it took effect, and nothing good was measured until the deadline");
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (GOOD, 2));
}

/// A toggle would turn round what a person did while we looked.
#[tokio::test]
async fn a_toggle_whose_look_is_slow_is_left_to_a_person() {
    let mut world = World::new();
    let firing = world.break_it().await;
    let process = slow(&mut world, StepKind::Toggle, Meanwhile::Nothing);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (BAD, 0));
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
}

/// As on a machine that was frozen: the claim can be renewed and the version is still the same, but what was decided is old.
#[tokio::test]
async fn whoever_stood_still_before_the_call_decides_anew() {
    let mut world = World::new();
    let firing = world.break_it().await;
    let process = slow(&mut world, StepKind::Convergent, Meanwhile::StandsStill);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!(world.platform.calls(), 1, "{:#?}", record.timeline);
    let decided = record.timeline.iter().filter(|entry| entry.what.starts_with("decided act")).count();
    assert_eq!(decided, 2, "{:#?}", record.timeline);
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (GOOD, 1));
}

#[tokio::test]
async fn whoever_stood_still_until_all_was_well_sends_nothing() {
    let mut world = World::new();
    let firing = world.break_it().await;
    world.telemetry.from(world.now(), Some(0.001));
    let process = slow(&mut world, StepKind::Convergent, Meanwhile::StandsStill);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    let decision = record.decision.as_ref().unwrap();
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (BAD, 0));
    assert!(
        decision.because.contains("the call could not leave soon after its decision, and now the decision is"),
        "{decision:#?}"
    );
}
