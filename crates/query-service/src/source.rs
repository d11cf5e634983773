//! What a query reads from: the tail as of one moment, and the partitions that are not in it, fetched beforehand.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::{StreamExt, stream};
use promql::{LimitExceeded, Matcher, SelectedSeries, Selection, SeriesSource, SourceError};
use segment_store::{Bucket, FreshObject, ReadError, SegmentKey, read_fresh_footer, read_fresh_partition};
use storage_format::Signal;
use telemetry::{Labels, MetricBatch, Series, TenantId};

use crate::error::QueryError;
use crate::limits::READS_AT_ONCE;
use crate::tail::{
    Having, PartitionPlace, Selected, Tail, TenantView, batch_overlaps, for_each_name_set, for_each_series,
};

/// Which of a tenant's data a query needs.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Earliest and latest timestamp (ms, inclusive).
    pub time_range_ms: (i64, i64),
    /// Whether data counts that is not durable yet.
    pub with_provisional: bool,
}

/// What fetching may cost.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of segments.
    pub bytes: u64,
    /// Memory for what is decoded from them (bytes).
    pub memory_bytes: u64,
}

/// A tenant's data as one query sees it: in memory, all of it.
#[derive(Debug, Default)]
pub struct TenantSource {
    pub(crate) view: TenantView,
    /// In segment order.
    pub(crate) cold: Vec<Arc<MetricBatch>>,
    /// Bytes read from the bucket.
    pub(crate) cold_bytes: u64,
    /// What the store has to say about every answer from it.
    pub(crate) warnings: Vec<String>,
}

impl TenantSource {
    /// Fetches what is not in memory. What is damaged is left out, and the tail told of it. A segment that is not there is an
    /// error: nothing deletes segments, and as long as no manifest says what took its place, going on without it would be a
    /// wrong answer.
    ///
    /// # Errors
    /// [`QueryError::Bytes`], [`QueryError::Limit`], [`QueryError::Unavailable`].
    pub async fn fetch(
        tail: &Tail,
        bucket: &dyn Bucket,
        tenant: &TenantId,
        scope: Scope,
        limits: FetchLimits,
    ) -> Result<Self, QueryError> {
        let (start_ms, end_ms) = scope.time_range_ms;
        let view = tail.view(tenant, scope.with_provisional, start_ms, end_ms);
        let (cold, cold_bytes) = fetch_cold(tail, bucket, tenant, &view.cold, limits).await?;
        Ok(Self { view, cold, cold_bytes, warnings: tail.warnings(tenant) })
    }

    /// Series that all matchers hold for.
    pub(crate) fn select(&self, matchers: &[Matcher], having: Having, time_range_ms: (i64, i64)) -> Selected {
        Selected::new(&self.view, &self.cold, matchers, having, time_range_ms)
    }

    /// Calls `each` with every series that all matchers hold for and that has samples in the time range (ms, both inclusive);
    /// several times, in no order, until it breaks off.
    pub(crate) fn for_each_series(
        &self,
        matchers: &[Matcher],
        time_range_ms: (i64, i64),
        each: impl FnMut(&Arc<Series>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for_each_series(&self.view, &self.cold, matchers, time_range_ms, each)
    }

    /// Calls `each` with such series of which every set of label names has one; several times, in no order.
    pub(crate) fn for_each_name_set(
        &self,
        matchers: &[Matcher],
        time_range_ms: (i64, i64),
        each: impl FnMut(&Series) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for_each_name_set(&self.view, &self.cold, matchers, time_range_ms, each)
    }

    /// Calls `each` with every label name of series with samples in the time range (ms, both inclusive); several times, in
    /// no order.
    pub(crate) fn for_each_label_name(&self, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        self.view.for_each_label_name(time_range_ms, &mut each);
        for labels in self.cold_labels(time_range_ms) {
            labels.iter().for_each(|(name, _)| each(name));
        }
    }

    /// Calls `each` with every value of label `name` of such series; several times, in no order.
    pub(crate) fn for_each_label_value(
        &self,
        name: &str,
        time_range_ms: (i64, i64),
        mut each: impl FnMut(&str),
    ) {
        self.view.for_each_label_value(name, time_range_ms, &mut each);
        self.cold_labels(time_range_ms).filter_map(|labels| labels.get(name)).for_each(&mut each);
    }

    fn cold_labels(&self, (start_ms, end_ms): (i64, i64)) -> impl Iterator<Item = &Labels> {
        self.cold.iter().flat_map(move |batch| {
            let series = batch.series.iter().enumerate();
            let within = series.filter(move |(index, _)| batch_overlaps(batch, *index, start_ms, end_ms));
            within.map(|(_, series)| series.labels())
        })
    }
}

impl SeriesSource for TenantSource {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let time_range_ms = (selection.start_ms, selection.end_ms);
        let having = if selection.wants_latest_only() { Having::Latest } else { Having::Samples };
        Ok(Box::new(self.select(&selection.matchers, having, time_range_ms)))
    }
}

