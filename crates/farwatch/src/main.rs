//! The `farwatch` binary.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use farwatch::cli::{Cli, Command, ConfigCommand, SegmentCommand, TenantCommand};
use farwatch::commands::{chain, compact, query, segment, tenant, usage};
use farwatch::config::{Config, Sources, reference};
use farwatch::serve::{self, logging};

fn main() -> ExitCode {
    let outcome = run(Cli::parse().command);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when even this fails.
            let _ = writeln!(std::io::stderr(), "farwatch: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let variable = |name: &str| std::env::var(name).ok();
    match command {
        Command::Serve(args) => {
            let config =
                Config::load(&Sources { flags: args.flags, file: args.config_file, variable: &variable })?;
            drop(out);
            serve::run(&config)?;
        }
        Command::ControlPlane(args) => {
            // What comes first stays.
            let flags = std::iter::once(("role", "control-plane".to_owned())).chain(args.flags).collect();
            let config = Config::load(&Sources { flags, file: args.config_file, variable: &variable })?;
            drop(out);
            serve::run(&config)?;
        }
        Command::Query(mut args) => {
            args.fill_from(&variable);
            let clock = segment_store::SystemClock::new();
            one_shot()?.block_on(query::run(&args, &clock, columns(), &mut out))?;
        }
        Command::Compact(mut args) => {
            args.storage.fill_from(&variable);
            logging::for_commands()?;
            working()?.block_on(compact::run(&args, &mut std::io::stderr(), &mut out))?;
        }
        Command::Usage(mut args) => {
            args.storage.fill_from(&variable);
            one_shot()?.block_on(usage::run(&args, &mut out))?;
        }
        Command::Tenant(TenantCommand::Delete(mut args)) => {
            args.storage.fill_from(&variable);
            logging::for_commands()?;
            working()?.block_on(tenant::delete(&args, &mut std::io::stderr(), &mut out))?;
        }
        Command::Tenant(TenantCommand::ProveDeleted(mut args)) => {
            args.storage.fill_from(&variable);
            one_shot()?.block_on(tenant::prove_deleted(&args, &mut out))?;
        }
        Command::Segment(SegmentCommand::Inspect(mut args)) => {
            args.fill_from(&variable);
            one_shot()?.block_on(segment::inspect(&args, &mut out))?
        }
        Command::Segment(SegmentCommand::Verify(mut args)) => {
            args.fill_from(&variable);
            one_shot()?.block_on(segment::verify(&args, &mut out))?
        }
        Command::Config(ConfigCommand::Reference) => write!(out, "{}", reference::markdown())?,
    }
    Ok(())
}

/// A runtime for a command that does one thing and ends.
fn one_shot() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A runtime for a command that has much to compute.
fn working() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Width of the terminal, or of a line that is easily read where there is none.
fn columns() -> usize {
    const WITHOUT_TERMINAL: usize = 120;
    if !std::io::stdout().is_terminal() {
        return WITHOUT_TERMINAL;
    }
    terminal_size::terminal_size().map_or(WITHOUT_TERMINAL, |(width, _)| usize::from(width.0))
}
