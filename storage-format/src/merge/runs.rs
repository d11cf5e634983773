//! The samples of one series from many inputs: of equal timestamps the last stays.

use std::ops::Range;
use std::sync::Arc;

use telemetry::{Exemplar, Histogram};

use super::HistogramRow;

/// Float samples.
pub(crate) struct FloatRun {
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// Moves the samples `own`, given in order of arrival, to `to`, which is not after them: by timestamp, of equal ones the
/// last arrival. Returns where they end.
pub(crate) fn keep_last(floats: &mut FloatRun, own: Range<usize>, to: usize) -> usize {
    if floats.timestamps_ms[own.clone()].is_sorted_by(|a, b| a < b) {
        let end = to + own.len();
        if to < own.start {
            floats.timestamps_ms.copy_within(own.clone(), to);
            floats.values.copy_within(own, to);
        }
        return end;
    }
    let mut samples: Vec<(i64, f64)> =
        floats.timestamps_ms[own.clone()].iter().copied().zip(floats.values[own].iter().copied()).collect();
    samples.sort_by_key(|sample| sample.0);
    let mut end = to;
    for (place, (at_ms, value)) in samples.iter().enumerate() {
        if samples.get(place + 1).is_none_or(|next| next.0 != *at_ms) {
            floats.timestamps_ms[end] = *at_ms;
            floats.values[end] = *value;
            end += 1;
        }
    }
    end
}

enum Sample {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// As [`keep_last`] for a series that has histograms, too: the later input wins, whichever kind. `inputs` are those of the
/// floats.
pub(crate) fn merge_kinds(
    floats: &mut FloatRun,
    own: Range<usize>,
    inputs: &[u32],
    histograms: Vec<HistogramRow>,
    to: usize,
) -> (usize, Vec<(i64, Arc<Histogram>)>) {
    let mut samples: Vec<(i64, u32, Sample)> = own
        .zip(inputs)
        .map(|(place, input)| (floats.timestamps_ms[place], *input, Sample::Float(floats.values[place])))
        .collect();
    samples.extend(
        histograms
            .into_iter()
            .map(|(_, at_ms, input, histogram)| (at_ms, input, Sample::Histogram(histogram))),
    );
    samples.sort_by_key(|sample| (sample.0, sample.1));
    let mut end = to;
    let mut kept = Vec::new();
    let mut samples = samples.into_iter().peekable();
    while let Some((at_ms, _, sample)) = samples.next() {
        if samples.peek().is_some_and(|next| next.0 == at_ms) {
            continue;
        }
        match sample {
            Sample::Float(value) => {
                floats.timestamps_ms[end] = at_ms;
                floats.values[end] = value;
                end += 1;
            }
            Sample::Histogram(histogram) => kept.push((at_ms, histogram)),
        }
    }
    (end, kept)
}

/// Exemplars by time without repetitions; those of one time in an order of their own, so that any order of merging gives the
/// same.
#[must_use]
pub fn distinct_exemplars(mut exemplars: Vec<Exemplar>) -> Vec<Exemplar> {
    if exemplars.len() > 1 {
        exemplars.sort_by(|a, b| {
            let key = |of: &Exemplar| (of.timestamp_ms, of.value.to_bits());
            key(a).cmp(&key(b)).then_with(|| a.labels.as_canonical().cmp(b.labels.as_canonical()))
        });
        exemplars.dedup();
    }
    exemplars
}

/// Rows of series, handed out series by series.
pub(crate) struct Grouped<R, S> {
    /// Sorted by the series' place in the order, the first at the end.
    rows: Vec<R>,
    series_of: S,
}

impl<R, S: Fn(&R) -> u32> Grouped<R, S> {
    /// Rows in order of arrival; `order` has the numbers of series as they will be asked for.
    pub(crate) fn new(mut rows: Vec<R>, order: &[u32], series_of: S) -> Self {
        if !rows.is_empty() {
            let mut places = vec![0_u32; order.len()];
            for (place, series) in (0_u32..).zip(order) {
                places[*series as usize] = place;
            }
            rows.sort_by_key(|row| places[series_of(row) as usize]);
            rows.reverse();
        }
        Self { rows, series_of }
    }

    /// The rows of `series` in order of arrival.
    pub(crate) fn take(&mut self, series: u32) -> Vec<R> {
        let mut own = Vec::new();
        while let Some(row) = self.rows.pop_if(|row| (self.series_of)(row) == series) {
            own.push(row);
        }
        own
    }
}
