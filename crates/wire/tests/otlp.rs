//! OTLP metrics, built and encoded by `opentelemetry-proto` and read by our decoder.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod rows;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rows::Rows;
use wire::otlp::{Format, MetricOptions, Outcome, Promotion, RpcStatus, TranslationStrategy};
use wire::{Limits, RequestError};

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const DELTA: i32 = AggregationTemporality::Delta as i32;
const SECOND: u64 = 1_000_000_000;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| attribute(key, value)).collect()
}

fn number(value: f64, pairs: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(pairs),
        time_unix_nano: 10 * SECOND,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: format!("About {name}."),
        data: Some(data),
        ..Metric::default()
    }
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

fn request_of(resource: &[(&str, &str)], metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "lib".to_owned(),
                    version: "1.2".to_owned(),
                    attributes: attributes(&[("lang", "rust")]),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn read(request: &ExportMetricsServiceRequest, options: &MetricOptions) -> (Rows, Outcome) {
    Rows::read(Format::Protobuf, &request.encode_to_vec(), options, &Limits::DEFAULT).unwrap()
}

/// The samples of a request that must be taken whole, by default options.
fn samples(resource: &[(&str, &str)], metrics: Vec<Metric>) -> Vec<String> {
    let (rows, outcome) = read(&request_of(resource, metrics), &MetricOptions::default());
    assert_eq!(outcome, Outcome::default());
    rows.samples
}

#[test]
fn gauges_and_sums_become_float_samples() {
    let sum = |temporality, is_monotonic, value| {
        Data::Sum(Sum {
            data_points: vec![NumberDataPoint {
                start_time_unix_nano: 5 * SECOND,
                ..number(value, &[("http.method", "GET")])
            }],
            aggregation_temporality: temporality,
            is_monotonic,
        })
    };
    let integer = NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(-7)),
        ..number(0.0, &[("state", "idle")])
    };
    let metrics = vec![
        metric("cpu.usage", "1", gauge(vec![number(0.5, &[]), integer])),
        metric("requests", "{request}", sum(CUMULATIVE, true, 3.0)),
        metric("requests.delta", "", sum(DELTA, true, 4.0)),
        metric("queue.size", "By", sum(CUMULATIVE, false, 5.0)),
    ];
    assert_eq!(
        samples(&[], metrics.clone()),
        [
            "cpu_usage_ratio @10000 0.5",
            "cpu_usage_ratio{state=\"idle\"} @10000 -7",
            "requests_total{http_method=\"GET\"} @10000 since 5000 3",
            "requests_delta_total{__temporality__=\"delta\", http_method=\"GET\"} @10000 since 5000 4",
            "queue_size_bytes{http_method=\"GET\"} @10000 since 5000 5",
        ]
    );
    let (rows, _) = read(&request_of(&[], metrics), &MetricOptions::default());
    assert_eq!(
        rows.metadata,
        [
            "cpu_usage_ratio gauge \"About cpu.usage.\" \"1\"",
            "requests_total counter \"About requests.\" \"{request}\"",
            "requests_delta_total counter \"About requests.delta.\" \"\"",
            "queue_size_bytes gauge \"About queue.size.\" \"By\"",
        ]
    );
}

#[test]
fn the_resource_becomes_job_instance_and_target_info() {
    let resource = [
        ("service.name", "shop"),
        ("service.namespace", "eu"),
        ("service.instance.id", "i-1"),
        ("k8s.pod.name", "p"),
    ];
    let later = NumberDataPoint { time_unix_nano: 12 * SECOND, ..number(2.0, &[("a", "b")]) };
    assert_eq!(
        samples(&resource, vec![metric("up", "", gauge(vec![later, number(1.0, &[])]))]),
        [
            "up{a=\"b\", instance=\"i-1\", job=\"eu/shop\"} @12000 2",
            "up{instance=\"i-1\", job=\"eu/shop\"} @10000 1",
            "target_info{instance=\"i-1\", job=\"eu/shop\", k8s_pod_name=\"p\"} @12000 1",
        ]
    );
    // Without other attributes, without an identity, or without data points there is nothing to tell.
    let up = || vec![metric("up", "", gauge(vec![number(1.0, &[])]))];
    assert_eq!(samples(&resource[..1], up()), ["up{job=\"shop\"} @10000 1"]);
    assert_eq!(samples(&resource[3..], up()), ["up @10000 1"]);
    assert!(samples(&resource, vec![]).is_empty());
}

