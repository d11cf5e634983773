//! Prometheus HTTP API over segments and the live tail.
//!
//! ```text
//! flushes ─offer, settle─► tail ◄─absorb─ follow ◄─LIST, GET─ bucket
//!                           │                                   │
//! request ─► http ─► engine ┴─► source (the tail as of now ∪ ◄──┘ what is not in it) ─► promql ─► http
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`tail`] | the newest data in memory, visible before it is durable |
//! | [`follow`] | brings in what the tail was not offered |
//! | `source` | what one query reads: fetched first, evaluated then |
//! | `engine` | limits, deadlines, places; knows nothing of HTTP |
//! | [`http`] | Prometheus's API |

pub mod cache;
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
