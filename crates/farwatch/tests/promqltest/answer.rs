//! Reads what Prometheus's HTTP API answers.

use promql::Bucket;
use promqltest::{Answer, FoundHistogram, Sample, Series, Value};
use serde_json::Value as Json;
use telemetry::Labels;

/// Prefix of errors that the API adds to those of the parser.
const INVALID_QUERY: &str = "invalid parameter \"query\": ";

/// The answer, or the text of the error. Panics where the body is not what the API promises.
pub(crate) fn read(body: &str) -> Result<Answer, String> {
    let json: Json = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    if json["status"] == "error" {
        let text = json["error"].as_str().unwrap();
        return Err(text.strip_prefix(INVALID_QUERY).unwrap_or(text).to_owned());
    }
    assert_eq!(json["status"], "success", "{body}");
    let texts = |name: &str| list(&json[name]).iter().map(without_position).collect();
    Ok(Answer { value: value(&json["data"]), warnings: texts("warnings"), infos: texts("infos") })
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `text (line:column)` without what stands in parentheses.
fn without_position(annotation: &Json) -> String {
    let (text, position) = annotation.as_str().unwrap().rsplit_once(" (").unwrap();
    let (line, column) = position.strip_suffix(')').unwrap().split_once(':').unwrap();
    assert!(line.parse::<u32>().unwrap() > 0 && column.parse::<u32>().unwrap() > 0, "{annotation}");
    text.to_owned()
}

fn value(data: &Json) -> Value {
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("scalar") => Value::Scalar(float(&result[1])),
        Some("string") => Value::String(result[1].as_str().unwrap().to_owned()),
        Some("vector") => Value::Vector(list(result).iter().map(element).collect()),
        Some("matrix") => Value::Matrix(list(result).iter().map(series).collect()),
        _ => panic!("an unknown type of result: {data}"),
    }
}

fn element(row: &Json) -> (Labels, Sample) {
    let sample = match (row.get("value"), row.get("histogram")) {
        (Some(point), None) => Sample::Float(float(&point[1])),
        (None, Some(point)) => Sample::Histogram(histogram(&point[1])),
        _ => panic!("neither a float nor a histogram, or both: {row}"),
    };
    (labels(row), sample)
}

fn series(row: &Json) -> Series {
    let floats = list(&row["values"]).iter().map(|point| (ms(&point[0]), float(&point[1])));
    let histograms = list(&row["histograms"]).iter().map(|point| (ms(&point[0]), histogram(&point[1])));
    Series::new(labels(row), floats.collect(), histograms.collect())
}

fn labels(row: &Json) -> Labels {
    let pairs = row["metric"].as_object().unwrap();
    Labels::from_pairs(pairs.iter().map(|(name, value)| (name, value.as_str().unwrap()))).unwrap()
}

fn histogram(json: &Json) -> FoundHistogram {
    let bucket = |bucket: &Json| {
        let (lower_inclusive, upper_inclusive) = match bucket[0].as_u64() {
            Some(0) => (false, true),
            Some(1) => (true, false),
            Some(2) => (false, false),
            Some(3) => (true, true),
            _ => panic!("an unknown kind of bounds: {json}"),
        };
        let (lower, upper, count) = (float(&bucket[1]), float(&bucket[2]), float(&bucket[3]));
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    };
    FoundHistogram::Buckets {
        count: float(&json["count"]),
        sum: float(&json["sum"]),
        buckets: list(&json["buckets"]).iter().map(bucket).collect(),
    }
}

fn ms(seconds: &Json) -> i64 {
    (seconds.as_f64().unwrap() * 1_000.0).round() as i64
}

fn float(text: &Json) -> f64 {
    match text.as_str().unwrap() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap(),
    }
}
