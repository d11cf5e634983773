//! Bounds of this crate. (What a tenant may do is in the directory, what a message may hold in [`wire::limits`].)

use std::time::Duration;

/// How far in the future a sample may be: clocks are wrong by minutes, time zones by hours, and units by decades.
pub const MAX_FUTURE: Duration = Duration::from_secs(3600);

/// Default of [`crate::IngestSettings::out_of_order_window`]: how old a sample may be.
pub const OUT_OF_ORDER_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest silence of a client in the middle of its body. Senders write a body at once; what is slower holds memory.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a whole body, however steadily it trickles.
pub const BODY_TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Default of [`crate::IngestSettings::body_memory_bytes`]: request bodies held in memory together, in bytes.
pub const BODY_MEMORY_BYTES: usize = 256 << 20;

/// One tenant's bodies have at most this part (a quarter) of the memory, so that no tenant alone turns the others away.
pub const TENANT_SHARE_OF_BODY_MEMORY: usize = 4;

/// Memory taken for a body before its first byte arrives, in bytes at most: most bodies fit, and a header that promises
/// more gets no more for it.
pub const BODY_FIRST_BYTES: usize = 256 << 10;

/// Bodies from this size on, in bytes, are decoded on a thread for blocking work: they take milliseconds, which other
/// requests of the thread would wait for. Handing over costs some 10 µs, so small bodies stay.
pub const INLINE_DECODE_BYTES: usize = 512 << 10;

/// Decompressors kept for reuse, each with a buffer of a few MiB at most. More than this run at once on large machines
/// only; those beyond are made and dropped.
pub const POOLED_DECOMPRESSORS: usize = 16;

/// Age at which a generation of active series ends. A series is active from its sample until the generation after the
/// one of its last sample ends, that is for one to two of these.
pub const SERIES_GENERATION: Duration = Duration::from_secs(600);

/// How often idle series are looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Default of [`crate::IngestSettings::max_active_series`]: active series of all tenants of the process together. Some
/// hundred bytes each.
pub const MAX_ACTIVE_SERIES: u64 = 20_000_000;

/// Series keys (spellings of a label set) that a tenant's registry holds whatever the number of its series.
pub const MIN_SERIES_KEYS: usize = 65_536;

/// Series keys that a registry holds for each of its series beyond [`MIN_SERIES_KEYS`]: one for each protocol, and room.
pub const SERIES_KEYS_PER_SERIES: usize = 3;

/// Series read, or registered, in one go before others get a chance at the registry: some tenths of a millisecond.
pub const SERIES_PER_LOCK: u32 = 1024;

/// For how long metadata that was stored is not stored again when it is sent again.
pub const METADATA_INTERVAL: Duration = Duration::from_secs(600);

/// Metric families of one tenant whose metadata is remembered as stored. Beyond it, all are forgotten and stored anew.
pub const MAX_REMEMBERED_FAMILIES: usize = 100_000;

/// What a client is told to wait when the object store cannot be reached or memory is short.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Different places of one tenant that are counted between two reports. Few run in more.
pub const MAX_PLACES: usize = 100;

/// What is kept of a cloud's name for a provider, region or zone, in bytes. The longest have some 30.
pub const MAX_PLACE_TEXT_BYTES: usize = 100;

/// A request for shares of limits takes no longer.
pub const LEASE_REQUEST_TIME: Duration = Duration::from_secs(2);

/// Tenants that are new to the process have shares asked for together, after so long at the soonest.
pub const LEASE_SOONEST: Duration = Duration::from_millis(200);

/// Least time between two log lines about requests that failed on our side.
pub const LOG_INTERVAL: Duration = Duration::from_secs(1);
