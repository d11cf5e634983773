//! Settings (numbers) and parts (what the service works with).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use segment_store::{Clock, GroupCommit, Seed, ShardId};
use tenancy::Access;

use crate::leases::LeaseServer;
use crate::limits;

/// Numbers.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// How old a sample may be; `None` for any age. Default 7 days.
    pub out_of_order_window: Option<Duration>,
    /// What a message may hold, for every tenant. A tenant's own limit of request bytes comes on top.
    pub wire_limits: wire::Limits,
    /// How OpenTelemetry's names and resources are mapped. Default as Prometheus does.
    pub otlp: wire::otlp::MetricOptions,
    /// Request bodies held in memory together, in bytes; above it requests are turned away. A tenant has at most a quarter
    /// of it, which therefore bounds a single body, too. Default 256 MiB, at most 4 GiB.
    pub body_memory_bytes: usize,
    /// Active series of all tenants together. Default 20,000,000.
    pub max_active_series: u64,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            out_of_order_window: Some(limits::OUT_OF_ORDER_WINDOW),
            wire_limits: wire::Limits::default(),
            otlp: wire::otlp::MetricOptions::default(),
            body_memory_bytes: limits::BODY_MEMORY_BYTES,
            max_active_series: limits::MAX_ACTIVE_SERIES,
        }
    }
}

/// Parts.
#[derive(Debug)]
pub struct IngestParts {
    /// Who may write.
    pub access: Arc<Access>,
    /// Where the shards of this process are committed. Writes of other shards are turned away.
    pub commits: BTreeMap<ShardId, Arc<GroupCommit>>,
    /// Who hands out shares of tenants' limits, where other processes take in the same tenants' writes; without, each limit holds
    /// for this process.
    pub leases: Option<Arc<dyn LeaseServer>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness: keys the hashes of series, so that nobody outside can make them collide.
    pub seed: Seed,
    /// Numbers.
    pub settings: IngestSettings,
}
