//! Log lines: on standard error, so that what `serve` prints for its user stands alone on standard output.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::topics::{LogFormat, LogSettings};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is none.
    #[error(
        "setting log is {text:?}; it must be a level (error, warn, info, debug, trace) or a list such as info,segment_store=debug"
    )]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something logs already.
    #[error("cannot start logging")]
    Start(#[from] TryInitError),
}

/// Starts logging for the whole process.
///
/// # Errors
/// [`LoggingError`].
pub fn start(settings: &LogSettings) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(settings.log.as_str())
        .map_err(|source| LoggingError::Filter { text: settings.log.as_str().to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match settings.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// Starts logging for a command that does one thing and ends: what went wrong with the data, not what is going on.
///
/// # Errors
/// [`LoggingError::Start`].
pub fn for_commands() -> Result<(), LoggingError> {
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(io::stderr);
    lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).finish().try_init()?;
    Ok(())
}
