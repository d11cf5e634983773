//! How much came lately.

use std::time::Duration;

/// Two adjoining windows of equal length: the older one counts by the share of it that is still within one length from now.
#[derive(Debug)]
pub(super) struct RateMeter {
    window_nanos: u128,
    /// The number of the window that `current` is of.
    number: u128,
    current: u64,
    previous: u64,
}

impl RateMeter {
    /// A meter that looks back so far.
    pub(super) fn over(window: Duration) -> Self {
        Self { window_nanos: window.as_nanos().max(1), number: 0, current: 0, previous: 0 }
    }

    pub(super) fn add(&mut self, now: Duration, amount: u64) {
        self.turn_to(now);
        self.current = self.current.saturating_add(amount);
    }

    /// Takes back what was added in vain, as far as it is still counted.
    pub(super) fn remove(&mut self, amount: u64) {
        let rest = amount.saturating_sub(self.current);
        self.current = self.current.saturating_sub(amount);
        self.previous = self.previous.saturating_sub(rest);
    }

    /// What came within the last window.
    pub(super) fn amount(&mut self, now: Duration) -> u64 {
        self.turn_to(now);
        let left = self.window_nanos - now.as_nanos() % self.window_nanos;
        let older = u128::from(self.previous) * left / self.window_nanos;
        self.current.saturating_add(u64::try_from(older).unwrap_or(u64::MAX))
    }

    /// The same as an average for a second.
    pub(super) fn per_second(&mut self, now: Duration) -> u64 {
        let amount = u128::from(self.amount(now)) * 1_000_000_000 / self.window_nanos;
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    fn turn_to(&mut self, now: Duration) {
        let number = now.as_nanos() / self.window_nanos;
        if number == self.number + 1 {
            self.previous = std::mem::take(&mut self.current);
        } else if number > self.number {
            self.previous = 0;
            self.current = 0;
        }
        self.number = self.number.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_slides() {
        let mut meter = RateMeter::over(Duration::from_secs(1));
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

    #[test]
    fn a_minute_is_told_as_an_average_second() {
        let mut meter = RateMeter::over(Duration::from_secs(60));
        meter.add(Duration::from_secs(61), 600);
        meter.remove(60);
        assert_eq!(meter.per_second(Duration::from_secs(119)), 9);
        assert_eq!(meter.per_second(Duration::from_secs(150)), 4);
    }
}
