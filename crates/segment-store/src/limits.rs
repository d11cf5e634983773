//! Every bound of this crate that is not a setting, with its unit and reason.

use std::time::Duration;

/// Names that a flush tries for its segment when others hold them already. A second collision of 64 random bits within one
/// millisecond does not happen by chance.
pub const MAX_SEGMENT_NAMES: usize = 3;

/// The wait before a put is tried again: at first, and doubled up to at most the second (half of it random).
pub const PUT_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The wait before a read, a listing or a deletion is tried again, likewise.
pub const READ_BACKOFF: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(1));

/// How long a read, a listing or a deletion is tried, first try included. A query has run into its own time limit by then.
pub const READ_TIME: Duration = Duration::from_secs(30);

/// Keys asked for in a page of a listing. S3 gives 1,000 at most; a directory is read whole for every page, so for it less pages are
/// better, up to some 10 MB of names.
pub const LIST_PAGE_KEYS: usize = 100_000;

/// Objects that a listing of fresh segments takes at most: 32 MB of names. Compaction keeps it to some thousands.
pub const MAX_FRESH_OBJECTS: usize = 1_000_000;

/// Snapshots taken for one read before it gives up, when listed objects keep vanishing.
pub const MAX_SNAPSHOTS: usize = 4;

/// The largest manifest that is read or written, in bytes, before and after decompression. A million absorbed objects fit.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// What a manifest may unpack to for each byte of it: hours of a ledger are much alike, but not more than that.
pub const MANIFEST_BYTES_PER_BYTE: u64 = 256;

/// What any manifest may unpack to, in bytes: a small one is harmless.
pub const MAX_SMALL_MANIFEST_BYTES: u64 = 1 << 20;
