//! Which timestamps are taken.

use std::time::Duration;

use crate::limits::MAX_FUTURE;
use crate::refusals::RefusalReason;

/// The timestamps taken by one request, in milliseconds since the Unix epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRule {
    earliest_ms: i64,
    latest_ms: i64,
}

impl TimeRule {
    /// The rule at `now_ms`; without a window there is no earliest timestamp.
    pub(crate) fn new(now_ms: i64, out_of_order_window: Option<Duration>) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            earliest_ms: out_of_order_window.map_or(i64::MIN, |window| now_ms.saturating_sub(millis(window))),
            latest_ms: now_ms.saturating_add(millis(MAX_FUTURE)),
        }
    }

    #[inline]
    pub(crate) fn allows(&self, timestamp_ms: i64) -> bool {
        (self.earliest_ms..=self.latest_ms).contains(&timestamp_ms)
    }

    /// Why a timestamp that is not allowed is not.
    pub(crate) fn reason(&self, timestamp_ms: i64) -> RefusalReason {
        if timestamp_ms < self.earliest_ms { RefusalReason::TooOld } else { RefusalReason::TooFarInFuture }
    }

    /// The same for people.
    pub(crate) fn explain(&self, timestamp_ms: i64) -> String {
        match self.reason(timestamp_ms) {
            RefusalReason::TooOld => format!(
                "its timestamp {timestamp_ms} is too old: the earliest taken now is {} (the out-of-order window)",
                self.earliest_ms
            ),
            _ => format!(
                "its timestamp {timestamp_ms} is too far in the future: the latest taken now is {} (one hour from now). \
                 Timestamps are milliseconds since 1970",
                self.latest_ms
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn both_bounds_are_allowed_and_nothing_beyond() {
        let rule = TimeRule::new(NOW_MS, Some(Duration::from_secs(2 * 3600)));
        for good in [NOW_MS - 2 * HOUR_MS, NOW_MS, NOW_MS + HOUR_MS] {
            assert!(rule.allows(good), "{good}");
        }
        for (bad, reason) in [
            (NOW_MS - 2 * HOUR_MS - 1, RefusalReason::TooOld),
            (i64::MIN, RefusalReason::TooOld),
            (NOW_MS + HOUR_MS + 1, RefusalReason::TooFarInFuture),
            (i64::MAX, RefusalReason::TooFarInFuture),
        ] {
            assert!(!rule.allows(bad), "{bad}");
            assert_eq!(rule.reason(bad), reason);
        }
    }

    #[test]
    fn without_a_window_the_past_is_open() {
        let rule = TimeRule::new(NOW_MS, None);
        assert!(rule.allows(i64::MIN) && !rule.allows(NOW_MS + HOUR_MS + 1));
        assert!(TimeRule::new(i64::MIN, Some(Duration::MAX)).allows(i64::MIN));
    }
}
