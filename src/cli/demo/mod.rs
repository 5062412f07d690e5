//! `backout demo`: the whole story on one machine. Simulated Azure and a Functions host run here; `backout serve` runs as
//! the real process beside them, speaks the custom-handler protocol, and is killed once in the middle.

mod messages;
mod narrator;
mod scene;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;
use jiff::SignedDuration;

use super::out;
use crate::{
    domain::{decision::DecisionKind, record::Record, rollback::RollbackState},
    inbound,
    ports::Clock,
    sim::{Fault, FaultEffect, Moment, Wait, clock::ScaledClock},
};
use narrator::Narrator;
use scene::{BAD, GOOD, Scene};

/// Virtual seconds per real second: the story of a quarter of an hour in as many seconds.
const TIME_SCALE: &str = "60";

/// Real time after which the demo gives up.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, Parser)]
pub struct Args {}

pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let narrator = Narrator::new();
    narrator.headline(
        "backout demo: a bad slot swap, an alert, one rollback. Simulated Azure, virtual time, the real handler process.",
    );
    let scene = Scene::open(TIME_SCALE, narrator).await?;
    let told = tokio::time::timeout(PATIENCE, story(&scene)).await;
    scene.close().await;
    if told.context("the story did not end in time")?? { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::FAILURE) }
}

/// Plays the story; true if the service recovered by exactly one swap.
async fn story(scene: &Scene) -> anyhow::Result<bool> {
    let narrator = &scene.narrator;
    let start = scene.clock.now();
    narrator.tell(start, "azure", &format!("site `checkout` serves {GOOD}, and has done so for 30 days"));
    scene.host.invoke_timer("sweep").await;
    narrator.tell(scene.clock.now(), "backout", "the sweep looked at every target: what serves now, and since when");

    scene.azure.deploy(&scene.site, "staging", BAD);
    let began = scene.clock.now();
    scene.azure.begin_swap(&scene.site, "staging", "production", SignedDuration::from_secs(60)).map_err(anyhow::Error::msg)?;
    scene.send("deployments", &messages::swap("SlotSwapStarted", &scene.site, began))?;
    narrator.tell(began, "team", &format!("swaps {BAD} from slot staging into production"));
    scene.wait_until(|| !scene.azure.is_busy(&scene.site)).await;
    let swapped = scene.clock.now();
    scene.send("deployments", &messages::swap("SlotSwapCompleted", &scene.site, swapped))?;
    narrator.tell(swapped, "team", &format!("{BAD} serves; every third request fails"));

    let swaps_before = scene.azure.swap_count(&scene.site);
    scene.clock.sleep(Duration::from_mins(4)).await;
    let fired = scene.clock.now();
    let alert = messages::alert(&scene.site, fired);
    narrator.tell(fired, "alert", "Azure Monitor fires `checkout-http-5xx`, Sev1; it is delivered twice, as happens");
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
    scene.azure.inject(Fault::on("POST", "/slotsswap", late).times(1));
    let mut told = 0;
    scene.follow(&id, &mut told, |_| scene.azure.is_busy(&scene.site)).await?;
    scene.host.kill().await;
    narrator.tell(scene.clock.now(), "host", "SIGKILL: the swap was sent, and the handler dies before it has the answer");
    scene.host.restart().await.context("the handler did not start again")?;
    narrator.tell(scene.clock.now(), "host", "the handler is started again, and its messages are delivered again");
    let record = scene.follow(&id, &mut told, has_ended).await?;
    let serves = scene.azure.running_build(&scene.site);
    let swaps = scene.azure.swap_count(&scene.site) - swaps_before;
    let recovered = record.rollback == Some(RollbackState::Recovered)
        && record.decision.as_ref().is_some_and(|decision| decision.kind == DecisionKind::Act)
        && serves == GOOD
        && swaps == 1
        && scene.swap_requests() == 1;
    narrator.tell(
        scene.clock.now(),
        "azure",
        &format!("site `checkout` serves {serves}; swap calls received: {}, taken effect: {swaps}", scene.swap_requests()),
    );
    let Some(receipt) = scene.receipt(&record).await? else { bail!("there is no receipt") };
    out("");
    out(&receipt.text());
    narrator.headline(if recovered {
        "recovered, by exactly one swap"
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
pub(super) async fn local_with_simulation(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let clock = std::sync::Arc::new(ScaledClock::from_setting("1")?);
    scene::local_with_simulation(clock, listen).await
}
