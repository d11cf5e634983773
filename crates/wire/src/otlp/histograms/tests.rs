use proptest::prelude::*;
use telemetry::is_stale_nan;

use super::*;

const TOTALS: Totals = Totals { count: 0, sum: None, delta: false, no_recorded_value: false };

/// The non-empty buckets as (index, count).
fn buckets(spans: &[Span], counts: &[f64]) -> Vec<(i64, f64)> {
    let mut indexed = Vec::new();
    let mut index = 0_i64;
    let mut counts = counts.iter();
    for span in spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            indexed.push((index, *counts.next().unwrap()));
            index += 1;
        }
    }
    indexed.retain(|(_, count)| *count > 0.0);
    indexed
}

fn exponential(scale: i64, offset: i64, counts: &[u64]) -> Exponential {
    Exponential {
        totals: TOTALS,
        scale,
        zero_count: 0,
        zero_threshold: 0.0,
        positive: ExponentialSide { offset, counts: counts.to_vec() },
        negative: ExponentialSide::default(),
    }
}

#[test]
fn bucket_numbers_move_up_by_one() {
    // OpenTelemetry's bucket 0 is (1, base], which native histograms number 1.
    let histogram = exponential(3, 0, &[4, 0, 0, 5, 0, 0, 0, 6]).to_native().unwrap();
    assert_eq!(histogram.schema, 3);
    assert_eq!(histogram.zero_threshold, 1e-128);
    assert_eq!(histogram.positive_spans, [Span { offset: 1, length: 4 }, Span { offset: 3, length: 1 }]);
    assert_eq!(histogram.positive_buckets, [4.0, 0.0, 0.0, 5.0, 6.0]);
}

#[test]
fn finer_scales_are_merged_and_coarser_ones_refused() {
    // From scale 10 to 8, four neighbours become one; -5 >> 2 is -2, so buckets -5..-1 fall into -2 and -1.
    let histogram = exponential(10, -5, &[1, 2, 4, 8, 16, 32]).to_native().unwrap();
    assert_eq!(histogram.schema, 8);
    assert_eq!(
        buckets(&histogram.positive_spans, &histogram.positive_buckets),
        [(-1, 1.0), (0, 30.0), (1, 32.0)]
    );
    assert_eq!(exponential(-5, 0, &[1]).to_native().unwrap_err(), PointProblem::Scale(-5));
    assert!(exponential(i64::from(i32::MAX), i64::from(i32::MIN), &[1, 1]).to_native().is_ok());
    assert!(exponential(0, i64::from(i32::MAX), &[1, 1]).to_native().is_err());
}

#[test]
fn a_point_without_a_value_is_stale() {
    let totals = Totals { no_recorded_value: true, delta: true, count: 3, sum: Some(1.0) };
    let histogram = Exponential { totals, ..exponential(0, 0, &[3]) }.to_native().unwrap();
    assert!(is_stale_nan(histogram.sum));
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
    assert!(histogram.positive_buckets.is_empty());
    assert!(is_stale_nan(custom_buckets(totals, &[1, 2], &[0.5]).unwrap().sum));
}

#[test]
fn explicit_buckets_keep_their_boundaries() {
    let totals = Totals { count: 7, sum: Some(9.5), ..TOTALS };
    let histogram = custom_buckets(totals, &[0, 0, 3, 4], &[1.0, 2.0, 5.0]).unwrap();
    assert_eq!(histogram.custom_values, [1.0, 2.0, 5.0]);
    assert_eq!(histogram.positive_spans, [Span { offset: 2, length: 2 }]);
    assert_eq!(histogram.positive_buckets, [3.0, 4.0]);
    assert_eq!((histogram.count, histogram.sum), (7.0, 9.5));
    // Without buckets all observations are in the one that is always there.
    let histogram = custom_buckets(totals, &[], &[]).unwrap();
    assert_eq!(histogram.positive_buckets, [7.0]);
}

#[test]
fn boundaries_must_ascend_and_fit_the_counts() {
    assert!(check_explicit(&[], &[]).is_ok());
    assert!(check_explicit(&[1], &[]).is_ok());
    assert!(check_explicit(&[1, 2, 3], &[0.0, 1.0]).is_ok());
    assert_eq!(
        check_explicit(&[1, 2], &[0.0, 1.0]),
        Err(PointProblem::BucketCounts { counts: 2, bounds: 2 })
    );
    assert_eq!(check_explicit(&[1, 2, 3], &[1.0, 1.0]), Err(PointProblem::Boundary { index: 1, value: 1.0 }));
    assert!(check_explicit(&[1, 2], &[f64::NAN]).is_err());
    assert!(check_explicit(&[1, 2], &[f64::NEG_INFINITY]).is_err());
}

proptest! {
    /// Whatever the scale, every observation stays, in the bucket whose boundaries hold it.
    #[test]
    fn conversion_keeps_every_observation(
        scale in -4_i64..20,
        offset in -1000_i64..1000,
        counts in proptest::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 0..100_u64], 0..60),
    ) {
        let histogram = exponential(scale, offset, &counts).to_native().unwrap();
        let mut expected: Vec<(i64, f64)> = Vec::new();
        let merged = 1_i64 << (scale - i64::from(histogram.schema));
        for (position, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = (offset + position as i64).div_euclid(merged) + 1;
            match expected.last_mut() {
                Some((last, total)) if *last == index => *total += count as f64,
                _ => expected.push((index, count as f64)),
            }
        }
        prop_assert_eq!(buckets(&histogram.positive_spans, &histogram.positive_buckets), expected);
    }
}
