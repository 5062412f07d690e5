//! `backout schema`

use std::process::ExitCode;

pub fn run() -> anyhow::Result<ExitCode> {
    super::out(&serde_json::to_string_pretty(&crate::policy::json_schema())?);
    Ok(ExitCode::SUCCESS)
}
