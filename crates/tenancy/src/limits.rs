//! Bounds of this crate. (What a tenant may do is in [`crate::tenant`].)

use std::time::Duration;

/// Longest `Authorization` header value looked at, in bytes. A key has 64; Basic adds a user name and Base64.
pub const MAX_AUTHORIZATION_BYTES: usize = 1024;

/// Largest directory document, in bytes. A key takes about 250, so this holds some 250,000 keys, far above a cell's.
pub const MAX_DIRECTORY_BYTES: usize = 64 << 20;

/// Most tenants of a directory: what one cell is planned for, with room to spare.
pub const MAX_TENANTS: usize = 100_000;

/// Most keys of one tenant, revoked ones included until the publisher drops them.
pub const MAX_KEYS_PER_TENANT: usize = 10_000;

/// Most networks that one key is bound to.
pub const MAX_NETWORKS_PER_KEY: usize = 100;

/// Highest enforceable rate and burst, in samples. At 10⁸ a second a sample is 10 ns, where the limiter's resolution of
/// 1 ns is a rounding error of up to 10 %; nobody sends that to one process.
pub const MAX_RATE: u32 = 100_000_000;

/// What a tenant whose rate is zero is told to wait: its rate comes back with a new directory, not with time.
pub const STOPPED_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Longest retention, in days: a hundred years keeps every time computation far from overflow.
pub const MAX_RETENTION_DAYS: u32 = 36_500;

/// What may come at once after a quiet time, in seconds' worth of a rate: a sender that was cut off for so long catches up.
pub const BURST_SECONDS: u64 = 10;

/// What a client is told to wait at most: a limit may be raised, or a process may get a larger share, meanwhile.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Of a limit, this part (a tenth) is kept for each higher priority that a tenant's keys have.
pub const RESERVE_DIVISOR: u64 = 10;

/// From this part of a limit on, in percent, there are warnings.
pub const WARN_PERCENT: u32 = 80;

/// A rate is compared with its limit over so long for a warning: a scrape brings a quarter of a minute's samples at once.
pub const WARN_WINDOW: Duration = Duration::from_secs(60);

/// A day, in ms.
pub const DAY_MS: i64 = 24 * 3600 * 1000;
