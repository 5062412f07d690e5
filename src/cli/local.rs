//! `backout local`: the same program without a Functions host, on one machine or in a container.

use std::{net::SocketAddr, num::NonZeroUsize, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Parser;

use super::{
    out, serve,
    wiring::{self, QueuePlace},
};
use crate::{
    host::{delivery::Deliveries, dispatch::Dispatcher},
    local::{intake, pump},
    observability::{self, LogFormat},
    settings::{BusConnection, BusSetting, Settings},
};

/// With a Service Bus connection in the settings, messages are taken from its queues: peek-lock, renewed while they are worked
/// on, completed when their effects are stored. With `BACKOUT_BUS=local:`, or with no connection set, from an embedded queue.
#[derive(Debug, Parser)]
pub struct Args {
    /// Address for alerts and events over HTTP; what is posted is put on the queues
    #[arg(long, default_value = "127.0.0.1:7075")]
    listen: SocketAddr,
    /// Messages of one queue that are worked on at the same time
    #[arg(long, default_value_t = pump::SIDE_BY_SIDE)]
    concurrency: NonZeroUsize,
    /// Against a simulated Azure in which a bad build was just swapped in, instead of the real one
    #[arg(long)]
    simulated: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.simulated {
        return super::demo::local_with_simulation(args.listen, args.concurrency).await;
    }
    let settings = wiring::settings_without_bus();
    serve::observe(LogFormat::Person, settings.as_ref().ok())?;
    let wired = wiring::wire(settings?)?;
    if let Err(trouble) = wired.policies.load().await {
        out(&format!("warning: {trouble}\nwhat arrives is parked until the policy is there; `backout check` says more"));
    }
    let listener =
        tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("could not listen on {}", args.listen))?;
    out(&format!("messages come from {}", source(&wired.queues.place, &wired.settings)));
    out(&format!("listening on http://{}; stop with Ctrl-C", listener.local_addr()?));
    let deliveries: Arc<dyn Deliveries> = Arc::new(Dispatcher::new(Arc::clone(&wired.process)));
    let pump = serve::pump_of(&wired, deliveries, args.concurrency, Some(pump::SWEEP_EVERY));
    let intake =
        axum::serve(listener, intake::router(Arc::clone(&wired.ports.follow_ups))).with_graceful_shutdown(serve::asked_to_stop());
    let intake = tokio::spawn(async move { intake.await });
    let intake_ended = async {
        serve::asked_to_stop().await;
        // A connection that somebody keeps open must not hold the end up.
        tokio::time::timeout(pump::GRACE, intake).await
    };
    let ((), intake_ended) = tokio::join!(pump.run(serve::asked_to_stop()), intake_ended);
    if let Ok(ended) = intake_ended {
        ended.context("the intake ended unexpectedly")??;
    }
    observability::finish().await;
    Ok(ExitCode::SUCCESS)
}

fn source(place: &QueuePlace, settings: &Settings) -> String {
    match (place, &settings.bus) {
        (QueuePlace::Embedded, _) | (_, BusSetting::Local) => "the embedded queue".to_owned(),
        (QueuePlace::ServiceBus(_), BusSetting::ServiceBus { prefix, connection }) => match connection {
            BusConnection::Namespace { host, .. } => format!("Service Bus namespace `{host}`"),
            BusConnection::ConnectionString(_) => format!("the Service Bus namespace of the connection string `{prefix}`"),
        },
    }
}
