//! Remote write 1.0 and 2.0, encoded by `prost` and read by our decoder.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod messages;

use messages::{v1, v2};
use prost::Message;
use telemetry::{CounterResetHint, Labels, MetricType, Span, stale_nan};
use wire::remote_write::{Item, Request, Version};
use wire::{Limits, RequestError, SeriesProblem};

/// What a request holds, in a form that tests can compare. Values are bits.
#[derive(Debug, Default, PartialEq)]
struct Read {
    series: Vec<ReadSeries>,
    rejected: Vec<String>,
    metadata: Vec<(String, MetricType, String, String)>,
}

#[derive(Debug, PartialEq)]
struct ReadSeries {
    labels: Labels,
    samples: Vec<(i64, u64)>,
    histograms: Vec<(i64, String)>,
    exemplars: Vec<(String, i64, u64)>,
}

fn read(version: Version, body: &[u8], limits: &Limits) -> Result<Read, RequestError> {
    let mut request = Request::new(version, body, limits)?;
    let mut read = Read::default();
    while let Some(item) = request.next_item()? {
        match item {
            Item::Rejected { error, .. } => read.rejected.push(error.to_string()),
            Item::Metadata(family) => read.metadata.push((
                family.family.to_owned(),
                family.metric_type,
                family.help.to_owned(),
                family.unit.to_owned(),
            )),
            Item::Series(series) => {
                let labels = match series.key().to_labels(limits) {
                    Ok(labels) => labels,
                    Err(error) => {
                        read.rejected.push(error.to_string());
                        continue;
                    }
                };
                let samples = series.samples().iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
                let mut histograms = Vec::new();
                for histogram in series.histograms() {
                    match histogram {
                        Ok((timestamp_ms, histogram)) => {
                            histograms.push((timestamp_ms, format!("{histogram:?}")));
                        }
                        Err(error) => read.rejected.push(error.to_string()),
                    }
                }
                let mut exemplars = Vec::new();
                for exemplar in series.exemplars() {
                    match exemplar {
                        Ok(e) => exemplars.push((e.labels.to_string(), e.timestamp_ms, e.value.to_bits())),
                        Err(error) => read.rejected.push(error.to_string()),
                    }
                }
                read.series.push(ReadSeries { labels, samples, histograms, exemplars });
            }
        }
    }
    Ok(read)
}

fn read_v1(request: &v1::WriteRequest) -> Read {
    read(Version::V1, &request.encode_to_vec(), &Limits::DEFAULT).unwrap()
}

fn read_v2(request: &v2::Request) -> Read {
    read(Version::V2, &request.encode_to_vec(), &Limits::DEFAULT).unwrap()
}

fn label(name: &str, value: &str) -> v1::Label {
    v1::Label { name: name.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

fn up(labels: &[(&str, &str)]) -> v1::TimeSeries {
    v1::TimeSeries {
        labels: labels.iter().map(|(name, value)| label(name, value)).collect(),
        samples: vec![v1::Sample { value: 1.5, timestamp: 1_700_000_000_123 }],
        ..Default::default()
    }
}

#[test]
fn a_series_of_1_0_arrives_with_all_its_parts() {
    let request = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: vec![label("__name__", "http_requests_total"), label("code", "200"), label("gone", "")],
            samples: vec![
                v1::Sample { value: 3.25, timestamp: 0 },
                v1::Sample { value: stale_nan(), timestamp: -5 },
                v1::Sample { value: f64::from_bits(0x7ff8_0000_dead_beef), timestamp: i64::MAX },
            ],
            exemplars: vec![v1::Exemplar {
                labels: vec![label("trace_id", "abc")],
                value: 2.0,
                timestamp: 7,
            }],
            histograms: vec![],
        }],
        metadata: vec![v1::MetricMetadata {
            metric_type: 1,
            metric_family_name: "http_requests_total".to_owned(),
            help: "Requests.".to_owned(),
            unit: "requests".to_owned(),
        }],
    };
    let read = read_v1(&request);
    assert_eq!(
        read.series,
        [ReadSeries {
            labels: Labels::from_pairs([("__name__", "http_requests_total"), ("code", "200")]).unwrap(),
            samples: vec![
                (0, 3.25_f64.to_bits()),
                (-5, stale_nan().to_bits()),
                (i64::MAX, 0x7ff8_0000_dead_beef)
            ],
            histograms: vec![],
            exemplars: vec![("{trace_id=\"abc\"}".to_owned(), 7, 2.0_f64.to_bits())],
        }]
    );
    assert_eq!(
        read.metadata,
        [(
            "http_requests_total".to_owned(),
            MetricType::Counter,
            "Requests.".to_owned(),
            "requests".to_owned()
        )]
    );
}

