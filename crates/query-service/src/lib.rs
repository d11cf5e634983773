//! Prometheus HTTP API over segments and the live tail.

mod cardinality;
mod engine;
mod error;
pub mod follow;
pub mod http;
pub mod limits;
mod metrics;
mod samples;
mod source;
pub mod tail;
#[cfg(test)]
mod testing;

pub use engine::{Answer, Cost, EngineParts, Query, QueryEngine, QuerySettings, RequestOptions};
pub use error::{Outcome, QueryError};
pub use follow::{Follower, FollowerParts, FollowerStats};
pub use http::{HttpParts, paths, router};
pub use metrics::{LATENCY_BOUNDS, QueryMetrics};
pub use source::{FetchLimits, Scope, TenantSource};
pub use tail::{PartitionPlace, Tail, TailSettings, TailStats};
