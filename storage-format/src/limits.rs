//! Every bound of the format, each with its unit and reason.

/// The longest footer, in bytes. 500,000 partitions of tenants with long ids fit.
pub const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// The longest partition, in bytes, and with it the most that one reader holds at a time.
pub const MAX_PARTITION_BYTES: u64 = 1 << 30;

/// What a decoder may allocate, in bytes, for any input at all: small inputs decompress well and are harmless.
pub const BASE_MEMORY_BYTES: u64 = 1 << 20;

/// What a decoder may allocate for each byte of input. Series of constants come close to it; encoders pad what would
/// go beyond, so that all that was written can be read.
pub const MEMORY_PER_BYTE: u64 = 1024;

/// A block of values in a tenant segment is full with so many. Long columns compress well, and one is decoded in less
/// than a millisecond.
pub const BLOCK_VALUES: usize = 1 << 16;

/// The most values in a block of a tenant segment: a series that goes beyond continues in the next block.
pub const MAX_BLOCK_VALUES: usize = 1 << 17;

/// A block of timestamps in a tenant segment is full with so many.
pub const BLOCK_TIMESTAMPS: usize = 1 << 15;

/// A block of native histograms in a tenant segment is full with so much in memory, in bytes.
pub const BLOCK_HISTOGRAM_BYTES: usize = 1 << 20;

/// A block of exemplars in a tenant segment is full with so many.
pub const BLOCK_EXEMPLARS: usize = 1 << 13;

/// A block of what thinned series left out is full with so many rows.
pub const BLOCK_OMITTED: usize = 1 << 14;

/// Timestamps that a reader of a whole tenant segment holds at most, besides those of the block at hand. A writer forgets lists
/// when a million timestamps wait, so that none is needed much longer.
pub const MAX_HELD_TIMESTAMPS: usize = 1 << 22;
