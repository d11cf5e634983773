//! Bounds of billing. (What numbers an invoice can hold is in [`BillingError::TooLarge`](super::BillingError::TooLarge).)

/// Most tiers of a meter: nobody would understand more.
pub const MAX_TIERS: usize = 32;

/// Most parts of a breakdown that are printed, so that a million metric names do not make a million lines; the rest is one
/// line. JSON has all of them.
pub(crate) const MAX_PRINTED_PARTS: usize = 12;
