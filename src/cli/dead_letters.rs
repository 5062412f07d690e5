//! `backout dead-letters list`

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use super::{Format, out, wiring};

#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What was parked, and what the embedded queue gave up
    List {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// At most this many
        #[arg(long, default_value = "1000")]
        limit: usize,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::List { format, limit } = args.command;
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    let parked = wired.process.parked(limit).await?;
    for message in &parked {
        out(&match format {
            Format::Json => json!({
                "id": message.id, "queue": message.queue, "reason": message.reason, "at": message.parked_at,
                "bytes": message.body_bytes, "sha256": message.body_sha256, "bodyBase64": message.body_base64,
            })
            .to_string(),
            Format::Text => crate::process::receipt::printable(&format!(
                "{}  {}  {}  {} bytes  {}",
                message.id,
                crate::domain::instant::whole_seconds(message.parked_at),
                message.queue,
                message.body_bytes,
                message.reason
            )),
        });
    }
    if let Some(queue) = &wired.queue {
        for function in crate::host::delivery::Function::ALL {
            for letter in queue.dead_letters(function.name()).await? {
                out(&match format {
                    Format::Json => json!({
                        "id": letter.id.to_string(), "queue": function.name(), "reason": letter.reason, "at": letter.at,
                        "bytes": letter.body.len(), "sha256": crate::domain::target::sha256_hex(&letter.body),
                        "bodyBase64": data_encoding::BASE64.encode(&letter.body),
                    })
                    .to_string(),
                    Format::Text => crate::process::receipt::printable(&format!(
                        "{}  {}  {}  {} bytes  {}",
                        letter.id,
                        crate::domain::instant::whole_seconds(letter.at),
                        function.name(),
                        letter.body.len(),
                        letter.reason
                    )),
                });
            }
        }
    }
    if parked.is_empty() && format == Format::Text {
        out("nothing is parked");
    }
    Ok(ExitCode::SUCCESS)
}
