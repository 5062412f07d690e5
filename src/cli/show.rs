//! `backout show ID`

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use serde_json::json;

use super::{Format, out, out_json, record_id, view, wiring};
use crate::{
    domain::{instant::whole_seconds, printable::printable},
    observability::RecordTrace,
    process::{
        documents::Documents,
        receipt::{ChainCheck, Receipt, verify_named},
    },
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Id of the record, as `backout history` shows it
    id: String,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let id = record_id(&args.id)?;
    let Some(record) = wired.process.record(&id).await? else { bail!("no record `{id}` is known; `backout history` lists them") };
    let receipt = match &record.receipt {
        Some(reference) => wired.process.receipt(reference).await?,
        None => None,
    };
    let chain = match &record.receipt {
        Some(reference) => verify_named(&Documents::new(wired.ports.store.clone()), reference, receipt.as_ref()).await?,
        None => None,
    };
    match args.format {
        Format::Json => {
            let mut object = view::record(&record);
            view::merge(&mut object, json!({ "record": record, "receiptText": receipt.as_ref().map(Receipt::text) }));
            out_json(&object);
        }
        Format::Text => {
            if let Some(receipt) = &receipt {
                out(&receipt.text());
            } else {
                out(&view::record_text(&record));
                for entry in &record.timeline {
                    out(&printable(&format!("  {}  {}", whole_seconds(entry.at), entry.what)));
                }
            }
            if let Some(mark) = &record.false_revert {
                out(&printable(&format!("marked as a false revert by {} at {}", mark.by, whole_seconds(mark.at))));
            }
            out(&format!("trace {}", RecordTrace::of(&record.id).trace_id));
        }
    }
    match chain {
        Some(ChainCheck::Sound { receipts }) if args.format == Format::Text => {
            out(&format!("the chain of {receipts} receipts is unbroken"));
        }
        Some(ChainCheck::Broken { key }) => bail!("the chain of receipts is broken at `{key}`: somebody changed or removed one"),
        Some(ChainCheck::Sound { .. }) | None => {}
    }
    Ok(ExitCode::SUCCESS)
}
