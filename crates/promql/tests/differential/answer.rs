//! Answers in a form in which ours and the server's compare.

use std::collections::{BTreeMap, BTreeSet};

use promql::{QueryOutput, Sample, Value};
use serde_json::Value as Json;
use telemetry::{Histogram, Labels};

/// Relative error that values may differ by: sums are folded in another order.
const TOLERANCE: f64 = 1e-8;

#[derive(Debug)]
pub(crate) enum Answer {
    Error(String),
    Result {
        points: BTreeMap<(String, i64), Point>,
        /// The labels of an instant query's result, as they came.
        order: Vec<String>,
        notes: BTreeSet<String>,
    },
}

/// What the order of an instant query's result is to be compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It has none.
    Any,
    /// Series of equal values may change places.
    Values,
    /// By these labels.
    Labels(&'static [&'static str]),
}

#[derive(Clone, Debug)]
pub(crate) enum Point {
    Float(f64),
    Histogram { count: f64, sum: f64, buckets: Vec<Bucket> },
}

/// The bounds, the count, and which bounds are in the bucket: 0 the upper one, 1 the lower one, 2 none, 3 both.
type Bucket = (f64, f64, f64, u8);

fn ours(sample: &Sample) -> Point {
    match sample {
        Sample::Float(value) => Point::Float(*value),
        Sample::Histogram(histogram) => of_histogram(histogram),
    }
}

fn of_histogram(histogram: &Histogram) -> Point {
    let buckets = promql::all_buckets(histogram);
    let filled = buckets.into_iter().filter(|bucket| bucket.count != 0.0);
    Point::Histogram {
        count: histogram.count,
        sum: histogram.sum,
        buckets: filled
            .map(|bucket| {
                let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                    (false, true) => 0,
                    (true, false) => 1,
                    (false, false) => 2,
                    (true, true) => 3,
                };
                (bucket.lower, bucket.upper, bucket.count, bounds)
            })
            .collect(),
    }
}

fn key(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value:?},")).collect()
}

fn float(json: &Json) -> f64 {
    match json.as_str() {
        Some("+Inf") => f64::INFINITY,
        Some("-Inf") => f64::NEG_INFINITY,
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
        None => json.as_f64().unwrap(),
    }
}

fn ms(json: &Json) -> i64 {
    (json.as_f64().unwrap() * 1_000.0).round() as i64
}

fn their_histogram(json: &Json) -> Point {
    let buckets = json["buckets"].as_array().map(Vec::as_slice).unwrap_or_default();
    Point::Histogram {
        count: float(&json["count"]),
        sum: float(&json["sum"]),
        buckets: buckets
            .iter()
            .map(|b| (float(&b[1]), float(&b[2]), float(&b[3]), b[0].as_u64().unwrap() as u8))
            .collect(),
    }
}

fn close(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-6)
}

impl Point {
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => close(*a, *b),
            (
                Self::Histogram { count: a, sum: x, buckets: p },
                Self::Histogram { count: b, sum: y, buckets: q },
            ) => {
                // Subtraction may leave a bucket with next to nothing in it.
                let filled = |buckets: &[Bucket]| -> Vec<Bucket> {
                    buckets
                        .iter()
                        .copied()
                        .filter(|bucket| bucket.2.abs() > 1e-14 || bucket.2.is_nan())
                        .collect()
                };
                let (p, q) = (filled(p), filled(q));
                let same = |p: &Bucket, q: &Bucket| {
                    close(p.0, q.0) && close(p.1, q.1) && close(p.2, q.2) && p.3 == q.3
                };
                close(*a, *b)
                    && close(*x, *y)
                    && p.len() == q.len()
                    && p.iter().zip(&q).all(|(p, q)| same(p, q))
            }
            _ => false,
        }
    }
}

fn only_some_have(label: &str, order: &[String]) -> bool {
    let start = format!("{label}=\"");
    let having =
        order.iter().filter(|labels| labels.starts_with(&start) || labels.contains(&format!(",{start}")));
    (1..order.len()).contains(&having.count())
}

/// A note without its place (of equal notes of several places either side keeps one) and with few digits.
fn text_of(note: &str) -> String {
    let text = match note.rsplit_once(" (") {
        Some((text, place)) if place.ends_with(')') && place.contains(':') => text,
        _ => note,
    };
    match text.rsplit_once(", got ").map(|(text, number)| (text, number.parse::<f64>())) {
        Some((text, Ok(number))) => format!("{text}, got {number:.9e}"),
        _ => text.to_owned(),
    }
}

