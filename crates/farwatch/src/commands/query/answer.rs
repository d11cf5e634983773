//! The JSON of Prometheus's HTTP API, as far as the terminal shows it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is around every answer.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    pub(super) data: Answer,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(default)]
    pub(super) infos: Vec<String>,
}

/// What a refusal looks like.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: String,
}

/// Time in Unix seconds, and value.
pub(super) type Point = (f64, String);

/// Time in Unix seconds, and native histogram.
pub(super) type HistogramPoint = (f64, Histogram);

/// An answer, by its type.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Answer {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
    Scalar(Point),
    String(Point),
}

/// One series at one time.
#[derive(Debug, Deserialize)]
pub(super) struct Instant {
    pub(super) metric: Metric,
    pub(super) value: Option<Point>,
    pub(super) histogram: Option<HistogramPoint>,
}

/// One series over time.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) metric: Metric,
    #[serde(default)]
    pub(super) values: Vec<Point>,
    #[serde(default)]
    pub(super) histograms: Vec<HistogramPoint>,
}

/// What a native histogram comes down to in a line.
#[derive(Debug, Deserialize)]
pub(super) struct Histogram {
    pub(super) count: String,
    pub(super) sum: String,
}

/// Labels of a series.
#[derive(Debug, Deserialize)]
pub(super) struct Metric(BTreeMap<String, String>);

impl Metric {
    /// The series the way PromQL writes it. Control characters, which a hostile label could hold, are escaped.
    pub(super) fn text(&self) -> String {
        match telemetry::Labels::from_pairs(&self.0) {
            Ok(labels) => labels.to_string(),
            Err(_) => format!("{:?}", self.0),
        }
    }
}
