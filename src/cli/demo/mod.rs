//! `backout demo [--platform NAME|all]`: the whole story on one machine. Simulated Azure and a Functions host run here; `backout serve` runs as
//! the real process beside them, speaks the custom-handler protocol, and is killed once in the middle.

mod app_service;
mod arm_deployment;
mod container_app;
mod kubernetes;
mod logic_app;
pub mod messages;
mod narrator;
mod pipeline;
mod scene;
pub mod stage;

use std::{net::SocketAddr, num::NonZeroUsize, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;

use super::out;
use crate::{
    domain::{decision::DecisionKind, record::Record, rollback::RollbackState, target::PlatformKind},
    inbound,
    ports::Clock,
    sim::{Fault, FaultEffect, Moment, Wait, clock::ScaledClock},
};
use narrator::Narrator;
use scene::Scene;
use stage::{BAD, GOOD, Stage};

/// Virtual seconds per real second: the story of a quarter of an hour in as many seconds.
const TIME_SCALE: &str = "60";

/// Real time after which the demo gives up.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, Parser)]
pub struct Args {
    /// The platform of the story as the policy names it, or `all` for one story each
    #[arg(long, default_value = "app-service", value_parser = platforms())]
    platform: String,
}

const ALL: &str = "all";

fn platforms() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(PlatformKind::ALL.map(PlatformKind::word).into_iter().chain([ALL]))
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let narrator = Narrator::new();
    let wanted = PlatformKind::ALL.into_iter().filter(|platform| args.platform == ALL || args.platform == platform.word());
    let mut failed = false;
    for platform in wanted {
        let stage = stage_of(platform)?;
        narrator.headline(&format!(
            "backout demo: {}, an alert, one rollback. Simulated Azure, virtual time, the real handler process.",
            stage.title()
        ));
        let scene = Scene::open(stage, TIME_SCALE, narrator).await?;
        let told = tokio::time::timeout(PATIENCE, story(&scene)).await;
        scene.close().await;
        failed |= !told.context("the story did not end in time")??;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The story's part of a platform.
pub fn stage_of(platform: PlatformKind) -> anyhow::Result<Box<dyn Stage>> {
    Ok(match platform {
        PlatformKind::AppService => Box::new(app_service::SlotSwap::new()?),
        PlatformKind::Kubernetes => Box::new(kubernetes::Rollout::new()?),
        PlatformKind::ArmDeployment => Box::new(arm_deployment::TemplateDeployment::new()?),
        PlatformKind::LogicApp => Box::new(logic_app::WorkflowSave::new()?),
        PlatformKind::ContainerApp => Box::new(container_app::Revision::new()?),
        PlatformKind::Pipeline => Box::new(pipeline::PipelineRun::new()),
    })
}

/// Plays the story; true if the service recovered by exactly one call.
async fn story(scene: &Scene) -> anyhow::Result<bool> {
    let (narrator, stage, azure) = (&scene.narrator, &scene.stage, &scene.azure);
    let target = stage.target();
    narrator.tell(scene.clock.now(), "azure", &format!("{target} serves {GOOD}, and has done so for 30 days"));
    scene.host.invoke_timer("sweep").await;
    narrator.tell(scene.clock.now(), "backout", "the sweep looked at every target: what serves now, and since when");

    let did = stage.roll_out(azure)?;
    narrator.tell(scene.clock.now(), "team", did);
    scene.wait_until(|| !stage.is_busy(azure)).await;
    let rolled_out = scene.clock.now();
    if let Some((queue, event)) = stage.event(rolled_out) {
        scene.send(queue, &event)?;
    }
    narrator.tell(rolled_out, "team", &format!("{BAD} serves; every third request fails"));

    let (changes_before, calls_before) = (stage.changes(azure), scene.calls());
    scene.clock.sleep(Duration::from_mins(4)).await;
    let fired = scene.clock.now();
    let alert = stage.alert(fired)?;
    narrator.tell(fired, "alert", "Azure Monitor fires `checkout-errors`, Sev1; it is delivered twice, as happens");
    scene.send("alerts", &alert)?;
    scene.send("alerts", &alert)?;
    let id = match inbound::recognise(&alert).into_iter().next() {
        Some(Ok(inbound::Understood { event: crate::domain::event::Event::Alert(alert), .. })) => {
            crate::domain::record::RecordId::of(&alert)
        }
        Some(Ok(_) | Err(_)) | None => bail!("the demo's own alert was not understood"),
    };

    // The answer of the call comes late, so that the kill comes first.
    let late = FaultEffect::Delay { moment: Moment::AfterEffect, wait: Wait::Real(Duration::from_millis(700)) };
    let (method, path) = stage.call();
    azure.inject(Fault::on(method, path, late).times(1));
    let mut told = 0;
    scene.follow(&id, &mut told, |_| scene.calls() > calls_before).await?;
    scene.host.kill().await;
    narrator.tell(scene.clock.now(), "host", "SIGKILL: the call was sent, and the handler dies before it has the answer");
    scene.host.restart().await.context("the handler did not start again")?;
    narrator.tell(scene.clock.now(), "host", "the handler is started again, and its messages are delivered again");
    let record = scene.follow(&id, &mut told, has_ended).await?;
    let serves = stage.serves(azure);
    let (changes, calls) = (stage.changes(azure) - changes_before, scene.calls() - calls_before);
    let recovered = record.rollback == Some(RollbackState::Recovered)
        && record.decision.as_ref().is_some_and(|decision| decision.kind == DecisionKind::Act)
        && serves == GOOD
        && changes == 1
        && calls == 1;
    narrator.tell(
        scene.clock.now(),
        "azure",
        &format!("{target} serves {serves}; rollback calls received: {calls}, taken effect: {changes}"),
    );
    let Some(receipt) = scene.receipt(&record).await? else { bail!("there is no receipt") };
    out("");
    out(&receipt.text());
    narrator.headline(if recovered {
        "recovered, by exactly one call"
    } else {
        "it did not end as it should; see the receipt above"
    });
    Ok(recovered)
}

/// Ended, and told.
fn has_ended(record: &Record) -> bool {
    let ended = record.rollback.map_or(record.next_step_at.is_none(), RollbackState::is_terminal);
    ended && record.decision.is_some() && record.told_generation == record.generation
}

/// `backout local --simulated`: simulated Azure here, `backout local` as a process of its own beside it.
pub(super) async fn local_with_simulation(listen: SocketAddr, concurrency: NonZeroUsize) -> anyhow::Result<ExitCode> {
    let clock = std::sync::Arc::new(ScaledClock::from_setting("1")?);
    scene::local_with_simulation(clock, listen, concurrency).await
}