impl Answer {
    pub(crate) fn ours(output: Result<QueryOutput, String>) -> Self {
        let output = match output {
            Ok(output) => output,
            Err(error) => return Self::Error(error),
        };
        let mut points = BTreeMap::new();
        let mut order = Vec::new();
        match &output.value {
            Value::Scalar(scalar) => {
                points.insert((String::new(), scalar.timestamp_ms), Point::Float(scalar.value));
            }
            Value::String { .. } => {}
            Value::Vector(vector) => {
                for element in vector {
                    let key = (key(&element.labels), element.timestamp_ms);
                    order.push(key.0.clone());
                    assert!(points.insert(key, ours(&element.sample)).is_none(), "an element twice");
                }
            }
            Value::Matrix(matrix) => {
                for series in matrix {
                    let labels = key(&series.labels);
                    for (at_ms, value) in &series.floats {
                        points.insert((labels.clone(), *at_ms), Point::Float(*value));
                    }
                    for (at_ms, histogram) in &series.histograms {
                        points.insert((labels.clone(), *at_ms), of_histogram(histogram));
                    }
                }
            }
        }
        let notes = output.warnings.iter().chain(&output.infos).map(|note| text_of(&note.message)).collect();
        Self::Result { points, order, notes }
    }

    pub(crate) fn theirs(json: &Json) -> Self {
        if json["status"] != "success" {
            return Self::Error(json["error"].as_str().unwrap_or("").to_owned());
        }
        let data = &json["data"];
        let mut points = BTreeMap::new();
        let mut order = Vec::new();
        let mut add = |labels: &str, pair: &Json, histogram: bool| {
            let point = if histogram { their_histogram(&pair[1]) } else { Point::Float(float(&pair[1])) };
            points.insert((labels.to_owned(), ms(&pair[0])), point);
        };
        if data["resultType"] == "scalar" {
            add("", &data["result"], false);
        } else {
            for series in data["result"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let metric: BTreeMap<&str, &str> = series["metric"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                    .collect();
                let labels: String =
                    metric.iter().map(|(name, value)| format!("{name}={value:?},")).collect();
                for (one, many, histogram) in [("value", "values", false), ("histogram", "histograms", true)]
                {
                    if series[one].is_array() {
                        order.push(labels.clone());
                        add(&labels, &series[one], histogram);
                    }
                    for pair in series[many].as_array().map(Vec::as_slice).unwrap_or_default() {
                        add(&labels, pair, histogram);
                    }
                }
            }
        }
        let notes = ["warnings", "infos"]
            .into_iter()
            .flat_map(|kind| json[kind].as_array().cloned().unwrap_or_default())
            .map(|note| text_of(note.as_str().unwrap()))
            .collect();
        Self::Result { points, order, notes }
    }

    pub(crate) fn has_samples(&self) -> bool {
        matches!(self, Self::Result { points, .. } if !points.is_empty())
    }

    /// Says what differs.
    pub(crate) fn agrees_with(&self, theirs: &Self, by: Order) -> Result<(), String> {
        match (self, theirs) {
            (Self::Error(_), Self::Error(_)) => Ok(()),
            // The server caught a panic of its own: that is no answer.
            (_, Self::Error(error)) if error.starts_with("unexpected error: runtime error") => Ok(()),
            (
                Self::Result { points: a, order: p, notes: x },
                Self::Result { points: b, order: q, notes: y },
            ) => {
                for (key, point) in a {
                    match b.get(key) {
                        Some(other) if point.agrees_with(other) => {}
                        other => return Err(format!("{key:?}: ours {point:?}, theirs {other:?}")),
                    }
                }
                if let Some((key, point)) = b.iter().find(|(key, _)| !a.contains_key(key)) {
                    return Err(format!("{key:?}: ours nothing, theirs {point:?}"));
                }
                let values = |order: &[String]| -> Vec<Point> {
                    let value = |labels| b.iter().find(|((other, _), _)| other == labels);
                    order.iter().filter_map(value).map(|(_, point)| point.clone()).collect()
                };
                let in_order = match by {
                    Order::Any => true,
                    // Of a series with a label and one without it the server says of either that it comes after the
                    // other: their order is that in which its hash tables had them.
                    Order::Labels(labels) => p == q || labels.iter().any(|label| only_some_have(label, p)),
                    Order::Values => values(p).iter().zip(&values(q)).all(|(p, q)| p.agrees_with(q)),
                };
                if !in_order {
                    return Err(format!("order: ours {p:?}, theirs {q:?}"));
                }
                // The server leaves notes out when they are many.
                let omitted = |note: &String| note.ends_with("annotations omitted");
                let all_there = y.iter().all(|note| x.contains(note) || omitted(note));
                // It keeps one problem a step of those that a binary operation meets.
                let kept = |note: &&String| !note.contains("encountered for binary operator");
                let none_more = x.iter().filter(kept).all(|note| y.contains(note));
                if all_there && (none_more || y.iter().any(omitted)) {
                    Ok(())
                } else {
                    Err(format!("notes: ours {x:?}, theirs {y:?}"))
                }
            }
            (ours, theirs) => {
                let brief = |answer: &Self| match answer {
                    Self::Error(error) => format!("the error {error}"),
                    Self::Result { points, .. } => format!("{} points", points.len()),
                };
                Err(format!("ours is {}, theirs {}", brief(ours), brief(theirs)))
            }
        }
    }
}
