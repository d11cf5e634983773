//! Remote write over HTTP: what each request is answered, and what of it is durable.

use crate::support::messages::{
    RequestV2, TimeSeriesV2, WriteRequest, otlp_json, request, requests_at, series, snappy,
};
use crate::support::{Answer, NOW_MS, REMOTE_WRITE_HEADERS, Setup, World, messages, post};
use axum::body::Body;
use http::{Request, StatusCode};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn what_is_acked_is_in_the_bucket() {
    let world = World::new();
    let message = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "up"), ("job", "a")], &[(NOW_MS - 1000, 1.0), (NOW_MS, 0.0)]),
            series(&[("job", "b"), ("__name__", "up")], &[(NOW_MS, 1.0)]),
        ],
        metadata: Vec::new(),
    };
    let answer = world.write(&message).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::NO_CONTENT, ""));
    let expected = [
        ("up{job=\"a\"}".to_owned(), NOW_MS - 1000, 1.0),
        ("up{job=\"a\"}".to_owned(), NOW_MS, 0.0),
        ("up{job=\"b\"}".to_owned(), NOW_MS, 1.0),
    ];
    assert_eq!(world.stored("acme").await, expected);
    // A client that did not hear the answer sends it again.
    assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored("acme").await, expected);
}

#[tokio::test]
async fn an_empty_request_is_good_and_makes_no_object() {
    let world = World::new();
    assert_eq!(world.write(&WriteRequest::default()).await.status, StatusCode::NO_CONTENT);
    assert!(world.batches("acme").await.is_empty());
}

#[tokio::test]
async fn metadata_is_stored_once_in_a_while() {
    let world = World::new();
    let family = messages::MetricMetadata {
        metric_type: 1,
        metric_family_name: "http_requests_total".to_owned(),
        help: "Requests.".to_owned(),
    };
    let message = WriteRequest { timeseries: Vec::new(), metadata: vec![family] };
    for _ in 0..3 {
        assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);
    }
    let batches = world.batches("acme").await;
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].metadata["http_requests_total"].help, "Requests.");
    world.clock.advance(ingest_service::limits::METADATA_INTERVAL);
    assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.batches("acme").await.len(), 2);
}

