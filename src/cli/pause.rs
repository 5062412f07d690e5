//! `backout pause` and `backout resume`: the kill switch.

use std::process::ExitCode;

use clap::Parser;

use super::{out, person, wiring};

#[derive(Debug, Parser)]
pub struct Args {
    /// Who does it; kept with the switch
    #[arg(long)]
    by: Option<String>,
}

pub async fn pause(args: Args) -> anyhow::Result<ExitCode> {
    set(args, true).await
}

pub async fn resume(args: Args) -> anyhow::Result<ExitCode> {
    set(args, false).await
}

async fn set(args: Args, paused: bool) -> anyhow::Result<ExitCode> {
    let by = person(args.by)?;
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let before = wired.process.set_paused(paused, &by).await?;
    out(match (paused, before.is_some_and(|control| control.paused)) {
        (true, false) => {
            "paused: from now on no call is decided to be sent; one that was let through in the last two minutes may still leave, and operations under way are followed to their end"
        }
        (true, true) => "it was paused already, and stays so",
        (false, true) => "resumed: new alerts may act again; nothing old acts by itself, open proposals can be approved",
        (false, false) => "it was not paused",
    });
    Ok(ExitCode::SUCCESS)
}
