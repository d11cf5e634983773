//! Prometheus HTTP API over segments and the live tail.

pub mod limits;
mod samples;
pub mod tail;

pub use tail::{PartitionPlace, Tail, TailSettings, TailStats};
