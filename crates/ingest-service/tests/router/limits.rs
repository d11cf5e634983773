//! Limits of tenants and bounds of the process.

use std::convert::Infallible;
use std::time::Duration;

use crate::support::messages::{WriteRequest, request, series};
use crate::support::{NOW_MS, REMOTE_WRITE_HEADERS, Setup, World, messages, post, remote_write};
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use ingest_service::RefusalReason;
use tenancy::{LimitName, Limits, Nearly};
use tower::ServiceExt;

fn limited(limits: Limits) -> World {
    World::with(Setup { limits, ..Setup::default() })
}

#[tokio::test]
async fn above_the_rate_a_request_is_to_wait_and_nothing_of_it_is_stored() {
    let limits = Limits { samples_per_second: Some(2), samples_burst: 4, ..Limits::unlimited() };
    let world = limited(limits);
    assert_eq!(world.write(&request(&["a", "b", "c", "d"])).await.status, StatusCode::NO_CONTENT);
    let answer = world.write(&request(&["e", "f", "g"])).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(
        answer.text(),
        "limit samples_per_second reached: 2 allowed, current use 4, this request needs 3\n"
    );
    assert_eq!(world.stored_names("acme").await, ["a", "b", "c", "d"]);

    let others = world.send(remote_write(Some(&world.keys.other), &request(&["x"; 100]))).await;
    assert_eq!(others.status, StatusCode::NO_CONTENT, "a tenant does not pay for another");
    world.clock.advance(Duration::from_millis(1500));
    assert_eq!(world.write(&request(&["e", "f", "g"])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn over_a_limit_keys_of_a_lower_priority_go_first() {
    let limits = Limits { samples_per_second: Some(1), samples_burst: 10, ..Limits::unlimited() };
    let world = limited(limits);
    let low = |names: &[&str]| world.send(remote_write(Some(&world.keys.low), &request(names)));
    assert_eq!(world.write(&request(&["x"; 8])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(low(&["l"]).await.status, StatusCode::NO_CONTENT);
    let answer = low(&["l"]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(
        answer.text(),
        "limit samples_per_second reached: 1 allowed, current use 9, this request needs 1; the rest is kept for API keys of a \
         higher priority\n"
    );
    assert_eq!(world.write(&request(&["x"])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_days_bytes_are_a_limit_which_is_told_before_it_is_reached() {
    let bytes = |message: &WriteRequest| u64::try_from(prost::Message::encoded_len(message)).unwrap();
    let message = request(&["a", "b"]);
    let world = limited(Limits { bytes_per_day: Some(bytes(&message) * 5), ..Limits::unlimited() });
    for sent in 1..=5 {
        let answer = world.write(&message).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let told = answer.header("farwatch-limit-warning").map(str::to_owned);
        let (used, limit) = (bytes(&message) * sent, bytes(&message) * 5);
        let expected = (sent >= 4).then(|| format!("bytes_per_day; used={used}; limit={limit}"));
        assert_eq!(told, expected);
    }
    let answer = world.write(&message).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("300")));
    assert!(answer.text().starts_with("limit bytes_per_day reached: "), "{}", answer.text());
    let limit = bytes(&message) * 5;
    assert_eq!(
        world.ingest.take_nearly()[0].1,
        Nearly { limit: LimitName::BytesPerDay, allowed: limit, used: limit }
    );
    let otlp = messages::otlp_protobuf(&[("b", NOW_MS)]);
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = world.send(post("/v1/metrics", Some(&world.keys.acme), &protobuf, otlp)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let snapshot = world.ingest.snapshot();
    assert_eq!(snapshot.limited[LimitName::BytesPerDay as usize], 2);
    assert_eq!(snapshot.limit_warnings[LimitName::BytesPerDay as usize], 2);
    world.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(
        world.write(&messages::requests_at(&["a"], NOW_MS + 24 * 3_600_000)).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_request_above_the_burst_is_too_large_for_ever() {
    let limits = Limits { samples_per_second: Some(2), samples_burst: 4, ..Limits::unlimited() };
    let answer = limited(limits).write(&request(&["a", "b", "c", "d", "e"])).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::PAYLOAD_TOO_LARGE, None));
    assert!(answer.text().contains("samples_burst reached: 4 allowed"), "{}", answer.text());
}

#[tokio::test]
async fn a_write_that_is_refused_leaves_no_series_behind() {
    let limits = Limits {
        samples_per_second: Some(1),
        samples_burst: 4,
        active_series: Some(4),
        ..Limits::unlimited()
    };
    let world = limited(limits);
    let too_many = world.write(&request(&["a", "b", "c", "d", "e"])).await;
    assert_eq!(too_many.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        too_many.text().ends_with("; split it into requests of at most 4 samples\n"),
        "{}",
        too_many.text()
    );
    assert_eq!(world.ingest.snapshot().active_series, 0);
    assert_eq!(world.write(&request(&["v", "w"])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.write(&request(&["x", "y", "z"])).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.ingest.snapshot().active_series, 2);
    // So what others send finds room.
    assert_eq!(world.write(&request(&["x", "y"])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored_names("acme").await, ["v", "w", "x", "y"]);
}

#[tokio::test]
async fn samples_of_refused_series_do_not_use_up_the_rate() {
    let limits = Limits {
        samples_per_second: Some(1),
        samples_burst: 4,
        active_series: Some(1),
        ..Limits::unlimited()
    };
    let world = limited(limits);
    for _ in 0..3 {
        assert_eq!(world.write(&request(&["a"])).await.status, StatusCode::NO_CONTENT);
        assert_eq!(world.write(&request(&["new"])).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(world.write(&request(&["a"])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.write(&request(&["a"])).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn above_the_series_limit_known_series_go_on() {
    let world = limited(Limits { active_series: Some(2), ..Limits::unlimited() });
    assert_eq!(world.write(&request(&["a", "b"])).await.status, StatusCode::NO_CONTENT);
    let message = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "new"), ("job", "j")], &[(NOW_MS, 1.0), (NOW_MS + 1, 1.0)]),
            series(&[("__name__", "a")], &[(NOW_MS + 1, 2.0)]),
            series(&[("__name__", "newer")], &[(NOW_MS, 1.0)]),
            series(&[("__name__", "b")], &[(NOW_MS + 1, 3.0)]),
        ],
        metadata: Vec::new(),
    };
    let answer = world.write(&message).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let text = answer.text();
    assert!(
        text.starts_with("series new{job=\"j\"}: limit active_series reached: 2 allowed, current use 2"),
        "{text}"
    );
    assert!(text.contains("3 samples of the request were dropped; the other 2 are stored"), "{text}");
    let stored = world.stored("acme").await;
    let expected = [("a", 0, 1.0), ("a", 1, 2.0), ("b", 0, 1.0), ("b", 1, 3.0)];
    assert_eq!(stored, expected.map(|(name, after, value)| (name.to_owned(), NOW_MS + after, value)));
    let snapshot = world.ingest.snapshot();
    assert_eq!(snapshot.refused_samples[RefusalReason::SeriesLimit as usize], 3);
    assert_eq!((snapshot.active_series, snapshot.tenants), (2, 1));
}

/// Good data that finds no room is not bad data: senders drop what a 400, or a partial success, refuses.
#[tokio::test]
async fn without_room_for_new_series_the_request_is_to_come_again() {
    let mut setup = Setup::default();
    setup.settings.max_active_series = 2;
    let world = World::with(setup);
    assert_eq!(world.write(&request(&["a"])).await.status, StatusCode::NO_CONTENT);
    let answer = world.write(&request(&["a", "b", "c", "d"])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let text = answer.text();
    assert!(text.contains("2 samples of new series are not stored, the other 2 are"), "{text}");
    assert_eq!(world.stored_names("acme").await, ["a", "b"]);
    assert_eq!(world.ingest.snapshot().refused_samples[RefusalReason::ServerFull as usize], 2);

    let gauges = messages::otlp_protobuf(&[("b", NOW_MS), ("e", NOW_MS)]);
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = world.send(post("/v1/metrics", Some(&world.keys.acme), &protobuf, gauges)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);

    let symbols = ["", "__name__", "a", "f"].map(str::to_owned).to_vec();
    let one = |name| messages::TimeSeriesV2 {
        labels_refs: vec![1, name],
        samples: vec![messages::Sample { value: 1.0, timestamp: NOW_MS }],
    };
    let message = messages::RequestV2 { symbols, timeseries: vec![one(2), one(3)] };
    let mut headers = REMOTE_WRITE_HEADERS;
    headers[0].1 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    headers[2].1 = "2.0.0";
    let answer =
        world.send(post("/api/v1/write", Some(&world.keys.acme), &headers, messages::snappy(&message))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), Some("1"));
}

#[tokio::test]
async fn one_metric_cannot_take_all_series() {
    let world = limited(Limits { series_per_metric: Some(1), ..Limits::unlimited() });
    let message = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "m"), ("id", "1")], &[(NOW_MS, 1.0)]),
            series(&[("__name__", "m"), ("id", "2")], &[(NOW_MS, 1.0)]),
            series(&[("__name__", "n"), ("id", "2")], &[(NOW_MS, 1.0)]),
        ],
        metadata: Vec::new(),
    };
    let answer = world.write(&message).await;
    assert!(
        answer.text().contains("series m{id=\"2\"}: limit series_per_metric reached"),
        "{}",
        answer.text()
    );
    assert_eq!(world.stored_names("acme").await, ["m{id=\"1\"}", "n{id=\"2\"}"]);
}

#[tokio::test]
async fn bad_samples_do_not_take_places_of_series() {
    let world = limited(Limits { active_series: Some(1), ..Limits::unlimited() });
    let old = messages::requests_at(&["old1", "old2"], 1);
    assert_eq!(world.write(&old).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.ingest.snapshot().active_series, 0);
    assert_eq!(world.write(&request(&["good"])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_tenants_own_body_limit_holds_before_and_after_decompression() {
    let world = limited(Limits { request_bytes: Some(200), ..Limits::unlimited() });
    let long = messages::snappy(&request(&["x".repeat(190).as_str(), "y"]));
    assert!(long.len() < 200);
    let send = |body: Vec<u8>| {
        world.send(post("/api/v1/write", Some(&world.keys.acme), &REMOTE_WRITE_HEADERS, body))
    };
    let answer = send(long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("200 bytes after decompression"), "{}", answer.text());
    let answer = send(vec![1; 201]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("larger than 200 bytes"), "{}", answer.text());
}

#[tokio::test]
async fn a_promised_body_is_refused_before_it_is_sent() {
    let world = World::new();
    let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let mut headers = REMOTE_WRITE_HEADERS.to_vec();
    headers.push(("content-length", "99999999999"));
    let answer = world.send(post("/api/v1/write", Some(&world.keys.acme), &headers, endless)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn slow_and_broken_bodies_are_answered() {
    let world = World::new();
    let send = |body| world.send(post("/api/v1/write", Some(&world.keys.acme), &REMOTE_WRITE_HEADERS, body));
    let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    assert_eq!(send(silent).await.status, StatusCode::REQUEST_TIMEOUT);
    let broken =
        Body::from_stream(stream::iter([Ok(Bytes::from_static(b"abc")), Err(std::io::Error::other("gone"))]));
    assert_eq!(send(broken).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.ingest.snapshot().held_body_bytes, 0);
    assert_eq!(world.ingest.snapshot().requests_in_flight, 0);
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_them_are_to_come_again() {
    let mut setup = Setup::default();
    setup.settings.body_memory_bytes = 400;
    let world = World::with(setup);
    let too_large = post("/api/v1/write", Some(&world.keys.acme), &REMOTE_WRITE_HEADERS, vec![0; 101]);
    assert_eq!(world.send(too_large).await.status, StatusCode::PAYLOAD_TOO_LARGE, "it would never fit");

    // Bodies that trickle: what has arrived of them is held.
    let trickling: Vec<_> = (0..9)
        .map(|_| {
            let beginning = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![0; 90]))]);
            let body = Body::from_stream(beginning.chain(stream::pending()));
            let request = post("/api/v1/write", Some(&world.keys.acme), &REMOTE_WRITE_HEADERS, body);
            tokio::spawn(world.http.clone().oneshot(request))
        })
        .collect();
    let all_but_one_are_turned_away = async {
        while world.ingest.snapshot().requests_in_flight > 1 || world.ingest.snapshot().held_body_bytes == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all_but_one_are_turned_away).await.unwrap();
    assert_eq!(world.ingest.snapshot().held_body_bytes, 90);

    let others = world.send(remote_write(Some(&world.keys.other), &request(&["theirs"]))).await;
    assert_eq!(others.status, StatusCode::NO_CONTENT, "a tenant does not pay for another");
    let answer = world.write(&request(&["mine"])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.text().contains("your tenant"), "{}", answer.text());
    trickling.iter().for_each(tokio::task::JoinHandle::abort);
    while world.ingest.snapshot().held_body_bytes > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.write(&request(&["mine"])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_large_body_is_decoded_off_the_runtime_and_stored_whole() {
    let world = World::new();
    let name = |i: usize| format!("metric_{i}_{:x}", i * 2_654_435_761);
    let timeseries =
        (0..40_000).map(|i| series(&[("__name__", "m"), ("id", &name(i))], &[(NOW_MS, i as f64)])).collect();
    let message = WriteRequest { timeseries, metadata: Vec::new() };
    assert!(messages::snappy(&message).len() > ingest_service::limits::INLINE_DECODE_BYTES);
    assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);
    let stored = world.stored("acme").await;
    assert_eq!(stored.len(), 40_000);
    assert_eq!(stored.iter().map(|sample| sample.2).sum::<f64>(), f64::from((0..40_000).sum::<u32>()));
}
