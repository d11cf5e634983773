//! Bounds of the query service. Those of a query that operators set are in [`crate::QuerySettings`].

use std::time::Duration;

/// Metric families whose metadata is kept for one tenant; more are ignored. Large Prometheus servers have some 10,000.
pub const MAX_METADATA_A_TENANT: usize = 100_000;
/// Memory (bytes) of durable batches that wait for an earlier segment's flush to end. Beyond that they no longer wait, and
/// the straggler counts as late when it comes.
pub const MAX_HELD_BYTES: usize = 64 << 20;
/// Segments stay at hand for so long (ms, by their names) after they were folded: whether a late one loses against them can then be
/// told. As long as most listings go back, plus what a round of them takes.
pub const RECENT_MS: i64 = FOLLOW_OVERLAP_MS + 5_000;
/// Memory (bytes) for them.
pub const RECENT_BYTES: usize = 32 << 20;
/// Memory (bytes) for late segments that stand apart from the series in memory; beyond that they are read from the bucket.
pub const APART_BYTES: usize = 64 << 20;

/// How often the listing of fresh segments is looked at: what another writer stored is visible after this time at the
/// latest, for one LIST a second a shard, whatever the number of tenants.
pub const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// The same in a process in which nobody else writes to the shard. A listing can then only show what was stored although its
/// flush was given up, and need not be paid for each second: a directory is read whole for it, which with 100,000 segments
/// takes a quarter of a second. Then each begins [`FOLLOW_LONG_OVERLAP_MS`] before, which is much more.
pub const FOLLOW_ALONE_EVERY: Duration = Duration::from_secs(30);
/// A listing begins this far (ms, by the names of segments) before the newest known segment, so that it shows those of
/// writers whose clocks are a little behind and whose puts took a little. A page of 1,000 keys holds it at up to 90 flushes a
/// second.
pub const FOLLOW_OVERLAP_MS: i64 = 10_000;
/// Every so many listings begin [`FOLLOW_LONG_OVERLAP_MS`] before: who is further behind is visible that much later.
pub const LONG_OVERLAP_EVERY: u64 = 10;
/// How far (ms) these begin before the newest known segment. Those further behind come with the next whole listing.
pub const FOLLOW_LONG_OVERLAP_MS: i64 = 120_000;
/// Every so many listings are whole ones.
pub const WHOLE_LISTING_EVERY: u64 = 60;
/// Segments that are read at the same time, for the tail or for one query.
pub const READS_AT_ONCE: usize = 16;
/// Bytes of memory that a byte of a fresh segment takes in the tail, by and large: compressed samples are about as large
/// there, and series come on top.
pub const MEMORY_A_FRESH_BYTE: u64 = 2;
/// How long a query may wait for its turn and for the tail to catch up, unless its own time limit is shorter.
pub const QUERY_TIME_DEFAULT: Duration = Duration::from_secs(120);
/// Queries that are evaluated at the same time in one process, of all tenants. Each may take its limit of memory.
pub const QUERIES_AT_ONCE: usize = 32;
/// One tenant has at most this part (a quarter) of them, so that no tenant alone holds up the others.
pub const TENANT_SHARE_OF_QUERIES: usize = 4;
/// Series that are looked at in passing, on the thread that the request came in on: some microseconds' work. To hand work to
/// another thread and wait for it takes as long as many queries themselves.
pub const BRIEF_SERIES: usize = 256;
/// The same where each of them costs a nanosecond or two.
pub const BRIEF_SERIES_QUICKLY: usize = 32 << 10;
/// Series of batches that are not folded yet: they are put in order once, for the first query.
pub const BRIEF_PROVISIONAL_SERIES: usize = 16 << 10;
/// Segments that are looked at in passing.
pub const BRIEF_SEGMENTS: usize = 4;
/// Label values that are looked at in passing.
pub const BRIEF_VALUES: usize = 4 << 10;
/// Steps of all parts of an expression that are evaluated in passing.
pub const BRIEF_POINTS: u64 = 1_000;
/// The same, times the samples that are selected: some hundred microseconds' work for most functions.
pub const BRIEF_POINTS_TIMES_SAMPLES: u64 = 250_000;
/// Points a series of a range query, as in Prometheus.
pub const MAX_POINTS: i64 = 11_000;
/// Bytes of a request's form body: the longest query, every byte of it percent-encoded, and some parameters.
pub const MAX_FORM_BYTES: usize = 3 * promql::limits::MAX_QUERY_BYTES + (64 << 10);
/// Bytes of a query whose tree is asked for: editors show what people write, and a tree is much larger than its text.
pub const MAX_PARSED_QUERY_BYTES: usize = 64 << 10;
/// Memory (bytes) for the form bodies of all requests together: twenty of the longest, or many thousands of usual ones.
pub const FORM_MEMORY_BYTES: usize = 64 << 20;
/// Longest silence of a client in the middle of its form. Clients write forms at once; what is slower holds memory.
pub const FORM_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a whole form, however steadily it trickles.
pub const FORM_TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a part of a response: large enough that parts cost nothing, small enough to be sent while the next is made.
pub const RESPONSE_PART_BYTES: usize = 64 << 10;
/// Parts of a response that wait for the client to read: one to be sent while the next is made, and one to spare.
pub const RESPONSE_PARTS_AHEAD: usize = 2;
/// How long a client may leave its answer unread before it is given up: it holds a query's place and result meanwhile.
pub const STALLED_CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Values or label sets of one answer of a label API, unless the request's own `limit` is lower.
pub const MAX_LABEL_RESULTS: usize = 1_000_000;
/// Selectors (`match[]`) of one request.
pub const MAX_SELECTORS: usize = 100;

