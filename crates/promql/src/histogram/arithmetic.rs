//! Adding, subtracting, scaling.

use std::iter::Peekable;

use telemetry::{CounterResetHint, Histogram, Span};

use super::{compact, from_indexed, indexed, negative_buckets, positive_buckets};

/// Why two histograms cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incompatible {
    /// One has exponential buckets, the other custom ones.
    Schema,
    /// Their custom boundaries differ.
    Bounds,
}

/// `histogram += other`. What comes out has the coarser resolution and the larger zero bucket of the two.
pub(crate) fn add(histogram: &mut Histogram, other: &Histogram) -> Result<(), Incompatible> {
    combine(histogram, other, 1.0)
}

/// `histogram -= other`.
pub(crate) fn subtract(histogram: &mut Histogram, other: &Histogram) -> Result<(), Incompatible> {
    combine(histogram, other, -1.0)
}

fn combine(histogram: &mut Histogram, other: &Histogram, sign: f64) -> Result<(), Incompatible> {
    if histogram.uses_custom_buckets() != other.uses_custom_buckets() {
        return Err(Incompatible::Schema);
    }
    if histogram.uses_custom_buckets() && histogram.custom_values != other.custom_values {
        return Err(Incompatible::Bounds);
    }
    histogram.counter_reset_hint = combined_hint(histogram.counter_reset_hint, other.counter_reset_hint);
    histogram.count += sign * other.count;
    histogram.sum += sign * other.sum;
    if histogram.uses_custom_buckets() {
        add_side(&mut histogram.positive_spans, &mut histogram.positive_buckets, |add| {
            add(&other.positive_spans, &other.positive_buckets, sign);
        });
        return Ok(());
    }
    let other_zero_count = reconcile_zero_buckets(histogram, other);
    histogram.zero_count += sign * other_zero_count;
    if histogram.schema > other.schema {
        reduce_resolution(histogram, other.schema);
    }
    // The other's buckets at this one's resolution, without those that are within the zero bucket.
    let shift = other.schema - histogram.schema;
    let threshold = histogram.zero_threshold;
    let schema = histogram.schema;
    let is_outside = |index: i32| super::exponential_bound(index, schema) > threshold;
    let fits = |spans: &[Span]| shift == 0 && spans.first().is_none_or(|span| is_outside(span.offset));
    for (spans, buckets, other_spans, other_buckets) in [
        (
            &mut histogram.positive_spans,
            &mut histogram.positive_buckets,
            &other.positive_spans,
            &other.positive_buckets,
        ),
        (
            &mut histogram.negative_spans,
            &mut histogram.negative_buckets,
            &other.negative_spans,
            &other.negative_buckets,
        ),
    ] {
        if fits(other_spans) {
            add_side(spans, buckets, |add| add(other_spans, other_buckets, sign));
        } else {
            let coarse = merged(indexed(other_spans, other_buckets).map(|(i, n)| (coarser(i, shift), n)));
            let outside = coarse.filter(|(index, _)| is_outside(*index));
            let (coarse_spans, coarse_buckets) = from_indexed(outside);
            add_side(spans, buckets, |add| add(&coarse_spans, &coarse_buckets, sign));
        }
    }
    Ok(())
}

/// What is known of resets after combining; a contradiction leaves nothing known.
fn combined_hint(a: CounterResetHint, b: CounterResetHint) -> CounterResetHint {
    if a == b {
        a
    } else if a == CounterResetHint::Gauge || b == CounterResetHint::Gauge {
        CounterResetHint::Gauge
    } else {
        CounterResetHint::Unknown
    }
}

/// Adds spans and buckets, given through the callback, to a side.
fn add_side(
    spans: &mut Vec<Span>,
    buckets: &mut Vec<f64>,
    with_other: impl FnOnce(&mut dyn FnMut(&[Span], &[f64], f64)),
) {
    with_other(&mut |other_spans, other_buckets, sign| {
        if other_buckets.is_empty() {
            return;
        }
        if spans.as_slice() == other_spans && buckets.len() == other_buckets.len() {
            for (mine, other) in buckets.iter_mut().zip(other_buckets) {
                *mine += sign * other;
            }
            return;
        }
        let sum = Union {
            a: indexed(spans, buckets).peekable(),
            b: indexed(other_spans, other_buckets).map(|(index, count)| (index, sign * count)).peekable(),
        };
        let joined: Vec<(i32, f64)> = sum.collect();
        (*spans, *buckets) = from_indexed(joined.into_iter());
    });
}

/// Two ascending sequences as one; counts of equal indexes are added.
struct Union<A: Iterator, B: Iterator> {
    a: Peekable<A>,
    b: Peekable<B>,
}

impl<A, B> Iterator for Union<A, B>
where
    A: Iterator<Item = (i32, f64)>,
    B: Iterator<Item = (i32, f64)>,
{
    type Item = (i32, f64);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.a.peek().copied(), self.b.peek().copied()) {
            (Some((a, in_a)), Some((b, in_b))) => {
                if a <= b {
                    self.a.next();
                }
                if b <= a {
                    self.b.next();
                }
                Some(match a.cmp(&b) {
                    std::cmp::Ordering::Less => (a, in_a),
                    std::cmp::Ordering::Greater => (b, in_b),
                    std::cmp::Ordering::Equal => (a, in_a + in_b),
                })
            }
            (Some(_), None) => self.a.next(),
            (None, _) => self.b.next(),
        }
    }
}

