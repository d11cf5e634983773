//! Why a query has no answer.

use std::time::Duration;

use promql::{EvalError, LimitExceeded, ParseError, PlanError};
use segment_store::ReadError;
use tenancy::{AccessError, Denied};

use crate::cache::FetchError;

/// Why a request has no answer. `Display` is what the client is told; causes are logged where they happen.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The request makes no sense: it has to change.
    #[error("{0}")]
    BadRequest(String),
    /// There is nothing under this name.
    #[error("{0}")]
    NotFound(String),
    /// The request's body came too slowly: send it faster.
    #[error("the request body came too slowly")]
    BodyTooSlow,
    /// Nobody knows who asks, or they may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The tenant has too many queries running: ask again later.
    #[error(transparent)]
    TooMany(#[from] Denied),
    /// The query goes over a bound: ask for less.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The query would read too much from the bucket: ask for less.
    #[error(
        "limit query_bytes reached: the query reads more than {limit_bytes} bytes of segments; use a shorter range"
    )]
    Bytes {
        /// The limit.
        limit_bytes: u64,
    },
    /// The query would hold more fetched data than all queries together may: ask for less.
    #[error(
        "limit fetched_memory reached: the query holds more than the {limit_bytes} bytes of stored data that all queries of a process may hold; use a shorter range"
    )]
    FetchedMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// The query cannot be evaluated over these data: it has to change.
    #[error("{0}")]
    Execution(String),
    /// The time limit is over: ask for less, or allow more.
    #[error("query timed out in {phase}: the limit is {} s", limit.as_secs_f64())]
    Timeout {
        /// Where it was by then.
        phase: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The client went away.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The data cannot be had at the moment: ask again later.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The manifest without which nobody knows what is stored cannot be read. To ask again is of no use before the operator
    /// has put it right.
    #[error(
        "the manifest {key} is damaged: queries that need it are answered once the operator has restored it; the server's log says what is wrong with it"
    )]
    DamagedManifest {
        /// Which one.
        key: String,
    },
    /// A bug.
    #[error("internal error")]
    Internal,
}

impl From<ParseError> for QueryError {
    fn from(error: ParseError) -> Self {
        Self::BadRequest(format!("invalid parameter \"query\": {error}"))
    }
}

impl From<PlanError> for QueryError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Expression(error) => error.into(),
            PlanError::Request(message) => Self::BadRequest(message),
            PlanError::Limit(limit) => Self::Limit(limit),
        }
    }
}

impl From<EvalError> for QueryError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Execution(message) => Self::Execution(message),
            EvalError::Limit(limit) => Self::Limit(limit),
            EvalError::Cancelled => Self::Canceled,
            EvalError::Source(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a query's data could not be read");
                Self::Unavailable(READ_FAILED)
            }
        }
    }
}

const READ_FAILED: &str = "stored data could not be read; try again later";

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a query's data could not be read");
        match error {
            ReadError::Gone(_) | ReadError::Bucket(_) => Self::Unavailable(READ_FAILED),
            ReadError::Manifest { key, .. } => Self::DamagedManifest { key },
            ReadError::Segment { .. } => {
                Self::Unavailable("stored data that the query needs is damaged; a shorter range may avoid it")
            }
            ReadError::TooManyObjects { .. } => {
                Self::Unavailable("too many small segments are waiting for compaction; try again later")
            }
        }
    }
}

impl From<FetchError> for QueryError {
    fn from(error: FetchError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a query's data could not be read");
        Self::Unavailable(READ_FAILED)
    }
}

/// How a query ended: a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has an answer.
    Success,
    /// [`QueryError::BadRequest`], [`QueryError::NotFound`], [`QueryError::BodyTooSlow`].
    BadRequest,
    /// [`QueryError::Access`].
    Refused,
    /// [`QueryError::TooMany`].
    TooMany,
    /// [`QueryError::Limit`], [`QueryError::Bytes`], [`QueryError::FetchedMemory`].
    Limit,
    /// [`QueryError::Execution`].
    Execution,
    /// [`QueryError::Timeout`].
    Timeout,
    /// [`QueryError::Canceled`].
    Canceled,
    /// [`QueryError::Unavailable`], [`QueryError::DamagedManifest`].
    Unavailable,
    /// [`QueryError::Internal`].
    Internal,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::BadRequest,
        Self::Refused,
        Self::TooMany,
        Self::Limit,
        Self::Execution,
        Self::Timeout,
        Self::Canceled,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::BadRequest => "bad_request",
            Self::Refused => "refused",
            Self::TooMany => "too_many",
            Self::Limit => "limit",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// What an error is over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorKind {
    pub(crate) status: u16,
    /// Prometheus's `errorType`, where it has one.
    pub(crate) error_type: &'static str,
    pub(crate) outcome: Outcome,
}

impl QueryError {
    /// Whether the query would have to hold too much.
    pub(crate) fn is_of_memory(&self) -> bool {
        matches!(self, Self::Limit(LimitExceeded::Memory { .. }) | Self::FetchedMemory { .. })
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        let (status, error_type, outcome) = match self {
            Self::BadRequest(_) => (400, "bad_data", Outcome::BadRequest),
            Self::NotFound(_) => (404, "not_found", Outcome::BadRequest),
            Self::BodyTooSlow => (408, "timeout", Outcome::BadRequest),
            Self::Access(error) if error.is_forbidden() => (403, "forbidden", Outcome::Refused),
            Self::Access(_) => (401, "unauthorized", Outcome::Refused),
            Self::TooMany(_) => (429, "too_many_requests", Outcome::TooMany),
            Self::Limit(_) | Self::Bytes { .. } | Self::FetchedMemory { .. } => {
                (422, "execution", Outcome::Limit)
            }
            Self::Execution(_) => (422, "execution", Outcome::Execution),
            Self::Timeout { .. } => (503, "timeout", Outcome::Timeout),
            Self::Canceled => (499, "canceled", Outcome::Canceled),
            Self::Unavailable(_) | Self::DamagedManifest { .. } => (503, "unavailable", Outcome::Unavailable),
            Self::Internal => (500, "internal", Outcome::Internal),
        };
        ErrorKind { status, error_type, outcome }
    }
}
