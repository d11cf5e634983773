//! How much came within the last second.

use std::time::Duration;

/// Two adjoining one-second windows: the older one counts by the share of it that is still within the last second.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    second: u64,
    current: u64,
    previous: u64,
}

impl RateMeter {
    pub(super) fn add(&mut self, now: Duration, amount: u64) {
        self.turn_to(now.as_secs());
        self.current = self.current.saturating_add(amount);
    }

    pub(super) fn per_second(&mut self, now: Duration) -> u64 {
        self.turn_to(now.as_secs());
        let left = 1_000_000_000 - u64::from(now.subsec_nanos());
        let older = u128::from(self.previous) * u128::from(left) / 1_000_000_000;
        self.current.saturating_add(u64::try_from(older).unwrap_or(u64::MAX))
    }

    fn turn_to(&mut self, second: u64) {
        if second == self.second.saturating_add(1) {
            self.previous = std::mem::take(&mut self.current);
        } else if second > self.second {
            self.previous = 0;
            self.current = 0;
        }
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_slides() {
        let mut meter = RateMeter::default();
        let at = Duration::from_millis;
        meter.add(at(5_000), 60);
        meter.add(at(5_900), 40);
        assert_eq!(meter.per_second(at(5_950)), 100);
        assert_eq!(meter.per_second(at(6_000)), 100);
        meter.add(at(6_250), 10);
        assert_eq!(meter.per_second(at(6_250)), 85);
        assert_eq!(meter.per_second(at(7_500)), 5);
        assert_eq!(meter.per_second(at(60_000)), 0);
    }
}
