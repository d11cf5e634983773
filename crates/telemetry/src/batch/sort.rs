//! Puts rows in storage order.
//!
//! The hot case is one float sample of each of many series that a registry has ranked: then the order is found by
//! sorting integers. Series without a comparable rank are compared by their labels, so the result never depends on ranks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ExemplarRow, FloatRow, HistogramRow, MetricBatch, MetricRows};
use crate::labels::{READ_AHEAD, read_ahead};
use crate::{Exemplar, Histogram, Metadata, Series};

pub(super) struct Sorter {
    floats: Vec<FloatRow>,
    histograms: Vec<HistogramRow>,
    exemplars: Vec<ExemplarRow>,
    metadata: BTreeMap<String, Metadata>,
}

/// A series' float run while it is put together: `(timestamp, value)` in order of arrival.
type Run = Vec<(i64, f64)>;

impl Sorter {
    pub(super) fn new(requests: Vec<MetricRows>) -> Self {
        let mut all = Self {
            floats: Vec::with_capacity(requests.iter().map(|rows| rows.floats.len()).sum()),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: BTreeMap::new(),
        };
        for mut rows in requests {
            all.floats.append(&mut rows.floats);
            all.histograms.append(&mut rows.histograms);
            all.exemplars.append(&mut rows.exemplars);
            all.metadata.append(&mut rows.metadata);
        }
        all
    }

    pub(super) fn sort(self) -> MetricBatch {
        let float_order = order_by_labels(&self.floats, |row| &row.series);
        let histogram_order = order_by_labels(&self.histograms, |row| &row.series);
        let exemplar_order = order_by_labels(&self.exemplars, |row| &row.series);

        let mut batch = MetricBatch { metadata: self.metadata, ..MetricBatch::default() };
        batch.timestamps_ms.reserve(self.floats.len());
        batch.values.reserve(self.floats.len());

        let mut floats = Groups::new(&self.floats, &float_order, |row| &row.series);
        let mut histograms = Groups::new(&self.histograms, &histogram_order, |row| &row.series);
        let mut exemplars = Groups::new(&self.exemplars, &exemplar_order, |row| &row.series);
        let mut run = Run::new();
        while let Some(series) = least([floats.peek(), histograms.peek(), exemplars.peek()]) {
            let series = Arc::clone(series);
            let index = batch.series.len() as u32;
            run.clear();
            floats.take(&series, |row| run.push((row.timestamp_ms, row.value)));
            keep_last_of_each_timestamp(&mut run, |sample| sample.0);
            let mut histogram_run: Vec<(i64, Arc<Histogram>)> = Vec::new();
            histograms
                .take(&series, |row| histogram_run.push((row.timestamp_ms, Arc::clone(&row.histogram))));
            if !histogram_run.is_empty() {
                keep_last_of_each_timestamp(&mut histogram_run, |sample| sample.0);
                histogram_run.retain(|(at, _)| run.binary_search_by_key(at, |sample| sample.0).is_err());
                batch
                    .histograms
                    .extend(histogram_run.into_iter().map(|(at, histogram)| (index, at, histogram)));
            }
            let mut exemplar_run: Vec<Exemplar> = Vec::new();
            exemplars.take(&series, |row| {
                if !exemplar_run.contains(&row.exemplar) {
                    exemplar_run.push(row.exemplar.clone());
                }
            });
            exemplar_run.sort_by_key(|exemplar| exemplar.timestamp_ms);
            batch.exemplars.extend(exemplar_run.into_iter().map(|exemplar| (index, exemplar)));

            batch.timestamps_ms.extend(run.iter().map(|sample| sample.0));
            batch.values.extend(run.iter().map(|sample| sample.1));
            batch.float_ends.push(batch.values.len() as u32);
            batch.series.push(series);
        }
        batch
    }
}

