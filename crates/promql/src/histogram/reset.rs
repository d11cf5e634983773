//! Counter resets between two histograms of one series.

use telemetry::{CounterResetHint, Histogram, Span};

use super::arithmetic::{coarser, merged, zero_count_for};
use super::{exponential_bound, indexed};

/// Whether `current`, which follows `previous` in its series, comes after a counter reset: its hint says so, or, where
/// the hint says nothing, some count went down or the layout changed as it cannot without a reset.
pub(crate) fn is_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.counter_reset_hint {
        CounterResetHint::CounterReset => return true,
        CounterResetHint::NotCounterReset => return false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => {}
    }
    if current.count < previous.count {
        return true;
    }
    let custom = current.uses_custom_buckets();
    if custom != previous.uses_custom_buckets()
        || (custom && current.custom_values != previous.custom_values)
        || current.schema > previous.schema
        || current.zero_threshold < previous.zero_threshold
    {
        return true;
    }
    if !custom {
        let (zero_count, threshold) = zero_count_for(previous, current.zero_threshold);
        if threshold != current.zero_threshold || current.zero_count < zero_count {
            return true;
        }
    }
    let shift = if custom { 0 } else { previous.schema - current.schema };
    let side = |spans: &[Span], buckets: &[f64], shift: i8| -> Vec<(i32, f64)> {
        let coarse = merged(indexed(spans, buckets).map(|(index, count)| (coarser(index, shift), count)));
        coarse
            .filter(|(index, _)| custom || exponential_bound(*index, current.schema) > current.zero_threshold)
            .collect()
    };
    side_shrank(
        &side(&current.positive_spans, &current.positive_buckets, 0),
        &side(&previous.positive_spans, &previous.positive_buckets, shift),
    ) || side_shrank(
        &side(&current.negative_spans, &current.negative_buckets, 0),
        &side(&previous.negative_spans, &previous.negative_buckets, shift),
    )
}

/// Whether a bucket of `previous` is smaller in `current`, or gone while it had something in it. As in Prometheus 3.5, of
/// those behind the last one of `current` only the first is looked at.
fn side_shrank(current: &[(i32, f64)], previous: &[(i32, f64)]) -> bool {
    let mut current = current.iter().peekable();
    for (index, count) in previous {
        while current.next_if(|(candidate, _)| candidate < index).is_some() {}
        match current.peek() {
            Some((candidate, now)) if candidate == index => {
                if now < count {
                    return true;
                }
            }
            Some(_) if *count != 0.0 => return true,
            Some(_) => {}
            None => return *count != 0.0,
        }
    }
    false
}