#[test]
fn a_series_of_2_0_arrives_with_all_its_parts() {
    let symbols =
        ["", "__name__", "lat_seconds_bucket", "le", "+Inf", "Latency.", "seconds", "trace_id", "abc"];
    let series = |value| v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![v1::Sample { value, timestamp: 9 }],
        exemplars: vec![v2::Exemplar { labels_refs: vec![7, 8], value: 2.0, timestamp: 7 }],
        metadata: Some(v2::Metadata { metric_type: 3, help_ref: 5, unit_ref: 6 }),
        created_timestamp: 5,
        ..Default::default()
    };
    let read = read_v2(&v2::Request {
        symbols: symbols.map(str::to_owned).to_vec(),
        timeseries: vec![series(1.0), series(2.0)],
    });
    let labels = Labels::from_pairs([("__name__", "lat_seconds_bucket"), ("le", "+Inf")]).unwrap();
    assert_eq!(read.series.len(), 2);
    for (found, value) in read.series.iter().zip([1.0_f64, 2.0]) {
        assert_eq!(found.labels, labels);
        assert_eq!(found.samples, [(9, value.to_bits())]);
        assert_eq!(found.exemplars, [("{trace_id=\"abc\"}".to_owned(), 7, 2.0_f64.to_bits())]);
    }
    // Told once, although both series carry it, and for the family instead of the bucket series.
    assert_eq!(
        read.metadata,
        [("lat_seconds".to_owned(), MetricType::Histogram, "Latency.".to_owned(), "seconds".to_owned())]
    );
}

#[test]
fn metadata_of_2_0_is_told_once_in_whatever_order_series_come() {
    let series = |name, help_ref| v2::TimeSeries {
        labels_refs: vec![1, name],
        metadata: Some(v2::Metadata { metric_type: 2, help_ref, unit_ref: 0 }),
        ..Default::default()
    };
    let symbols = ["", "__name__", "a", "b", "Help."].map(str::to_owned).to_vec();
    let timeseries = [series(2, 4), series(3, 4), series(2, 4), series(3, 0), series(2, 4)].to_vec();
    let body = v2::Request { symbols, timeseries }.encode_to_vec();
    let limits = Limits { max_metadata: 3, ..Limits::DEFAULT };
    let read = read(Version::V2, &body, &limits).unwrap();
    assert_eq!(read.series.len(), 5);
    let told: Vec<_> =
        read.metadata.iter().map(|(family, _, help, _)| (family.as_str(), help.as_str())).collect();
    assert_eq!(told, [("a", "Help."), ("b", "Help."), ("b", "")]);
}

