//! What can be wrong with a request, and with one series of it.

use telemetry::histogram::HistogramError;

use crate::limits::QUOTED_BYTES;
use crate::protobuf::ProtobufError;

/// Why a whole request is refused. Nothing of it may be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not the message that it should be: sending it again is useless.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// The JSON body is not the message that it should be: sending it again is useless.
    #[error("malformed JSON: {0}")]
    Json(String),
    /// The message contradicts the protocol: sending it again is useless.
    #[error("{0}")]
    Protocol(&'static str),
    /// There is too much in the request: the client has to send less at once.
    #[error("the request has more than {limit} {what}, which is the limit: send smaller batches")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The most that is taken.
        limit: usize,
    },
}

/// Why one series, or a part of it, is refused; the rest of the request is good.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("series {series}: {problem}")]
pub struct SeriesError {
    /// The series as far as it can be told, `name{label="value"}`, cut if it is long.
    pub series: String,
    /// What is wrong with it.
    pub problem: SeriesProblem,
}

/// What is wrong with a series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SeriesProblem {
    /// There is no label `__name__`, or it is empty.
    #[error("it has no metric name: label \"__name__\" is missing or empty")]
    NoMetricName,
    /// A label without a name.
    #[error("a label has an empty name (its value is {value:?}): give it a name or leave it out")]
    EmptyLabelName {
        /// Its value, cut if it is long.
        value: String,
    },
    /// Two labels of one name.
    #[error("label {name:?} appears twice")]
    DuplicateLabel {
        /// The name, cut if it is long.
        name: String,
    },
    /// A label's name is not UTF-8.
    #[error("the name of label {name:?} is not valid UTF-8")]
    LabelNameNotUtf8 {
        /// The name as far as it can be read, cut if it is long.
        name: String,
    },
    /// A label's value is not UTF-8.
    #[error("the value of label {name:?} is not valid UTF-8")]
    LabelValueNotUtf8 {
        /// The name, cut if it is long.
        name: String,
    },
    /// Too many labels.
    #[error("it has more than {limit} labels, which is the limit")]
    TooManyLabels {
        /// The most that is taken.
        limit: usize,
    },
    /// A label's name is too long.
    #[error("the name of label {name:?} is {bytes} bytes long, more than the limit of {limit}")]
    LabelNameTooLong {
        /// The name, cut.
        name: String,
        /// Its length.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A label's value is too long.
    #[error("the value of label {name:?} is {bytes} bytes long, more than the limit of {limit}")]
    LabelValueTooLong {
        /// The name of the label.
        name: String,
        /// The value's length.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A part of the series is malformed protobuf.
    #[error(transparent)]
    Malformed(#[from] ProtobufError),
    /// A reference into the symbols table that leads nowhere (remote write 2.0).
    #[error("reference {reference} is outside the symbols table of {symbols} entries")]
    SymbolReference {
        /// The reference.
        reference: u32,
        /// Entries in the table.
        symbols: usize,
    },
    /// Label references that are not pairs (remote write 2.0).
    #[error("it has an odd number of label references, {count}")]
    OddReferences {
        /// How many there are.
        count: usize,
    },
    /// A native histogram that is not valid.
    #[error("{0}")]
    Histogram(HistogramError),
    /// A histogram with too many buckets.
    #[error("a histogram has more than {limit} buckets, which is the limit")]
    TooManyBuckets {
        /// The most that is taken.
        limit: usize,
    },
    /// Histogram bucket counts that overflow.
    #[error("a histogram's bucket deltas overflow")]
    BucketOverflow,
    /// An exemplar's labels are too long.
    #[error("an exemplar has {chars} characters of labels, more than the limit of {limit}")]
    ExemplarTooLong {
        /// Characters of its label names and values together.
        chars: usize,
        /// The most that is taken.
        limit: usize,
    },
}

impl From<HistogramError> for SeriesProblem {
    fn from(error: HistogramError) -> Self {
        Self::Histogram(error)
    }
}

/// `text`, cut so that an error message stays readable.
pub(crate) fn quoted(text: &str) -> String {
    if text.len() <= QUOTED_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(QUOTED_BYTES);
    format!("{}…", &text[..end])
}

/// `bytes` as far as they are text, cut so that an error message stays readable.
pub(crate) fn quoted_lossy(bytes: &[u8]) -> String {
    // Four bytes more than are kept: a character cut here is cut again below.
    quoted(&String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED_BYTES + 4)]))
}
