//! What the query service counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Outcome;

/// Upper bounds of the latency histogram's buckets; the last bucket, beyond them, has none.
pub const LATENCY_BOUNDS: [Duration; 14] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// A copy of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryMetrics {
    /// Requests by outcome, in the order of [`Outcome::ALL`].
    pub requests: [u64; Outcome::ALL.len()],
    /// Requests by duration, refused ones left out: each bucket counts those up to its bound in [`LATENCY_BOUNDS`] and
    /// above the one before.
    pub latency_buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// Time of those requests together (µs).
    pub latency_sum_us: u64,
    /// Requests that run now.
    pub running: u64,
    /// Samples read.
    pub samples: u64,
    /// Bytes of segments read from the bucket.
    pub cold_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [AtomicU64; Outcome::ALL.len()],
    latency_buckets: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_sum_us: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) cold_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.requests[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn observe(&self, took: Duration) {
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < took);
        self.latency_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> QueryMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryMetrics {
            requests: std::array::from_fn(|index| load(&self.requests[index])),
            latency_buckets: std::array::from_fn(|index| load(&self.latency_buckets[index])),
            latency_sum_us: load(&self.latency_sum_us),
            running: load(&self.running),
            samples: load(&self.samples),
            cold_bytes: load(&self.cold_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_durations_find_their_place() {
        let counters = Counters::default();
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "the order of Outcome::ALL is that of the counters");
            counters.count(outcome);
        }
        for took in
            [Duration::ZERO, Duration::from_millis(1), Duration::from_micros(1_001), Duration::MAX / 2]
        {
            counters.observe(took);
        }
        let metrics = counters.snapshot();
        assert_eq!(metrics.requests, [1; Outcome::ALL.len()]);
        assert_eq!((metrics.latency_buckets[0], metrics.latency_buckets[1]), (2, 1));
        assert_eq!(metrics.latency_buckets[LATENCY_BOUNDS.len()], 1);
    }
}
