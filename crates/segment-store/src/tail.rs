//! What a flush tells the tail, so that data is visible before it is durable.

use std::fmt::Debug;
use std::sync::Arc;

use telemetry::{MetricBatch, TenantId};

use crate::SegmentKey;

/// The data of one flush, on its way to the bucket.
#[derive(Clone, Debug)]
pub struct TailOffer {
    /// The segment that will hold it.
    pub segment: SegmentKey,
    /// Each tenant's part, every tenant once, in ascending order of tenants.
    pub partitions: Vec<(TenantId, Arc<MetricBatch>)>,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// The segment is in the bucket.
    Durable,
    /// Nobody was told that it is. It may be there all the same, when the bucket's answers were lost; then a listing
    /// shows it, and it counts like any other.
    Withdrawn,
}

/// Takes what flushes offer. Both calls must be quick: they are made on the write path and hold it up.
///
/// For each segment there is at most one offer, followed by exactly one settlement. (When the process ends in between, or a
/// flush panics, there is none.) Both calls come from any thread; those of one segment in order, and a writer's offers in the
/// order of their segments.
pub trait TailSink: Send + Sync + Debug {
    /// Data that is about to be written: provisional.
    fn offer(&self, offer: TailOffer);

    /// The end of that segment's flush. For [`FlushOutcome::Durable`] it comes before any request is acked.
    fn settle(&self, segment: &SegmentKey, outcome: FlushOutcome);
}

/// A tail that nobody reads, where ingest runs without a query node beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTail;

impl TailSink for NoTail {
    fn offer(&self, _offer: TailOffer) {}

    fn settle(&self, _segment: &SegmentKey, _outcome: FlushOutcome) {}
}
