//! A clock that follows tokio's paused time, with a skew.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Clock;

/// Time as one simulated process sees it: tokio's time (which a test pauses and which then jumps from timer to timer), and a
/// wall clock that is wrong by a skew.
#[derive(Debug)]
pub struct SimClock {
    started: Instant,
    epoch_ms: i64,
    skew_ms: Mutex<i64>,
}

impl SimClock {
    /// A clock that shows `epoch_ms + skew_ms` (milliseconds since the Unix epoch) now.
    #[must_use]
    pub fn new(epoch_ms: i64, skew_ms: i64) -> Self {
        Self { started: Instant::now(), epoch_ms, skew_ms: Mutex::new(skew_ms) }
    }

    /// Changes by how much the wall clock is wrong, in milliseconds.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        *self.skew_ms.lock() = skew_ms;
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        let elapsed_ms = i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX);
        self.epoch_ms.saturating_add(elapsed_ms).saturating_add(*self.skew_ms.lock())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
