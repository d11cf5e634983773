//! Bounds of the query service. Per-query bounds that operators set are in [`crate::QueryLimits`].

/// Exemplars kept in memory for one series; older ones make room. What dashboards show beside a graph is fewer.
pub const MAX_EXEMPLARS_A_SERIES: usize = 32;
/// Metric families whose metadata is kept for one tenant; more are ignored. Large Prometheus servers have some 10,000.
pub const MAX_METADATA_A_TENANT: usize = 100_000;
/// Memory (bytes) of durable batches that wait for an earlier segment's flush to end. Beyond that they no longer wait, and
/// the straggler counts as late when it comes: a sample that it shares with them by series and timestamp is then theirs.
pub const MAX_HELD_BYTES: usize = 64 << 20;
