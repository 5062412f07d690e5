//! `backout serve`: the port is bound before anything else, and everything slow waits until a message needs it.

use std::{num::NonZeroUsize, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::task::JoinHandle;
use tracing::error;

use super::wiring::{self, QueuePlace, Wired};
use crate::{
    host::{
        delivery::{Deliveries, Delivery},
        dispatch::Dispatcher,
        server,
        starting::{Ready, Starting},
    },
    local::pump::{self, Pump},
    observability::{self, LogFormat},
    process::outcome::Outcome,
    settings::{Environment, Settings},
};

pub async fn run() -> anyhow::Result<ExitCode> {
    // The port alone is needed to listen; a wrong setting elsewhere must not keep the host waiting.
    let settings = wiring::settings();
    let port = settings.as_ref().map_or_else(|_| Settings::handler_port_of(&Environment), |settings| settings.handler_port);
    let listener = server::bind(port).await.with_context(|| format!("could not listen on 127.0.0.1:{port}"))?;
    let (starting, ready) = Starting::new();
    let served = tokio::spawn(server::serve(listener, Arc::new(starting), asked_to_stop()));
    observe(LogFormat::Host, settings.as_ref().ok())?;
    let pump = start(settings, ready);
    served.await.context("the server ended unexpectedly")??;
    if let Some(pump) = pump {
        pump.await.context("the embedded queue's pump ended unexpectedly")?;
    }
    observability::finish().await;
    Ok(ExitCode::SUCCESS)
}

/// Starts logging, and exporting where the settings ask for it.
pub(super) fn observe(format: LogFormat, settings: Option<&Settings>) -> anyhow::Result<()> {
    let (export, unusable) = match settings.map(wiring::export).transpose() {
        Ok(export) => (export.flatten(), None),
        Err(unusable) => (None, Some(unusable)),
    };
    observability::init(format, export).map_err(|error| anyhow::anyhow!("logging could not be set up: {error}"))?;
    if let Some(unusable) = unusable {
        error!("no traces and metrics are exported: {unusable}");
    }
    Ok(())
}

/// Makes deliveries possible. With settings that can't be used, each message is given back, and the log says why.
///
/// From the embedded queue, unlike from Service Bus, nobody else takes messages: then they are pumped here. Sweeps come by the host's
/// timer either way.
fn start(settings: anyhow::Result<Settings>, ready: Ready) -> Option<JoinHandle<()>> {
    let wired = settings.and_then(wiring::wire).and_then(|wired| Ok((wiring::alert_webhook(&wired)?, wired)));
    match wired {
        Ok((alert_webhook, wired)) => {
            let dispatcher = Dispatcher::new(Arc::clone(&wired.process)).with_alert_webhook(alert_webhook);
            let deliveries: Arc<dyn Deliveries> = Arc::new(dispatcher);
            let pump = match wired.queues.place {
                QueuePlace::Embedded => {
                    let pump = pump_of(&wired, Arc::clone(&deliveries), pump::SIDE_BY_SIDE, None);
                    Some(tokio::spawn(pump.run(asked_to_stop())))
                }
                QueuePlace::ServiceBus(_) => None,
            };
            ready.now(deliveries);
            pump
        }
        Err(error) => {
            error!("backout can't handle messages: {error:#}");
            ready.now(Arc::new(Unusable(format!("{error:#}"))));
            None
        }
    }
}

pub(super) fn pump_of(
    wired: &Wired,
    deliveries: Arc<dyn Deliveries>,
    side_by_side: NonZeroUsize,
    sweep_every: Option<Duration>,
) -> Pump {
    let (incoming, clock) = (Arc::clone(&wired.queues.incoming), Arc::clone(&wired.ports.clock));
    Pump { incoming, deliveries, clock, side_by_side, grace: pump::GRACE, sweep_every }
}

/// Done on SIGTERM or Ctrl-C.
pub(super) async fn asked_to_stop() {
    if let Err(error) = server::stop_signal().await {
        error!(%error, "signals can't be heard; only SIGKILL will stop backout");
        std::future::pending::<()>().await;
    }
}

/// Stands in while the settings are wrong: nothing can be kept, so the host keeps the message.
struct Unusable(String);

#[async_trait::async_trait]
impl Deliveries for Unusable {
    async fn deliver(&self, _delivery: Delivery) -> Outcome {
        Outcome::DeliverAgain { says: self.0.clone() }
    }
}
