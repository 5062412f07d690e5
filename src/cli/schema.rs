//! `backout schema`

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::policy;

#[derive(Debug, Parser)]
pub struct Args {
    /// `json`: the JSON Schema, for editors; `markdown`: the reference page, for people
    #[arg(long, value_enum, default_value = "json")]
    format: SchemaFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaFormat {
    Json,
    Markdown,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.format {
        SchemaFormat::Json => serde_json::to_string_pretty(&policy::json_schema())?,
        SchemaFormat::Markdown => policy::reference::markdown().trim_end().to_owned(),
    };
    super::out(&text);
    Ok(ExitCode::SUCCESS)
}
