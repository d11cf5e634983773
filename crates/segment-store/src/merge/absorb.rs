//! One batch to tenant segments: one for each window of time that it has samples of, and what is new in each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use storage_format::EncodeError;
use storage_format::tenant::SeriesSamples;
use telemetry::{Exemplar, Histogram, MetricBatch, TenantId};

use super::count::Count;
use super::output::{Output, OutputLimits};
use super::{LostSegment, MergeError, SegmentBody, SegmentInput};
use crate::{Bucket, Ledger, Level, Resolution, TimeWindow, WorkOn};

/// What a series has in a window, as ranges of the batch's columns.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) series: u32,
    pub(super) floats: Range<u32>,
    pub(super) histograms: Range<u32>,
    pub(super) exemplars: Range<u32>,
}

/// A batch on its way to tenant segments, window by window, the earliest first.
///
/// Memory held: the batch, some 30 bytes for each series of a window, one window's segment while it is written.
#[derive(Debug)]
pub struct Absorption {
    tenant: TenantId,
    batch: Arc<MetricBatch>,
    windows: BTreeMap<TimeWindow, Arc<Vec<Slice>>>,
    limits: OutputLimits,
}

/// What is to be stored of one window.
#[derive(Clone, Debug)]
pub struct AbsorbedWindow {
    /// The window.
    pub window: TimeWindow,
    /// Its segments; more than one when one would be too large. They hold different series.
    pub segments: Vec<SegmentBody>,
    /// What of it was not stored before: what the ledger goes up by.
    pub usage: Ledger,
    /// How many samples each of the lost segments is taken to have had before, in their order.
    pub known_of_lost: Vec<u64>,
}

impl AbsorbedWindow {
    /// Samples that no segment has that can be read.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.known_of_lost.iter().fold(self.usage.total().all_samples(), |sum, of| sum.saturating_add(*of))
    }
}

impl Absorption {
    /// Cuts `batch` in windows of `level`. What metrics say about themselves goes with each of them, so that the last word is known
    /// whichever windows are merged or dropped later; when there is no sample at all, with that of `now_ms`.
    #[must_use]
    pub fn new(tenant: TenantId, batch: MetricBatch, level: Level, now_ms: i64) -> Self {
        let mut windows = cut(&batch, level);
        if windows.is_empty() && !batch.metadata.is_empty() {
            windows.insert(level.window_of(now_ms), Vec::new());
        }
        let windows = windows.into_iter().map(|(window, slices)| (window, Arc::new(slices))).collect();
        Self { tenant, batch: Arc::new(batch), windows, limits: OutputLimits::default() }
    }

    /// The windows that are still to come.
    pub fn windows(&self) -> impl Iterator<Item = TimeWindow> + '_ {
        self.windows.keys().copied()
    }

    /// Writes the next window. `existing` are the tenant's segments of raw samples, all that may hold samples of hours that this
    /// one has, whatever their window: of those, index and timestamps are read. Errors name them by their place there. `lost` are
    /// those that cannot be read.
    ///
    /// # Errors
    /// [`MergeError`]; the window is still the next one then.
    pub async fn next(
        &mut self,
        bucket: &dyn Bucket,
        existing: &[SegmentInput],
        lost: &[LostSegment],
        work_on: WorkOn,
    ) -> Result<Option<AbsorbedWindow>, MergeError> {
        let Some((&window, slices)) = self.windows.first_key_value() else { return Ok(None) };
        let mut count = Count::new(Arc::clone(&self.batch), Arc::clone(slices));
        for (input, segment) in existing.iter().enumerate() {
            count = count.subtract(bucket, segment, input, work_on).await?;
        }
        let known_of_lost = lost.iter().map(|segment| count.subtract_lost(segment)).collect();
        let (batch, slices) = (Arc::clone(&self.batch), Arc::clone(slices));
        let mut output = Output::new(self.tenant.clone(), Resolution::Raw, self.limits);
        let (segments, usage) = work_on
            .run(move || {
                let segments = write(&batch, &slices, &mut output)?;
                Ok::<_, EncodeError>((segments, count.usage()))
            })
            .await??;
        self.windows.pop_first();
        Ok(Some(AbsorbedWindow { window, segments, usage, known_of_lost }))
    }

    #[cfg(test)]
    pub(super) fn with_limits(mut self, limits: OutputLimits) -> Self {
        self.limits = limits;
        self
    }
}

fn write(
    batch: &MetricBatch,
    slices: &[Slice],
    output: &mut Output,
) -> Result<Vec<SegmentBody>, EncodeError> {
    let mut segments = Vec::new();
    let mut histograms: Vec<(i64, Arc<Histogram>)> = Vec::new();
    let mut exemplars: Vec<Exemplar> = Vec::new();
    for slice in slices {
        histograms.clear();
        let rows = &batch.histograms[usize_range(&slice.histograms)];
        histograms.extend(rows.iter().map(|(_, at_ms, histogram)| (*at_ms, Arc::clone(histogram))));
        exemplars.clear();
        let rows = &batch.exemplars[usize_range(&slice.exemplars)];
        exemplars.extend(rows.iter().map(|(_, exemplar)| exemplar.clone()));
        segments.extend(output.push(SeriesSamples {
            labels: batch.series[slice.series as usize].labels(),
            timestamps_ms: &batch.timestamps_ms[usize_range(&slice.floats)],
            values: &batch.values[usize_range(&slice.floats)],
            histograms: &histograms,
            exemplars: &exemplars,
            omitted: &[],
        })?);
    }
    output.push_metadata(&batch.metadata)?;
    segments.extend(output.finish()?);
    Ok(segments)
}

pub(super) fn usize_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// What each window has of each series, in label order.
fn cut(batch: &MetricBatch, level: Level) -> BTreeMap<TimeWindow, Vec<Slice>> {
    let mut windows: BTreeMap<TimeWindow, Vec<Slice>> = BTreeMap::new();
    let (mut floats, mut histograms, mut exemplars) = (0, 0, 0);
    for (series, &end) in (0_u32..).zip(&batch.float_ends) {
        loop {
            let float_ms = batch.timestamps_ms[floats as usize..end as usize].first().copied();
            let histogram = batch.histograms.get(histograms as usize).filter(|row| row.0 == series);
            let histogram_ms = histogram.map(|row| row.1);
            let exemplar = batch.exemplars.get(exemplars as usize).filter(|row| row.0 == series);
            let exemplar_ms = exemplar.map(|row| row.1.timestamp_ms);
            let Some(first_ms) = [float_ms, histogram_ms, exemplar_ms].into_iter().flatten().min() else {
                break;
            };
            let window = level.window_of(first_ms);
            let inside = |at_ms: i64| level.window_of(at_ms) == window;
            let own = &batch.timestamps_ms[floats as usize..end as usize];
            let float_end = floats + own.partition_point(|at_ms| inside(*at_ms)) as u32;
            let rows = &batch.histograms[histograms as usize..];
            let histogram_end =
                histograms + rows.iter().take_while(|row| row.0 == series && inside(row.1)).count() as u32;
            let rows = &batch.exemplars[exemplars as usize..];
            let exemplar_end = exemplars
                + rows.iter().take_while(|row| row.0 == series && inside(row.1.timestamp_ms)).count() as u32;
            windows.entry(window).or_default().push(Slice {
                series,
                floats: floats..float_end,
                histograms: histograms..histogram_end,
                exemplars: exemplars..exemplar_end,
            });
            (floats, histograms, exemplars) = (float_end, histogram_end, exemplar_end);
        }
    }
    windows
}
