//! `backout mark ID false-revert`

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::{counted, out, person, wiring};
use crate::{
    domain::{instant::whole_seconds, record::RecordId},
    process::mark::Marked,
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Id of the record, as `backout history` shows it
    id: String,
    #[arg(value_enum)]
    mark: Mark,
    /// Who says so; kept with the record
    #[arg(long)]
    by: Option<String>,
}

/// What a person may say about a rollback afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mark {
    /// The version that was taken back was not at fault
    FalseRevert,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let by = person(args.by)?;
    let id: String = args.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect::<String>().to_ascii_lowercase();
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let marked = match args.mark {
        Mark::FalseRevert => counted(&wired.settings, wired.process.mark_false_revert(&RecordId(id.clone()), &by)).await?,
    };
    out(&match marked {
        Marked::Now => format!("marked; `backout show {id}` says so, and it counts as a false revert"),
        Marked::Before(mark) => format!("it was marked already, by {} at {}", mark.by, whole_seconds(mark.at)),
    });
    Ok(ExitCode::SUCCESS)
}
