//! One module for each command.

pub mod cold;
pub mod compare;
pub mod drill;
pub mod enforce;
pub mod queries;
pub mod storage;
pub mod visible;
pub mod write;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::api::ApiError;
use crate::cli::{Command, ServersArgs};
use crate::http::UrlError;
use crate::procfs::ProcError;
use crate::server::{Product, ServerError};
use crate::workload::payloads::PayloadError;

/// What a command has to say.
#[derive(Debug)]
pub struct Outcome {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: serde_json::Value,
    /// Whether all is as it must be.
    pub good: bool,
}

/// A measurement that did not work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The --target.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The workload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The --pid.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// A server that the tool starts.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A request that must work.
    #[error("{doing} failed")]
    Api {
        /// What was tried.
        doing: &'static str,
        /// What was the answer.
        #[source]
        source: ApiError,
    },
    /// The directory for data and logs.
    #[error("no temporary directory")]
    TempDir(#[source] std::io::Error),
    /// The files of a server.
    #[error("what is stored cannot be read")]
    Stored(#[source] std::io::Error),
    /// A result that is no JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Nothing to do.
    #[error("{0}")]
    Usage(&'static str),
    /// Another program that the tool starts.
    #[error("{words}: {reason}")]
    Tool {
        /// The program or what it was told.
        words: String,
        /// What went wrong with it.
        reason: String,
    },
    /// This machine has not what it takes.
    #[error("not run: {0}")]
    NotRun(String),
}

fn api(doing: &'static str) -> impl FnOnce(ApiError) -> CommandError {
    move |source| CommandError::Api { doing, source }
}

/// A directory for one server, below `parent` or the system's place for such. It goes away when this is dropped.
fn work_dir(prefix: &str, parent: Option<&Path>) -> Result<TempDir, CommandError> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).map_err(CommandError::TempDir)
}

/// The servers to be measured, each with its binary and further arguments.
fn chosen(servers: &ServersArgs) -> Result<Vec<(Product, PathBuf, Vec<String>)>, CommandError> {
    let chosen = servers.chosen();
    if chosen.is_empty() {
        return Err(CommandError::Usage(
            "name at least one binary: --farwatch, --victoria-metrics, --prometheus",
        ));
    }
    Ok(chosen)
}

/// Runs one command.
///
/// # Errors
/// When nothing can be said about the server.
pub async fn run(command: &Command) -> Result<Outcome, CommandError> {
    match command {
        Command::Write(args) => write::run(args).await,
        Command::Visible(args) => visible::run(args).await,
        Command::Drill(args) => drill::run(args).await,
        Command::Compare(args) => compare::run(args).await,
        Command::Queries(args) => queries::run(args).await,
        Command::Cold(args) => cold::run(args).await,
        Command::Storage(args) => storage::run(args).await,
        Command::Enforce(args) => enforce::run(args).await,
    }
}
