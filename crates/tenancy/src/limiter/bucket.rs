//! A rate with a burst: a bucket of tokens.
//!
//! Not the `governor` crate's: the rate changes while it is in use, when a lease brings another share of a tenant's quota, and
//! then the level has to stay; and a low priority has to leave a part of the bucket to the higher ones.

use std::time::Duration;

/// Tokens are counted in billionths, so that a rate times a time in ns is a whole number of them.
const NANO: i128 = 1_000_000_000;

/// Tokens that come at a rate up to a capacity. `now` is time on a monotonic clock; what is earlier than before counts as then.
///
/// Who wants more than the bucket holds gets it when the bucket is full, and leaves a debt: the rate holds all the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    rate: u64,
    capacity: u64,
    level_nano: i128,
    at: Duration,
}

impl TokenBucket {
    /// A bucket that holds `level` tokens of `capacity` and gets `rate` a second.
    pub(super) fn new(rate: u64, capacity: u64, level: u64, now: Duration) -> Self {
        Self { rate, capacity, level_nano: i128::from(level.min(capacity)) * NANO, at: now }
    }

    /// Another rate and capacity from `now` on. What is in the bucket stays there as far as it fits; nothing is added.
    pub(super) fn resize(&mut self, rate: u64, capacity: u64, now: Duration) {
        self.refill(now);
        (self.rate, self.capacity) = (rate, capacity);
        self.level_nano = self.level_nano.min(self.full());
    }

    /// What it holds when it is full.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How long to wait until `tokens` can be taken with `reserve` left over: zero for now, [`Duration::MAX`] while nothing
    /// comes. A full bucket serves whatever is asked.
    pub(super) fn wait_for(&mut self, tokens: u64, reserve: u64, now: Duration) -> Duration {
        self.refill(now);
        let wanted = i128::from(tokens.saturating_add(reserve).min(self.capacity)) * NANO;
        let lacking = wanted.saturating_sub(self.level_nano).max(0).unsigned_abs();
        if lacking == 0 {
            Duration::ZERO
        } else if self.rate == 0 {
            Duration::MAX
        } else {
            Duration::from_nanos_u128(lacking.div_ceil(u128::from(self.rate)))
        }
    }

    /// Takes tokens, whatever is there.
    pub(super) fn take(&mut self, tokens: u64) {
        self.level_nano -= i128::from(tokens) * NANO;
    }

    /// Puts back what was taken in vain.
    pub(super) fn give_back(&mut self, tokens: u64) {
        self.level_nano = (self.level_nano + i128::from(tokens) * NANO).min(self.full());
    }

    fn refill(&mut self, now: Duration) {
        // Three hundred years at most, so that it fits whatever the rate.
        let passed = now.saturating_sub(self.at).as_nanos().min(10_u128.pow(19)).cast_signed();
        self.level_nano = (self.level_nano + passed * i128::from(self.rate)).min(self.full());
        self.at = self.at.max(now);
    }

    fn full(&self) -> i128 {
        i128::from(self.capacity) * NANO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_rate_mints_nothing() {
        let second = Duration::from_secs(1);
        let mut bucket = TokenBucket::new(10, 100, 0, Duration::ZERO);
        bucket.resize(1000, 10_000, second);
        assert_eq!(bucket.wait_for(10, 0, second), Duration::ZERO);
        assert_eq!(bucket.wait_for(11, 0, second), Duration::from_millis(1));
        bucket.resize(0, 5, second);
        assert_eq!(bucket.wait_for(5, 0, second), Duration::ZERO, "what does not fit is gone");
        bucket.take(5);
        assert_eq!(bucket.wait_for(1, 0, second * 9), Duration::MAX);
    }

    #[test]
    fn a_reserve_is_left_unless_the_bucket_is_full() {
        let mut bucket = TokenBucket::new(10, 100, 100, Duration::ZERO);
        assert_eq!(bucket.wait_for(95, 20, Duration::ZERO), Duration::ZERO, "a full bucket serves all");
        bucket.take(10);
        assert_eq!(bucket.wait_for(70, 20, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.wait_for(71, 20, Duration::ZERO), Duration::from_millis(100));
        assert_eq!(bucket.wait_for(95, 20, Duration::ZERO), Duration::from_secs(1));
        assert_eq!(bucket.wait_for(71, 0, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_larger_than_the_bucket_leaves_a_debt() {
        let mut bucket = TokenBucket::new(10, 20, 20, Duration::ZERO);
        assert_eq!(bucket.wait_for(50, 0, Duration::ZERO), Duration::ZERO);
        bucket.take(50);
        assert_eq!(bucket.wait_for(1, 0, Duration::ZERO), Duration::from_millis(3100));
        bucket.give_back(50);
        assert_eq!(bucket.wait_for(20, 0, Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        /// Whatever is asked when: over any time, no more goes through than the capacity and the rate times the time. Who
        /// waits as told gets it, and who waits less does not.
        #[test]
        fn no_more_goes_through_than_rate_and_burst(
            rate in 0..2000_u64, capacity in 1..5000_u64,
            asks in prop::collection::vec((0..400_u64, 0..3000_u64), 1..60),
        ) {
            let mut bucket = TokenBucket::new(rate, capacity, capacity, Duration::ZERO);
            let (mut now, mut taken) = (Duration::ZERO, 0);
            for (pause_ms, tokens) in asks {
                now += Duration::from_millis(pause_ms);
                let tokens = tokens.min(capacity);
                match bucket.wait_for(tokens, 0, now) {
                    Duration::ZERO => {
                        bucket.take(tokens);
                        taken += tokens;
                    }
                    Duration::MAX => prop_assert_eq!(rate, 0),
                    wait => {
                        let (mut then, mut sooner) = (bucket, bucket);
                        prop_assert_eq!(then.wait_for(tokens, 0, now + wait), Duration::ZERO);
                        let too_soon = (now + wait).saturating_sub(Duration::from_nanos(1));
                        prop_assert_ne!(sooner.wait_for(tokens, 0, too_soon), Duration::ZERO);
                    }
                }
                let most = u128::from(capacity) * 1000 + u128::from(rate) * now.as_millis();
                prop_assert!(u128::from(taken) * 1000 <= most);
            }
        }
    }
}