/// Indexes of `rows` (at most `u32::MAX`) by ascending labels of their series, equal series in the order of `rows`.
///
/// Sorts integers where a registry has ranked the series ([`assign_ranks`](crate::series::assign_ranks)); the result
/// never depends on ranks.
#[must_use]
pub fn order_by_labels<R>(rows: &[R], series_of: impl Fn(&R) -> &Arc<Series>) -> Vec<u32> {
    let ranks: Vec<(u32, u32)> = rows.iter().map(|row| series_of(row).rank()).collect();
    let epoch = ranks.first().map_or(0, |rank| rank.0);
    if epoch != 0 && ranks.iter().all(|rank| rank.0 == epoch) {
        let mut keys: Vec<u64> =
            (0_u64..).zip(&ranks).map(|(index, rank)| u64::from(rank.1) << 32 | index).collect();
        keys.sort_unstable();
        return keys.into_iter().map(|key| key as u32).collect();
    }
    // Those of each epoch by their ranks, and those without one by their labels: runs in order, which are merged with about one
    // comparison of labels a row.
    let series = |row: u32| series_of(&rows[row as usize]);
    let mut keys: Vec<((u32, u32), u32)> = ranks.iter().copied().zip(0..).collect();
    keys.sort_unstable();
    let same_epoch = |((a, _), _): &((u32, u32), u32), ((b, _), _): &((u32, u32), u32)| a == b;
    let mut runs: Vec<Vec<u32>> =
        keys.chunk_by(same_epoch).map(|run| run.iter().map(|(_, row)| *row).collect()).collect();
    let has_no_rank = |row: &u32| ranks[*row as usize].0 == 0;
    if let Some(unranked) = runs.first_mut().filter(|run| run.first().is_some_and(has_no_rank)) {
        // They come in the order of the rows, which is often that of places where each is in order.
        unranked.sort_by(|a, b| series(*a).labels().cmp(series(*b).labels()));
    }
    // The shortest ones first, which are then gone through most often.
    runs.sort_by_key(Vec::len);
    let merged = runs.into_iter().reduce(|merged, run| merge(&merged, &run, &series));
    merged.unwrap_or_default()
}

/// Merges runs of rows in label order; equal series in the order of the rows.
fn merge<'a>(a: &[u32], b: &[u32], series: &impl Fn(u32) -> &'a Arc<Series>) -> Vec<u32> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (Ahead { rows: a, ahead: 0 }, Ahead { rows: b, ahead: 0 });
    while let (Some(left), Some(right)) = (a.first(series), b.first(series)) {
        let by_labels = series(left).labels().cmp(series(right).labels());
        if by_labels.then(left.cmp(&right)).is_lt() {
            a.pass();
            merged.push(left);
        } else {
            b.pass();
            merged.push(right);
        }
    }
    merged.extend_from_slice(a.rows);
    merged.extend_from_slice(b.rows);
    merged
}

/// Rows that are gone through from the first to the last, wherever in memory their series are.
struct Ahead<'r> {
    rows: &'r [u32],
    /// How many of them were read ahead.
    ahead: usize,
}

impl Ahead<'_> {
    fn first<'a>(&mut self, series: &impl Fn(u32) -> &'a Arc<Series>) -> Option<u32> {
        let first = *self.rows.first()?;
        if self.ahead == 0 {
            self.ahead = self.rows.len().min(READ_AHEAD);
            read_ahead(self.rows[..self.ahead].iter().map(|row| series(*row).labels()));
        }
        Some(first)
    }

    fn pass(&mut self) {
        self.rows = &self.rows[1..];
        self.ahead -= 1;
    }
}

/// Walks rows series by series.
struct Groups<'a, R, F> {
    rows: &'a [R],
    order: &'a [u32],
    series_of: F,
}

impl<'a, R, F: Fn(&'a R) -> &'a Arc<Series>> Groups<'a, R, F> {
    fn new(rows: &'a [R], order: &'a [u32], series_of: F) -> Self {
        Self { rows, order, series_of }
    }

    fn peek(&self) -> Option<&'a Arc<Series>> {
        self.order.first().map(|&row| (self.series_of)(&self.rows[row as usize]))
    }

    /// Hands out the next rows as long as they are of `series`.
    fn take(&mut self, series: &Arc<Series>, mut each: impl FnMut(&'a R)) {
        while let Some((&row, rest)) = self.order.split_first() {
            let candidate = (self.series_of)(&self.rows[row as usize]);
            if !Arc::ptr_eq(candidate, series) && candidate != series {
                return;
            }
            each(&self.rows[row as usize]);
            self.order = rest;
        }
    }
}

fn least(candidates: [Option<&Arc<Series>>; 3]) -> Option<&Arc<Series>> {
    candidates
        .into_iter()
        .flatten()
        .min_by(|a, b| if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.labels().cmp(b.labels()) })
}

/// Sorts by timestamp and keeps, of equal ones, the one that came last.
fn keep_last_of_each_timestamp<T>(run: &mut Vec<T>, timestamp_of: impl Fn(&T) -> i64) {
    if run.windows(2).all(|pair| timestamp_of(&pair[0]) < timestamp_of(&pair[1])) {
        return;
    }
    // Stable, then reversed: the latest arrival of a timestamp comes first and is the one that `dedup` keeps.
    run.reverse();
    run.sort_by_key(|sample| timestamp_of(sample));
    run.dedup_by_key(|sample| timestamp_of(sample));
}
