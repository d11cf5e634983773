//! The part of a write that is nothing but computing, for benchmarks.

use std::sync::Arc;
use std::time::Duration;

use segment_store::Seed;
use telemetry::{MetricRows, TenantId};
use tenancy::{Limits, Priority, Tenant};
use wire::remote_write::Version;
use wire::{Decompressor, Encoding};

use crate::decode::{DecodeContext, Message, decode};
use crate::tenants::{TenantState, Tenants};
use crate::times::TimeRule;

/// Makes rows of bodies as the service does, for one tenant and without committing them.
#[derive(Debug)]
pub struct RowMaker {
    tenant: Arc<TenantState>,
    limits: Limits,
    wire_limits: wire::Limits,
    otlp: wire::otlp::MetricOptions,
    now_ms: i64,
}

impl RowMaker {
    /// A tenant without limits who sent nothing yet, at `now_ms` (milliseconds since the Unix epoch).
    ///
    /// # Panics
    /// Never: the tenant's id is a good one.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the id is a constant")]
    pub fn new(now_ms: i64) -> Self {
        let tenants = Tenants::new(
            &mut Seed::from_number(1).rng(),
            u64::MAX,
            0,
            Arc::new(|| Duration::from_secs(1)),
            None,
        );
        let limits = Limits::unlimited();
        let id = TenantId::new("bench").expect("a tenant id");
        let (tenant, _) = tenants.state(&Tenant {
            id,
            shard: 0,
            retention_days: 1,
            limits: limits.clone(),
            highest_priority: Priority::Normal,
        });
        let (wire_limits, otlp) = (wire::Limits::default(), wire::otlp::MetricOptions::default());
        Self { tenant, limits, wire_limits, otlp, now_ms }
    }

    /// The rows of a compressed remote-write body; none when it is bad.
    #[must_use]
    pub fn rows(
        &self,
        decompressor: &mut Decompressor,
        version: Version,
        encoding: Encoding,
        body: &[u8],
    ) -> MetricRows {
        let context = DecodeContext {
            tenant: &self.tenant,
            tenant_limits: &self.limits,
            priorities_above: 0,
            wire_limits: &self.wire_limits,
            otlp: &self.otlp,
            times: TimeRule::new(self.now_ms, None),
            now: Duration::from_secs(1),
        };
        let decoded = decompressor
            .decompress(encoding, body, &self.wire_limits)
            .ok()
            .and_then(|bytes| decode(Message::RemoteWrite(version), bytes, &context).ok());
        decoded.map(|decoded| decoded.register(&context).rows).unwrap_or_default()
    }

    /// Gives ranks to the series met.
    pub fn rank(&self) {
        self.tenant.registry.rank();
    }
}
