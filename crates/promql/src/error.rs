//! Why a query fails, by what the caller should do.

use crate::limits::LimitExceeded;
use crate::source::SourceError;

/// A query that is not PromQL. `Display` is Prometheus's: `1:5: parse error: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// Byte offsets of the offending text.
    pub span: (u32, u32),
}

/// A query that cannot be evaluated as asked, known before any data is read: the caller has to change the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The expression is not allowed, e.g. an experimental function.
    #[error(transparent)]
    Expression(#[from] ParseError),
    /// The window or an option makes no sense.
    #[error("{0}")]
    Request(String),
    /// A limit is exceeded whatever the data.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Why an evaluation ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The expression cannot be evaluated over these data (e.g. many-to-many matching): the caller changes the query.
    #[error("{0}")]
    Execution(String),
    /// The query is too large: the caller makes it smaller.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// [`crate::EvalOptions::cancelled`] said so.
    #[error("query was canceled in query execution")]
    Cancelled,
    /// The source could not deliver: the caller may retry.
    #[error(transparent)]
    Source(#[from] SourceError),
}
