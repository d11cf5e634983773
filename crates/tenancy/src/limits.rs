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

/// What may come at once, and so in one request, where a limit lets so much in a second. Something always may, or a tenant that
/// was stopped could not be told to wait.
#[must_use]
pub const fn burst_of(rate_per_second: u64) -> u64 {
    let burst = rate_per_second.saturating_mul(BURST_SECONDS);
    if burst == 0 { 1 } else { burst }
}

/// What a client is told to wait at most: a limit may be raised, or a process may get a larger share, meanwhile.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Of a limit, this part (a tenth) is kept for each higher priority that a tenant's keys have.
pub const RESERVE_DIVISOR: u64 = 10;

/// From this part of a limit on, in percent, there are warnings.
pub const WARN_PERCENT: u32 = 80;

/// A rate is compared with its limit over so long for a warning: a scrape brings a quarter of a minute's samples at once.
pub const WARN_WINDOW: Duration = Duration::from_secs(60);

/// What clients ask for is averaged over so long: scrapes of many targets are spread over more, of one sender over less.
pub const ASKED_WINDOW: Duration = Duration::from_secs(4);

/// A day, in ms.
pub const DAY_MS: i64 = 24 * 3600 * 1000;

/// A process asks for its next share of a tenant's rates so often.
pub const LEASE_REFRESH: Duration = Duration::from_secs(2);

/// A share is promised for so long: several times what it takes to ask again.
pub const LEASE_TIME: Duration = Duration::from_secs(10);

/// Without a lease server, the last share goes on for so long.
pub const LEASE_GRACE: Duration = Duration::from_secs(60);

/// A process that never had a share takes this part of the rate.
pub const ASSUMED_PROCESSES: u32 = 64;

/// This part of a rate is shared equally, whatever is asked for, so that who was quiet can begin. What is not used of it is lost
/// for a moment, so it is small.
pub const MIN_SHARE_DIVISOR: u64 = 50;

/// What a tenant can save or owe while shares move, in seconds' worth of its rate: shares take some seconds to follow.
pub(crate) const SAVINGS_SECONDS: i128 = 3;

/// That is made up for over so many seconds: longer than shares take to follow, or it would swing.
pub(crate) const SAVINGS_SPENT_SECONDS: i128 = 8;

/// Most processes that share a tenant's limits.
pub const MAX_LEASE_HOLDERS: usize = 4096;

/// Most processes whose bytes of a day are known one by one: all that may share at a time, and as many that have gone.
pub const MAX_DAY_PROCESSES: usize = 2 * MAX_LEASE_HOLDERS;

/// Life of a token between services, in seconds: long enough for a request, whatever it waits for.
pub const SERVICE_TOKEN_LIFE_S: i64 = 60;

/// How far ahead the clock of who issued such a token may be, in seconds.
pub const SERVICE_TOKEN_SLACK_S: i64 = 30;

/// Longest such token, in bytes; they have some 300.
pub const MAX_SERVICE_TOKEN_BYTES: usize = 2048;

/// Longest name of a process that asks for leases, in bytes.
pub const MAX_PROCESS_NAME_BYTES: usize = 64;

/// Most tenants of one request for leases; who has more sends several.
pub const MAX_TENANTS_PER_LEASE_REQUEST: usize = 200;
