//! Quantiles, fractions and variances of native histograms.

use telemetry::Histogram;

use super::{Bucket, all_buckets};
use crate::eval::kahan::Kahan;

/// What observations of NaN, which are in no bucket, do to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanObservations {
    /// There are none.
    None,
    /// The rank is among them, so that the result is NaN.
    ResultIsNan,
    /// They count as the highest observations.
    SkewedHigher,
}

/// The quantile `q`: interpolated exponentially in exponential buckets, linearly in custom ones and the zero bucket.
pub(crate) fn quantile(q: f64, histogram: &Histogram) -> (f64, NanObservations) {
    let none = |value: f64| (value, NanObservations::None);
    if q < 0.0 {
        return none(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return none(f64::INFINITY);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return none(f64::NAN);
    }
    let buckets = all_buckets(histogram);
    // NaN observations are in the count but in no bucket; the rank from above would be off by them.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let mut rank = if forward { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut bucket =
        Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut count = 0.0;
    let mut seen = 0;
    let ordered: Box<dyn Iterator<Item = &Bucket>> =
        if forward { Box::new(buckets.iter()) } else { Box::new(buckets.iter().rev()) };
    for candidate in ordered {
        seen += 1;
        bucket = *candidate;
        if candidate.count == 0.0 {
            continue;
        }
        count += candidate.count;
        if count >= rank {
            break;
        }
    }
    let custom = histogram.uses_custom_buckets();
    if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero_bucket(histogram, &mut bucket);
    } else if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return none(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return none(bucket.lower);
        }
    }
    // Summing up may end a little above the count.
    count = count.min(histogram.count);
    if count < rank {
        if histogram.sum.is_nan() {
            return (f64::NAN, NanObservations::ResultIsNan);
        }
        return none(bucket.upper);
    }
    let mut observations = NanObservations::None;
    // From the bucket's lower end.
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    if histogram.sum.is_nan() {
        let rest = &buckets[seen..];
        // The sum is NaN for +Inf and -Inf together, too; only NaN observations are in no bucket.
        if count + rest.iter().map(|bucket| bucket.count).sum::<f64>() < histogram.count {
            observations = NanObservations::SkewedHigher;
        }
        // Having looked at them, Prometheus 3.5 goes on with the last one in place of the one it found.
        bucket = rest.last().copied().unwrap_or(bucket);
    }
    let fraction = rank / bucket.count;
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, observations);
    }
    let log_lower = bucket.lower.abs().log2();
    let log_upper = bucket.upper.abs().log2();
    let value = if bucket.lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    };
    (value, observations)
}

/// With observations on one side only, nothing in the zero bucket is taken to be on the other.
fn narrow_zero_bucket(histogram: &Histogram, bucket: &mut Bucket) {
    match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// The fraction of observations between `lower` and `upper`, and whether there are NaN observations, which are between
/// no bounds.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, bool) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let custom = histogram.uses_custom_buckets();
    let buckets = all_buckets(histogram);
    let total: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let has_nan = histogram.sum.is_nan() && total < histogram.count;
    let everything = if has_nan { total } else { histogram.count };
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank): (Option<f64>, Option<f64>) = (None, None);
    for mut bucket in buckets {
        // Custom buckets, too, are taken to start at 0 where they reach below.
        let zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if zero_bucket {
            narrow_zero_bucket(histogram, &mut bucket);
        }
        let rank_of = |value: f64| {
            if custom || zero_bucket {
                return rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
            }
            let log_lower = bucket.lower.abs().log2();
            let log_upper = bucket.upper.abs().log2();
            let log_value = value.abs().log2();
            let fraction = if value > 0.0 {
                (log_value - log_lower) / (log_upper - log_lower)
            } else {
                1.0 - (log_value - log_upper) / (log_lower - log_upper)
            };
            rank + bucket.count * fraction
        };
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower >= bound {
                *found = Some(rank);
            } else if found.is_none() && bucket.lower < bound && bucket.upper > bound {
                *found = Some(rank_of(bound));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    // NaN, of which the lowest custom bucket makes what lies within it, stays.
    let capped = |rank: Option<f64>| match rank {
        Some(rank) if rank > everything => everything,
        Some(rank) => rank,
        None => everything,
    };
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, has_nan)
}

/// The variance, each observation taken to be in the middle of its bucket: geometric, in custom buckets arithmetic.
pub(crate) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = Kahan::default();
    for bucket in all_buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        let value = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = value - mean;
        sum.add(bucket.count * delta * delta);
    }
    sum.plain_total() / histogram.count
}
