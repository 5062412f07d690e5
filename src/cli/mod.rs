//! The command line: one thin file a command.

pub mod check;
pub mod clear;
pub mod dead_letters;
pub mod decide;
pub mod demo;
pub mod history;
pub mod local;
pub mod mark;
pub mod package;
pub mod pause;
pub mod proposal;
pub mod schema;
pub mod serve;
pub mod show;
pub mod view;
pub mod wiring;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::domain::{
    printable::{printable, printable_json, printable_lines},
    record::RecordId,
};

use crate::{observability, settings::Settings};

#[derive(Debug, Parser)]
#[command(
    name = "backout",
    version,
    about = "Takes a bad Azure deployment back when an Azure Monitor alert says so: once, and with a reason"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer the Azure Functions host (what host.json starts)
    Serve,
    /// The whole story on this machine against a simulated Azure; no account needed
    Demo(demo::Args),
    /// Without a Functions host: takes messages from the queues, and alerts and events over HTTP
    Local(local::Args),
    /// Say what would be decided about the messages in FILE..., and why; without any effect
    Decide(decide::Args),
    /// Check settings, policy, store and every target; say what is missing
    Check(check::Args),
    /// Print the JSON Schema of the policy file, or its reference page
    Schema(schema::Args),
    /// Make the function app's zip; refuses what would not start
    Package(package::Args),
    /// List the decisions
    History(history::Args),
    /// Show a record and its receipt
    Show(show::Args),
    /// Agree to a proposed rollback
    Approve(proposal::Args),
    /// Turn a proposed rollback down
    Decline(proposal::Args),
    /// Kill switch: no mutating call is sent until `resume`
    Pause(pause::Args),
    /// Lift the kill switch
    Resume(pause::Args),
    /// Messages that need a person: list them, or put them back on their queues
    DeadLetters(dead_letters::Args),
    /// Free a target that was left to a person
    Clear(clear::Args),
    /// Say afterwards that a rollback was false
    Mark(mark::Args),
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Runs one command. Exit codes: 0 done, 1 it failed or found a problem, 2 the command line itself is wrong.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve => serve::run().await,
        Command::Demo(args) => demo::run(args).await,
        Command::Local(args) => local::run(args).await,
        Command::Decide(args) => decide::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Schema(args) => schema::run(&args),
        Command::Package(args) => package::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Approve(args) => proposal::approve(args).await,
        Command::Decline(args) => proposal::decline(args).await,
        Command::Pause(args) => pause::pause(args).await,
        Command::Resume(args) => pause::resume(args).await,
        Command::DeadLetters(args) => dead_letters::run(args).await,
        Command::Clear(args) => clear::run(args).await,
        Command::Mark(args) => mark::run(args).await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints text for people, free of what could repaint their terminal; a reader that went away is no error of ours.
///
/// Lines stay lines: what others wrote is made one line ([`printable`]) where it is put into a text of several.
pub fn out(text: &str) {
    let _ = writeln!(io::stdout(), "{}", printable_lines(text));
}

/// Prints a value for programs, on one line; a person may look on.
pub fn out_json(value: &Value) {
    let _ = writeln!(io::stdout(), "{}", printable_json(&value.to_string()));
}

/// Tells what is wrong, on stderr.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// A progress line on stderr, for a person only.
pub fn progress(line: &str) {
    if io::stderr().is_terminal() {
        complain(line);
    }
}

/// Does the work of a command which may end a record or mark one, so that it is counted where the settings export what is counted.
async fn counted<T>(settings: &Settings, work: impl Future<Output = T>) -> T {
    match wiring::export(settings) {
        Ok(Some(export)) => observability::export_with(export),
        Ok(None) => {}
        Err(unusable) => complain(&format!("not counted in the metrics: {unusable}")),
    }
    let done = work.await;
    observability::finish().await;
    done
}

/// Who is at the keyboard, unless `--by` says so.
pub fn person(by: Option<String>) -> anyhow::Result<String> {
    use crate::settings::Source;
    let name = by.or_else(|| crate::settings::Environment.get("USER")).or_else(|| crate::settings::Environment.get("LOGNAME"));
    name.map(|name| printable(name.trim()))
        .filter(|name| !name.trim().is_empty() && name.len() <= 100)
        .ok_or_else(|| anyhow::anyhow!("who are you? Say `--by NAME`; it is kept with the record"))
}

/// A record's id as a person typed it.
fn record_id(text: &str) -> anyhow::Result<RecordId> {
    Ok(RecordId::parse(&text.trim().to_ascii_lowercase())?)
}
