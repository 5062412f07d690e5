//! `backout clear TARGET`

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;

use super::{counted, out, person, wiring};
use crate::{
    domain::{printable::printable, resource_id::ResourceId, service::ServiceName, target::TargetKey},
    process::clear::Cleared,
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Name of a service in the policy, or a resource id
    target: String,
    /// Who has looked; kept with the record
    #[arg(long)]
    by: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let by = person(args.by)?;
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let target = match wired.policies.load().await {
        Ok(policy) => policy.services.get(&ServiceName(args.target.clone())).map(|service| service.target.key()),
        Err(_) => None,
    };
    let Some(target) = target.or_else(|| ResourceId::parse(&args.target).ok().map(|id| TargetKey(id.canonical().to_owned())))
    else {
        bail!("`{}` is neither a service of the policy nor a resource id", printable(&args.target));
    };
    match counted(&wired.settings, wired.process.clear(&target, &by)).await? {
        Cleared::Nothing => out("nothing was blocked there"),
        Cleared::Rollback(record) => {
            out(&format!("free again; the rollback of record {record} is closed, and its version is never taken back again"));
        }
        Cleared::Freeze(why) => out(&format!("free again; it was frozen because: {why}")),
    }
    Ok(ExitCode::SUCCESS)
}
