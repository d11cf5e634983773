//! What a query answers.

use std::fmt;
use std::sync::Arc;

use telemetry::{Histogram, Labels};

/// The answer to a query.
#[derive(Clone, Debug, Default)]
pub struct QueryOutput {
    /// The result.
    pub value: Value,
    /// What the user should look at: the result may not be what was meant. Sorted, each text once.
    pub warnings: Vec<Annotation>,
    /// What the user may want to know. Sorted, each text once.
    pub infos: Vec<Annotation>,
    /// What the query cost.
    pub stats: QueryStats,
    /// Each step (ms) and how many samples it looks at, those in windows again and again; a histogram counts as one. Empty
    /// unless [`crate::EvalOptions::count_per_step`] asks for it. The sum is Prometheus's `totalQueryableSamples`.
    pub samples_per_step: Vec<(i64, u64)>,
}

/// A query's result, by the type of its expression and the kind of its window.
#[derive(Clone, Debug)]
pub enum Value {
    /// An instant query of a scalar expression.
    Scalar(ScalarSample),
    /// An instant query of a string expression.
    String {
        /// The instant (ms).
        timestamp_ms: i64,
        /// The text.
        text: String,
    },
    /// An instant query of an instant-vector expression; no two elements have equal labels.
    Vector(Vec<VectorSample>),
    /// A range query, in ascending label order; or an instant query of a range-vector expression.
    Matrix(Vec<MatrixSeries>),
}

impl Default for Value {
    fn default() -> Self {
        Self::Vector(Vec::new())
    }
}

/// A scalar at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalarSample {
    /// The instant (ms).
    pub timestamp_ms: i64,
    /// The value.
    pub value: f64,
}

/// A float or a native histogram.
#[derive(Clone, Debug)]
pub enum Sample {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// The labels.
    pub labels: Labels,
    /// The instant (ms).
    pub timestamp_ms: i64,
    /// The value.
    pub sample: Sample,
}

/// One series of a matrix. Floats and histograms never share a timestamp.
#[derive(Clone, Debug, Default)]
pub struct MatrixSeries {
    /// The labels.
    pub labels: Labels,
    /// Float points as (timestamp in ms, value), strictly ascending.
    pub floats: Vec<(i64, f64)>,
    /// Histogram points as (timestamp in ms, histogram), strictly ascending.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

/// A warning or an information about a query, in Prometheus's wording.
///
/// `Display` adds the position, as Prometheus's HTTP API does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Annotation {
    /// The text, without a position.
    pub message: String,
    /// Line (from 1) and column (from 1) in the query.
    pub position: (u32, u32),
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.message, self.position.0, self.position.1)
    }
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Series selected, over all selectors.
    pub series: u64,
    /// Samples read from the source; a histogram counts as one.
    pub samples: u64,
    /// The most memory (bytes) that was counted at any moment, the result included.
    pub peak_memory_bytes: u64,
}
