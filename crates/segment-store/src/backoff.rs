//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng;

/// Waits that double from a first one up to a longest one. Half of each is random, so that those who failed together do
/// not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { next: first, longest }
    }

    /// The next wait.
    pub(crate) fn next_wait(&mut self, rng: &mut impl Rng) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(rng.random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn waits_double_up_to_the_longest_and_vary() {
        let mut rng = Seed::from_number(1).rng();
        let mut backoff = Backoff::new((Duration::from_millis(100), Duration::from_millis(300)));
        for full_ms in [100, 200, 300, 300] {
            let wait = backoff.next_wait(&mut rng);
            assert!(wait >= Duration::from_millis(full_ms / 2) && wait <= Duration::from_millis(full_ms));
        }
    }
}
