//! The real handler process over HTTP, on every platform: two of it at once, one that is killed around its outgoing calls, and one that
//! is stalled before its call while another takes over.

use std::time::Duration;

use backout::{
    cli::demo::stage::{BAD, GOOD},
    domain::{
        decision::DecisionKind,
        record::Record,
        rollback::RollbackState,
        target::PlatformKind::{self, AppService, ArmDeployment, ContainerApp, Kubernetes, LogicApp, Pipeline},
    },
    ports::Clock,
    sim::{
        FaultEffect, Moment, Wait,
        host::{HandlerState, InvocationOutcome, ServiceBusMessage},
    },
};
use futures::{StreamExt, stream};

use crate::support::scene::Scene;

/// Real time after which a story has failed, on any machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Stories at once: they mostly wait.
const AT_ONCE: usize = 20;

/// How long the platform keeps a request that must still be under way when the handler dies.
const LONG: Wait = Wait::Real(Duration::from_secs(2));

/// Where the handler is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The claim stands, and what is read between it and the call has not been answered.
    ClaimedNotSent,
    /// The call is at the platform, which goes on with it: the request was complete.
    CallNotBegun,
    /// The call took effect, and was not answered.
    CallNotAnswered,
    /// The call was cut off, and nothing comes of it.
    CallCutOff,
}

/// A death of each kind around the call, and what the second process must make of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_the_call_on_every_platform() {
    let around = [Death::ClaimedNotSent, Death::CallNotBegun, Death::CallNotAnswered];
    let mut deaths: Vec<(PlatformKind, Death)> =
        PlatformKind::ALL.into_iter().flat_map(|platform| around.map(|death| (platform, death))).collect();
    deaths.extend([(AppService, Death::CallCutOff), (Kubernetes, Death::CallCutOff)]);
    let count = deaths.len();
    let mut stories = stream::iter(deaths).map(|(platform, death)| killed(platform, death)).buffer_unordered(AT_ONCE);
    let mut told = 0;
    while let Some((scene, record, death)) = stories.next().await {
        told += 1;
        let says = format!("{}, {death:?}", scene.platform);
        assert_true_end(&scene, &record, &says);
        // A call whose repetition would undo it is not sent again: a person is told.
        let sent_again = !matches!(scene.platform, AppService | Pipeline);
        let never_sent = matches!(death, Death::ClaimedNotSent | Death::CallCutOff);
        let end = if never_sent && !sent_again { RollbackState::Failed } else { RollbackState::Recovered };
        assert_eq!(record.rollback, Some(end), "{says}: {:#?} {:#?}", record.timeline, scene.lines());
    }
    assert_eq!(told, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_over_one_store_act_once() {
    two_at_once(AppService).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_was_stalled_before_its_call_does_not_send_when_another_took_over() {
    tokio::join!(stalled_before_the_call(AppService), stalled_before_the_call(Kubernetes), stalled_inside_the_call(LogicApp));
}

/// A terminal record that says what is so, and at most one effect; a call that undoes itself is sent at most once.
#[track_caller]
pub fn assert_true_end(scene: &Scene, record: &Record, says: &str) {
    let says = format!("{}: {says}: {:#?} {:#?}", scene.platform, record.timeline, scene.lines());
    let sent_max = if matches!(scene.platform, AppService | Pipeline) { 1 } else { 2 };
    let (sent, effects, serves) = (scene.calls().len(), scene.effects(), scene.serves());
    assert!(sent <= sent_max, "{sent} calls: {says}");
    match record.rollback {
        Some(RollbackState::Recovered) => assert_eq!((effects, serves.as_str()), (1, GOOD), "{says}"),
        Some(RollbackState::Failed) => assert_eq!((effects, serves.as_str()), (0, BAD), "{says}"),
        state => panic!("{state:?} is no true end: {says}"),
    }
}

/// Two processes meet over one store file at the same alert.
pub async fn two_at_once(platform: PlatformKind) {
    let mut scene = Scene::open(platform, 2).await;
    let told = tokio::time::timeout(PATIENCE, meet(&mut scene)).await;
    let record = told.unwrap_or_else(|_| panic!("{platform}: the story did not end in time: {:#?}", scene.lines()));

    let says = format!("{platform}: {:#?} {:#?}", record.timeline, scene.lines());
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act), "{says}");
    assert!(record.duplicates >= 1, "the second copy is counted: {says}");
    assert_eq!((scene.calls().len(), scene.effects()), (1, 1), "{says}");
    assert_eq!(scene.serves(), GOOD, "{says}");
}

