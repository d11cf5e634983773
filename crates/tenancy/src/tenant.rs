//! A tenant as the data plane sees it.

use serde::{Deserialize, Serialize};
use telemetry::TenantId;

use crate::directory::Priority;

/// A tenant of the directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// The id, which is a part of every object key.
    pub id: TenantId,
    /// The shard whose fresh segments hold the tenant's writes.
    pub shard: u32,
    /// How long data is kept, in days.
    pub retention_days: u32,
    /// What the tenant may do.
    pub limits: Limits,
    /// The highest priority among its keys.
    pub highest_priority: Priority,
}

/// What a tenant may do. `None` (`null` in the directory) means unlimited; a field that the directory leaves out has the
/// default of [`Limits::default`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Samples a second, as a long-term rate, per process. Default 1,000,000.
    pub samples_per_second: Option<u32>,
    /// Samples that may come at once after a quiet time. Also the largest request. Default 10,000,000: ten seconds' worth,
    /// so that a sender that was cut off can catch up.
    pub samples_burst: u32,
    /// Spans a second, as a long-term rate, per process. Default 1,000,000.
    pub spans_per_second: Option<u32>,
    /// Bytes of request bodies, decompressed, from midnight to midnight UTC; those of writes that were kept. Default unlimited.
    pub bytes_per_day: Option<u64>,
    /// Bytes of one request body, compressed and decompressed alike. The process has a bound of its own besides.
    /// Default 32 MiB.
    pub request_bytes: Option<u64>,
    /// Series that got samples lately. Known ones go on above the limit, new ones are refused. Default 10,000,000.
    pub active_series: Option<u64>,
    /// Active series of one metric name: what stops a label with a request id in it. Default 1,000,000.
    pub series_per_metric: Option<u64>,
    /// Queries running at once in one process. Default 64.
    pub query_concurrency: Option<u32>,
    /// Bytes of segments that one query may read. Default 16 GiB.
    pub query_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples_per_second: Some(1_000_000),
            samples_burst: 10_000_000,
            spans_per_second: Some(1_000_000),
            bytes_per_day: None,
            request_bytes: Some(32 << 20),
            active_series: Some(10_000_000),
            series_per_metric: Some(1_000_000),
            query_concurrency: Some(64),
            query_bytes: Some(16 << 30),
        }
    }
}

impl Limits {
    /// The limits of the embedded first tenant: none. Who runs a process for themselves is bounded by their machine, and
    /// by the process's own bounds on memory.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            samples_per_second: None,
            samples_burst: crate::limits::MAX_RATE,
            spans_per_second: None,
            bytes_per_day: None,
            request_bytes: None,
            active_series: None,
            series_per_metric: None,
            query_concurrency: None,
            query_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_means_default_and_null_means_unlimited() {
        let limits: Limits = serde_json::from_str(r#"{"active_series": null, "samples_burst": 5}"#).unwrap();
        assert_eq!(limits, Limits { active_series: None, samples_burst: 5, ..Limits::default() });
    }
}