/// Longest read from the bucket at once (bytes). Longer ones are cut, since several at the same time are quicker.
pub const MAX_GET_BYTES: u64 = 4 << 20;
/// Requests for pages at the same time, of all tenants.
pub const GETS_AT_ONCE: usize = 64;
/// One tenant has at most this part (half) of them.
pub const TENANT_SHARE_OF_GETS: usize = 2;
/// A request for pages counts as slow after this time at the earliest: a nearby bucket answers in less.
pub const HEDGE_AFTER_AT_LEAST: Duration = Duration::from_millis(20);
/// One request in so many may be made a second time because it was slow: 5 % more requests at most.
pub const HEDGE_EVERY: u64 = 20;
/// Second requests that may be made one after the other when there were none for long.
pub const HEDGE_BURST: u64 = 8;
/// A tenant whose pages take more than this part (half) of the cache's memory is large.
pub const LARGE_TENANT_SHARE: usize = 2;
/// Of a large tenant's new pages, one in so many stays in memory where others would have to make room.
pub const LARGE_TENANT_ADMITS_ONE_IN: u64 = 4;
/// Bytes that are written to disk, and given up there, as one.
pub const DISK_BLOCK_BYTES: usize = 16 << 20;
/// Writers to the disk.
pub const DISK_FLUSHERS: usize = 2;
/// Bytes that may wait to be written to disk; what comes on top is dropped, and counted. As much as a large query brings in.
pub const DISK_QUEUE_BYTES: usize = 64 << 20;
/// Blocks on disk that are looked through at the same time at the start.
pub const DISK_RECOVERY_TASKS: usize = 4;

/// How long a tenant's manifest is taken as it is. What it names stays for the grace of compaction, which is much longer.
pub const TENANT_MANIFEST_AGE: Duration = Duration::from_secs(60);
/// Tenants whose manifests are held, without their ledgers: some kilobytes each.
pub const MAX_TENANT_MANIFESTS: usize = 10_000;
/// Fresh segments that are brought into memory because they were absorbed before a listing showed them. With more of them
/// queries read what absorbed them instead.
pub const MAX_MISSED_SEGMENTS: usize = 256;
/// Segments whose metadata and cardinality are shown beside the tail's: the newest ones say it all.
pub const OVERVIEW_SEGMENTS: usize = 8;
/// Memory (bytes) for what all queries of a process fetch, together. Those that find no room wait.
pub const FETCHED_MEMORY_BYTES: usize = 2 << 30;
/// Damaged objects that are remembered for a tenant.
pub const MAX_DAMAGED_OBJECTS: usize = 1_000;
