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

/// How often a compactor lists all fresh segments. Otherwise it lists from before the first that is not absorbed on: for most of a grace
/// those that are absorbed are still there, and a thousand of them are one request.
pub const WHOLE_LISTING_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How far before the newest segment a listing begins at the latest, by their names, for writers whose clocks are behind or whose puts
/// took long. Those further behind come with the next whole listing.
pub const LISTING_OVERLAP: Duration = Duration::from_secs(60);

/// Neighbouring objects of one tier that make a merge worth while. With more, each sample is written less often, and more
/// objects lie about.
pub const MERGE_FAN_IN: usize = 64;

/// Objects that one merge of the first stage takes at most: as many GETs, some seconds on S3.
pub const MERGE_OBJECTS: usize = 1_000;

/// Bytes of objects that one merge of the first stage takes at most: all are held in memory.
pub const MERGE_BYTES: u64 = 64 << 20;

/// A merged object is full with so many samples: a tenant that has them all takes some 150 MB while they are merged.
pub const MERGE_SAMPLES: u64 = 4_000_000;

/// What the last input may bring beyond that: more than any flush holds.
pub const MERGE_SLACK_SAMPLES: u64 = 500_000;

/// Fresh segments are merged, however few, when the oldest has waited for this long: what the second stage takes must be merged, and
/// a restart reads the footer of each.
pub const MERGE_FRESH_WAIT: Duration = Duration::from_secs(5 * 60);

/// Merged objects that are absorbed at a time at most.
pub const ABSORB_OBJECTS: usize = 256;

/// Samples in merged objects that are absorbed without waiting for the end of their window. A query decodes the whole part of
/// its tenant in a merged object.
pub const ABSORB_SAMPLES: u64 = 8_000_000;

/// The same for each tenant in them: absorbing takes four requests a tenant, so this makes it at most 200 a million samples.
pub const ABSORB_SAMPLES_A_TENANT: u64 = 20_000;

/// How much later than a window's end the newest segment must be for the window to count as over: samples are scraped and sent
/// with some delay.
pub const ABSORB_SETTLE: Duration = Duration::from_secs(5 * 60);

/// Segments of a window, alike in size, that make a merge worth while.
pub const SEGMENT_FAN_IN: usize = 4;

/// Sizes are alike when one is at most so many times all later ones.
pub const SEGMENT_SIZE_RATIO: u64 = 4;

/// How much later than a day's end everything must be in tenants' segments for a day to be thinned again that got samples after it was thinned:
/// later than samples are taken from clients by default, which is a week.
pub const DAY_FINAL: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// So many times as long as raw samples those thinned in stretches of five minutes are kept: a quarter of a year, where raw
/// samples are kept for a month.
pub const FIVE_MINUTES_RETENTION: u32 = 3;

/// Likewise in stretches of an hour: a year and a month.
pub const ONE_HOUR_RETENTION: u32 = 13;

/// How much later than a day's end everything must be in tenants' segments, by the names of fresh ones, for the day to be put together:
/// samples come with some delay.
pub const DAY_SETTLE: Duration = Duration::from_secs(60 * 60);

/// A tenant segment is full with so many bytes, about: it is put whole, so it is held whole.
pub const MAX_SEGMENT_BYTES: u64 = 64 << 20;

/// A tenant segment is full with so many series, however small: the index of each segment that takes part in a merge is in memory,
/// at some 100 bytes a series.
pub const MAX_SEGMENT_SERIES: u32 = 1 << 18;

/// Bytes that a merge of tenant segments reads with one request, where so many lie together; twice as much of each is held.
pub const MERGE_READ_BYTES: u64 = 2 << 20;

/// A tenant segment of so many bytes at most is read whole by whoever merges it: with one request instead of two or more.
pub const WHOLE_SEGMENT_BYTES: u64 = 256 << 10;

/// Inputs that one merge of the first stage reads at the same time.
pub const MERGE_READS: usize = 32;

/// Absorbing takes three requests a tenant. With so many fresh segments for each, these are less than a tenth of a request a flush.
pub const ABSORB_FRESH_A_TENANT: u64 = 40;

/// Objects of so few tenants are absorbed whenever a window is over, however few flushes there were: with at most 600 requests in
/// two hours.
pub const FEW_TENANTS: u64 = 200;

/// How long objects of more tenants than that are left to wait, when there were few flushes: usage is counted that much later.
pub const ABSORB_WAIT: Duration = Duration::from_secs(8 * 60 * 60);

/// The tier of objects that were merged while they wait: whatever theirs was, they are few.
pub const WAITING_TIER: u8 = 100;

/// The tier, for planning, of objects that are being absorbed.
pub const DIVIDING_TIER: u8 = u8::MAX;

/// Samples of one tenant that are absorbed at a time, whatever the number of objects: one full merged object, of up to 36 bytes of
/// memory a sample.
pub const ABSORB_TENANT_SAMPLES: u64 = MERGE_SAMPLES + MERGE_SLACK_SAMPLES;

/// Samples of a tenant, of several windows, that are one segment of the day: a segment each would be a request each.
pub const ABSORB_DAY_SAMPLES: u64 = 20_000;

/// Tenants whose parts are absorbed at the same time; together they hold no more samples than one may.
pub const ABSORB_TENANTS_AT_ONCE: usize = 16;

/// Merged objects, or parts of them, that are read at the same time to be absorbed.
pub const ABSORB_READS: usize = 16;

/// Bytes of tenants' parts that are absorbed at a time, about: they are held in memory, and so are the next ones, which are read
/// meanwhile. A larger part is absorbed alone.
pub const ABSORB_BYTES: u64 = 32 << 20;

/// Tenants whose manifests are read before it is looked whether what is absorbed is still to be absorbed: so many manifests are held.
pub const ABSORB_MANIFESTS: usize = 64;

/// Places of tenant segments that a shard's manifest keeps: some days of them. What turns up later than that is very late.
pub const ABSORB_MARKS: usize = 1_000;

/// Memory that the inputs of one merge of tenant segments may take, in bytes.
pub const MERGE_SEGMENTS_BYTES: u64 = 192 << 20;

/// The youngest that an object which no manifest names may be to be taken for left behind, by the time in its id. It decides only when it
/// is worth looking: what is about to be committed is kept from being deleted otherwise.
pub const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);

/// Objects deleted with one request: S3 takes so many.
pub const DELETE_OBJECTS: usize = 1_000;

/// Tenants whose segments are merged or tidied at the same time.
pub const TENANTS_AT_ONCE: usize = 16;

/// The wait before compaction is tried again after a failure, as with puts.
pub const COMPACT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The longest that a compactor waits that lost a race, so that two do not go on in step.
pub const RACE_PAUSE: Duration = Duration::from_millis(500);
