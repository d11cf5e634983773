//! Decoded data: blocks of tenant segments, and tenants' parts of segments of the fresh kind.

use std::sync::Arc;

use foyer::{Cache, CacheBuilder, S3FifoConfig};
use storage_format::tenant::{
    Block, BlockKind, DecodedValues, read_exemplars, read_histograms, read_omitted,
};
use storage_format::{FormatError, MetricsIndex};
use telemetry::{Exemplar, Histogram, MetricBatch, Omitted, TenantId};

/// Decoded data.
#[derive(Debug)]
pub(super) enum Decoded {
    Values(DecodedValues),
    /// Lists of timestamps.
    Times(Vec<Vec<i64>>),
    Histograms(Vec<(u32, i64, Arc<Histogram>)>),
    Exemplars(Vec<(u32, Exemplar)>),
    Omitted(Vec<(u32, Omitted)>),
}

impl Decoded {
    pub(super) fn decode(index: &MetricsIndex, block: &Block, bytes: &[u8]) -> Result<Self, FormatError> {
        Ok(match block.kind {
            BlockKind::Values => Self::Values(index.read_values(block, bytes)?),
            BlockKind::Times => Self::Times(index.read_times(block, bytes)?),
            BlockKind::Histograms => Self::Histograms(read_histograms(block, bytes)?),
            BlockKind::Exemplars => Self::Exemplars(read_exemplars(block, bytes)?),
            BlockKind::Omitted => Self::Omitted(read_omitted(block, bytes)?),
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Values(values) => values.memory_bytes(),
            Self::Times(lists) => {
                lists.iter().map(|list| size_of_val(list.as_slice()) + size_of::<Vec<i64>>()).sum()
            }
            Self::Histograms(rows) => {
                rows.iter().map(|(_, _, histogram)| histogram.memory_bytes() + 24).sum()
            }
            Self::Omitted(rows) => size_of_val(rows.as_slice()),
            Self::Exemplars(rows) => rows.iter().map(|(_, each)| each.labels.memory_bytes() + 40).sum(),
        }
    }
}

/// What decoded data is of. All of it is one tenant's: a segment has one tenant, and a part names its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A block of an open segment, by their numbers.
    Block(u64, u32),
    /// A tenant's part of an object.
    Part(Arc<str>, TenantId),
}

#[derive(Clone, Debug)]
enum Held {
    Block(Arc<Decoded>),
    Part(Arc<MetricBatch>),
}

/// Decoded data that is likely to be needed again, within a bound of memory.
#[derive(Clone, Debug)]
pub(super) struct DecodedCache(Cache<Place, Held>);

impl DecodedCache {
    pub(super) fn new(memory_bytes: usize) -> Self {
        let weight = |_: &Place, held: &Held| match held {
            Held::Block(decoded) => decoded.memory_bytes() + 256,
            Held::Part(batch) => batch_memory_bytes(batch) + 256,
        };
        let builder = CacheBuilder::new(memory_bytes).with_name("decoded").with_shards(1);
        Self(builder.with_eviction_config(S3FifoConfig::default()).with_weighter(weight).build())
    }

    pub(super) fn block(&self, segment: u64, block: u32) -> Option<Arc<Decoded>> {
        match self.0.get(&Place::Block(segment, block))?.value() {
            Held::Block(decoded) => Some(Arc::clone(decoded)),
            Held::Part(_) => None,
        }
    }

    pub(super) fn keep_block(&self, segment: u64, block: u32, decoded: &Arc<Decoded>) {
        self.0.insert(Place::Block(segment, block), Held::Block(Arc::clone(decoded)));
    }

    pub(super) fn part(&self, object: &Arc<str>, tenant: &TenantId) -> Option<Arc<MetricBatch>> {
        match self.0.get(&Place::Part(Arc::clone(object), tenant.clone()))?.value() {
            Held::Part(batch) => Some(Arc::clone(batch)),
            Held::Block(_) => None,
        }
    }

    pub(super) fn keep_part(&self, object: &Arc<str>, tenant: &TenantId, batch: &Arc<MetricBatch>) {
        self.0.insert(Place::Part(Arc::clone(object), tenant.clone()), Held::Part(Arc::clone(batch)));
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.0.usage() as u64
    }
}

/// Memory of a decoded part of a segment.
pub(super) fn batch_memory_bytes(batch: &MetricBatch) -> usize {
    let labels: usize = batch.series.iter().map(|series| series.labels().memory_bytes() + 48).sum();
    let histograms: usize = batch.histograms.iter().map(|(_, _, histogram)| histogram.memory_bytes()).sum();
    let exemplars: usize = batch.exemplars.iter().map(|(_, each)| each.labels.memory_bytes() + 32).sum();
    labels + histograms + exemplars + 16 * batch.values.len()
}
