//! Inputs for property tests.
#![allow(dead_code, unreachable_pub)]

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What happens to a body on its way.
#[derive(Clone, Debug)]
pub struct Spoil {
    /// Positions, as shares of the length, and the bits that flip there.
    flips: Vec<(f64, u8)>,
    /// What is left, as a share of the length.
    kept: f64,
}

impl Spoil {
    pub fn apply(&self, mut body: Vec<u8>) -> Vec<u8> {
        body.truncate((body.len() as f64 * self.kept).ceil() as usize);
        let length = body.len();
        for &(at, bits) in &self.flips {
            if let Some(byte) = body.get_mut((length as f64 * at) as usize) {
                *byte ^= bits;
            }
        }
        body
    }
}

pub fn spoil() -> impl Strategy<Value = Spoil> {
    let flips = vec((0.0..1.0, 1..=255_u8), 0..6);
    let kept = prop_oneof![2 => Just(1.0), 1 => 0.0..1.0];
    (flips, kept).prop_map(|(flips, kept)| Spoil { flips, kept })
}

/// A double that JSON can hold as a number.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![-1000.0..1000.0, Just(0.0), Just(1e300), Just(-2.5e-9)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-z\"ü\\\\\n]{0,5}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        double().prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..4).prop_map(Value::BytesValue),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let any_value = inner.prop_map(|value| AnyValue { value: Some(value) });
        prop_oneof![
            vec(any_value.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(("[a-c]{1,2}", any_value), 0..3).prop_map(|pairs| {
                let values = pairs.into_iter().map(|(key, value)| KeyValue {
                    key,
                    value: Some(value),
                    ..KeyValue::default()
                });
                Value::KvlistValue(KeyValueList { values: values.collect() })
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key =
        prop_oneof!["[a-c._ü]{0,3}", Just("service.name".to_owned()), Just("service.instance.id".to_owned())];
    vec((key, option::weighted(0.9, value())), 0..4).prop_map(|pairs| {
        let attribute =
            |(key, value)| KeyValue { key, value: Some(AnyValue { value }), ..KeyValue::default() };
        pairs.into_iter().map(attribute).collect()
    })
}

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 1_700_000_000_000_000_000..1_700_000_001_000_000_000_u64]
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let value = option::weighted(
        0.9,
        prop_oneof![
            double().prop_map(exemplar::Value::AsDouble),
            any::<i64>().prop_map(exemplar::Value::AsInt),
        ],
    );
    let id = |length| prop_oneof![3 => vec(any::<u8>(), length), 1 => vec(any::<u8>(), 0..3)];
    let exemplar = (attributes(), nanos(), value, id(16), id(8)).prop_map(
        |(filtered_attributes, time_unix_nano, value, trace_id, span_id)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            value,
            trace_id,
            span_id,
        },
    );
    vec(exemplar, 0..2)
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = option::weighted(
        0.9,
        prop_oneof![
            double().prop_map(number_data_point::Value::AsDouble),
            any::<i64>().prop_map(number_data_point::Value::AsInt),
        ],
    );
    (attributes(), nanos(), nanos(), 0..2_u32, exemplars(), value).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, flags, exemplars, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            exemplars,
            flags,
            value,
        },
    )
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let buckets = (vec(0..50_u64, 0..5), vec(double(), 0..5));
    (attributes(), nanos(), any::<u64>(), option::of(double()), buckets, exemplars(), 0..2_u32).prop_map(
        |(attributes, time_unix_nano, count, sum, (bucket_counts, mut explicit_bounds), exemplars, flags)| {
            explicit_bounds.sort_by(f64::total_cmp);
            explicit_bounds.truncate(bucket_counts.len().saturating_sub(1));
            HistogramDataPoint {
                attributes,
                time_unix_nano,
                count,
                sum,
                bucket_counts,
                explicit_bounds,
                exemplars,
                flags,
                ..HistogramDataPoint::default()
            }
        },
    )
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let side = || {
        option::of((any::<i32>(), vec(any::<u64>(), 0..6)))
            .prop_map(|side| side.map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }))
    };
    (attributes(), nanos(), -6..25_i32, any::<u64>(), 0.0..1.0, (side(), side()), option::of(double()))
        .prop_map(
            |(attributes, time_unix_nano, scale, zero_count, zero_threshold, (positive, negative), sum)| {
                ExponentialHistogramDataPoint {
                    attributes,
                    time_unix_nano,
                    scale,
                    zero_count,
                    zero_threshold,
                    positive,
                    negative,
                    sum,
                    count: 9,
                    ..ExponentialHistogramDataPoint::default()
                }
            },
        )
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    (attributes(), nanos(), any::<u64>(), double(), vec((0.0..1.0, double()), 0..3)).prop_map(
        |(attributes, time_unix_nano, count, sum, quantiles)| SummaryDataPoint {
            attributes,
            time_unix_nano,
            count,
            sum,
            quantile_values: quantiles
                .into_iter()
                .map(|(quantile, value)| ValueAtQuantile { quantile, value })
                .collect(),
            ..SummaryDataPoint::default()
        },
    )
}

/// Mostly a valid one.
fn temporality() -> impl Strategy<Value = i32> {
    prop_oneof![3 => 1..3, 1 => 0..4]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        vec(number_point(), 1..4).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 1..4), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic
            })
        ),
        (vec(histogram_point(), 1..4), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_point(), 1..4), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_point(), 1..4).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]
}

pub fn otlp_request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let unit = prop_oneof![Just(""), Just("1"), Just("By/s"), Just("{thing}")];
    let metric = ("[a-c._]{0,4}", unit, option::weighted(0.9, data()))
        .prop_map(|(name, unit, data)| Metric { name, unit: unit.to_owned(), data, ..Metric::default() });
    let scope = vec(metric, 1..4).prop_map(|metrics| ScopeMetrics {
        scope: Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() }),
        metrics,
        ..ScopeMetrics::default()
    });
    let resource = (attributes(), vec(scope, 1..3)).prop_map(|(attributes, scope_metrics)| ResourceMetrics {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_metrics,
        ..ResourceMetrics::default()
    });
    vec(resource, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}
