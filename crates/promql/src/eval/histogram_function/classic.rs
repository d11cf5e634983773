//! Classic histograms: cumulative counts by upper bound.

/// A bucket of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper_bound: f64,
    /// Observations up to the bound.
    pub(super) count: f64,
}

/// Relative differences of neighbouring counts up to this are taken for errors of floating-point arithmetic.
const TOLERANCE: f64 = 1e-12;

/// The value of an `le` label.
pub(super) fn parse_bound(text: &str) -> Option<f64> {
    // As Go reads floats; Rust's reader knows no underscores and hexadecimal floats, which no exporter writes.
    text.parse().ok()
}

/// The quantile `q` of buckets in ascending order, linear within a bucket, and whether counts had to be made monotonic.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets.last().is_none_or(|bucket| bucket.upper_bound != f64::INFINITY) {
        return (f64::NAN, false);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    if last == 0 {
        return (f64::NAN, false);
    }
    let observations = buckets[last].count;
    if observations == 0.0 {
        return (f64::NAN, false);
    }
    let mut rank = q * observations;
    // The first that reaches the rank; with NaN among the counts the one that Go's search comes to.
    let (mut found, mut end) = (0, last);
    while found < end {
        let middle = (found + end) / 2;
        if buckets[middle].count >= rank {
            end = middle;
        } else {
            found = middle + 1;
        }
    }
    if found == last {
        return (buckets[last - 1].upper_bound, forced);
    }
    let bucket = buckets[found];
    if found == 0 && bucket.upper_bound <= 0.0 {
        return (bucket.upper_bound, forced);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(before) = found.checked_sub(1).map(|at| buckets[at]) {
        start = before.upper_bound;
        count -= before.count;
        rank -= before.count;
    }
    (start + (bucket.upper_bound - start) * (rank / count), forced)
}

/// The fraction of observations between two bounds.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|bucket| bucket.upper_bound != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let observations = buckets[buckets.len() - 1].count;
    if observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    // As in Prometheus, the lowest bucket reaches down to -Inf, so that nothing is known of what lies within it.
    let rank_of = |value: f64| -> f64 {
        let (mut start, mut below) = (f64::NEG_INFINITY, 0.0);
        for bucket in buckets.iter() {
            if start >= value {
                return below;
            }
            if bucket.upper_bound > value {
                return below + (bucket.count - below) * (value - start) / (bucket.upper_bound - start);
            }
            start = bucket.upper_bound;
            below = bucket.count;
        }
        observations
    };
    let within = |rank: f64| if rank > observations { observations } else { rank };
    (within(rank_of(upper)) - within(rank_of(lower))) / observations
}

/// Adds up buckets with equal bounds.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper_bound == kept.upper_bound;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Lifts counts that are below those before them. Says so, unless the differences are numerical noise.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut highest = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == highest {
            continue;
        }
        if almost_equal(highest, bucket.count) {
            bucket.count = highest;
        } else if bucket.count < highest {
            bucket.count = highest;
            forced = true;
        } else {
            highest = bucket.count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
