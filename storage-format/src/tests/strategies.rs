//! Batches of every kind of sample, with values and times that are usual, odd and extreme.

use std::sync::Arc;

use proptest::prelude::*;
use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{
    CounterResetHint, Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, Metadata,
    MetricBatch, MetricRows, MetricType, STALE_NAN_BITS, Series, Span,
};

fn label_set() -> impl Strategy<Value = Labels> {
    let name = prop::sample::select(vec!["__name__", "job", "le", "pod", "\u{e4} name"]);
    let value = prop_oneof!["[a-c]{1,2}", "[a-z]{70,80}", "\\PC{1,4}"];
    prop::collection::btree_map(name, value, 0..5).prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => (0..40_i64).prop_map(|scrape| 1_790_000_000_000 + scrape * 15_000),
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]),
    ]
}

pub(super) fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-1000_i64..100_000, 0..4_i32).prop_map(|(number, places)| number as f64 / 10_f64.powi(places)),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NEG_INFINITY,
            f64::from_bits(STALE_NAN_BITS), f64::NAN, f64::from_bits(0xfff8_0000_dead_beef), 9_007_199_254_740_993.0,
        ]),
    ]
}

fn count() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (0..10_000_u32).prop_map(f64::from), 1 => 0.0..1e18, 1 => Just(f64::NAN)]
}

fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let span = (0..9_i32, 0..4_u32).prop_map(|(offset, length)| Span { offset, length });
    prop::collection::vec(span, 0..3).prop_flat_map(|spans| {
        let buckets = spans.iter().map(|span| span.length as usize).sum::<usize>();
        (Just(spans), prop::collection::vec(count(), buckets))
    })
}

pub(super) fn histogram() -> impl Strategy<Value = Histogram> {
    let parts = (0..4_u8, -4..=8_i8, side(), side(), count(), count(), value(), any::<bool>());
    parts.prop_map(|(hint, schema, positive, negative, count, zero_count, sum, custom)| {
        let mut histogram = Histogram {
            counter_reset_hint: CounterResetHint::from_persisted(hint).unwrap(),
            schema,
            zero_threshold: 1e-9,
            zero_count,
            count,
            sum,
            positive_spans: positive.0,
            positive_buckets: positive.1,
            negative_spans: negative.0,
            negative_buckets: negative.1,
            custom_values: Vec::new(),
        };
        if custom {
            histogram.schema = CUSTOM_BUCKETS_SCHEMA;
            (histogram.zero_threshold, histogram.zero_count) = (0.0, 0.0);
            (histogram.negative_spans, histogram.negative_buckets) = (Vec::new(), Vec::new());
            histogram.custom_values = (0..40).map(f64::from).collect();
        }
        histogram.validate().unwrap();
        histogram
    })
}

/// Rows of up to `series` series.
pub(super) fn batch(series: usize) -> impl Strategy<Value = MetricBatch> {
    let floats = prop::collection::vec((0..series, timestamp(), value()), 0..series * 6);
    let histograms = prop::collection::vec((0..series, timestamp(), histogram()), 0..6);
    let exemplars = prop::collection::vec((0..series, timestamp(), value(), label_set()), 0..4);
    let metadata = prop::collection::btree_map("[a-z]{0,5}", (0..8_u8, "\\PC{0,20}", "[a-z]{0,3}"), 0..3);
    let sets = prop::collection::vec(label_set(), series);
    (sets, floats, histograms, exemplars, metadata).prop_map(
        |(sets, floats, histograms, exemplars, metadata)| {
            let series: Vec<Arc<Series>> =
                sets.into_iter().map(|labels| Arc::new(Series::new(labels))).collect();
            let of = |index: usize| Arc::clone(&series[index]);
            let mut rows = MetricRows::default();
            rows.floats.extend(floats.into_iter().map(|(index, timestamp_ms, value)| FloatRow {
                series: of(index),
                timestamp_ms,
                value,
            }));
            rows.histograms.extend(histograms.into_iter().map(|(index, timestamp_ms, histogram)| {
                HistogramRow { series: of(index), timestamp_ms, histogram: Arc::new(histogram) }
            }));
            rows.exemplars.extend(exemplars.into_iter().map(|(index, timestamp_ms, value, labels)| {
                ExemplarRow { series: of(index), exemplar: Exemplar { labels, value, timestamp_ms } }
            }));
            rows.metadata.extend(metadata.into_iter().map(|(name, (number, help, unit))| {
                let metric_type = MetricType::from_persisted(number).unwrap();
                (name, Metadata { metric_type, help, unit })
            }));
            MetricBatch::from_rows(vec![rows])
        },
    )
}