#[test]
fn promoted_attributes_and_scope_labels_are_options() {
    let resource = [("service.name", "shop"), ("k8s.pod", "p"), ("zone", "z")];
    let request = request_of(&resource, vec![metric("up", "", gauge(vec![number(1.0, &[("zone", "own")])]))]);
    let first_sample = |options| read(&request, &options).0.samples[0].clone();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    // The data point's own attribute wins.
    assert_eq!(
        first_sample(MetricOptions {
            promotion: Promotion::Only(names(&["k8s.pod", "zone"])),
            ..MetricOptions::default()
        }),
        "up{job=\"shop\", k8s_pod=\"p\", zone=\"own\"} @10000 1"
    );
    assert_eq!(
        first_sample(MetricOptions {
            promotion: Promotion::AllExcept(names(&["k8s.pod"])),
            scope_labels: true,
            ..MetricOptions::default()
        }),
        "up{job=\"shop\", otel_scope_lang=\"rust\", otel_scope_name=\"lib\", otel_scope_version=\"1.2\", \
         service_name=\"shop\", zone=\"own\"} @10000 1"
    );
}

#[test]
fn translation_is_an_option() {
    let request = request_of(&[], vec![metric("a.b", "s", gauge(vec![number(1.0, &[("c.d", "e")])]))]);
    for (translation, expected) in [
        (TranslationStrategy::UnderscoreEscapingWithSuffixes, "a_b_seconds{c_d=\"e\"} @10000 1"),
        (TranslationStrategy::NoUtf8EscapingWithSuffixes, "{\"a.b_seconds\", \"c.d\"=\"e\"} @10000 1"),
        (TranslationStrategy::NoTranslation, "{\"a.b\", \"c.d\"=\"e\"} @10000 1"),
    ] {
        let options = MetricOptions { translation, ..MetricOptions::default() };
        assert_eq!(read(&request, &options).0.samples, [expected]);
    }
}

#[test]
fn labels_that_get_the_same_name_are_joined_and_reserved_ones_are_ours() {
    let point = number(1.0, &[("a_b", "3"), ("a.b", "2"), ("a-b", "1"), ("job", "own"), ("__name__", "x")]);
    assert_eq!(
        samples(&[("service.name", "shop")], vec![metric("m", "", gauge(vec![point]))]),
        ["m{a_b=\"1;2;3\", job=\"shop\"} @10000 1"]
    );
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(&[("a", "b")]),
        time_unix_nano: 10 * SECOND,
        count: 6,
        sum: Some(12.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 10.0],
        exemplars: [0.1, 10.0, 99.0]
            .map(|value| exemplar(value, b"\x01\x02\x03\x04\x05\x06\x07\x08"))
            .to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar(value: f64, span_id: &[u8]) -> Exemplar {
    Exemplar {
        time_unix_nano: 9 * SECOND,
        value: Some(exemplar::Value::AsDouble(value)),
        span_id: span_id.to_vec(),
        trace_id: vec![0xab; 16],
        ..Exemplar::default()
    }
}

fn histogram(point: HistogramDataPoint, aggregation_temporality: i32) -> Data {
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality })
}