/// A metric of which nothing is stored is not to be listed.
#[tokio::test]
async fn metadata_of_refused_samples_is_stored_when_one_is_kept() {
    let world = World::new();
    let metadata = ["good_seconds", "late"].map(|name| messages::MetricMetadata {
        metric_type: 3,
        metric_family_name: name.to_owned(),
        help: "Help.".to_owned(),
    });
    let of_late_at = |at_ms| WriteRequest {
        timeseries: vec![
            series(&[("__name__", "good_seconds_bucket"), ("le", "1")], &[(NOW_MS, 1.0)]),
            series(&[("__name__", "late")], &[(at_ms, 1.0)]),
        ],
        metadata: metadata.to_vec(),
    };
    let stored = async || -> Vec<String> {
        world.batches("acme").await.into_iter().flat_map(|batch| batch.metadata.into_keys()).collect()
    };
    assert_eq!(world.write(&of_late_at(1)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(stored().await, ["good_seconds"]);
    assert_eq!(world.write(&of_late_at(NOW_MS)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(stored().await, ["good_seconds", "late"]);

    let old = otlp_json(&[("old", 1), ("fresh", NOW_MS)]);
    let json = [("content-type", "application/json")];
    let answer = world.send(post("/v1/metrics", Some(&world.keys.acme), &json, old)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(stored().await, ["good_seconds", "late", "fresh"]);
}

#[tokio::test]
async fn requests_that_cannot_be_taken_get_their_status() {
    let good = snappy(&request(&["up"]));
    let mut cut = good.clone();
    cut.truncate(good.len() - 3);
    // A snappy block that declares 1 GiB.
    let bomb = [&[0x80, 0x80, 0x80, 0x80, 0x04][..], &[0; 100]].concat();
    // Zeros compress 20 times in snappy: within the body's limit, beyond it when decompressed.
    let inflating = snap::raw::Encoder::new().compress_vec(&vec![0; 65 << 20]).unwrap();
    let not_protobuf = snap::raw::Encoder::new().compress_vec(&[0xff; 50]).unwrap();
    let truncated_message = snap::raw::Encoder::new().compress_vec(&[0x0a, 0x7f, 0x0a]).unwrap();
    let protobuf = ("content-type", "application/x-protobuf");
    type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16, &'static str);
    let cases: Vec<Case> = vec![
        ("no body", REMOTE_WRITE_HEADERS.to_vec(), Vec::new(), 400, "snappy"),
        ("not snappy", REMOTE_WRITE_HEADERS.to_vec(), b"hello world".to_vec(), 400, "snappy"),
        ("cut snappy", REMOTE_WRITE_HEADERS.to_vec(), cut, 400, "snappy"),
        ("declared too large", REMOTE_WRITE_HEADERS.to_vec(), bomb, 413, "after decompression"),
        ("inflates too far", REMOTE_WRITE_HEADERS.to_vec(), inflating, 413, "after decompression"),
        ("not protobuf", REMOTE_WRITE_HEADERS.to_vec(), not_protobuf, 400, "WriteRequest"),
        ("cut protobuf", REMOTE_WRITE_HEADERS.to_vec(), truncated_message, 400, ""),
        ("JSON", vec![("content-type", "application/json")], b"{}".to_vec(), 415, "application/x-protobuf"),
        (
            "a version of the future",
            vec![("content-type", "application/x-protobuf;proto=io.prometheus.write.v3.Request")],
            good.clone(),
            415,
            "io.prometheus.write.v2.Request",
        ),
        ("gzip", vec![protobuf, ("content-encoding", "gzip")], good.clone(), 415, "send snappy"),
        (
            "no compression",
            vec![protobuf, ("content-encoding", "identity")],
            good.clone(),
            415,
            "send snappy",
        ),
        ("a name of nothing", vec![protobuf, ("content-encoding", "x")], good.clone(), 415, "\"x\""),
    ];
    let world = World::new();
    for (what, headers, body, status, text) in cases {
        let answer = world.send(post("/api/v1/write", Some(&world.keys.acme), &headers, body)).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        assert!(answer.text().contains(text), "{what}: {:?} does not contain {text:?}", answer.text());
        assert_eq!(answer.header("retry-after"), None, "{what}: to send it again is useless");
    }
    assert!(world.stored("acme").await.is_empty());
    assert_eq!(world.write(&request(&["up"])).await.status, StatusCode::NO_CONTENT, "it serves on");
}

#[tokio::test]
async fn other_methods_and_paths_are_not_writes() {
    let world = World::new();
    let request =
        |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    assert_eq!(world.send(request("GET", "/api/v1/write")).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.send(request("POST", "/api/v1/writes")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_partly_bad_request_keeps_its_good_part() {
    let bad: [(&str, messages::TimeSeries, &str); 8] = [
        ("no name", series(&[("job", "a")], &[(NOW_MS, 1.0)]), "no metric name"),
        ("an empty name", series(&[("__name__", "")], &[(NOW_MS, 1.0)]), "no metric name"),
        (
            "a label twice",
            series(&[("__name__", "bad"), ("a", "1"), ("a", "2")], &[(NOW_MS, 1.0)]),
            "label \"a\" appears twice",
        ),
        ("a label without a name", series(&[("__name__", "bad"), ("", "x")], &[(NOW_MS, 1.0)]), "empty name"),
        (
            "a long value",
            series(&[("__name__", "bad"), ("a", &"x".repeat(9000))], &[(NOW_MS, 1.0)]),
            "9000 bytes long",
        ),
        (
            "too old",
            series(&[("__name__", "bad")], &[(NOW_MS - 7 * DAY_MS - 1, 1.0)]),
            "series bad: its timestamp 1789395199999 is too old: the earliest taken now is 1789395200000",
        ),
        (
            "in the future",
            series(&[("__name__", "bad")], &[(NOW_MS + 3_600_001, 1.0)]),
            "series bad: its timestamp 1790003600001 is too far in the future: the latest taken now is 1790003600000",
        ),
        ("seconds", series(&[("__name__", "bad")], &[(NOW_MS / 1000, 1.0)]), "too old"),
    ];
    for (what, bad, text) in bad {
        let world = World::new();
        let good = |name: &str| series(&[("__name__", name)], &[(NOW_MS, 1.0)]);
        let message = WriteRequest { timeseries: vec![good("a"), bad, good("z")], metadata: Vec::new() };
        let answer = world.write(&message).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
        assert!(answer.text().contains(text), "{what}: {:?} does not contain {text:?}", answer.text());
        let counts = "1 samples of the request were dropped; the other 2 are stored";
        assert!(answer.text().contains(counts), "{what}: {}", answer.text());
        assert_eq!(world.stored_names("acme").await, ["a", "z"], "{what}");
        assert_eq!(world.ingest.snapshot().refused_samples.iter().sum::<u64>(), 1, "{what}");
    }
}

#[tokio::test]
async fn the_first_bad_series_is_named_and_all_are_counted() {
    let world = World::new();
    let message = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "good")], &[(NOW_MS, 1.0)]),
            series(&[("__name__", "first"), ("job", "a")], &[(NOW_MS, 1.0), (1, 1.0), (2, 1.0)]),
            series(&[("job", "nameless")], &[(NOW_MS, 1.0), (NOW_MS + 1, 1.0)]),
        ],
        metadata: Vec::new(),
    };
    let answer = world.write(&message).await;
    assert!(answer.text().starts_with("series first{job=\"a\"}: its timestamp 1 "), "{}", answer.text());
    assert!(
        answer.text().contains("4 samples of the request were dropped; the other 2"),
        "{}",
        answer.text()
    );
    assert_eq!(world.stored_names("acme").await, ["first{job=\"a\"}", "good"]);
}

#[tokio::test]
async fn both_ends_of_the_time_window_are_taken_and_the_window_can_be_open() {
    let world = World::new();
    let ends = [NOW_MS - 7 * DAY_MS, NOW_MS + 3_600_000];
    for at in ends {
        assert_eq!(world.write(&requests_at(&["m"], at)).await.status, StatusCode::NO_CONTENT, "{at}");
    }
    assert_eq!(world.stored("acme").await.len(), 2);
    let mut setup = Setup::default();
    setup.settings.out_of_order_window = None;
    let open = World::with(setup);
    assert_eq!(open.write(&requests_at(&["m"], 1)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(open.write(&requests_at(&["m"], i64::MAX)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(open.stored("acme").await.len(), 1);
}

const V2_HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "2.0.0"),
];

fn written(answer: &Answer) -> [Option<&str>; 3] {
    ["samples", "histograms", "exemplars"]
        .map(|kind| answer.header(&format!("x-prometheus-remote-write-{kind}-written")))
}

#[tokio::test]
async fn version_2_says_what_was_written() {
    let world = World::new();
    let sample = |timestamp| messages::Sample { value: 1.0, timestamp };
    let symbols = ["", "__name__", "up", "job", "a"].map(str::to_owned).to_vec();
    let timeseries = vec![
        TimeSeriesV2 { labels_refs: vec![1, 2, 3, 4], samples: vec![sample(NOW_MS - 1), sample(NOW_MS)] },
        TimeSeriesV2 { labels_refs: vec![1, 2], samples: vec![sample(NOW_MS)] },
    ];
    let message = RequestV2 { symbols: symbols.clone(), timeseries };
    let send = |body| world.send(post("/api/v1/write", Some(&world.keys.acme), &V2_HEADERS, body));
    let answer = send(snappy(&message)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(written(&answer), [Some("3"), Some("0"), Some("0")]);
    assert_eq!(world.stored_names("acme").await, ["up", "up{job=\"a\"}", "up{job=\"a\"}"]);

    let timeseries = vec![
        TimeSeriesV2 { labels_refs: vec![1, 99], samples: vec![sample(NOW_MS), sample(NOW_MS + 1)] },
        TimeSeriesV2 { labels_refs: vec![1, 2, 3], samples: vec![sample(NOW_MS)] },
        TimeSeriesV2 { labels_refs: vec![1, 4], samples: vec![sample(NOW_MS)] },
    ];
    let answer = send(snappy(&RequestV2 { symbols, timeseries })).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("reference 99 is outside the symbols table"), "{}", answer.text());
    assert!(
        answer.text().contains("3 samples of the request were dropped; the other 1"),
        "{}",
        answer.text()
    );
    assert_eq!(written(&answer), [Some("1"), Some("0"), Some("0")]);

    let answer = send(b"garbage".to_vec()).await;
    assert_eq!((answer.status, written(&answer)), (StatusCode::BAD_REQUEST, [Some("0"); 3]));
    let version_1 = world.write(&request(&["up"])).await;
    assert_eq!(written(&version_1), [None; 3]);
}

#[tokio::test]
async fn versions_and_spellings_of_a_series_are_one_series() {
    let world = World::new();
    let spelt = |labels: &[(&str, &str)]| WriteRequest {
        timeseries: vec![series(labels, &[(NOW_MS, 1.0)])],
        metadata: Vec::new(),
    };
    world.write(&spelt(&[("__name__", "up"), ("a", "1"), ("b", "2")])).await;
    world.write(&spelt(&[("b", "2"), ("a", "1"), ("__name__", "up"), ("empty", "")])).await;
    let symbols = ["", "__name__", "up", "a", "1", "b", "2"].map(str::to_owned).to_vec();
    let sample = messages::Sample { value: 1.0, timestamp: NOW_MS };
    let timeseries = vec![TimeSeriesV2 { labels_refs: vec![1, 2, 3, 4, 5, 6], samples: vec![sample] }];
    let body = snappy(&RequestV2 { symbols, timeseries });
    world.send(post("/api/v1/write", Some(&world.keys.acme), &V2_HEADERS, body)).await;
    assert_eq!(world.stored_names("acme").await, ["up{a=\"1\", b=\"2\"}"]);
    assert_eq!(world.ingest.snapshot().active_series, 1);
}