/// What was read, or nothing where the tenant's part of `segment` is damaged, of which the tail is told.
fn unless_damaged<T>(
    tail: &Tail,
    tenant: &TenantId,
    segment: SegmentKey,
    read: Result<T, ReadError>,
) -> Result<Option<T>, QueryError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error @ ReadError::Segment { .. }) => {
            if tail.note_damaged(tenant, segment) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%tenant, %segment, error, "a tenant's part of a segment cannot be read; queries lack it");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn fetch_cold(
    tail: &Tail,
    bucket: &dyn Bucket,
    tenant: &TenantId,
    places: &[PartitionPlace],
    limits: FetchLimits,
) -> Result<(Vec<Arc<MetricBatch>>, u64), QueryError> {
    let footers = stream::iter(places.to_vec()).map(|place| async move {
        let object = FreshObject { key: place.segment, len: 0 };
        let footer = read_fresh_footer(bucket, &object).await;
        (object, footer.map(|footer| footer.find(tenant, Signal::Metrics).cloned()))
    });
    let mut footers = std::pin::pin!(footers.buffered(READS_AT_ONCE));
    let (mut entries, mut bytes) = (Vec::new(), 0_u64);
    while let Some((object, entry)) = footers.next().await {
        let Some(entry) = unless_damaged(tail, tenant, object.key, entry)?.flatten() else { continue };
        bytes = bytes.saturating_add(entry.range.end - entry.range.start);
        if bytes > limits.bytes {
            return Err(QueryError::Bytes { limit_bytes: limits.bytes });
        }
        entries.push((object, entry));
    }
    let partitions = stream::iter(entries).map(|(object, entry)| async move {
        (object.key, read_fresh_partition(bucket, &object, &entry).await)
    });
    let mut partitions = std::pin::pin!(partitions.buffered(READS_AT_ONCE));
    let (mut batches, mut memory_bytes) = (Vec::with_capacity(places.len()), 0_u64);
    while let Some((segment, batch)) = partitions.next().await {
        let Some(batch) = unless_damaged(tail, tenant, segment, batch)? else { continue };
        memory_bytes = memory_bytes.saturating_add(batch_memory_bytes(&batch));
        if memory_bytes > limits.memory_bytes {
            return Err(LimitExceeded::Memory { limit: limits.memory_bytes }.into());
        }
        batches.push(Arc::new(batch));
        tokio::task::yield_now().await;
    }
    Ok((batches, bytes))
}

fn batch_memory_bytes(batch: &MetricBatch) -> u64 {
    let labels: usize = batch.series.iter().map(|series| series.labels().memory_bytes() + 48).sum();
    let histograms: usize = batch.histograms.iter().map(|(_, _, histogram)| histogram.memory_bytes()).sum();
    let exemplars: usize = batch.exemplars.iter().map(|(_, each)| each.labels.memory_bytes() + 32).sum();
    (labels + histograms + exemplars + 16 * batch.values.len()) as u64
}
