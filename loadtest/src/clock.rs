//! The one place that reads the machine's clocks: measuring real time is what this tool is for.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, for every latency and duration that is reported.
#[expect(clippy::disallowed_methods, reason = "measuring real time is what this tool is for")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock in Unix milliseconds, for the timestamps of samples that are written.
#[expect(clippy::disallowed_methods, reason = "a server judges a sample's age by the wall clock")]
#[must_use]
pub fn unix_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