#[test]
fn explicit_histograms_become_classic_series() {
    let request = request_of(&[], vec![metric("lat", "s", histogram(histogram_point(), CUMULATIVE))]);
    let (rows, _) = read(&request, &MetricOptions::default());
    assert_eq!(
        rows.samples,
        [
            "lat_seconds_sum{a=\"b\"} @10000 12.5",
            "lat_seconds_count{a=\"b\"} @10000 6",
            "lat_seconds_bucket{a=\"b\", le=\"0.5\"} @10000 1",
            "lat_seconds_bucket{a=\"b\", le=\"10\"} @10000 3",
            "lat_seconds_bucket{a=\"b\", le=\"+Inf\"} @10000 6",
        ]
    );
    let ids = format!("{{span_id=\"0102030405060708\", trace_id=\"{}\"}}", "ab".repeat(16));
    assert_eq!(
        rows.exemplars,
        [
            format!("lat_seconds_bucket{{a=\"b\", le=\"0.5\"}} {ids} @9000 0.1"),
            format!("lat_seconds_bucket{{a=\"b\", le=\"10\"}} {ids} @9000 10"),
            format!("lat_seconds_bucket{{a=\"b\", le=\"+Inf\"}} {ids} @9000 99"),
        ]
    );
    let delta = request_of(&[], vec![metric("lat", "s", histogram(histogram_point(), DELTA))]);
    let (rows, _) = read(&delta, &MetricOptions::default());
    assert_eq!(
        rows.samples[4],
        "lat_seconds_bucket{__temporality__=\"delta\", a=\"b\", le=\"+Inf\"} @10000 6"
    );
}

#[test]
fn explicit_histograms_become_native_ones_by_option() {
    let options = MetricOptions { custom_bucket_histograms: true, ..MetricOptions::default() };
    let request = request_of(&[], vec![metric("lat", "s", histogram(histogram_point(), CUMULATIVE))]);
    let (rows, _) = read(&request, &options);
    assert_eq!(rows.samples.len(), 1);
    assert!(rows.samples[0].starts_with("lat_seconds{a=\"b\"} @10000 Histogram"), "{}", rows.samples[0]);
    assert!(rows.samples[0].contains("custom_values: [0.5, 10.0]"), "{}", rows.samples[0]);
    assert_eq!(rows.exemplars.len(), 3);
}

#[test]
fn exponential_histograms_become_native_ones() {
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: 10 * SECOND,
        count: 10,
        sum: Some(3.0),
        scale: 2,
        zero_count: 1,
        zero_threshold: 0.25,
        positive: Some(Buckets { offset: 3, bucket_counts: vec![4, 5] }),
        exemplars: vec![exemplar(1.0, &[0; 8])],
        ..ExponentialHistogramDataPoint::default()
    };
    let data = |aggregation_temporality| {
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![point.clone()],
            aggregation_temporality,
        })
    };
    let metrics = vec![metric("lat", "s", data(CUMULATIVE)), metric("lat", "s", data(DELTA))];
    let (rows, _) = read(&request_of(&[], metrics), &MetricOptions::default());
    let native = |labels, hint| {
        format!(
            "lat_seconds{labels} @10000 Histogram {{ counter_reset_hint: {hint}, schema: 2, zero_threshold: 0.25, \
             zero_count: 1.0, count: 10.0, sum: 3.0, positive_spans: [Span {{ offset: 4, length: 2 }}], \
             negative_spans: [], positive_buckets: [4.0, 5.0], negative_buckets: [], custom_values: [] }}"
        )
    };
    assert_eq!(rows.samples, [native("", "Unknown"), native("{__temporality__=\"delta\"}", "Gauge")]);
    // A span id of zeros is none.
    assert_eq!(rows.exemplars[0], format!("lat_seconds {{trace_id=\"{}\"}} @9000 1", "ab".repeat(16)));
}

#[test]
fn summaries_become_a_series_a_quantile() {
    let point = SummaryDataPoint {
        time_unix_nano: 10 * SECOND,
        count: 4,
        sum: 8.0,
        quantile_values: [(0.5, 1.5), (0.99, 3.0)]
            .map(|(quantile, value)| ValueAtQuantile { quantile, value })
            .to_vec(),
        ..SummaryDataPoint::default()
    };
    let data = Data::Summary(Summary { data_points: vec![point] });
    assert_eq!(
        samples(&[], vec![metric("rpc", "s", data)]),
        [
            "rpc_seconds_sum @10000 8",
            "rpc_seconds_count @10000 4",
            "rpc_seconds{quantile=\"0.5\"} @10000 1.5",
            "rpc_seconds{quantile=\"0.99\"} @10000 3",
        ]
    );
}

