//! Time, injected: nothing in the product asks the operating system for it but through [`Clock`].

use std::fmt::Debug;
use std::time::Duration;

use parking_lot::Mutex;

/// A source of time. Wall time names things and orders keys; it never decides correctness. Durations and deadlines are
/// measured on the monotonic clock.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch, UTC. May jump either way.
    fn now_ms(&self) -> i64;

    /// Time since an arbitrary fixed point. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// The machine's clocks; monotonic time counts from this call.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters the product")]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters the product")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        match since_epoch {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock for tests that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug)]
struct ManualState {
    now_ms: i64,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock that shows `now_ms` (milliseconds since the Unix epoch) and a monotonic time of zero.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self { state: Mutex::new(ManualState { now_ms, monotonic: Duration::ZERO }) }
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        state.now_ms = state.now_ms.saturating_add(by_ms);
        state.monotonic += by;
    }

    /// Sets the wall clock, as an operator or NTP might; the monotonic clock does not notice.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state.lock().now_ms = now_ms;
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.state.lock().now_ms
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_as_told() {
        let clock = ManualClock::new(1_000);
        clock.advance(Duration::from_millis(250));
        assert_eq!((clock.now_ms(), clock.monotonic()), (1_250, Duration::from_millis(250)));
        clock.set_now_ms(-5);
        assert_eq!((clock.now_ms(), clock.monotonic()), (-5, Duration::from_millis(250)));
    }

    #[test]
    fn the_system_clock_is_past_this_line() {
        // 2026-01-01: wrong units or signs would be far off.
        assert!(SystemClock::new().now_ms() > 1_767_225_600_000);
    }
}
