//! The OpenTelemetry SDK sends every kind of metric it has, with both temporalities, over both transports.

use std::time::Duration;

use crate::harness::promapi::{Answer, ask};
use crate::harness::tools::{python, root};
use crate::harness::{Farwatch, Options, eventually};

/// Python and the SDK take a while to load on a busy machine.
const SEND: Duration = Duration::from_secs(60);
/// Sums of what `send.py` records in its rounds.
const ORDERS: f64 = 39.0;

/// Lets the SDK send; returns the time (Unix seconds) after the last export.
async fn send(server: &Farwatch, protocol: &str, temporality: &str, service: &str) -> f64 {
    let endpoint =
        if protocol == "http" { format!("{}/v1/metrics", server.url) } else { server.grpc_url.clone() };
    let run = tokio::process::Command::new(python())
        .arg(root().join("crates/farwatch/tests/otel/send.py"))
        .args([protocol, &endpoint, &server.key, temporality, service])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SEND, run).await.expect("the SDK takes too long").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    said["end"].as_f64().unwrap()
}

async fn query(server: &Farwatch, at: f64, query: &str) -> Answer {
    let form = [("query", query.to_owned()), ("time", at.to_string())];
    ask(server.post("/api/v1/query"), &form).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The one value of a query that gives one.
async fn value(server: &Farwatch, at: f64, text: &str) -> f64 {
    let answer = query(server, at, text).await;
    assert_eq!(answer.len(), 1, "{text}: {answer:?}");
    answer.values().next().unwrap().points[0].1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_metric_arrives_with_both_temporalities_over_both_transports() {
    let server = Farwatch::start_with(Options::with(&["--otlp-promote-attributes", "cloud.region"])).await;
    for protocol in ["http", "grpc"] {
        for temporality in ["cumulative", "delta"] {
            let service = format!("{protocol}-{temporality}");
            let end = send(&server, protocol, temporality, &service).await;
            check_common(&server, &service, end).await;
            if temporality == "delta" {
                check_delta(&server, &service, end).await;
            } else {
                check_cumulative(&server, &service, end).await;
            }
        }
    }
    check_metadata(&server).await;
}

/// What is the same for both temporalities.
async fn check_common(server: &Farwatch, service: &str, end: f64) {
    let job = format!("{{job=\"{service}\",instance=\"one\"}}");
    assert_eq!(value(server, end, &format!("queue_waiting{job}")).await, 28.0);
    assert_eq!(value(server, end, &format!("temperature_celsius{job}")).await, 33.5);
    assert_eq!(value(server, end, &format!("fill_ratio{job}")).await, 0.25);
    assert_eq!(value(server, end, &format!("open{job}")).await, 195.0);
    let target = query(server, end, &format!("target_info{job}")).await;
    let labels = target.keys().next().unwrap_or_else(|| panic!("no target_info"));
    assert_eq!(labels["cloud_region"], "north-1");
    assert_eq!(labels["telemetry_sdk_language"], "python");
    // The attribute that the server was told to promote, and no other.
    let region = query(server, end, &format!("temperature_celsius{job}")).await;
    let labels = region.keys().next().unwrap();
    assert_eq!(labels["cloud_region"], "north-1");
    assert!(!labels.contains_key("telemetry_sdk_language"), "{labels:?}");
    // All samples of the gauge, not just the last: five exports.
    assert_eq!(value(server, end, &format!("count_over_time(temperature_celsius{job}[1h])")).await, 5.0);
}

async fn check_cumulative(server: &Farwatch, service: &str, end: f64) {
    assert_eq!(value(server, end, &format!("orders_total{{job=\"{service}\",shop=\"a\"}}")).await, ORDERS);
    assert_eq!(
        value(server, end, &format!("orders_total{{job=\"{service}\",shop=\"b\"}}")).await,
        2.0 * ORDERS
    );
    assert_eq!(value(server, end, &format!("read_bytes_total{{job=\"{service}\"}}")).await, 10.0 * ORDERS);
    let latency = |suffix: &str| format!("latency_seconds_{suffix}");
    let bucket = |le: &str| format!("{}{{job=\"{service}\",le=\"{le}\"}}", latency("bucket"));
    assert_eq!(value(server, end, &bucket("0.1")).await, 5.0);
    assert_eq!(value(server, end, &bucket("0.5")).await, 5.0 + ORDERS);
    assert_eq!(value(server, end, &bucket("+Inf")).await, 5.0 + ORDERS);
    let job = format!("{{job=\"{service}\"}}");
    assert_eq!(value(server, end, &format!("{}{job}", latency("count"))).await, 5.0 + ORDERS);
    let sum = value(server, end, &format!("{}{job}", latency("sum"))).await;
    assert!((sum - (0.3 * ORDERS + 0.25)).abs() < 1e-9, "{sum}");
    // The exponential histogram is a native one.
    assert_eq!(value(server, end, &format!("histogram_count(size_bytes{job})")).await, 10.0);
    assert_eq!(value(server, end, &format!("histogram_sum(size_bytes{job})")).await, 5_000.0 + ORDERS);
    let median = value(server, end, &format!("histogram_quantile(0.99, size_bytes{job})")).await;
    // As exact as the SDK's 160 buckets are over this range.
    assert!((955.0..1_045.0).contains(&median), "{median}");
}

/// With delta temporality every point is an increase of its own: increases and rates are exact sums, from the first point on.
async fn check_delta(server: &Farwatch, service: &str, end: f64) {
    let orders = format!("orders_total{{job=\"{service}\",shop=\"a\"}}");
    assert_eq!(value(server, end, &format!("increase({orders}[1h])")).await, ORDERS);
    assert_eq!(value(server, end, &format!("rate({orders}[1h])")).await, ORDERS / 3_600.0);
    assert_eq!(value(server, end, &format!("rate({orders}[5m])")).await, ORDERS / 300.0);
    let by_service = format!("sum by (job) (increase(orders_total{{job=\"{service}\"}}[10m]))");
    assert_eq!(value(server, end, &by_service).await, 3.0 * ORDERS);
    let read = format!("increase(read_bytes_total{{job=\"{service}\"}}[1h])");
    assert_eq!(value(server, end, &read).await, 10.0 * ORDERS);
    let bucket = format!("increase(latency_seconds_bucket{{job=\"{service}\",le=\"0.5\"}}[1h])");
    assert_eq!(value(server, end, &bucket).await, 5.0 + ORDERS);
    let count = format!("histogram_count(increase(size_bytes{{job=\"{service}\"}}[1h]))");
    assert_eq!(value(server, end, &count).await, 10.0);
    // Each point by itself: the increments as they were recorded.
    let raw = query(server, end, &format!("{orders}[1h]")).await;
    let increments: Vec<f64> = raw.values().next().unwrap().points.iter().map(|point| point.1).collect();
    assert_eq!(increments, [3.0, 5.0, 7.0, 11.0, 13.0]);
}

async fn check_metadata(server: &Farwatch) {
    let metadata: serde_json::Value = eventually("metadata", Duration::from_secs(10), async || {
        let answer = server.get("/api/v1/metadata").send().await.map_err(|error| error.to_string())?;
        let json: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        if json["data"]["orders_total"].is_array() { Ok(json) } else { Err(json.to_string()) }
    })
    .await;
    let of = |name: &str| metadata["data"][name][0].clone();
    assert_eq!(of("orders_total")["type"], "counter");
    assert_eq!(of("orders_total")["help"], "Orders taken.");
    assert_eq!(of("latency_seconds")["type"], "histogram");
    assert_eq!(of("temperature_celsius")["type"], "gauge");
}
