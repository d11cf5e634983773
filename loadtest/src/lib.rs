//! Load generator with verification, drills and benchmarks, on public APIs only.
//!
//! Everything goes through Prometheus remote write and the Prometheus query API, so that the same measurement runs
//! against any server that has these. `BENCHMARKS.md` in the root says how its tables are made.

pub mod api;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod http;
pub mod limits;
pub mod procfs;
pub mod progress;
pub mod proto;
pub mod sender;
pub mod server;
pub mod stats;
pub mod table;
pub mod verify;
pub mod workload;

/// An error with all its causes in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
