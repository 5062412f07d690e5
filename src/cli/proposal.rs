//! `backout approve ID` and `backout decline ID`

use std::process::ExitCode;

use clap::Parser;

use super::{counted, out, person, record_id, wiring};
use crate::domain::approval::Verdict;

#[derive(Debug, Parser)]
pub struct Args {
    /// Id of the record, as the proposal and `backout history` show it
    id: String,
    /// Who answers; kept with the record
    #[arg(long)]
    by: Option<String>,
}

pub async fn approve(args: Args) -> anyhow::Result<ExitCode> {
    answer(args, Verdict::Approved).await
}

pub async fn decline(args: Args) -> anyhow::Result<ExitCode> {
    answer(args, Verdict::Declined).await
}

async fn answer(args: Args, verdict: Verdict) -> anyhow::Result<ExitCode> {
    let by = person(args.by)?;
    let id = record_id(&args.id)?;
    let wired = wiring::wire(wiring::settings()?)?;
    let says = counted(&wired.settings, wired.process.answer(&id, verdict, &by)).await?;
    out(&says);
    Ok(ExitCode::SUCCESS)
}