async fn meet(scene: &mut Scene) -> Record {
    scene.break_it().await;
    scene.sweep_often();
    let (body, id) = scene.alert();
    let now = scene.clock.now();
    let [one, other] = ["one", "other"].map(|message_id| ServiceBusMessage::new(body.clone(), format!("copy-{message_id}"), now));
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

/// SIGSTOP of one process between its claim and its call; the other one takes over after the quiet time, and ends the story; then
/// SIGCONT, with the answers to what the first one read long ago in its hands.
pub async fn stalled_before_the_call(platform: PlatformKind) {
    let mut scene = Scene::open(platform, 2).await;
    let told = tokio::time::timeout(PATIENCE, stall_and_go_on(&mut scene)).await;
    let record = told.unwrap_or_else(|_| panic!("{platform}: the story did not end in time: {:#?}", scene.lines()));
    assert_true_end(&scene, &record, "stalled before its call");
    assert!(scene.calls().len() <= 1, "the stalled one sent too: {:#?}", scene.lines());
}

async fn stall_and_go_on(scene: &mut Scene) -> Record {
    scene.break_it().await;
    let (body, id) = scene.alert();
    let handled = scene.claimed_and_not_sent(&body, Duration::from_millis(400)).await;
    scene.stall(0, true).await;
    assert_eq!(scene.calls().len(), 0, "it was stalled before its call");
    scene.answer_quickly();
    scene.send("alerts", &body);
    scene.sweep_often();
    let ended = scene.ended(&id).await;
    scene.stall(0, false).await;
    // It finds its claim moved on; its message is done.
    assert_eq!(handled.await.unwrap(), InvocationOutcome::Succeeded, "{:?}", scene.lines());
    for host in &scene.hosts {
        assert_eq!(host.invoke_timer("sweep").await.outcome, InvocationOutcome::Succeeded, "{:?}", scene.lines());
    }
    scene.wait_until(|| !scene.is_busy()).await;
    let last = scene.ended(&id).await;
    assert_eq!(last.rollback, ended.rollback, "{:#?}", last.timeline);
    last
}

/// What an adapter reads between the last check of its claim and its call: what must have been asked before, and a part of the path.
///
/// The other platforms' calls of these stories are one request each. All leave by the same clients, which look once more when their
/// connection stands.
pub fn read_for_the_call(platform: PlatformKind) -> Option<(Option<&'static str>, &'static str)> {
    match platform {
        LogicApp => Some((None, "/versions/")),
        ArmDeployment => Some((Some("/whatIf"), "/deployments/rb-")),
        AppService | Kubernetes | ContainerApp | Pipeline => None,
    }
}

/// SIGSTOP of one process past every check, while its adapter reads for the call; the other one takes over after the quiet time and ends
/// the story; then SIGCONT: what it read is answered, and nothing keeps it from its call but the time.
pub async fn stalled_inside_the_call(platform: PlatformKind) {
    let Some((after, read)) = read_for_the_call(platform) else { panic!("{platform} reads nothing there") };
    let mut scene = Scene::open(platform, 2).await;
    let told = tokio::time::timeout(PATIENCE, stall_inside_and_go_on(&mut scene, after, read)).await;
    let record = told.unwrap_or_else(|_| panic!("{platform}: the story did not end in time: {:#?}", scene.lines()));
    assert_true_end(&scene, &record, "stalled inside its call");
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{platform}: {:#?}", record.timeline);
    assert_eq!(scene.calls().len(), 1, "{platform}: the stalled one sent too: {:#?}", scene.lines());
    let lines = scene.lines();
    assert!(lines.iter().any(|line| line.contains("sending the rollback's call")), "{platform}: {lines:#?}");
}

async fn stall_inside_and_go_on(scene: &mut Scene, after: Option<&str>, read: &str) -> Record {
    scene.break_it().await;
    let (body, id) = scene.alert();
    let handled = scene.reading_for_its_call(&body, after, read).await;
    scene.stall(0, true).await;
    assert_eq!(scene.calls().len(), 0, "it was stalled before its call");
    scene.answer_quickly();
    scene.leave_out(1, false);
    scene.send("alerts", &body);
    scene.sweep_often();
    let ended = scene.ended(&id).await;
    scene.stall(0, false).await;
    assert_eq!(handled.await.unwrap(), InvocationOutcome::Succeeded, "{:?}", scene.lines());
    // Its own message is done as well, so it has come to its end.
    scene
        .wait_until(|| ["alerts", "followups"].iter().all(|queue| scene.azure.queue_length(queue) == 0) && !scene.is_busy())
        .await;
    for host in &scene.hosts {
        assert_eq!(host.invoke_timer("sweep").await.outcome, InvocationOutcome::Succeeded, "{:?}", scene.lines());
    }
    let last = scene.ended(&id).await;
    assert_eq!(last.rollback, ended.rollback, "{:#?}", last.timeline);
    last
}

/// The story with one SIGKILL; everything is delivered again to the next process.
async fn killed(platform: PlatformKind, death: Death) -> (Scene, Record, Death) {
    let mut scene = Scene::open(platform, 1).await;
    let told = tokio::time::timeout(PATIENCE, story(&mut scene, death)).await;
    let record = told.unwrap_or_else(|_| panic!("{platform}, {death:?}: the story did not end in time: {:#?}", scene.lines()));
    (scene, record, death)
}

async fn story(scene: &mut Scene, death: Death) -> Record {
    scene.break_it().await;
    let (body, id) = scene.alert();
    let at_the_call = match death {
        Death::ClaimedNotSent => None,
        Death::CallNotBegun => Some(FaultEffect::Delay { moment: Moment::BeforeEffect, wait: LONG }),
        Death::CallNotAnswered => Some(FaultEffect::Delay { moment: Moment::AfterEffect, wait: LONG }),
        Death::CallCutOff => Some(FaultEffect::Reset { moment: Moment::BeforeEffect }),
    };
    match at_the_call {
        None => {
            let _died = scene.claimed_and_not_sent(&body, Duration::from_millis(400)).await;
        }
        Some(effect) => {
            scene.inject_at_the_call(effect);
            scene.send("alerts", &body);
            scene.wait_until(|| !scene.calls().is_empty()).await;
        }
    }
    scene.hosts[0].kill().await;
    let dead = scene.hosts[0].wait_for(|state| *state == HandlerState::Killed).await;
    assert_eq!(dead, HandlerState::Killed);
    let answered: Vec<_> = scene.calls().iter().map(|entry| entry.status).collect();
    let expected = if death == Death::ClaimedNotSent { vec![] } else { vec![None] };
    assert_eq!(answered, expected, "{}, {death:?}: it died before any answer to its call", scene.platform);
    scene.answer_quickly();
    scene.hosts[0].restart().await.unwrap();
    scene.send("alerts", &body);
    scene.sweep_often();

    let record = scene.ended(&id).await;
    assert!(matches!(scene.hosts[0].state(), HandlerState::Running { generation: 2, .. }), "{:?}", scene.hosts[0].state());
    scene.wait_until(|| !scene.is_busy()).await;
    record
}