#[test]
fn no_recorded_value_is_the_staleness_marker() {
    let stale_number = NumberDataPoint { flags: 1, value: None, ..number(0.0, &[]) };
    let stale_histogram = HistogramDataPoint { flags: 1, exemplars: vec![], ..histogram_point() };
    let metrics = vec![
        metric("g", "", gauge(vec![stale_number])),
        metric("h", "", histogram(stale_histogram, CUMULATIVE)),
    ];
    let samples = samples(&[], metrics);
    assert_eq!(samples.len(), 6);
    assert!(samples.iter().all(|sample| sample.ends_with(" stale")), "{samples:?}");
}

#[test]
fn bad_data_points_are_counted_and_the_others_are_kept() {
    let bad_utf8 = {
        let mut point = number(1.0, &[("k", "vvvv")]).encode_to_vec();
        let at = point.windows(4).position(|window| window == b"vvvv").unwrap();
        point[at] = 0xff;
        point
    };
    let valueless = NumberDataPoint { value: None, ..number(0.0, &[]) };
    let many: Vec<KeyValue> = (0..200).map(|i| attribute(&format!("k{i}"), "v")).collect();
    let mut ragged = histogram_point();
    ragged.bucket_counts.pop();
    let coarse = ExponentialHistogramDataPoint { scale: -5, ..ExponentialHistogramDataPoint::default() };
    let cases = vec![
        (gauge(vec![valueless]), "metric \"m\": the data point has no value"),
        (
            gauge(vec![NumberDataPoint { attributes: many, ..number(0.0, &[]) }]),
            "metric \"m\": resource, scope and data point have more than 128 labels together",
        ),
        (histogram(ragged, CUMULATIVE), "metric \"m\": the histogram has 2 bucket counts for 2 boundaries"),
        (histogram(histogram_point(), 0), "metric \"m\": the aggregation temporality is neither"),
        (
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![coarse],
                aggregation_temporality: CUMULATIVE,
            }),
            "metric \"m\": the exponential histogram has scale -5",
        ),
        (
            gauge(vec![number(1.0, &[("k", &"x".repeat(9000))])]),
            "metric \"m\": the value of attribute \"k\" is 9000 bytes long, more than the limit of 8192",
        ),
    ];
    for (data, expected) in cases {
        let good = || metric("good", "", gauge(vec![number(1.0, &[])]));
        let request = request_of(&[], vec![good(), metric("m", "", data), good()]);
        let (rows, outcome) = read(&request, &MetricOptions::default());
        assert_eq!(rows.samples, ["good @10000 1", "good @10000 1"], "{expected}");
        assert_eq!(outcome.rejected, 1, "{expected}");
        assert!(outcome.error_message.starts_with(expected), "{} / {expected}", outcome.error_message);
    }
    // Bytes that are not text, which `String` cannot hold: the message is put together by hand.
    let wrap = |number, bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
        out
    };
    let mut metric = wrap(1, b"m");
    metric.extend(wrap(5, &[wrap(1, &bad_utf8), wrap(1, &number(2.0, &[]).encode_to_vec())].concat()));
    let body = wrap(1, &wrap(2, &wrap(2, &metric)));
    let (rows, outcome) =
        Rows::read(Format::Protobuf, &body, &MetricOptions::default(), &Limits::DEFAULT).unwrap();
    assert_eq!(rows.samples, ["m @10000 2"]);
    assert_eq!(outcome.error_message, "metric \"m\": the value of attribute \"k\" is not valid UTF-8");
}

#[test]
fn attributes_that_join_cost_no_more_than_they_are_long() {
    let keys: Vec<String> = (0..100).map(|i| char::from_u32(0x4e00 + i).unwrap().to_string()).collect();
    let value = "v".repeat(8000);
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value.as_str())).collect();
    let (rows, outcome) = read(
        &request_of(&[], vec![metric("m", "", gauge(vec![number(1.0, &pairs)]))]),
        &MetricOptions::default(),
    );
    // One label of 800,099 bytes, which is too long to be stored.
    assert!(rows.samples.is_empty());
    assert!(outcome.error_message.contains("is 800099 bytes long"), "{}", outcome.error_message);
}

