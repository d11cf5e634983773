//! Load generator with verification, drills and benchmarks, on public APIs only.
pub mod clock;
pub mod limits;
pub mod progress;
pub mod proto;
pub mod stats;
pub mod table;
pub mod workload;
