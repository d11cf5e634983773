//! What group commit counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::put::PutCounters;

/// Upper bounds of the buckets of [`GroupCommitStats::put_latency`], in milliseconds, inclusive; one more bucket follows.
pub const PUT_LATENCY_BOUNDS_MS: [u64; 13] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

const BUCKETS: usize = PUT_LATENCY_BOUNDS_MS.len() + 1;

/// Figures of one [`GroupCommit`](super::GroupCommit) since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCommitStats {
    /// Requests taken.
    pub requests: u64,
    /// Requests turned away because too much was pending.
    pub requests_overloaded: u64,
    /// Segments that became durable.
    pub flushes: u64,
    /// Flushes that ended with an error for every request in them.
    pub flushes_failed: u64,
    /// Bytes of durable segments.
    pub bytes: u64,
    /// Puts beyond the first of each segment.
    pub put_retries: u64,
    /// Puts that found the segment there already and by its put-id their own.
    pub puts_confirmed: u64,
    /// Segment names that somebody else had taken.
    pub names_taken: u64,
    /// Puts of durable segments by duration, retries included: not cumulative; bounds in [`PUT_LATENCY_BOUNDS_MS`].
    pub put_latency: [u64; BUCKETS],
    /// The sum of those durations, in microseconds.
    pub put_latency_sum_us: u64,
    /// Flushes that are being encoded or put at this moment.
    pub flushes_in_flight: u64,
    /// Memory of requests without an answer at this moment, in bytes.
    pub pending_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) requests_overloaded: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flushes_failed: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) puts: PutCounters,
    pub(super) names_taken: AtomicU64,
    put_latency: [AtomicU64; BUCKETS],
    put_latency_sum_us: AtomicU64,
    /// When the bucket last had no room, on the monotonic clock, if nothing was stored since.
    no_room_at: Mutex<Option<Duration>>,
}

impl Counters {
    pub(super) fn stored(&self, bytes: usize, took: Duration) {
        add(&self.flushes, 1);
        add(&self.bytes, bytes as u64);
        let bucket = PUT_LATENCY_BOUNDS_MS.partition_point(|&bound| took > Duration::from_millis(bound));
        add(&self.put_latency[bucket], 1);
        add(&self.put_latency_sum_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        *self.no_room_at.lock() = None;
    }

    pub(super) fn had_no_room(&self, now: Duration) {
        *self.no_room_at.lock() = Some(now);
    }

    pub(super) fn no_room_at(&self) -> Option<Duration> {
        *self.no_room_at.lock()
    }

    pub(super) fn snapshot(&self, flushes_in_flight: u64, pending_bytes: u64) -> GroupCommitStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupCommitStats {
            requests: read(&self.requests),
            requests_overloaded: read(&self.requests_overloaded),
            flushes: read(&self.flushes),
            flushes_failed: read(&self.flushes_failed),
            bytes: read(&self.bytes),
            put_retries: read(&self.puts.retries),
            puts_confirmed: read(&self.puts.confirmed),
            names_taken: read(&self.names_taken),
            put_latency: std::array::from_fn(|bucket| read(&self.put_latency[bucket])),
            put_latency_sum_us: read(&self.put_latency_sum_us),
            flushes_in_flight,
            pending_bytes,
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_that_holds_them() {
        let counters = Counters::default();
        for took_us in [0, 1_000, 1_001, 20_000, 10_000_000, 10_000_001] {
            counters.stored(10, Duration::from_micros(took_us));
        }
        let stats = counters.snapshot(0, 0);
        assert_eq!(stats.put_latency, [2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((stats.flushes, stats.bytes, stats.put_latency_sum_us), (6, 60, 20_022_002));
    }
}