#[test]
fn a_bad_resource_costs_its_own_data_points_only() {
    let two_points = || vec![metric("m", "", gauge(vec![number(1.0, &[]), number(2.0, &[("a", "b")])]))];
    let many: Vec<(String, String)> = (0..200).map(|i| (format!("k{i}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut request = request_of(&many, two_points());
    request.resource_metrics.extend(request_of(&[], two_points()).resource_metrics);
    let options = MetricOptions { promotion: Promotion::AllExcept([].into()), ..MetricOptions::default() };
    let (rows, outcome) = read(&request, &options);
    assert_eq!(rows.samples, ["m @10000 1", "m{a=\"b\"} @10000 2"]);
    assert_eq!(outcome.rejected, 2);
    assert!(outcome.error_message.ends_with("(first of 2 rejected data points)"), "{outcome:?}");
}

#[test]
fn what_costs_no_data_point_is_a_warning() {
    let long = "x".repeat(9000);
    let resource = [("service.name", "shop"), ("process.command_args", &long)];
    let (rows, outcome) = read(
        &request_of(&resource, vec![metric("m", "", gauge(vec![number(1.0, &[])]))]),
        &MetricOptions::default(),
    );
    assert_eq!(rows.samples, ["m{job=\"shop\"} @10000 1"]);
    assert_eq!(outcome.rejected, 0);
    assert!(outcome.error_message.starts_with("metric \"target_info\": the value of"), "{outcome:?}");
    let bytes = outcome.encode_metrics_response(Format::Protobuf);
    let partial = ExportMetricsServiceResponse::decode(&bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_data_points, partial.error_message), (0, outcome.error_message));
}

#[test]
fn limits_of_a_request_refuse_it_whole() {
    let points = (0..10).map(|_| number(1.0, &[("a", "b")])).collect();
    let body = request_of(&[], vec![metric("m", "", gauge(points))]).encode_to_vec();
    for (limits, expected) in [
        (Limits { max_series: 9, ..Limits::DEFAULT }, "data points"),
        (Limits { max_samples: 9, ..Limits::DEFAULT }, "samples"),
        (Limits { max_resolved_bytes: 100, ..Limits::DEFAULT }, "bytes of labels"),
    ] {
        match Rows::read(Format::Protobuf, &body, &MetricOptions::default(), &limits) {
            Err(RequestError::TooMany { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn responses_are_what_clients_read() {
    let outcome = Outcome { rejected: 3, error_message: "why \"so\"".to_owned() };
    let expected = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "why \"so\"".to_owned(),
        }),
    };
    let bytes = outcome.encode_metrics_response(Format::Protobuf);
    assert_eq!(ExportMetricsServiceResponse::decode(&bytes[..]).unwrap(), expected);
    let json = outcome.encode_metrics_response(Format::Json);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "3");
    assert_eq!(json["partialSuccess"]["errorMessage"], "why \"so\"");

    let fine = Outcome::default();
    assert_eq!(fine.encode_metrics_response(Format::Protobuf), b"");
    assert_eq!(fine.encode_metrics_response(Format::Json), b"{}");

    let status = RpcStatus { code: 3, message: "malformed".to_owned() };
    assert_eq!(status.encode(Format::Protobuf), b"\x08\x03\x12\x09malformed");
    assert_eq!(status.encode(Format::Json), br#"{"code":3,"message":"malformed"}"#);
}

#[test]
fn content_types_name_formats() {
    assert_eq!(Format::from_content_type("application/x-protobuf"), Some(Format::Protobuf));
    assert_eq!(Format::from_content_type("Application/JSON; charset=utf-8"), Some(Format::Json));
    assert_eq!(Format::from_content_type("text/plain"), None);
}