#[test]
fn both_versions_give_a_series_the_same_key() {
    let body_v1 =
        v1::WriteRequest { timeseries: vec![up(&[("__name__", "up"), ("job", "j")])], metadata: vec![] }
            .encode_to_vec();
    let body_v2 = v2::Request {
        symbols: ["", "__name__", "up", "job", "j"].map(str::to_owned).to_vec(),
        timeseries: vec![v2::TimeSeries { labels_refs: vec![1, 2, 3, 4], ..Default::default() }],
    }
    .encode_to_vec();
    let key = |version, body: &[u8]| {
        let mut request = Request::new(version, body, &Limits::DEFAULT).unwrap();
        match request.next_item().unwrap() {
            Some(Item::Series(series)) => series.key().as_bytes().to_vec(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(key(Version::V1, &body_v1), key(Version::V2, &body_v2));
}

#[test]
fn labels_apart_from_each_other_are_gathered() {
    // labels, sample, unknown field 9, label: no known sender does this, but protobuf allows it.
    let mut series = Vec::new();
    let mut part = |labels: &[(&str, &str)], samples| {
        let part = v1::TimeSeries {
            labels: labels.iter().map(|(name, value)| label(name, value)).collect(),
            samples,
            ..Default::default()
        };
        series.extend(part.encode_to_vec());
    };
    part(&[("zone", "z"), ("__name__", "up")], vec![v1::Sample { value: 1.0, timestamp: 1 }]);
    part(&[("a", "b")], vec![v1::Sample { value: 2.0, timestamp: 2 }]);
    part(&[("c", "d")], vec![]);
    let mut body = Vec::new();
    prost::encoding::bytes::encode(1, &series, &mut body);
    let read = read(Version::V1, &body, &Limits::DEFAULT).unwrap();
    let expected = [("__name__", "up"), ("a", "b"), ("c", "d"), ("zone", "z")];
    assert_eq!(read.series[0].labels, Labels::from_pairs(expected).unwrap());
    assert_eq!(read.series[0].samples, [(1, 1.0_f64.to_bits()), (2, 2.0_f64.to_bits())]);
}

#[test]
fn a_bad_series_is_named_and_the_others_are_kept() {
    let long = "x".repeat(9000);
    let many: Vec<(String, String)> = (0..200).map(|i| (format!("l{i}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> =
        [("__name__", "m")].into_iter().chain(many.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
    let cases: [(Vec<(&str, &str)>, &str); 9] = [
        (vec![("job", "j")], "series {job=\"j\"}: it has no metric name"),
        (vec![("__name__", ""), ("job", "j")], "it has no metric name"),
        (vec![], "it has no metric name"),
        (
            vec![("__name__", "m"), ("", "v")],
            "series m{=\"v\"}: a label has an empty name (its value is \"v\")",
        ),
        (
            vec![("__name__", "m"), ("b", "1"), ("a", "2"), ("b", "3")],
            "series m{b=\"1\", a=\"2\", b=\"3\"}: label \"b\" appears twice",
        ),
        (vec![("__name__", "m"), ("__name__", "n")], "label \"__name__\" appears twice"),
        (
            vec![("__name__", "m"), ("big", &long)],
            "the value of label \"big\" is 9000 bytes long, more than the limit of 8192",
        ),
        (vec![("__name__", "m"), (&long, "v")], "is 9000 bytes long, more than the limit of 1024"),
        (many, "more than 128 labels"),
    ];
    for (labels, expected) in cases {
        let request = v1::WriteRequest {
            timeseries: vec![up(&[("__name__", "before")]), up(&labels), up(&[("__name__", "after")])],
            metadata: vec![],
        };
        let read = read_v1(&request);
        assert_eq!(read.series.len(), 2, "{expected}");
        assert_eq!(read.rejected.len(), 1, "{expected}");
        assert!(read.rejected[0].contains(expected), "{:?} does not contain {expected:?}", read.rejected[0]);
        assert!(read.rejected[0].len() < 2000, "{}", read.rejected[0].len());
    }
}

#[test]
fn invalid_utf8_is_told_with_the_label() {
    for (name, value, expected) in [
        (&b"ok"[..], &b"\xff\xfe"[..], "the value of label \"ok\" is not valid UTF-8"),
        (b"b\xc3", b"v", "the name of label \"b\u{fffd}\" is not valid UTF-8"),
    ] {
        let mut series = up(&[("__name__", "m")]);
        series.labels.push(v1::Label { name: name.to_vec(), value: value.to_vec() });
        let read = read_v1(&v1::WriteRequest { timeseries: vec![series], metadata: vec![] });
        assert!(read.rejected[0].contains(expected), "{:?}", read.rejected);
    }
}

#[test]
fn bad_references_of_2_0_reject_their_series_only() {
    let symbols = ["", "__name__", "up", "job"].map(str::to_owned).to_vec();
    let series = |labels_refs: Vec<u32>| v2::TimeSeries { labels_refs, ..Default::default() };
    let read = read_v2(&v2::Request {
        symbols,
        timeseries: vec![series(vec![1, 2, 3]), series(vec![1, 2, 3, 44]), series(vec![1, 2])],
    });
    assert_eq!(read.series.len(), 1);
    assert_eq!(
        read.rejected,
        [
            "series up{}: it has an odd number of label references, 3",
            "series up{}: reference 44 is outside the symbols table of 4 entries"
        ]
    );
}

#[test]
fn a_symbols_table_must_begin_with_the_empty_string() {
    let body = v2::Request { symbols: vec!["up".to_owned()], timeseries: vec![] }.encode_to_vec();
    assert!(matches!(read(Version::V2, &body, &Limits::DEFAULT), Err(RequestError::Protocol(_))));
}

fn integer_histogram() -> v1::Histogram {
    v1::Histogram {
        count: Some(v1::Count::Int(10)),
        sum: 18.4,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: Some(v1::ZeroCount::Int(2)),
        positive_spans: vec![
            v1::BucketSpan { offset: -2, length: 2 },
            v1::BucketSpan { offset: 1, length: 1 },
        ],
        positive_deltas: vec![1, 2, -1],
        negative_spans: vec![v1::BucketSpan { offset: 0, length: 1 }],
        negative_deltas: vec![2],
        reset_hint: 2,
        timestamp: 77,
        ..Default::default()
    }
}

fn one_histogram(histogram: v1::Histogram) -> Result<(i64, telemetry::Histogram), wire::SeriesError> {
    let mut series = up(&[("__name__", "h")]);
    series.histograms.push(histogram);
    let body = v1::WriteRequest { timeseries: vec![series], metadata: vec![] }.encode_to_vec();
    let mut request = Request::new(Version::V1, &body, &Limits::DEFAULT).unwrap();
    match request.next_item().unwrap() {
        Some(Item::Series(series)) => series.histograms().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn integer_histograms_become_absolute_counts() {
    let (timestamp_ms, histogram) = one_histogram(integer_histogram()).unwrap();
    assert_eq!(timestamp_ms, 77);
    assert_eq!((histogram.count, histogram.sum, histogram.zero_count), (10.0, 18.4, 2.0));
    assert_eq!((histogram.schema, histogram.zero_threshold), (1, 1e-128));
    assert_eq!(histogram.positive_buckets, [1.0, 3.0, 2.0]);
    assert_eq!(histogram.negative_buckets, [2.0]);
    assert_eq!(histogram.positive_spans, [Span { offset: -2, length: 2 }, Span { offset: 1, length: 1 }]);
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::NotCounterReset);
}

#[test]
fn float_and_custom_bucket_histograms_are_read() {
    let (_, histogram) = one_histogram(v1::Histogram {
        count: Some(v1::Count::Float(2.5)),
        zero_count: Some(v1::ZeroCount::Float(0.5)),
        positive_spans: vec![v1::BucketSpan { offset: 3, length: 2 }],
        positive_counts: vec![0.5, 1.5],
        ..Default::default()
    })
    .unwrap();
    assert_eq!((histogram.count, histogram.zero_count), (2.5, 0.5));
    assert_eq!(histogram.positive_buckets, [0.5, 1.5]);

    let (_, histogram) = one_histogram(v1::Histogram {
        count: Some(v1::Count::Int(3)),
        schema: -53,
        positive_spans: vec![v1::BucketSpan { offset: 0, length: 3 }],
        positive_deltas: vec![1, 0, 0],
        custom_values: vec![0.1, 1.0],
        ..Default::default()
    })
    .unwrap();
    assert!(histogram.uses_custom_buckets());
    assert_eq!(histogram.custom_values, [0.1, 1.0]);
}

#[test]
fn bad_histograms_say_what_is_wrong() {
    type Spoil = fn(&mut v1::Histogram);
    let cases: [(&str, Spoil); 6] = [
        ("schema 9", |h| h.schema = 9),
        ("schema 1000", |h| h.schema = 1000),
        ("need 4 positive buckets, found 3", |h| h.positive_spans[1].length = 2),
        ("negative bucket", |h| h.positive_deltas[0] = -5),
        ("deltas overflow", |h| h.positive_deltas = vec![i64::MAX, 1, 0]),
        ("more than 4096 buckets", |h| h.positive_deltas = vec![0; 4097]),
    ];
    for (expected, spoil) in cases {
        let mut histogram = integer_histogram();
        spoil(&mut histogram);
        let error = one_histogram(histogram).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} does not contain {expected:?}");
        assert!(error.to_string().starts_with("series h{}: "), "{error}");
    }
}

#[test]
fn long_exemplars_are_refused_by_themselves() {
    let mut series = up(&[("__name__", "m")]);
    for value in ["é".repeat(126), "é".repeat(127), "x".repeat(100_000)] {
        series.exemplars.push(v1::Exemplar { labels: vec![label("ab", &value)], value: 1.0, timestamp: 1 });
    }
    let body = v1::WriteRequest { timeseries: vec![series], metadata: vec![] }.encode_to_vec();
    let mut request = Request::new(Version::V1, &body, &Limits::DEFAULT).unwrap();
    let Some(Item::Series(series)) = request.next_item().unwrap() else { panic!() };
    let results: Vec<_> = series.exemplars().collect();
    assert!(results[0].is_ok());
    let problem = |index: usize| results[index].as_ref().unwrap_err().problem.clone();
    assert_eq!(problem(1), SeriesProblem::ExemplarTooLong { chars: 129, limit: 128 });
    assert!(matches!(problem(2), SeriesProblem::ExemplarTooLong { .. }));
}

#[test]
fn limits_of_a_request_refuse_it_whole() {
    let limits = Limits { max_series: 3, max_samples: 4, max_symbols: 6, max_metadata: 2, ..Limits::DEFAULT };
    let refused = |version, body: Vec<u8>| match read(version, &body, &limits) {
        Err(RequestError::TooMany { what, limit }) => (what, limit),
        other => panic!("{other:?}"),
    };
    let request = |series: usize, samples| v1::WriteRequest {
        timeseries: vec![
            v1::TimeSeries {
                samples: vec![v1::Sample::default(); samples],
                ..up(&[("__name__", "m")])
            };
            series
        ],
        metadata: vec![],
    };
    assert!(read(Version::V1, &request(3, 1).encode_to_vec(), &limits).is_ok());
    assert_eq!(refused(Version::V1, request(4, 1).encode_to_vec()), ("series", 3));
    assert_eq!(refused(Version::V1, request(1, 5).encode_to_vec()), ("samples", 4));
    let families = vec![v1::MetricMetadata::default(); 3];
    let families = v1::WriteRequest { timeseries: vec![], metadata: families };
    assert_eq!(refused(Version::V1, families.encode_to_vec()), ("metadata entries", 2));
    let symbols = v2::Request { symbols: vec![String::new(); 7], timeseries: vec![] };
    assert_eq!(refused(Version::V2, symbols.encode_to_vec()), ("symbols", 6));
}

#[test]
fn references_cannot_multiply_a_body_without_bound() {
    let limits = Limits { max_resolved_bytes: 100_000, ..Limits::DEFAULT };
    let request = v2::Request {
        symbols: vec![String::new(), "x".repeat(8000)],
        timeseries: vec![v2::TimeSeries { labels_refs: vec![1; 100], ..Default::default() }],
    };
    let result = read(Version::V2, &request.encode_to_vec(), &limits);
    assert_eq!(result, Err(RequestError::TooMany { what: "bytes of labels", limit: 100_000 }));
}
