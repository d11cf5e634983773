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
