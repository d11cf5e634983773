//! OTLP metrics over HTTP and gRPC.

use crate::support::messages::{ExportResponse, RpcStatus, grpc_frame, otlp_json, otlp_protobuf};
use crate::support::{Answer, NOW_MS, Setup, World, bearer, post};
use axum::body::Body;
use base64::Engine;
use http::{Request, StatusCode};
use prost::Message;
use serde_json::{Value, json};
use std::io::Write;
use tenancy::{ApiKey, Limits};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

async fn export(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    world.send(post("/v1/metrics", Some(&world.keys.acme), headers, body)).await
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_format_and_compression_is_taken() {
    let protobuf = otlp_protobuf(&[("temperature", NOW_MS)]);
    let json = otlp_json(&[("temperature", NOW_MS)]).into_bytes();
    for (format, body) in [(PROTOBUF, &protobuf), (JSON, &json)] {
        for (encoding, body) in [("identity", body.clone()), ("gzip", gzip(body)), ("zstd", zstd(body))] {
            let world = World::new();
            let answer = export(&world, &[format, ("content-encoding", encoding)], body).await;
            assert_eq!(answer.status, StatusCode::OK, "{format:?} {encoding}: {}", answer.text());
            assert_eq!(answer.header("content-type"), Some(format.1));
            assert_eq!(answer.text(), if format == JSON { "{}" } else { "" });
            assert_eq!(world.stored("acme").await, [("temperature".to_owned(), NOW_MS, 1.0)]);
        }
    }
}

#[tokio::test]
async fn a_partly_bad_export_is_a_partial_success() {
    let gauges = [("good", NOW_MS), ("old", 1), ("future", NOW_MS + 86_400_000), ("fine", NOW_MS)];
    let world = World::new();
    let answer = export(&world, &[PROTOBUF], otlp_protobuf(&gauges)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = ExportResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 2);
    assert!(partial.error_message.contains("series old: its timestamp 1 is too old"), "{partial:?}");
    let answer = export(&world, &[JSON], otlp_json(&gauges)).await;
    let response: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(response["partialSuccess"]["rejectedDataPoints"], "2");
    assert_eq!(world.stored_names("acme").await, ["fine", "good"]);
}

#[tokio::test]
async fn rejected_data_points_are_those_that_the_sender_knows() {
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let time = (NOW_MS * 1_000_000).to_string();
    let point =
        |id: &str| json!({ "timeUnixNano": time, "asDouble": 1.0, "attributes": [attribute("id", id)] });
    let quantile = |quantile: f64| json!({ "quantile": quantile, "value": 1.0 });
    let summary =
        json!({ "timeUnixNano": time, "count": 1, "quantileValues": [quantile(0.5), quantile(0.9)] });
    let late = json!({ "timeUnixNano": "1000000", "count": 1, "quantileValues": [quantile(0.5)] });
    let nameless = json!({ "name": "", "gauge": { "dataPoints": [point("3")] } });
    let export_of = |more: Vec<Value>| {
        let mut metrics = vec![
            json!({ "name": "a", "gauge": { "dataPoints": [point("1"), point("2")] } }),
            json!({ "name": "b", "summary": { "dataPoints": [summary] } }),
        ];
        metrics.extend(more);
        // Beside three data points, of six series, the resource is described by a series of its own.
        let resource = json!({ "attributes": [attribute("service.name", "s"), attribute("host.name", "h")] });
        json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "metrics": metrics }] }] })
            .to_string()
    };
    let all = export_of(Vec::new());
    let spoilt = export_of(vec![nameless, json!({ "name": "c", "summary": { "dataPoints": [late] } })]);
    for (allowed, body, rejected, series) in [
        (7, &all, None, ""),
        (6, &all, Some(0), "target_info"),
        (2, &all, Some(1), "b_sum"),
        (0, &all, Some(3), "a{"),
        (2, &spoilt, Some(3), ""),
    ] {
        let limits = Limits { active_series: Some(allowed), ..Limits::unlimited() };
        let world = World::with(Setup { limits, ..Setup::default() });
        let answer = export(&world, &[JSON], body.clone()).await;
        let response: Value = serde_json::from_slice(&answer.body).unwrap();
        let told = &response["partialSuccess"];
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            told["rejectedDataPoints"].as_str(),
            rejected.map(|many: u64| many.to_string()).as_deref(),
            "{told}"
        );
        assert!(told["errorMessage"].as_str().unwrap_or_default().contains(series), "{told}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_taken_get_their_status() {
    let good = otlp_protobuf(&[("m", NOW_MS)]);
    let bomb = gzip(&vec![0; 65 << 20]);
    let snappy = ("content-encoding", "snappy");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("no content type", vec![], good.clone(), 415, "application/json"),
        ("text", vec![("content-type", "text/plain")], good.clone(), 415, "application/json"),
        ("snappy", vec![PROTOBUF, snappy], good.clone(), 415, "gzip, zstd or none"),
        ("not gzip", vec![PROTOBUF, ("content-encoding", "gzip")], good.clone(), 400, "gzip"),
        ("not zstd", vec![PROTOBUF, ("content-encoding", "zstd")], good.clone(), 400, "zstd"),
        ("a bomb", vec![PROTOBUF, ("content-encoding", "gzip")], bomb.clone(), 413, "after decompression"),
        (
            "another bomb",
            vec![PROTOBUF, ("content-encoding", "zstd")],
            zstd(&vec![0; 65 << 20]),
            413,
            "limit",
        ),
        ("cut short", vec![PROTOBUF], good[..good.len() - 1].to_vec(), 400, ""),
        ("JSON in place of protobuf", vec![PROTOBUF], b"{}".to_vec(), 400, ""),
        ("protobuf in place of JSON", vec![JSON], good.clone(), 400, "JSON"),
        ("deep JSON", vec![JSON], "[".repeat(100_000).into_bytes(), 400, "JSON"),
    ];
    let world = World::new();
    for (what, headers, body, status, text) in cases {
        let answer = export(&world, &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        assert!(answer.text().contains(text), "{what}: {:?} does not contain {text:?}", answer.text());
        if headers.contains(&PROTOBUF) {
            assert!(!RpcStatus::decode(answer.body).unwrap().message.is_empty(), "{what}");
        } else {
            assert!(
                serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["code"].is_i64(),
                "{what}"
            );
        }
    }
    assert!(world.stored("acme").await.is_empty());
}

