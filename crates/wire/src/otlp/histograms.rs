//! Histograms: checks, and conversion to native histograms.

use telemetry::histogram::{CUSTOM_BUCKETS_SCHEMA, MAX_EXPONENTIAL_SCHEMA, MIN_EXPONENTIAL_SCHEMA};
use telemetry::{CounterResetHint, Histogram, Span, stale_nan};

use super::point::PointProblem;

/// Zero threshold of exponential histograms that say none, as Prometheus has it.
const DEFAULT_ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets that cost less than a new span.
const MAX_GAP_IN_SPAN: i64 = 2;

/// Checks an explicit histogram: as many counts as boundaries and one more, or neither; boundaries that ascend.
pub(super) fn check_explicit(counts: &[u64], bounds: &[f64]) -> Result<(), PointProblem> {
    let fits = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
    if !fits {
        return Err(PointProblem::BucketCounts { counts: counts.len(), bounds: bounds.len() });
    }
    let mut previous = f64::NEG_INFINITY;
    for (index, &value) in bounds.iter().enumerate() {
        if !(value > previous && value.is_finite()) {
            return Err(PointProblem::Boundary { index, value });
        }
        previous = value;
    }
    Ok(())
}

/// What both kinds of histograms have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) delta: bool,
    pub(super) no_recorded_value: bool,
}

impl Totals {
    /// A native histogram without buckets. Deltas need no detection of resets, just as gauges do.
    fn to_histogram(self, schema: i8, zero_threshold: f64) -> Histogram {
        let hint = if self.delta { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        let sum = if self.no_recorded_value { stale_nan() } else { self.sum.unwrap_or_default() };
        Histogram {
            counter_reset_hint: hint,
            schema,
            zero_threshold,
            count: self.count as f64,
            sum,
            ..Histogram::default()
        }
    }
}

/// An explicit histogram, checked by [`check_explicit`], as a native one with custom buckets.
pub(super) fn custom_buckets(
    totals: Totals,
    counts: &[u64],
    bounds: &[f64],
) -> Result<Histogram, PointProblem> {
    let mut histogram = totals.to_histogram(CUSTOM_BUCKETS_SCHEMA, 0.0);
    histogram.custom_values = bounds.to_vec();
    if !totals.no_recorded_value {
        // Without buckets, all observations are in the one up to +Inf.
        let whole = [totals.count];
        let counts = if counts.is_empty() { &whole[..] } else { counts };
        let indexed = (0_i64..).zip(counts.iter().copied());
        (histogram.positive_spans, histogram.positive_buckets) = sparse(indexed)?;
    }
    histogram.validate()?;
    Ok(histogram)
}

/// Buckets on one side of zero of an exponential histogram: the index of the first, and the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct ExponentialSide {
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}

/// An exponential histogram.
#[derive(Clone, Debug)]
pub(super) struct Exponential {
    pub(super) totals: Totals,
    pub(super) scale: i64,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: ExponentialSide,
    pub(super) negative: ExponentialSide,
}

impl Exponential {
    /// The same as a native histogram. A scale finer than native histograms have is reduced by merging neighbours.
    pub(super) fn to_native(&self) -> Result<Histogram, PointProblem> {
        if self.scale < MIN_EXPONENTIAL_SCHEMA.into() {
            return Err(PointProblem::Scale(self.scale));
        }
        let schema = self.scale.min(MAX_EXPONENTIAL_SCHEMA.into());
        let threshold = if self.zero_threshold == 0.0 { DEFAULT_ZERO_THRESHOLD } else { self.zero_threshold };
        let mut histogram = self.totals.to_histogram(schema as i8, threshold);
        if !self.totals.no_recorded_value {
            let shift = (self.scale - schema).min(i64::BITS.into()) as u32;
            histogram.zero_count = self.zero_count as f64;
            (histogram.positive_spans, histogram.positive_buckets) = native_side(&self.positive, shift)?;
            (histogram.negative_spans, histogram.negative_buckets) = native_side(&self.negative, shift)?;
        }
        histogram.validate()?;
        Ok(histogram)
    }
}

/// OpenTelemetry numbers a bucket by its lower boundary, native histograms by its upper one: one more.
fn native_side(side: &ExponentialSide, shift: u32) -> Result<(Vec<Span>, Vec<f64>), PointProblem> {
    // An index is a 32-bit number plus a bounded length: no shift beyond 63 tells more than its sign.
    let shift = shift.min(63);
    let index_of = |position: i64| (side.offset.saturating_add(position) >> shift) + 1;
    let mut merged: Vec<(i64, u64)> = Vec::with_capacity(side.counts.len());
    for (position, &count) in (0_i64..).zip(&side.counts) {
        let index = index_of(position);
        match merged.last_mut() {
            Some((last, total)) if *last == index => {
                *total = total.checked_add(count).ok_or(PointProblem::BucketOverflow)?;
            }
            _ => merged.push((index, count)),
        }
    }
    sparse(merged.into_iter())
}

/// Spans and counts of buckets given in ascending order; empty ones are left out where that saves something.
fn sparse(buckets: impl Iterator<Item = (i64, u64)>) -> Result<(Vec<Span>, Vec<f64>), PointProblem> {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts = Vec::new();
    let mut next = 0_i64;
    for (index, count) in buckets.filter(|(_, count)| *count > 0) {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= MAX_GAP_IN_SPAN => {
                counts.extend((0..gap).map(|_| 0.0));
                span.length += gap as u32 + 1;
            }
            _ => {
                let offset = i32::try_from(gap).map_err(|_| PointProblem::BucketOverflow)?;
                spans.push(Span { offset, length: 1 });
            }
        }
        counts.push(count as f64);
        next = index + 1;
    }
    Ok((spans, counts))
}

#[cfg(test)]
mod tests;
