//! Prometheus HTTP API over segments and the live tail.
//!
//! ```text
//! flushes ─offer, settle─► tail ◄─absorb─ follow ◄─LIST, GET─ bucket
//!                           │                                   │
//!                           │        segments ◄── cache ◄─GET───┤
//!                           ▼            ▼                      │
//! request ─► http ─► engine ─► source (tail ∪ what is not in it) ─► promql ─► http
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`tail`] | the newest data in memory, visible before it is durable |
//! | [`follow`] | brings in what the tail was not offered |
//! | [`segments`] | what compaction made: manifests, indexes, blocks |
//! | [`cache`] | pages of objects, in memory and on disk |
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
pub mod segments;
mod source;
pub mod tail;
#[cfg(test)]
mod testing;
mod texts;

pub use cache::{
    CacheError, CacheParts, CacheSettings, CacheStats, KindStats, PageCache, PageKind, is_failed_write,
    pages_not_written,
};
pub use engine::{Answer, Cost, EngineParts, Query, QueryEngine, QuerySettings, RequestOptions};
pub use error::{Outcome, QueryError};
pub use follow::{Follower, FollowerParts, FollowerStats};
pub use http::{HttpParts, paths, router};
pub use metrics::{LATENCY_BOUNDS, QueryMetrics};
pub use segments::{Segments, SegmentsParts, SegmentsSettings, SegmentsStats};
pub use source::{FetchLimits, Needs, Scope, TenantSource};
pub use tail::{PartitionPlace, Tail, TailSettings, TailStats};
