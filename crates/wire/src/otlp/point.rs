//! What can be wrong with a data point, and counting those that are refused.

use telemetry::histogram::HistogramError;

use super::response::Outcome;
use crate::error::{RequestError, quoted};
use crate::protobuf::ProtobufError;

/// Why a data point is refused; the others are good.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum PointProblem {
    #[error("{0}")]
    Protobuf(#[from] ProtobufError),
    #[error("the metric has no name, or none is left after characters that names cannot have")]
    NoName,
    #[error("the metric's {0} is not valid UTF-8")]
    TextNotUtf8(&'static str),
    #[error("the key of attribute {key:?} is not valid UTF-8")]
    AttributeKeyNotUtf8 { key: String },
    #[error("the value of attribute {key:?} is not valid UTF-8")]
    AttributeValueNotUtf8 { key: String },
    #[error("the value of attribute {key:?} is nested deeper than {limit} levels, which is the limit")]
    AttributeTooDeep { key: String, limit: usize },
    #[error("the value of attribute {key:?} is {bytes} bytes long, more than the limit of {limit}")]
    AttributeTooLong { key: String, bytes: usize, limit: usize },
    #[error("resource, scope and data point have more than {limit} labels together, which is the limit")]
    TooManyLabels { limit: usize },
    #[error("the aggregation temporality is neither cumulative nor delta: set it")]
    Temporality,
    #[error("the data point has no value")]
    NoValue,
    #[error(
        "the histogram has {counts} bucket counts for {bounds} boundaries: there must be one more, or neither"
    )]
    BucketCounts { counts: usize, bounds: usize },
    #[error("histogram boundary {index} ({value}) is not above the one before")]
    Boundary { index: usize, value: f64 },
    #[error("the histogram has more than {limit} buckets, which is the limit")]
    TooManyBuckets { limit: usize },
    #[error("the exponential histogram has scale {0}: below -4 it cannot be stored")]
    Scale(i64),
    #[error("the bucket counts overflow")]
    BucketOverflow,
    #[error("{0}")]
    Histogram(#[from] HistogramError),
}

/// Why reading a data point ended early.
#[derive(Debug)]
pub(super) enum PointError {
    /// The data point is bad.
    Problem(PointProblem),
    /// The receiver does not want it, for this reason.
    Refused(String),
    /// The request as a whole is bad or too much.
    Request(RequestError),
}

/// Takes malformed protobuf, which spoils the request, out of `result`: what is left spoils data points only.
pub(super) fn within_request<T>(
    result: Result<T, PointProblem>,
) -> Result<Result<T, PointProblem>, RequestError> {
    match result {
        Err(PointProblem::Protobuf(error)) => Err(error.into()),
        other => Ok(other),
    }
}

impl<P: Into<PointProblem>> From<P> for PointError {
    fn from(problem: P) -> Self {
        match problem.into() {
            // Where the message is malformed, nothing that follows can be trusted.
            PointProblem::Protobuf(error) => Self::Request(error.into()),
            problem => Self::Problem(problem),
        }
    }
}

impl From<RequestError> for PointError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// Counts refused data points, and keeps the reason of the first.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    count: u64,
    first: Option<String>,
    warning: Option<String>,
}

impl Refusals {
    pub(super) fn add(&mut self, count: u64, metric: &str, reason: &dyn std::fmt::Display) {
        self.count += count;
        if count > 0 && self.first.is_none() {
            self.first = Some(format!("metric {:?}: {reason}", quoted(metric)));
        }
    }

    /// Keeps `reason` as a warning if there is nothing more important to tell.
    pub(super) fn warn(&mut self, metric: &str, reason: &dyn std::fmt::Display) {
        self.warning.get_or_insert_with(|| format!("metric {:?}: {reason}", quoted(metric)));
    }

    pub(super) fn into_outcome(self) -> Outcome {
        let error_message = match (self.first, self.count) {
            (None, _) => self.warning.unwrap_or_default(),
            (Some(first), 1) => first,
            (Some(first), count) => format!("{first} (first of {count} rejected data points)"),
        };
        Outcome { rejected: self.count, error_message }
    }
}
