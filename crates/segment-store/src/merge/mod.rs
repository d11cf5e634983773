//! The engine of compaction: samples of many objects into few, and what of them is new to the ledger.
//!
//! | what | goes in | comes out |
//! |---|---|---|
//! | [`merge_partitions`] | partitions of one tenant, from the earliest to the latest | one batch |
//! | [`Absorption`] | one batch | a tenant segment (or several, cut by series) for each window of time, and what is new in each |
//! | [`SegmentMerge`] | tenant segments of one window | one (or several, cut by series) |
//!
//! Of samples with equal series and timestamp the later input's stays, whether float or native histogram. No manifest is read or
//! written here, nothing is put: the caller does that, and knows the names of objects.
//!
//! Memory, besides what the caller holds: a batch is bounded by whoever chooses its partitions
//! ([`PartitionMerger::memory_bytes`](storage_format::PartitionMerger::memory_bytes)); an output by
//! [`MAX_SEGMENT_BYTES`](crate::limits::MAX_SEGMENT_BYTES) and [`MAX_SEGMENT_SERIES`](crate::limits::MAX_SEGMENT_SERIES);
//! an input segment of a merge by [`merge_memory_bytes`], whatever its length.

mod absorb;
mod count;
mod open;
mod output;
mod partitions;
mod segments;

#[cfg(test)]
mod tests;

pub use absorb::{AbsorbedWindow, Absorption};
pub use count::LostSegment;
pub use open::SegmentInput;
pub use output::SegmentBody;
pub use partitions::{PartitionInput, merge_partitions};
pub use segments::{MergeTotals, SegmentMerge, merge_memory_bytes};

use storage_format::{EncodeError, FormatError};

use crate::BucketError;
use crate::work::BrokenOff;

/// Why a merge came to nothing. Inputs are named by their number in the order in which the caller gave them.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// An input could not be read; when it is not found, others have compacted it meanwhile: begin anew.
    #[error("reading input {input} of a merge")]
    Bucket {
        /// Which input.
        input: usize,
        /// Why.
        source: BucketError,
    },
    /// An input is damaged: leave it out.
    #[error("input {input} of a merge is damaged")]
    Damaged {
        /// Which input.
        input: usize,
        /// How.
        source: FormatError,
    },
    /// The result cannot be written: a mistake in this software.
    #[error("the merged samples cannot be written")]
    Encode(#[from] EncodeError),
    /// The work broke off: try again.
    #[error("merging broke off: {0}")]
    BrokenOff(String),
}

impl From<BrokenOff> for MergeError {
    fn from(BrokenOff(why): BrokenOff) -> Self {
        Self::BrokenOff(why)
    }
}
