//! SIGKILL of the real handler at every request that leaves it between the alert and the end of the rollback, on every platform;
//! two handlers at the same alert, and a sender that is stalled while another takes over.
//!
//! Minutes long, so `.ci/full` runs it, one test a platform; `real.rs` holds the sample that every change passes.

use std::time::Duration;

use backout::{
    domain::{record::Record, rollback::RollbackState, target::PlatformKind},
    sim::{
        Fault, FaultEffect, Moment, Wait,
        host::{HandlerState, InvocationOutcome},
    },
};
use futures::{StreamExt, stream};

use super::real;
use crate::support::scene::Scene;

/// Real time after which a story has failed, on any machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// Stories at once: they mostly wait.
const AT_ONCE: usize = 4;

/// More requests than any story sends; the matrix ends by itself where a story ends unharmed.
const REQUESTS_MAX: u32 = 400;

macro_rules! matrix_of {
    ($($name:ident: $platform:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "takes minutes; `.ci/full` runs it"]
        async fn $name() {
            killed_at_every_request(PlatformKind::$platform).await;
        }
    )*};
}

matrix_of! {
    app_service: AppService,
    kubernetes: Kubernetes,
    arm_deployment: ArmDeployment,
    logic_app: LogicApp,
    container_app: ContainerApp,
    pipeline: Pipeline,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `.ci/full` runs it"]
async fn two_processes_on_every_platform() {
    stream::iter(PlatformKind::ALL).map(real::two_at_once).buffered(2).for_each(|()| async {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `.ci/full` runs it"]
async fn a_stalled_sender_on_every_platform() {
    stream::iter(PlatformKind::ALL).map(real::stalled_before_the_call).buffered(2).for_each(|()| async {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `.ci/full` runs it"]
async fn a_sender_stalled_inside_its_call_on_every_platform_that_reads_there() {
    let reading = PlatformKind::ALL.into_iter().filter(|platform| real::read_for_the_call(*platform).is_some());
    stream::iter(reading).map(real::stalled_inside_the_call).buffered(2).for_each(|()| async {}).await;
}

/// A story sends at least so many requests; a matrix that ends before has not been through it.
const fn requests_min(platform: PlatformKind) -> u32 {
    match platform {
        PlatformKind::AppService => 100,
        PlatformKind::Kubernetes
        | PlatformKind::ArmDeployment
        | PlatformKind::LogicApp
        | PlatformKind::ContainerApp
        | PlatformKind::Pipeline => 40,
    }
}

async fn killed_at_every_request(platform: PlatformKind) {
    for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
        let mut stories = stream::iter((0..REQUESTS_MAX).map(|skip| killed_at(platform, skip, moment))).buffered(AT_ONCE);
        let (mut deaths, mut recovered, mut failed) = (0, 0, 0);
        while let Some(story) = stories.next().await {
            let Some((scene, record, at)) = story else { break };
            deaths += 1;
            real::assert_true_end(&scene, &record, &format!("{moment:?}, killed at {at}"));
            if record.rollback == Some(RollbackState::Recovered) {
                recovered += 1;
            } else {
                failed += 1;
                let timeline: Vec<&str> = record.timeline.iter().map(|entry| entry.what.as_str()).collect();
                println!("{platform}, {moment:?}, killed at {at}, failed: {timeline:#?}");
            }
        }
        println!(
            "{platform}, {moment:?}: killed at {deaths} requests; recovered {recovered}, ended as failed without effect {failed}"
        );
        assert!(deaths >= requests_min(platform), "the story has more requests than {deaths}");
        assert!(recovered > deaths / 10 * 9, "nearly all deaths end in a recovery: {recovered} of {deaths}");
    }
}

/// The story with a SIGKILL at one request; `None` when it ended before that request came.
async fn killed_at(platform: PlatformKind, skip: u32, moment: Moment) -> Option<(Scene, Record, String)> {
    let told = tokio::time::timeout(PATIENCE, story(platform, skip, moment)).await;
    told.unwrap_or_else(|_| panic!("{platform}, {moment:?}, killed at request {skip}: the story did not end in time"))
}

async fn story(platform: PlatformKind, skip: u32, moment: Moment) -> Option<(Scene, Record, String)> {
    let mut scene = Scene::open(platform, 1).await;
    scene.break_it().await;
    let effect = FaultEffect::Delay { moment, wait: Wait::Real(Duration::from_secs(2)) };
    let fault = effect.name();
    let any = Fault { role: None, method: None, path_contains: String::new(), skip, times: 1, effect };
    scene.azure.inject(any);
    let (body, id) = scene.alert();
    scene.send("alerts", &body);

    let met = || scene.azure.journal().into_iter().find(|entry| entry.fault == Some(fault));
    let entry = tokio::select! {
        () = scene.wait_until(|| met().is_some()) => met(),
        _ended = scene.ended(&id) => None,
    }?;
    let at = format!("request {skip}: {} {}", entry.method, entry.path_and_query);
    scene.hosts[0].kill().await;
    let dead = scene.hosts[0].wait_for(|state| *state == HandlerState::Killed).await;
    assert_eq!(dead, HandlerState::Killed);
    scene.hosts[0].restart().await.unwrap();
    scene.send("alerts", &body);
    scene.sweep_often();

    let record = scene.ended(&id).await;
    scene.wait_until(|| !scene.is_busy()).await;
    // One more look finds nothing to do.
    assert_eq!(scene.hosts[0].invoke_timer("sweep").await.outcome, InvocationOutcome::Succeeded, "{:?}", scene.lines());
    Some((scene, record, at))
}
