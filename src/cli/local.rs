//! `backout local`: the same program on one machine, without a Functions host.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use clap::Parser;

use super::{out, serve, wiring};
use crate::{
    host::{delivery::Deliveries, dispatch::Dispatcher, server},
    local::intake,
    observability::{self, LogFormat},
    settings::BusSetting,
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Address for alerts and events over HTTP
    #[arg(long, default_value = "127.0.0.1:7075")]
    listen: SocketAddr,
    /// Against a simulated Azure in which a bad build was just swapped in, instead of the real one
    #[arg(long)]
    simulated: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.simulated {
        return super::demo::local_with_simulation(args.listen).await;
    }
    observability::init(LogFormat::Person).map_err(|error| anyhow::anyhow!("logging could not be set up: {error}"))?;
    let mut settings = wiring::settings_without_bus()?;
    // One machine means the embedded queue; a queue that was configured would be another program's.
    settings.bus = BusSetting::Local;
    let wired = wiring::wire(settings)?;
    let Some(queue) = wired.queue.clone() else { bail!("`local` needs the embedded queue") };
    if let Err(trouble) = wired.policies.load().await {
        out(&format!("warning: {trouble}\nwhat arrives is parked until the policy is there; `backout check` says more"));
    }
    let listener =
        tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("could not listen on {}", args.listen))?;
    out(&format!("listening on http://{}; stop with Ctrl-C", listener.local_addr()?));
    let deliveries: Arc<dyn Deliveries> = Arc::new(Dispatcher::new(Arc::clone(&wired.process)));
    serve::pump_embedded(&wired, &deliveries);
    axum::serve(listener, intake::router(queue))
        .with_graceful_shutdown(async {
            let _ = server::stop_signal().await;
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
