//! `farwatch serve`: puts the services together in one process, and takes them apart again without losing anything.
//!
//! | module | what |
//! |---|---|
//! | [`directory`] | the tenant directory: first start, and kept current |
//! | [`listener`] | a port |
//! | [`logging`] | log lines |
//! | [`process`] | what the operating system says of this process |
//! | [`exposition`] | Prometheus's text format |
//! | [`welcome`] | what is printed for the user |
//! | [`limits`] | bounds |

pub mod directory;
pub mod exposition;
mod limits;
pub mod listener;
pub mod logging;
pub mod process;
mod secret_file;
pub mod welcome;

use crate::config::Config;

/// Runs until the process is told to stop.
///
/// # Errors
/// Why it could not start, or stopped by itself.
pub fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    logging::start(&config.log)?;
    Ok(())
}
