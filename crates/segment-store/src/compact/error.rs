//! Why a round of compaction ended early.

use storage_format::EncodeError;

use crate::merge::MergeError;
use crate::put::PutFailure;
use crate::work::BrokenOff;
use crate::{BucketError, ManifestError, ReadError};

/// Why a step came to nothing. Whatever it was, nothing is lost by it, and the next round begins from what the bucket has.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The bucket could not be read, or what it gave is not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An object or manifest could not be stored.
    #[error("the object store could not be written")]
    Put(#[source] BucketError),
    /// Objects could not be deleted.
    #[error("objects could not be deleted")]
    Delete(#[source] BucketError),
    /// A manifest would not be one.
    #[error("manifest {key} cannot be written")]
    Manifest {
        /// Which one.
        key: String,
        /// Why.
        source: ManifestError,
    },
    /// A merge failed for another reason than damage.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A merge's result cannot be written: a mistake in this software.
    #[error("merged samples cannot be written")]
    Encode(#[from] EncodeError),
    /// Samples went missing in a merge, or came from nowhere: a mistake in this software. Nothing was committed.
    #[error("{what}: {found} samples, expected {expected}; nothing was committed")]
    NotConserved {
        /// Which merge.
        what: String,
        /// How many it gave.
        found: u64,
        /// How many it should give.
        expected: u64,
    },
    /// The work broke off: a bug, or the runtime went down under it.
    #[error("the work broke off: {0}")]
    BrokenOff(String),
}

impl CompactError {
    /// Whether the data or this software is at fault, so that the same step would fail again, while others may succeed.
    pub(super) fn is_of_this_software(&self) -> bool {
        match self {
            Self::Manifest { .. } | Self::Encode(_) | Self::NotConserved { .. } => true,
            Self::Merge(MergeError::Encode(_) | MergeError::Damaged { .. } | MergeError::BrokenOff(_)) => {
                true
            }
            Self::Merge(MergeError::Bucket { .. }) => false,
            Self::Read(_) | Self::Put(_) | Self::Delete(_) | Self::BrokenOff(_) => false,
        }
    }

    /// Whether the same step may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Read(error) => error.is_retryable(),
            Self::Put(error) | Self::Delete(error) => error.is_retryable(),
            Self::Merge(MergeError::Bucket { source, .. }) => source.is_retryable(),
            Self::Merge(MergeError::BrokenOff(_)) | Self::BrokenOff(_) => true,
            Self::Merge(_) | Self::Encode(_) | Self::Manifest { .. } | Self::NotConserved { .. } => false,
        }
    }
}

impl From<PutFailure> for CompactError {
    fn from(failure: PutFailure) -> Self {
        match failure {
            PutFailure::Taken(error) | PutFailure::NotStored(error) | PutFailure::Unknown(error) => {
                Self::Put(error)
            }
        }
    }
}

impl From<BrokenOff> for CompactError {
    fn from(BrokenOff(why): BrokenOff) -> Self {
        Self::BrokenOff(why)
    }
}
