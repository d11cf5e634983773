//! A batch that is visible and not yet part of any series' chunks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use promql::SeriesSamples;
use segment_store::SegmentKey;
use telemetry::{Exemplar, MetricBatch};

use super::head::HISTOGRAM_COST;

/// One tenant's part of a segment, from its offer until it is folded into the series or withdrawn.
#[derive(Debug)]
pub(super) struct Provisional {
    pub(super) segment: SegmentKey,
    pub(super) batch: Arc<MetricBatch>,
    /// For each series of the batch its id in the generation.
    pub(super) ids: Vec<u32>,
    durable: AtomicBool,
    /// `(id, index in the batch)`, ascending; made when first asked for, since most batches never are.
    by_id: OnceLock<Vec<(u32, u32)>>,
}

impl Provisional {
    pub(super) fn new(segment: SegmentKey, batch: Arc<MetricBatch>, ids: Vec<u32>) -> Self {
        Self { segment, batch, ids, durable: AtomicBool::new(false), by_id: OnceLock::new() }
    }

    pub(super) fn set_durable(&self) {
        self.durable.store(true, Ordering::Release);
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    /// Memory held while it waits, the shared series left out (bytes).
    pub(super) fn memory_bytes(&self) -> usize {
        self.ids.len() * 3 * size_of::<u32>() + memory_bytes_of(&self.batch)
    }

    /// Calls `each` with every id of the ascending `ids` that is in the batch, and its index there.
    pub(super) fn for_each_of(&self, ids: &[u32], mut each: impl FnMut(u32, usize)) {
        let by_id = self.by_id.get_or_init(|| {
            let mut by_id: Vec<(u32, u32)> = self.ids.iter().copied().zip(0..).collect();
            by_id.sort_unstable();
            by_id
        });
        if by_id.len() < ids.len() {
            for &(id, index) in by_id.iter().filter(|(id, _)| ids.binary_search(id).is_ok()) {
                each(id, index as usize);
            }
        } else {
            for &id in ids {
                if let Ok(place) = by_id.binary_search_by_key(&id, |entry| entry.0) {
                    each(id, by_id[place].1 as usize);
                }
            }
        }
    }
}

/// Memory that `batch` holds, the shared series left out (bytes).
pub(super) fn memory_bytes_of(batch: &MetricBatch) -> usize {
    let histograms: usize = batch.histograms.iter().map(|(_, _, h)| h.memory_bytes()).sum();
    let exemplars: usize =
        batch.exemplars.iter().map(|(_, e)| size_of::<Exemplar>() + e.labels.memory_bytes()).sum();
    batch.series.len() * size_of::<usize>()
        + batch.values.len() * 2 * size_of::<f64>()
        + histograms
        + exemplars
}

/// Whether series `index` of `batch` has a sample from `start_ms` to `end_ms`.
pub(crate) fn batch_overlaps(batch: &MetricBatch, index: usize, start_ms: i64, end_ms: i64) -> bool {
    let (timestamps_ms, _) = batch.floats_of(index);
    let within = |at: i64| at >= start_ms && at <= end_ms;
    timestamps_ms.iter().any(|&at| within(at))
        || histograms_of(batch, index).iter().any(|(_, at, _)| within(*at))
}

/// How many samples series `index` of `batch` has; native histograms count as many.
pub(super) fn samples_of(batch: &MetricBatch, index: usize) -> u64 {
    let (timestamps_ms, _) = batch.floats_of(index);
    timestamps_ms.len() as u64 + histograms_of(batch, index).len() as u64 * HISTOGRAM_COST
}

/// Puts the samples of series `index` of `batch` from `start_ms` to `end_ms` in `out`, which comes empty.
pub(crate) fn read_batch(
    batch: &MetricBatch,
    index: usize,
    (start_ms, end_ms): (i64, i64),
    out: &mut SeriesSamples,
) {
    let (timestamps_ms, values) = batch.floats_of(index);
    let from = timestamps_ms.partition_point(|&at| at < start_ms);
    let to = timestamps_ms.partition_point(|&at| at <= end_ms).max(from);
    out.timestamps_ms.extend_from_slice(&timestamps_ms[from..to]);
    out.values.extend_from_slice(&values[from..to]);
    let within = |at: i64| at >= start_ms && at <= end_ms;
    let histograms = histograms_of(batch, index).iter().filter(|(_, at, _)| within(*at));
    out.histograms.extend(histograms.map(|(_, at, histogram)| (*at, Arc::clone(histogram))));
}

pub(super) fn histograms_of(batch: &MetricBatch, index: usize) -> &[(u32, i64, Arc<telemetry::Histogram>)] {
    let index = index as u32;
    let from = batch.histograms.partition_point(|(series, _, _)| *series < index);
    let to = batch.histograms.partition_point(|(series, _, _)| *series <= index);
    &batch.histograms[from..to]
}

/// The exemplars of series `index` of `batch`, ascending by time.
pub(crate) fn exemplars_of(batch: &MetricBatch, index: usize) -> &[(u32, Exemplar)] {
    let index = index as u32;
    let from = batch.exemplars.partition_point(|(series, _)| *series < index);
    let to = batch.exemplars.partition_point(|(series, _)| *series <= index);
    &batch.exemplars[from..to]
}
