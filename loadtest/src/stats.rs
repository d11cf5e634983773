//! Latencies and their percentiles.

use std::time::Duration;

use serde::Serialize;

/// Latencies of one kind, all kept: a run has at most some hundred thousand.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    all: Vec<Duration>,
}

/// What is printed of [`Latencies`], in milliseconds. All zero when there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many there were.
    pub count: usize,
    /// Half took at most this.
    pub p50_ms: f64,
    /// 99 of 100 took at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, latency: Duration) {
        self.all.push(latency);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Self) {
        self.all.extend(other.all);
    }

    /// Percentiles by nearest rank.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        let at = |percent| percentile(&sorted, percent).unwrap_or_default().as_secs_f64() * 1000.0;
        LatencySummary { count: sorted.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The smallest element that at least `percent` (1 to 100) of the ascending `sorted` do not exceed: the
/// nearest-rank percentile, which is always a value that was really measured.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent.clamp(1, 100)).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&hundred, 100), Some(100));
        assert_eq!(percentile(&[7, 9], 50), Some(7));
        assert_eq!(percentile(&[7, 9], 51), Some(9));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile::<u32>(&[], 99), None);
    }

    #[test]
    fn a_summary_does_not_depend_on_the_order() {
        let mut latencies = Latencies::default();
        for ms in [30, 10, 20] {
            latencies.push(Duration::from_millis(ms));
        }
        let mut more = Latencies::default();
        more.push(Duration::from_millis(40));
        latencies.merge(more);
        let expected = LatencySummary { count: 4, p50_ms: 20.0, p99_ms: 40.0, max_ms: 40.0 };
        assert_eq!(latencies.summary(), expected);
        assert_eq!(Latencies::default().summary(), LatencySummary::default());
    }
}
