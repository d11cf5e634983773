//! Why a request was not committed.

use std::sync::Arc;

use crate::work::BrokenOff;
use crate::{BucketError, SegmentKey};

/// Why a request was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// There was nothing in it.
    #[error("the request holds no samples, exemplars or metadata")]
    Empty,
    /// It can never be taken.
    #[error(
        "the request holds {bytes} bytes in memory, more than the {limit_bytes} that may be pending: send less at a time"
    )]
    TooLarge {
        /// What it holds.
        bytes: usize,
        /// [`GroupCommitSettings::pending_bytes`](super::GroupCommitSettings::pending_bytes)
        limit_bytes: usize,
    },
    /// Too much is waiting for the bucket. Nothing of the request was stored.
    #[error("{pending_bytes} of {limit_bytes} bytes are waiting for the object store: try again later")]
    Overloaded {
        /// What is waiting.
        pending_bytes: usize,
        /// [`GroupCommitSettings::pending_bytes`](super::GroupCommitSettings::pending_bytes)
        limit_bytes: usize,
    },
    /// The process is going down. Nothing of the request was stored.
    #[error("the writer is shutting down: try again elsewhere")]
    ShuttingDown,
    /// It is certain that nothing was stored.
    #[error("segment {segment} was not stored")]
    NotStored {
        /// The segment.
        segment: SegmentKey,
        /// The last error.
        source: Arc<BucketError>,
    },
    /// Nobody knows whether it was stored. To send it again is harmless: equal samples count once.
    #[error("it is not known whether segment {segment} was stored")]
    Unknown {
        /// The segment.
        segment: SegmentKey,
        /// The last error.
        source: Arc<BucketError>,
    },
    /// The flush broke off: a bug, or the runtime went down under it. It may have been stored.
    #[error("the flush broke off: {0}")]
    BrokenOff(Arc<str>),
}

impl CommitError {
    /// Whether the client should send the same request again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Empty | Self::TooLarge { .. } => false,
            Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::NotStored { .. }
            | Self::Unknown { .. }
            | Self::BrokenOff(_) => true,
        }
    }

    /// Whether it failed because the bucket takes nothing.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::NotStored { source, .. } if matches!(**source, BucketError::NoRoom { .. }))
    }

    /// Whether the samples may be in the bucket all the same.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::BrokenOff(_))
    }
}

impl From<BrokenOff> for CommitError {
    fn from(BrokenOff(why): BrokenOff) -> Self {
        Self::BrokenOff(Arc::from(why))
    }
}
