//! When to ask a second time: some requests to an object store take many times as long as most, and asking again is then
//! quicker than waiting.

use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{HEDGE_AFTER_AT_LEAST, HEDGE_BURST, HEDGE_EVERY};

/// Durations that are remembered.
const REMEMBERED: usize = 64;
/// With less of them nothing is known yet.
const ENOUGH: usize = 16;

/// How long requests took lately, and how many more second ones may be made.
#[derive(Debug, Default)]
pub(super) struct Hedging {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest durations, the oldest overwritten first.
    latest: Vec<Duration>,
    next: usize,
    /// In parts of a second request; a first one earns one, and [`HEDGE_EVERY`] buy one.
    credit: u64,
}

impl Hedging {
    /// Notes that a request took `took`.
    pub(super) fn note(&self, took: Duration) {
        let state = &mut *self.state.lock();
        if state.latest.len() < REMEMBERED {
            state.latest.push(took);
        } else {
            state.latest[state.next] = took;
        }
        state.next = (state.next + 1) % REMEMBERED;
        state.credit = (state.credit + 1).min(HEDGE_BURST * HEDGE_EVERY);
    }

    /// After how long a request counts as slow: what one in twenty took, with some room. `None` as long as that is not known.
    pub(super) fn patience(&self) -> Option<Duration> {
        let mut latest = self.state.lock().latest.clone();
        if latest.len() < ENOUGH {
            return None;
        }
        let place = latest.len() * 19 / 20;
        let (_, p95, _) = latest.select_nth_unstable(place);
        Some((*p95 + *p95 / 4).max(HEDGE_AFTER_AT_LEAST))
    }

    /// Whether a second request may be made now; then it is counted.
    pub(super) fn take(&self) -> bool {
        let state = &mut *self.state.lock();
        match state.credit.checked_sub(HEDGE_EVERY) {
            Some(left) => {
                state.credit = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_is_usual_and_second_requests_are_a_small_share() {
        let hedging = Hedging::default();
        assert_eq!(hedging.patience(), None);
        for _ in 0..62 {
            hedging.note(Duration::from_millis(40));
        }
        hedging.note(Duration::from_secs(9));
        hedging.note(Duration::from_secs(9));
        assert_eq!(hedging.patience(), Some(Duration::from_millis(50)));
        for _ in 0..64 {
            hedging.note(Duration::from_micros(10));
        }
        assert_eq!(hedging.patience(), Some(HEDGE_AFTER_AT_LEAST));

        let mut made = 0;
        for _ in 0..10 * HEDGE_EVERY {
            hedging.note(Duration::from_micros(10));
            made += u64::from(hedging.take());
        }
        assert!((10..=10 + HEDGE_BURST).contains(&made), "{made}");
    }
}