/// The bucket at a resolution that is coarser by `shift` schemas.
pub(super) fn coarser(index: i32, shift: i8) -> i32 {
    if shift == 0 { index } else { ((index - 1) >> shift) + 1 }
}

/// Adds up neighbours with equal indexes.
pub(super) fn merged(pairs: impl Iterator<Item = (i32, f64)>) -> impl Iterator<Item = (i32, f64)> {
    let mut pairs = pairs.peekable();
    std::iter::from_fn(move || {
        let (index, mut count) = pairs.next()?;
        while let Some((_, more)) = pairs.next_if(|(next, _)| *next == index) {
            count += more;
        }
        Some((index, count))
    })
}

fn reduce_resolution(histogram: &mut Histogram, schema: i8) {
    let shift = histogram.schema - schema;
    for (spans, buckets) in [
        (&mut histogram.positive_spans, &mut histogram.positive_buckets),
        (&mut histogram.negative_spans, &mut histogram.negative_buckets),
    ] {
        let coarse: Vec<_> =
            merged(indexed(spans, buckets).map(|(index, count)| (coarser(index, shift), count))).collect();
        (*spans, *buckets) = from_indexed(coarse.into_iter());
    }
    histogram.schema = schema;
}

/// A copy with the resolution of `schema`, which is at most the histogram's own.
pub(crate) fn copy_to_schema(histogram: &Histogram, schema: i8) -> Histogram {
    let mut copy = histogram.clone();
    if schema < copy.schema && !copy.uses_custom_buckets() {
        reduce_resolution(&mut copy, schema);
    }
    copy
}

/// Multiplies all counts and the sum.
pub(crate) fn scale(histogram: &mut Histogram, factor: f64) {
    rescale(histogram, |value| value * factor);
}

/// Divides all counts and the sum; nothing is left of the buckets when dividing by 0.
pub(crate) fn divide(histogram: &mut Histogram, divisor: f64) {
    rescale(histogram, |value| value / divisor);
    if divisor == 0.0 {
        histogram.positive_spans.clear();
        histogram.positive_buckets.clear();
        histogram.negative_spans.clear();
        histogram.negative_buckets.clear();
    }
}

/// Takes the `count`th histogram into the mean of those before it.
///
/// As Prometheus does it, step by step: where resolutions or zero buckets differ, a sum would come to other buckets.
pub(crate) fn add_to_mean(
    mean: &mut Histogram,
    histogram: &Histogram,
    count: f64,
) -> Result<(), Incompatible> {
    let mut change = histogram.clone();
    divide(&mut change, count);
    let mut share = mean.clone();
    divide(&mut share, count);
    subtract(&mut change, &share)?;
    add(mean, &change)
}

fn rescale(histogram: &mut Histogram, with: impl Fn(f64) -> f64) {
    let own = [&mut histogram.count, &mut histogram.sum, &mut histogram.zero_count];
    let buckets = histogram.positive_buckets.iter_mut().chain(&mut histogram.negative_buckets);
    for value in own.into_iter().chain(buckets) {
        *value = with(*value);
    }
}

/// What the zero count would be with a larger threshold. Where the threshold falls into a bucket that is not empty it
/// grows to that bucket's end; the threshold that came out is returned, too.
pub(super) fn zero_count_for(histogram: &Histogram, larger: f64) -> (f64, f64) {
    let mut threshold = larger;
    if threshold == histogram.zero_threshold {
        return (histogram.zero_count, threshold);
    }
    'again: loop {
        let mut count = histogram.zero_count;
        for bucket in positive_buckets(histogram) {
            if bucket.lower >= threshold {
                break;
            }
            count += bucket.count;
            if bucket.upper > threshold {
                if bucket.count != 0.0 {
                    threshold = bucket.upper;
                }
                break;
            }
        }
        for bucket in negative_buckets(histogram) {
            if bucket.upper <= -threshold {
                break;
            }
            count += bucket.count;
            if bucket.lower < -threshold {
                if bucket.count != 0.0 {
                    // The positive side has to be looked at again.
                    threshold = -bucket.lower;
                    continue 'again;
                }
                break;
            }
        }
        return (count, threshold);
    }
}

/// Widens the histogram's zero bucket until it could be the other's, too; returns the other's zero count then.
fn reconcile_zero_buckets(histogram: &mut Histogram, other: &Histogram) -> f64 {
    let (mut other_count, mut other_threshold) = (other.zero_count, other.zero_threshold);
    while other_threshold != histogram.zero_threshold {
        if histogram.zero_threshold > other_threshold {
            (other_count, other_threshold) = zero_count_for(other, histogram.zero_threshold);
        }
        if other_threshold > histogram.zero_threshold {
            let (count, threshold) = zero_count_for(histogram, other_threshold);
            histogram.zero_count = count;
            histogram.zero_threshold = threshold;
            drop_buckets_in_zero_bucket(histogram);
        }
        if !(other_threshold.is_finite() && histogram.zero_threshold.is_finite()) {
            break;
        }
    }
    other_count
}

fn drop_buckets_in_zero_bucket(histogram: &mut Histogram) {
    let threshold = histogram.zero_threshold;
    let inside = |buckets: Vec<super::Bucket>| {
        buckets.iter().take_while(|bucket| bucket.lower.abs().min(bucket.upper.abs()) < threshold).count()
    };
    let positive = inside(positive_buckets(histogram).collect());
    let negative = inside(negative_buckets(histogram).collect());
    histogram.positive_buckets[..positive].fill(0.0);
    histogram.negative_buckets[..negative].fill(0.0);
    compact(histogram);
}
