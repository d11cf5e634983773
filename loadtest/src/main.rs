//! The `loadtest` binary.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::Cli;
use loadtest::{commands, error_chain};

/// What was measured is not as it must be.
const FAILED: u8 = 1;
/// Nothing can be said: the measurement itself did not work.
const NOT_RUN: u8 = 2;
/// As a shell reports a program that was interrupted.
const INTERRUPTED: u8 = 130;

// One thread is enough for what the client does, and leaves the other cores to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::select! {
        outcome = Box::pin(commands::run(&cli.command)) => outcome,
        // Whatever was started is killed and cleaned up when the other branch is dropped.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(INTERRUPTED),
    };
    match outcome {
        Ok(outcome) => {
            if cli.json {
                println!("{:#}", outcome.json);
            } else {
                println!("{}", outcome.text.trim_end());
            }
            if outcome.good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => {
            eprintln!("loadtest: {}", error_chain(&error));
            ExitCode::from(NOT_RUN)
        }
    }
}
