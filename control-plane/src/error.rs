//! Why a request cannot be done, by what the caller should do about it.

use std::time::Duration;

use crate::app::placement::decision::Unplaceable;
use crate::db::DbError;
use crate::http::reference::PATH as REFERENCE_PATH;
use crate::limits::MAX_BODY_BYTES;

/// Why a request cannot be done. `Display` is what the caller is told; causes are logged where they happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The request itself is wrong: change it.
    #[error("{field} {problem}")]
    Invalid {
        /// The field that is wrong.
        field: &'static str,
        /// What would be right, as the rest of a sentence that begins with the field's name.
        problem: String,
    },
    /// The request's body is no JSON of the documented shape.
    #[error("{0}")]
    Body(String),
    /// The request's body says that it is something else than JSON.
    #[error("the body is JSON; send it with 'Content-Type: application/json'")]
    MediaType,
    /// The request's body is too large.
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The route has no such method.
    #[error("this route does not have that method; see {REFERENCE_PATH}")]
    Method,
    /// Nobody knows who asks: log in.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The password was right and a second factor is on: send its code, too.
    #[error("this account has a second factor: send the code that your app shows as 'code'")]
    CodeNeeded,
    /// Known, but not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// There is none, or the caller may not know of it: the two are not told apart.
    #[error("there is no such {0} here, or your account may not see it")]
    NotFound(&'static str),
    /// Not as things stand.
    #[error("{0}")]
    Conflict(String),
    /// No cell fits: what contradicts what, and what would help.
    #[error("{}", .0.text)]
    Unplaceable(Box<Unplaceable>),
    /// Too many of something: delete some, or ask for more.
    #[error("{0}")]
    Full(String),
    /// Too often: wait.
    #[error("too many attempts; wait {} s and try again", wait.as_secs_f64().ceil())]
    Throttled {
        /// For how long.
        wait: Duration,
    },
    /// Not now: try again.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A bug.
    #[error("internal error")]
    Internal,
}

/// What an error is over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorKind {
    pub(crate) status: u16,
    /// Stable, for programs.
    pub(crate) code: &'static str,
}

impl AppError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }

    /// The table of all errors.
    pub(crate) fn kind(&self) -> ErrorKind {
        let (status, code) = match self {
            Self::Invalid { .. } => (422, "invalid_field"),
            Self::Body(_) => (400, "invalid_body"),
            Self::MediaType => (415, "not_json"),
            Self::TooLarge => (413, "too_large"),
            Self::Method => (405, "no_such_method"),
            Self::Unauthenticated(_) => (401, "unauthenticated"),
            Self::CodeNeeded => (401, "second_factor_needed"),
            Self::Forbidden(_) => (403, "forbidden"),
            Self::NotFound(_) => (404, "not_found"),
            Self::Conflict(_) => (409, "conflict"),
            Self::Unplaceable(_) => (409, "no_cell_fits"),
            Self::Full(_) => (409, "limit_reached"),
            Self::Throttled { .. } => (429, "too_many_attempts"),
            Self::Unavailable(_) => (503, "unavailable"),
            Self::Internal => (500, "internal"),
        };
        ErrorKind { status, code }
    }
}

impl From<DbError> for AppError {
    /// Logs the cause: a caller never sees SQL.
    fn from(error: DbError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the database did not do what was asked of it"
        );
        match error {
            DbError::Unavailable(_) => Self::Unavailable("the database cannot be reached; try again later"),
            DbError::Failed(_) | DbError::Document(_) => Self::Internal,
        }
    }
}
