//! Where an organisation stands against the spend limit that its owner set.

use serde::{Deserialize, Serialize};

use super::Invoice;

/// From this part of the limit on, the owner is warned.
pub const SPEND_WARNING_PERCENT: u64 = 80;

/// How near the limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendLevel {
    /// Below the warning.
    Within,
    /// [`SPEND_WARNING_PERCENT`] of the limit or more.
    Near,
    /// The limit or more: no more usage is to be admitted.
    Reached,
}

/// What was spent of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendStatus {
    /// The limit of a month, in micro-units.
    pub limit_micros: u64,
    /// What the month costs so far after credits, in micro-units.
    pub spent_micros: u64,
    /// How near that is.
    pub level: SpendLevel,
}

impl SpendStatus {
    /// Compares a draft with the limit. A limit never makes an invoice smaller: it stops usage, and what was used before is
    /// billed as it was.
    #[must_use]
    pub fn of(draft: &Invoice, limit_micros: u64) -> Self {
        let spent_micros = draft.total_micros.max(0).unsigned_abs();
        let level = if spent_micros >= limit_micros {
            SpendLevel::Reached
        } else if u128::from(spent_micros) * 100
            >= u128::from(limit_micros) * u128::from(SPEND_WARNING_PERCENT)
        {
            SpendLevel::Near
        } else {
            SpendLevel::Within
        };
        Self { limit_micros, spent_micros, level }
    }
}
