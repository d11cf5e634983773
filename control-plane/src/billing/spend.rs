//! Where an organisation stands against the spend limit that its owner set.

use serde::{Deserialize, Serialize};

use super::Invoice;

/// Percent of the limit at which the owner is told; at the last of them no more usage is admitted.
pub const SPEND_STEPS: [u8; 3] = [50, 80, 100];

/// What was spent of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendStatus {
    /// The limit of a month, in micro-units.
    pub limit_micros: u64,
    /// What the month costs so far after credits, in micro-units.
    pub spent_micros: u64,
    /// The last of [`SPEND_STEPS`] that was reached; 0 below the first.
    pub reached_percent: u8,
}

impl SpendStatus {
    /// Compares a draft with the limit. A limit never makes an invoice smaller: it stops usage, and what was used before is
    /// billed as it was.
    #[must_use]
    pub fn of(draft: &Invoice, limit_micros: u64) -> Self {
        let spent_micros = draft.total_micros.max(0).unsigned_abs();
        let reached = |percent: &&u8| {
            u128::from(spent_micros) * 100 >= u128::from(limit_micros) * u128::from(**percent)
        };
        let reached_percent = SPEND_STEPS.iter().rev().find(reached).copied().unwrap_or(0);
        Self { limit_micros, spent_micros, reached_percent }
    }

    /// Whether no more usage is admitted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.reached_percent >= 100
    }
}
