//! What PromQL does with native histograms. The rules (bucket layout, reconciling of resolutions and zero buckets,
//! counter resets) are those of Prometheus's `model/histogram`.

use std::sync::Arc;

use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{CounterResetHint, Histogram, Span};

mod arithmetic;
mod bounds;
mod quantile;
mod reset;

pub(crate) use arithmetic::{Incompatible, add, add_to_mean, copy_to_schema, divide, scale, subtract};
pub(crate) use bounds::exponential_bound;
pub(crate) use quantile::{NanObservations, fraction, quantile, variance};
pub(crate) use reset::is_reset;

/// A bucket of a native histogram with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether observations equal to `lower` are in it.
    pub lower_inclusive: bool,
    /// Whether observations equal to `upper` are in it.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// The buckets of one side as (index, count), from the zero bucket outwards.
pub(crate) fn indexed<'a>(spans: &'a [Span], buckets: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0_i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add_unsigned(span.length);
        first..next
    });
    indexes.zip(buckets.iter().copied())
}

/// The upper bound of bucket `index`. The bounds of negative buckets are those of positive ones, mirrored.
pub(crate) fn upper_bound(histogram: &Histogram, index: i32) -> f64 {
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        return match usize::try_from(index) {
            Ok(index) => histogram.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        };
    }
    exponential_bound(index, histogram.schema)
}

/// The buckets of the positive side, ascending.
pub(crate) fn positive_buckets(histogram: &Histogram) -> impl Iterator<Item = Bucket> + '_ {
    indexed(&histogram.positive_spans, &histogram.positive_buckets).map(|(index, count)| Bucket {
        lower: upper_bound(histogram, index.saturating_sub(1)),
        upper: upper_bound(histogram, index),
        // The first custom bucket reaches down to -Inf.
        lower_inclusive: histogram.uses_custom_buckets() && index == 0,
        upper_inclusive: true,
        count,
    })
}

/// The buckets of the negative side, from the zero bucket downwards.
pub(crate) fn negative_buckets(histogram: &Histogram) -> impl Iterator<Item = Bucket> + '_ {
    indexed(&histogram.negative_spans, &histogram.negative_buckets).map(|(index, count)| Bucket {
        lower: -upper_bound(histogram, index),
        upper: -upper_bound(histogram, index.saturating_sub(1)),
        lower_inclusive: true,
        upper_inclusive: false,
        count,
    })
}

pub(crate) fn zero_bucket(histogram: &Histogram) -> Bucket {
    Bucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

/// All buckets, ascending; those beside the zero bucket are cut where they overlap with it.
#[must_use]
pub fn all_buckets(histogram: &Histogram) -> Vec<Bucket> {
    let threshold = histogram.zero_threshold;
    let mut buckets: Vec<Bucket> = negative_buckets(histogram).collect();
    buckets.reverse();
    for bucket in &mut buckets {
        bucket.upper = bucket.upper.min(-threshold);
    }
    if histogram.zero_count > 0.0 {
        buckets.push(zero_bucket(histogram));
    }
    let custom = histogram.uses_custom_buckets();
    buckets.extend(positive_buckets(histogram).map(|mut bucket| {
        if !custom {
            bucket.lower = bucket.lower.max(threshold);
        }
        bucket
    }));
    buckets
}

/// Makes spans and buckets of ascending (index, count) pairs.
pub(crate) fn from_indexed(pairs: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut buckets = Vec::new();
    let mut next = 0_i32;
    for (index, count) in pairs {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        next = index.saturating_add(1);
        buckets.push(count);
    }
    (spans, buckets)
}

/// Drops empty buckets, so that equal contents have equal layouts.
pub(crate) fn compact(histogram: &mut Histogram) {
    for (spans, buckets) in [
        (&mut histogram.positive_spans, &mut histogram.positive_buckets),
        (&mut histogram.negative_spans, &mut histogram.negative_buckets),
    ] {
        let dense = !buckets.contains(&0.0)
            && spans.iter().all(|span| span.length > 0)
            && spans.iter().skip(1).all(|span| span.offset > 0);
        if !dense {
            let kept: Vec<(i32, f64)> = indexed(spans, buckets).filter(|(_, count)| *count != 0.0).collect();
            (*spans, *buckets) = from_indexed(kept.into_iter());
        }
    }
}

/// Counts and sums of a series' histograms. What counts and buckets say of resets becomes the hint.
pub(crate) fn without_buckets(series: &[(i64, Arc<Histogram>)]) -> Vec<(i64, Arc<Histogram>)> {
    let mut before: Option<&Histogram> = None;
    let statistics = series.iter().map(|(at_ms, original)| {
        if original.is_stale() {
            return (*at_ms, Arc::clone(original));
        }
        let counter_reset_hint = match (original.counter_reset_hint, before) {
            (CounterResetHint::Unknown, Some(before)) if is_reset(original, before) => {
                CounterResetHint::CounterReset
            }
            (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotCounterReset,
            (hint, _) => hint,
        };
        before = Some(original);
        let (count, sum) = (original.count, original.sum);
        (*at_ms, Arc::new(Histogram { counter_reset_hint, count, sum, ..Histogram::default() }))
    });
    statistics.collect()
}

/// Whether two histograms are the same but for their counter-reset hints: layouts as they are, numbers to the bit.
pub(crate) fn equal(a: &Histogram, b: &Histogram) -> bool {
    let side = |spans_a: &[Span], buckets_a: &[f64], spans_b: &[Span], buckets_b: &[f64]| {
        let bits = |(index, count): (i32, f64)| (index, count.to_bits());
        buckets_a.len() == buckets_b.len()
            && indexed(spans_a, buckets_a).map(bits).eq(indexed(spans_b, buckets_b).map(bits))
    };
    a.schema == b.schema
        && a.count.to_bits() == b.count.to_bits()
        && a.sum.to_bits() == b.sum.to_bits()
        && a.custom_values == b.custom_values
        && a.zero_threshold == b.zero_threshold
        && a.zero_count.to_bits() == b.zero_count.to_bits()
        && side(&a.positive_spans, &a.positive_buckets, &b.positive_spans, &b.positive_buckets)
        && side(&a.negative_spans, &a.negative_buckets, &b.negative_spans, &b.negative_buckets)
}

/// The histogram as Prometheus writes it in a label value: `{count:4, sum:5, (1,2]:4}`.
pub(crate) fn to_text(histogram: &Histogram) -> String {
    use crate::number::shortest;
    let mut parts =
        vec![format!("count:{}", shortest(histogram.count)), format!("sum:{}", shortest(histogram.sum))];
    let mut negative: Vec<Bucket> = negative_buckets(histogram).collect();
    negative.reverse();
    let zero = zero_bucket(histogram);
    for bucket in negative.into_iter().chain([zero]).chain(positive_buckets(histogram)) {
        if bucket.count != 0.0 {
            parts.push(format!(
                "{}{},{}{}:{}",
                if bucket.lower_inclusive { '[' } else { '(' },
                shortest(bucket.lower),
                shortest(bucket.upper),
                if bucket.upper_inclusive { ']' } else { ')' },
                shortest(bucket.count)
            ));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
