//! `backout history`

use std::process::ExitCode;

use clap::Parser;

use super::{Format, out, out_json, view, wiring};

#[derive(Debug, Parser)]
pub struct Args {
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// At most this many records
    #[arg(long, default_value = "1000")]
    limit: usize,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let records = wired.process.records(args.limit).await?;
    for record in &records {
        match args.format {
            Format::Json => out_json(&view::record(record)),
            Format::Text => out(&view::record_text(record)),
        }
    }
    if records.is_empty() && args.format == Format::Text {
        out("no alert was seen yet");
    }
    Ok(ExitCode::SUCCESS)
}