fn grpc_call(key: Option<&ApiKey>, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Body> {
    let mut request = Request::post("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", bearer(key));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

async fn call(world: &World, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    world.send_grpc(grpc_call(Some(&world.keys.acme), headers, body)).await
}

fn grpc_status(answer: &Answer) -> (String, String) {
    let get = |name: &str| {
        let value = answer.headers.get(name).or_else(|| answer.trailers.get(name));
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    (get("grpc-status"), get("grpc-message").replace("%20", " "))
}

#[tokio::test]
async fn grpc_takes_every_compression() {
    let message = otlp_protobuf(&[("temperature", NOW_MS)]);
    let frames = [
        (None, grpc_frame(false, &message)),
        (Some("gzip"), grpc_frame(true, &gzip(&message))),
        (Some("zstd"), grpc_frame(true, &zstd(&message))),
        (Some("gzip"), grpc_frame(false, &message)),
    ];
    for (encoding, frame) in frames {
        let world = World::new();
        let headers: Vec<(&str, &str)> =
            encoding.map(|encoding| ("grpc-encoding", encoding)).into_iter().collect();
        let answer = call(&world, &headers, frame).await;
        assert_eq!(grpc_status(&answer).0, "0", "{encoding:?}: {:?}", grpc_status(&answer));
        assert_eq!(answer.body, grpc_frame(false, b""), "{encoding:?}");
        assert_eq!(world.stored("acme").await, [("temperature".to_owned(), NOW_MS, 1.0)]);
    }
}

#[tokio::test]
async fn grpc_tells_partial_success_and_bad_requests() {
    let world = World::new();
    let answer = call(&world, &[], grpc_frame(false, &otlp_protobuf(&[("good", NOW_MS), ("old", 1)]))).await;
    assert_eq!(grpc_status(&answer).0, "0");
    let partial = ExportResponse::decode(&answer.body[5..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 1);
    assert_eq!(world.stored_names("acme").await, ["good"]);

    let bomb = grpc_frame(true, &gzip(&vec![0; 65 << 20]));
    let cases = [
        ("malformed", vec![], grpc_frame(false, &[0xff; 20]), "3"),
        ("a bomb", vec![("grpc-encoding", "gzip")], bomb, "8"),
        ("an unknown compression", vec![("grpc-encoding", "br")], grpc_frame(true, b"x"), "12"),
    ];
    for (what, headers, body, code) in cases {
        let answer = call(&world, &headers, body).await;
        assert_eq!(grpc_status(&answer).0, code, "{what}: {:?}", grpc_status(&answer));
    }
    let truncated = call(&world, &[], vec![0, 0, 0, 1, 0, 7]).await;
    assert_ne!(grpc_status(&truncated).0, "0");
    let missing = call(&world, &[], Vec::new()).await;
    assert_ne!(grpc_status(&missing).0, "0");
    let other = Request::post("/some.Service/Method").body(Body::empty()).unwrap();
    assert_eq!(grpc_status(&world.send_grpc(other).await).0, "12");
}

#[tokio::test]
async fn grpc_says_when_to_come_again() {
    let limits = Limits { samples_per_second: Some(1), samples_burst: 2, ..Limits::unlimited() };
    let world = World::with(Setup { limits, ..Setup::default() });
    let message = |name| grpc_frame(false, &otlp_protobuf(&[(name, NOW_MS), ("n", NOW_MS)]));
    assert_eq!(grpc_status(&call(&world, &[], message("a")).await).0, "0");
    let answer = call(&world, &[], message("b")).await;
    let (code, text) = grpc_status(&answer);
    assert_eq!(code, "8");
    assert!(text.contains("samples_per_second"), "{text}");
    let details = answer.headers["grpc-status-details-bin"].as_bytes();
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
    let details = RpcStatus::decode(&details[..]).unwrap().details;
    assert_eq!(details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    // RetryInfo { retry_delay: Duration { seconds: 2 } }
    assert_eq!(details[0].value, [0x0a, 2, 0x08, 2]);
    assert_eq!(world.stored_names("acme").await, ["a", "n"]);
}
