//! Log lines: on standard error, so that what `serve` prints for its user stands alone on standard output.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use query_service::{is_failed_write, pages_not_written};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

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
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(|line| !is_failed_write(line))));
    let counted = CountUnwrittenPages.with_filter(filter_fn(is_failed_write));
    tracing_subscriber::registry().with(lines).with(counted).try_init()?;
    Ok(())
}

/// Pages of the cache that its disk did not take.
static UNWRITTEN_PAGES: AtomicU64 = AtomicU64::new(0);

/// Pages of the cache that its disk did not take since this process began. The cache itself does not learn of them: they are in
/// what it logs, and nowhere else.
pub(super) fn unwritten_pages() -> u64 {
    UNWRITTEN_PAGES.load(Ordering::Relaxed)
}

/// Counts them instead of writing lines.
struct CountUnwrittenPages;

impl<S: Subscriber> Layer<S> for CountUnwrittenPages {
    fn on_event(&self, line: &Event<'_>, _context: Context<'_, S>) {
        let pages = pages_not_written(line);
        if pages > 0 && UNWRITTEN_PAGES.fetch_add(pages, Ordering::Relaxed) == 0 {
            tracing::error!(
                "the disk of the cache does not take what is written, so it is read from the bucket again; is it full? \
                 From now on this is only counted: farwatch_cache_unwritten_pages_total"
            );
        }
    }
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
