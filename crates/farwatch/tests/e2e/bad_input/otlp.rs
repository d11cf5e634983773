//! OTLP over HTTP: bodies, messages, points. What is wrong with one point is said in `partial_success`, and the rest is kept.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Case, case};
use crate::harness::Farwatch;
use crate::harness::compression::{gzip, zstd};

/// Metrics that came with bad ones and are kept.
pub(super) const KEPT: &[&str] = &["kept_gauge"];

const MIB: usize = 1 << 20;

pub(super) fn cases(server: &Farwatch, at: i64) -> Vec<Case> {
    let post = |content_type: &str, body: Vec<u8>| {
        server.post("/v1/metrics").header("Content-Type", content_type.to_owned()).body(body)
    };
    let encoded = |encoding: &str, body: Vec<u8>| {
        post("application/x-protobuf", body).header("Content-Encoding", encoding.to_owned())
    };
    let text = |body: &str| post("application/json", body.as_bytes().to_vec());
    let json = |metric: Value| text(&envelope(&[metric]).to_string());
    let nanos = (at * 1_000_000).to_string();
    let mut cases = bodies(&post, &encoded, &text);
    cases.extend(points(&json, &nanos));
    let beside = envelope(&[gauge("kept_gauge", &nanos), gauge("", &nanos)]).to_string();
    cases.push(case("good beside bad points", text(&beside), 200, "\"rejectedDataPoints\":\"1\""));
    cases
}

fn bodies(
    post: &dyn Fn(&str, Vec<u8>) -> RequestBuilder,
    encoded: &dyn Fn(&str, Vec<u8>) -> RequestBuilder,
    text: &dyn Fn(&str) -> RequestBuilder,
) -> Vec<Case> {
    let half = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let noise: Vec<u8> = (0..4_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut invalid = envelope(&[gauge("bad_NAME", "1")]).to_string().into_bytes();
    let place = invalid.windows(4).position(|window| window == b"NAME").unwrap();
    invalid[place] = 0xff;
    let deep_json = format!("{{\"resourceMetrics\":{}", "[".repeat(200_000));
    vec![
        case("a gzip bomb", encoded("gzip", gzip(&vec![0; 70 * MIB])), 413, "which is the limit"),
        case("a zstd bomb", encoded("zstd", zstd(&vec![0; 70 * MIB])), 413, "which is the limit"),
        case(
            "a gzip bomb in a gzip bomb",
            encoded("gzip", gzip(&gzip(&vec![0; 70 * MIB]))),
            400,
            "malformed protobuf",
        ),
        case("half a gzip", encoded("gzip", half(gzip(&noise))), 400, "not valid gzip"),
        case("half a zstd", encoded("zstd", half(zstd(&noise))), 400, "not valid zstd"),
        case("gzip that is none", encoded("gzip", noise.clone()), 400, "not valid gzip"),
        case("zstd that is none", encoded("zstd", noise.clone()), 400, "not valid zstd"),
        case("an encoding that is not known", encoded("br", noise.clone()), 415, "gzip, zstd or none"),
        case("snappy, which is not OTLP's", encoded("snappy", noise.clone()), 415, "gzip, zstd or none"),
        case(
            "another content type",
            post("text/csv", noise.clone()),
            415,
            "application/x-protobuf or application/json",
        ),
        case("protobuf that is none", post("application/x-protobuf", noise), 400, "malformed protobuf"),
        case("JSON cut short", text("{\"resourceMetrics\":[{"), 400, "malformed JSON"),
        case("JSON that is none", text("metric=1"), 400, "malformed JSON"),
        case("JSON of another shape", text("{\"resourceMetrics\":7}"), 400, "malformed JSON"),
        case("JSON without end in depth", text(&deep_json), 400, "malformed JSON"),
        case("JSON that is not UTF-8", post("application/json", invalid), 400, "malformed JSON"),
        case("nothing at all", text(""), 400, "malformed JSON"),
    ]
}

fn points(json: &dyn Fn(Value) -> RequestBuilder, nanos: &str) -> Vec<Case> {
    const PARTIAL: &str = "\"rejectedDataPoints\":\"1\"";
    let sum = |temporality: u8| {
        json!({"name": "bad_sum", "sum": {"aggregationTemporality": temporality, "isMonotonic": true,
            "dataPoints": [{"timeUnixNano": nanos, "asDouble": 1.0}]}})
    };
    let histogram = |bounds: &[f64], counts: &[&str]| {
        json!({"name": "bad_histogram", "histogram": {"aggregationTemporality": 2,
            "dataPoints": [{"timeUnixNano": nanos, "count": "3", "sum": 1.0,
                "explicitBounds": bounds, "bucketCounts": counts}]}})
    };
    let exponential = json!({"name": "bad_exponential", "exponentialHistogram": {"aggregationTemporality": 2,
        "dataPoints": [{"timeUnixNano": nanos, "count": "1", "sum": 1.0, "scale": -11, "zeroCount": "0",
            "positive": {"offset": 0, "bucketCounts": ["1"]}}]}});
    let endless = json!({"name": "bad_offset", "exponentialHistogram": {"aggregationTemporality": 2,
        "dataPoints": [{"timeUnixNano": nanos, "count": "1", "sum": 1.0, "scale": 0, "zeroCount": "0",
            "positive": {"offset": 2_147_483_647, "bucketCounts": ["1", "1", "1"]}}]}});
    let mut nested = json!({"stringValue": "x"});
    for _ in 0..20 {
        nested = json!({"arrayValue": {"values": [nested]}});
    }
    let mut with_nested = gauge("bad_attribute", nanos);
    with_nested["gauge"]["dataPoints"][0]["attributes"] = json!([{"key": "deep", "value": nested}]);
    let valueless = json!({"name": "bad_valueless", "gauge": {"dataPoints": [{"timeUnixNano": nanos}]}});
    vec![
        case("a metric without a name", json(gauge("", nanos)), 200, PARTIAL),
        case("a sum without temporality", json(sum(0)), 200, PARTIAL),
        case("a histogram with too few counts", json(histogram(&[1.0, 2.0], &["1", "2"])), 200, PARTIAL),
        case(
            "a histogram whose boundaries fall",
            json(histogram(&[2.0, 1.0], &["1", "1", "1"])),
            200,
            PARTIAL,
        ),
        case("an exponential histogram of no scale", json(exponential), 200, PARTIAL),
        case("an exponential histogram beyond the end", json(endless), 200, PARTIAL),
        case("attributes without end in depth", json(with_nested), 200, PARTIAL),
        case("a point without a value", json(valueless), 200, PARTIAL),
        case("a point at no time", json(gauge("bad_time", "0")), 200, PARTIAL),
        case("a point at the end of time", json(gauge("bad_time", "18446744073709551615")), 200, PARTIAL),
    ]
}

fn gauge(name: &str, nanos: &str) -> Value {
    json!({"name": name, "gauge": {"dataPoints": [{"timeUnixNano": nanos, "asDouble": 1.0}]}})
}

fn envelope(metrics: &[Value]) -> Value {
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
}
