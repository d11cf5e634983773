//! Whether a result is what a script says.

use promql::Bucket;
use telemetry::{Histogram, Labels, is_stale_nan};

use crate::answer::{FoundHistogram, Sample, Series, Value};
use crate::notation::SequenceValue;
use crate::script::{Eval, EvalWindow, ExpectedResult};

/// Relative error that results may have.
const TOLERANCE: f64 = 1e-6;

pub(crate) fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Buckets that hold something, as (index, count).
fn filled(spans: &[telemetry::Span], buckets: &[f64]) -> Vec<(i32, f64)> {
    let mut index = 0;
    let mut counts = buckets.iter();
    let mut filled = Vec::new();
    for span in spans {
        index += span.offset;
        for count in counts.by_ref().take(span.length as usize) {
            if *count != 0.0 {
                filled.push((index, *count));
            }
            index += 1;
        }
    }
    filled
}

fn histograms_match(expected: &Histogram, hint_is_set: bool, found: &Histogram) -> bool {
    let side = |a: Vec<(i32, f64)>, b: Vec<(i32, f64)>| {
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1))
    };
    expected.schema == found.schema
        && almost_equal(expected.count, found.count)
        && almost_equal(expected.sum, found.sum)
        && expected.custom_values == found.custom_values
        && expected.zero_threshold == found.zero_threshold
        && almost_equal(expected.zero_count, found.zero_count)
        && side(
            filled(&expected.positive_spans, &expected.positive_buckets),
            filled(&found.positive_spans, &found.positive_buckets),
        )
        && side(
            filled(&expected.negative_spans, &expected.negative_buckets),
            filled(&found.negative_spans, &found.negative_buckets),
        )
        && (!hint_is_set || expected.counter_reset_hint == found.counter_reset_hint)
}

/// Whether `found` is what shows of `expected` where only buckets with something in them do.
fn buckets_match(expected: &Histogram, count: f64, sum: f64, found: &[Bucket]) -> bool {
    let buckets = promql::all_buckets(expected);
    let mut filled = buckets.iter().filter(|bucket| bucket.count != 0.0);
    let same = |expected: &Bucket, found: &Bucket| {
        almost_equal(expected.lower, found.lower)
            && almost_equal(expected.upper, found.upper)
            && almost_equal(expected.count, found.count)
            && (expected.lower_inclusive, expected.upper_inclusive)
                == (found.lower_inclusive, found.upper_inclusive)
    };
    almost_equal(expected.count, count)
        && almost_equal(expected.sum, sum)
        && found.iter().all(|found| filled.next().is_some_and(|expected| same(expected, found)))
        && filled.next().is_none()
}

fn value_matches(expected: &SequenceValue, found: &Sample) -> bool {
    match (expected, found) {
        (SequenceValue::Float(expected), Sample::Float(found)) => almost_equal(*expected, *found),
        (SequenceValue::Histogram { histogram, hint_is_set }, Sample::Histogram(found)) => match found {
            FoundHistogram::Whole(found) => histograms_match(histogram, *hint_is_set, found),
            FoundHistogram::Buckets { count, sum, buckets } => {
                buckets_match(histogram, *count, *sum, buckets)
            }
        },
        _ => false,
    }
}

pub(crate) fn check(eval: &Eval, value: &Value) -> Result<(), String> {
    match (value, &eval.result) {
        (Value::Scalar(found), ExpectedResult::Scalar(expected)) => {
            if almost_equal(*expected, *found) {
                Ok(())
            } else {
                Err(format!("expected scalar {expected}, got {found}"))
            }
        }
        (Value::String(found), ExpectedResult::String(expected)) if found == expected => Ok(()),
        (Value::Vector(found), ExpectedResult::Series(expected)) => check_vector(eval, expected, found),
        (Value::Matrix(found), ExpectedResult::Series(expected)) => check_matrix(eval, expected, found),
        (found, _) => Err(format!("a result of another type: {found:?}")),
    }
}

fn check_vector(
    eval: &Eval,
    expected: &[(Labels, Vec<SequenceValue>)],
    found: &[(Labels, Sample)],
) -> Result<(), String> {
    for (position, (labels, sample)) in found.iter().enumerate() {
        let Some(at) = expected.iter().position(|(candidate, _)| candidate == labels) else {
            return Err(format!("unexpected {labels:?} in result: {sample:?}"));
        };
        if eval.ordered && at != position {
            return Err(format!("{labels:?} is at position {position}, not {at}"));
        }
        let expected = &expected[at].1[0];
        if !value_matches(expected, sample) {
            return Err(format!("{labels:?}: expected {expected:?}, got {sample:?}"));
        }
    }
    let missing = expected.iter().find(|(labels, _)| !found.iter().any(|(candidate, _)| candidate == labels));
    match missing {
        Some((labels, _)) => Err(format!("{labels:?} is missing in the result")),
        None if found.len() > expected.len() => Err("an element occurs twice".to_owned()),
        None => Ok(()),
    }
}

fn check_matrix(
    eval: &Eval,
    expected: &[(Labels, Vec<SequenceValue>)],
    found: &[Series],
) -> Result<(), String> {
    if found.windows(2).any(|pair| pair[0].labels >= pair[1].labels) {
        return Err("the series are not in ascending label order".to_owned());
    }
    let (start_ms, step_ms) = match (eval.range_vector, &eval.window) {
        (Some((start_ms, _, step_ms)), _) => (start_ms, step_ms),
        (None, EvalWindow::Range { start_ms, step_ms, .. }) => (*start_ms, *step_ms),
        (None, EvalWindow::Instant { .. }) => return Err("a matrix for an instant query".to_owned()),
    };
    for series in found {
        let Some((_, values)) = expected.iter().find(|(labels, _)| *labels == series.labels) else {
            return Err(format!("unexpected {:?} in result: {series:?}", series.labels));
        };
        let mut points = series.points.iter();
        for (index, value) in values.iter().enumerate() {
            let at_ms = start_ms + step_ms * index as i64;
            if matches!(value, SequenceValue::Omitted) {
                continue;
            }
            match points.next() {
                Some((time, found)) if *time == at_ms && value_matches(value, found) => {}
                found => {
                    return Err(format!(
                        "{:?} at {at_ms} ms: expected {value:?}, got {found:?} in {series:?}",
                        series.labels
                    ));
                }
            }
        }
        if points.next().is_some() {
            return Err(format!("{:?} has more points than expected: {series:?}", series.labels));
        }
    }
    match expected.iter().find(|(labels, _)| !found.iter().any(|series| series.labels == *labels)) {
        Some((labels, _)) => Err(format!("{labels:?} is missing in the result")),
        None => Ok(()),
    }
}
