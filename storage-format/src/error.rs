//! Errors, by what the caller should do about them.

/// Why bytes are not a readable segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes belong to something else: look at the key that led here.
    #[error("not a segment: {0}")]
    NotASegment(&'static str),
    /// Written by a later version of the software: upgrade this process.
    #[error("segment format version {found} is not known here (the latest known is {known})")]
    Version {
        /// What the segment says.
        found: u8,
        /// [`VERSION`](crate::VERSION).
        known: u8,
    },
    /// Bytes changed on their way: fetch them again; if they stay so, the object is damaged.
    #[error("checksum of {what} is {found:016x}, expected {expected:016x}")]
    Checksum {
        /// Which part.
        what: &'static str,
        /// What the segment says.
        expected: u64,
        /// What its bytes give.
        found: u64,
    },
    /// Bytes that no writer of this format produces.
    #[error("corrupt segment: {what}: {why}")]
    Corrupt {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Contents out of proportion to the size: a decompression bomb, or a damaged count.
    #[error("corrupt segment: {what} claims {bytes} bytes of memory more than its size justifies")]
    OutOfProportion {
        /// Which part.
        what: &'static str,
        /// How much the claim goes beyond what is left.
        bytes: u64,
    },
}

/// Why a batch cannot be written: a mistake of the caller, never of the data's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The same tenant and signal twice in one segment: merge the batches first.
    #[error("tenant {0} has two partitions of the same signal")]
    DuplicatePartition(String),
    /// A batch that breaks an invariant of [`telemetry::MetricBatch`].
    #[error("invalid batch: {0}")]
    InvalidBatch(&'static str),
    /// More than one segment can hold: cut it in several.
    #[error("{what} is {size}, more than the {limit} that one segment can hold")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        size: u64,
        /// How much there may be.
        limit: u64,
    },
    /// The compressor failed, which only lack of memory explains.
    #[error("compression failed: {0}")]
    Compression(String),
}
