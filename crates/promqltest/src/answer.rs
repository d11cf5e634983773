//! What an engine answers, as far as scripts look at it.

use std::sync::Arc;

use promql::{Bucket, QueryOutput};
use telemetry::{Histogram, Labels};

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// Warnings, without positions.
    pub warnings: Vec<String>,
    /// Informations, without positions.
    pub infos: Vec<String>,
}

/// A result.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar.
    Scalar(f64),
    /// A string.
    String(String),
    /// An instant vector, in the order of the answer.
    Vector(Vec<(Labels, Sample)>),
    /// A matrix, in the order of the answer.
    Matrix(Vec<Series>),
}

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its points by timestamp (ms).
    pub points: Vec<(i64, Sample)>,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Sample {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(FoundHistogram),
}

/// A native histogram as far as the engine shows it.
#[derive(Clone, Debug)]
pub enum FoundHistogram {
    /// All of it.
    Whole(Arc<Histogram>),
    /// What Prometheus's JSON has of it: neither schema nor counter-reset hint nor empty buckets.
    Buckets {
        /// All observations.
        count: f64,
        /// Their sum.
        sum: f64,
        /// Those that hold something, ascending.
        buckets: Vec<Bucket>,
    },
}

impl Series {
    /// A series of floats and histograms, each ascending by time.
    #[must_use]
    pub fn new(labels: Labels, floats: Vec<(i64, f64)>, histograms: Vec<(i64, FoundHistogram)>) -> Self {
        let floats = floats.into_iter().map(|(at_ms, value)| (at_ms, Sample::Float(value)));
        let histograms =
            histograms.into_iter().map(|(at_ms, histogram)| (at_ms, Sample::Histogram(histogram)));
        let mut points: Vec<_> = floats.chain(histograms).collect();
        points.sort_by_key(|(at_ms, _)| *at_ms);
        Self { labels, points }
    }
}

impl From<promql::Sample> for Sample {
    fn from(sample: promql::Sample) -> Self {
        match sample {
            promql::Sample::Float(value) => Self::Float(value),
            promql::Sample::Histogram(histogram) => Self::Histogram(FoundHistogram::Whole(histogram)),
        }
    }
}

impl From<QueryOutput> for Answer {
    fn from(output: QueryOutput) -> Self {
        let whole = |(at_ms, histogram)| (at_ms, FoundHistogram::Whole(histogram));
        let series = |series: promql::MatrixSeries| {
            let histograms = series.histograms.into_iter().map(whole).collect();
            Series::new(series.labels, series.floats, histograms)
        };
        let value = match output.value {
            promql::Value::Scalar(sample) => Value::Scalar(sample.value),
            promql::Value::String { text, .. } => Value::String(text),
            promql::Value::Vector(samples) => {
                Value::Vector(samples.into_iter().map(|one| (one.labels, one.sample.into())).collect())
            }
            promql::Value::Matrix(matrix) => Value::Matrix(matrix.into_iter().map(series).collect()),
        };
        let texts = |annotations: Vec<promql::Annotation>| {
            annotations.into_iter().map(|annotation| annotation.message).collect()
        };
        Self { value, warnings: texts(output.warnings), infos: texts(output.infos) }
    }
}
