//! The command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = backout::cli::Cli::parse();
    // One thread: a decision waits for others, it hardly computes, and waking a second thread costs more than it saves.
    // What blocks (SQLite) has threads of its own.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(backout::cli::run(cli)),
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
