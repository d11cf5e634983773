//! Errors of buckets, by what they mean for the caller.

use std::error::Error;
use std::fmt;

use super::GetRange;

/// What was asked of a bucket. Also the label under which requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`put`](crate::Bucket::put)
    Put,
    /// [`get`](crate::Bucket::get) and [`get_if_changed`](crate::Bucket::get_if_changed)
    Get,
    /// [`head`](crate::Bucket::head)
    Head,
    /// [`list`](crate::Bucket::list): one page
    List,
    /// [`delete_many`](crate::Bucket::delete_many)
    Delete,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a request that failed may have done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It has not, and will not.
    NotDone,
    /// Nobody knows: the answer was lost, late or not understood. It may also be done later.
    Unknown,
}

/// Why a request to a bucket failed. The text names the operation and the key; the source, where there is one, the cause.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// There is no such object.
    #[error("{operation} {key}: there is no such object")]
    NotFound {
        /// What was asked.
        operation: Operation,
        /// Of which object.
        key: String,
    },
    /// A put's condition does not hold, and nothing was stored by this request.
    #[error("{operation} {key}: the condition of the request does not hold")]
    PreconditionFailed {
        /// What was asked.
        operation: Operation,
        /// Of which object.
        key: String,
    },
    /// Another conditional put of the key was under way; nothing was stored. Try again.
    #[error("{operation} {key}: another write of the object was under way")]
    Conflict {
        /// What was asked.
        operation: Operation,
        /// Of which object.
        key: String,
    },
    /// The bucket did not do it, or did not say so. Try again later.
    #[error("{operation} {key}: the bucket is not available")]
    Unavailable {
        /// What was asked.
        operation: Operation,
        /// Of which object or prefix.
        key: String,
        /// Whether it may have been done all the same.
        outcome: PutOutcome,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bucket takes nothing: its disk or quota is full, or it is read-only. Nothing was done. Trying again is of no use before
    /// somebody has made room.
    #[error("{operation} {key}: the bucket takes nothing: its disk or quota is full, or it is read-only")]
    NoRoom {
        /// What was asked.
        operation: Operation,
        /// Of which object.
        key: String,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Credentials are missing, wrong, or not enough. Somebody has to mend the configuration.
    #[error("{operation} {key}: access to the bucket was denied")]
    Denied {
        /// What was asked.
        operation: Operation,
        /// Of which object or prefix.
        key: String,
        /// What the bucket said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A request that can never succeed: a bad key or range, an unknown bucket, something that is no object of ours.
    #[error("{operation} {key}: the request is not valid")]
    Invalid {
        /// What was asked.
        operation: Operation,
        /// Of which object or prefix.
        key: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BucketError {
    pub(crate) fn invalid(
        operation: Operation,
        key: &str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Invalid { operation, key: key.to_owned(), source: source.into() }
    }

    pub(crate) fn range_not_satisfiable(key: &str, range: &GetRange, len: u64) -> Self {
        Self::invalid(Operation::Get, key, format!("an object of {len} bytes has nothing at {range:?}"))
    }

    /// Whether the same request may succeed when it is made again, soon.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Unavailable { .. } => true,
            Self::NotFound { .. }
            | Self::PreconditionFailed { .. }
            | Self::NoRoom { .. }
            | Self::Denied { .. }
            | Self::Invalid { .. } => false,
        }
    }

    /// Whether the request may have done its work, or may still do it.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { outcome: PutOutcome::Unknown, .. })
    }
}
