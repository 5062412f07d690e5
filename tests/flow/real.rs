//! The real handler process over HTTP: two of it at once, and one that is killed around its outgoing calls.

use std::time::Duration;

use backout::{
    domain::{decision::DecisionKind, record::Record, rollback::RollbackState},
    ports::Clock,
    sim::{
        Fault, FaultEffect, Moment, Wait,
        host::{HandlerState, InvocationOutcome, ServiceBusMessage},
    },
};

use crate::support::scene::{BAD, GOOD, Scene, alert};

/// Real time after which a story has failed, on any machine.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_over_one_store_swap_once() {
    let mut scene = Scene::open(2).await;
    let told = tokio::time::timeout(PATIENCE, two_at_once(&mut scene)).await;
    let record = told.unwrap_or_else(|_| panic!("the story did not end in time: {:#?}", scene.lines()));

    let says = format!("{:#?} {:#?}", record.timeline, scene.lines());
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act), "{says}");
    assert!(record.duplicates >= 1, "the second copy is counted: {says}");
    assert_eq!((scene.swap_requests().len(), scene.effects()), (1, 1), "{says}");
    assert_eq!(scene.azure.running_build(&scene.site), GOOD, "{says}");
}

async fn two_at_once(scene: &mut Scene) -> Record {
    scene.break_it().await;
    scene.sweep_often();
    let fired_at = scene.clock.now();
    let (body, id) = alert(&scene.site, fired_at);
    let [one, other] =
        ["one", "other"].map(|message_id| ServiceBusMessage::new(body.clone(), format!("copy-{message_id}"), fired_at));
    let (first, second) = tokio::join!(scene.hosts[0].invoke("alerts", &one), scene.hosts[1].invoke("alerts", &other));
    // A copy that was refused because the other one was faster comes again, as from the broker.
    for (outcome, body) in [(first.outcome, &body), (second.outcome, &body)] {
        if outcome != InvocationOutcome::Succeeded {
            scene.send("alerts", body);
        }
    }
    let record = scene.ended(&id).await;
    // A late copy and one more look of either find nothing to do.
    scene.send("alerts", &body);
    scene.wait_until(|| scene.azure.queue_length("alerts") == 0).await;
    for host in &scene.hosts {
        host.invoke_timer("sweep").await;
    }
    let last = scene.ended(&id).await;
    assert_eq!(last.rollback, record.rollback);
    last
}

/// Where the handler is killed: while its request of this kind is at the platform, or just after it was cut off.
struct Death {
    method: &'static str,
    path_contains: &'static str,
    effect: FaultEffect,
}

const LONG: Wait = Wait::Real(Duration::from_secs(2));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_swap_has_not_begun() {
    let effect = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: LONG };
    let (scene, record) = killed(Death { method: "POST", path_contains: "/slotsswap", effect }).await;
    // The request was complete when the handler died: Azure goes on with it.
    assert_recovered(&scene, &record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_swap_has_begun_and_is_not_answered() {
    let effect = FaultEffect::Delay { moment: Moment::AfterEffect, wait: LONG };
    let (scene, record) = killed(Death { method: "POST", path_contains: "/slotsswap", effect }).await;
    assert_recovered(&scene, &record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_the_first_poll() {
    let effect = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: LONG };
    let (scene, record) = killed(Death { method: "GET", path_contains: "/operationresults/", effect }).await;
    assert_recovered(&scene, &record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_a_swap_that_never_happens() {
    let effect = FaultEffect::Reset { moment: Moment::BeforeEffect };
    let (scene, record) = killed(Death { method: "POST", path_contains: "/slotsswap", effect }).await;
    let says = format!("{:#?} {:#?}", record.timeline, scene.lines());
    assert!(matches!(record.rollback, Some(RollbackState::Failed | RollbackState::Unknown)), "{:?} {says}", record.rollback);
    assert_eq!((scene.swap_requests().len(), scene.effects()), (1, 0), "{says}");
    assert_eq!(scene.azure.running_build(&scene.site), BAD, "{says}");
}

fn assert_recovered(scene: &Scene, record: &Record) {
    let says = format!("{:#?} {:#?}", record.timeline, scene.lines());
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
    assert_eq!((scene.swap_requests().len(), scene.effects()), (1, 1), "{says}");
    assert_eq!(scene.azure.running_build(&scene.site), GOOD, "{says}");
}

/// The story with one SIGKILL; everything is delivered again to the next process.
async fn killed(death: Death) -> (Scene, Record) {
    let mut scene = Scene::open(1).await;
    let told = tokio::time::timeout(PATIENCE, story(&mut scene, death)).await;
    let record = told.unwrap_or_else(|_| panic!("the story did not end in time: {:#?}", scene.lines()));
    (scene, record)
}

async fn story(scene: &mut Scene, death: Death) -> Record {
    let Death { method, path_contains, effect } = death;
    let fault = effect.name();
    let waits = matches!(effect, FaultEffect::Delay { .. });
    scene.break_it().await;
    scene.azure.inject(Fault::on(method, path_contains, effect));
    let (body, id) = alert(&scene.site, scene.clock.now());
    scene.send("alerts", &body);

    let met = || scene.requests(method, path_contains).iter().any(|entry| entry.fault == Some(fault));
    scene.wait_until(met).await;
    scene.hosts[0].kill().await;
    let dead = scene.hosts[0].wait_for(|state| *state == HandlerState::Killed).await;
    assert_eq!(dead, HandlerState::Killed);
    if waits {
        let answered: Vec<_> = scene.requests(method, path_contains).iter().map(|entry| entry.status).collect();
        assert_eq!(answered, [None], "the handler died before the answer to its first such request");
    }
    scene.hosts[0].restart().await.unwrap();
    scene.send("alerts", &body);
    scene.sweep_often();

    let record = scene.ended(&id).await;
    assert!(matches!(scene.hosts[0].state(), HandlerState::Running { generation: 2, .. }), "{:?}", scene.hosts[0].state());
    scene.wait_until(|| !scene.azure.is_busy(&scene.site)).await;
    record
}
