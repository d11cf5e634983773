//! The `farwatch` binary.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use farwatch::arenas;
use farwatch::cli::{Cli, Command, ConfigCommand, SegmentCommand, TenantCommand};
use farwatch::commands::account::session::{Session, SessionFile};
use farwatch::commands::account::{
    self, AccountError, invoice, keys, login, placement, quota, signup, tenants,
};
use farwatch::commands::{chain, compact, query, segment, tenant, usage, verify_invoice};
use farwatch::config::{Config, Sources, reference};
use farwatch::serve::{self, logging};
use segment_store::{Clock, SystemClock};

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Serve(_) | Command::Compact(_)) {
        arenas::limit();
    }
    let outcome = run(command);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
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
            one_shot()?.block_on(query::run(&args, &*clock(), columns(), &mut out))?;
        }
        Command::Signup(mut args) => {
            args.who.fill_from(&variable);
            let file = SessionFile::find(&variable)?;
            one_shot()?.block_on(signup::run(&args, &file, clock(), &mut out))?;
        }
        Command::Login(mut args) => {
            args.who.fill_from(&variable);
            let file = SessionFile::find(&variable)?;
            one_shot()?.block_on(login::log_in(&args, &file, clock(), &mut out))?;
        }
        Command::Logout => {
            let file = SessionFile::find(&variable)?;
            one_shot()?.block_on(login::log_out(&file, clock(), &mut out))?;
        }
        Command::Keys(command) => {
            let session = session(&variable)?;
            one_shot()?.block_on(keys::run(&command, &session, &*clock(), &mut out))?;
        }
        Command::Quota(command) => {
            let session = session(&variable)?;
            one_shot()?.block_on(quota::run(&command, &session, &mut out))?;
        }
        Command::Invoice(command) => {
            let session = session(&variable)?;
            one_shot()?.block_on(invoice::run(&command, &session, &*clock(), &mut out))?;
        }
        Command::VerifyInvoice(mut args) => {
            args.storage.fill_from(&variable);
            let session = || session(&variable);
            one_shot()?.block_on(verify_invoice::run(&args, &session, &mut out))?;
        }
        Command::Placement(command) => {
            let session = session(&variable)?;
            one_shot()?.block_on(placement::run(&command, &session, &mut out))?;
        }
        Command::Tenant(TenantCommand::List(mut args)) => {
            if args.records.is_given() {
                args.records.fill_from(&variable);
                one_shot()?.block_on(tenant::list(&args, &mut out))?;
            } else {
                let session = session(&variable)?;
                one_shot()?.block_on(tenants::list(&args.which, &session, &mut out))?;
            }
        }
        Command::Tenant(TenantCommand::Rename(args)) => {
            let session = session(&variable)?;
            one_shot()?.block_on(tenants::rename(&args, &session, &mut out))?;
        }
        Command::Tenant(TenantCommand::Create(args)) => {
            let session = session(&variable)?;
            one_shot()?.block_on(tenants::create(&args, &session, &mut out))?;
        }
        Command::Compact(mut args) => {
            args.storage.fill_from(&variable);
            logging::for_commands()?;
            working()?.block_on(compact::run(&args, &mut std::io::stderr(), &mut out))?;
        }
        Command::Usage(mut args) => {
            args.records.fill_from(&variable);
            if args.is_of_account(is_logged_in(&variable)) {
                let session = session(&variable)?;
                one_shot()?.block_on(account::usage::run(&args, &session, &mut out))?;
            } else {
                one_shot()?.block_on(usage::run(&args, &mut out))?;
            }
        }
        Command::Tenant(TenantCommand::Delete(mut args)) => {
            // Only what is typed says that it is about stored data: a variable would make another command of it.
            if !args.records.is_given() && is_logged_in(&variable) {
                let session = session(&variable)?;
                one_shot()?.block_on(tenants::delete(&args.tenant, &session, &mut out))?;
            } else {
                args.records.fill_from(&variable);
                logging::for_commands()?;
                working()?.block_on(tenant::delete(&args, &mut std::io::stderr(), &mut out))?;
            }
        }
        Command::Tenant(TenantCommand::ProveDeleted(mut args)) => {
            args.records.fill_from(&variable);
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

/// Whether nobody reads the output any more, as behind `| head`: that ends a command and is no fault. (A connection that broke
/// lies deeper in an error.)
fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let is = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    is(error) || error.source().is_some_and(is)
}

/// Whether somebody is logged in, as far as the session's file tells.
fn is_logged_in(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    SessionFile::find(variable).is_ok_and(|file| file.exists())
}

/// Who is logged in.
fn session(variable: &dyn Fn(&str) -> Option<String>) -> Result<Session, AccountError> {
    let wanted = variable("FARWATCH_URL").filter(|text| !text.is_empty());
    Session::open(&SessionFile::find(variable)?, wanted.as_deref(), clock())
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
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
