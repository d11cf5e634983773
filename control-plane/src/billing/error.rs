//! Why no invoice could be computed.

use super::{Currency, Month};

/// Why no invoice could be computed. Nothing is ever billed in part: the caller repairs what is named and computes again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BillingError {
    /// A number is beyond what an invoice can state. Money is bounded by `i64` micro-units (9.2 million million of the
    /// currency), quantities by `i64` units.
    #[error("{what} is too large for an invoice: {value}, and at most {} fits", i64::MAX)]
    TooLarge {
        /// What is too large, such as `samples of 2026-11`.
        what: String,
        /// How large it is.
        value: String,
    },
    /// A plan version contradicts itself or another one.
    #[error("version {version} of the plan {plan:?}: {problem}")]
    Plan {
        /// The plan's id.
        plan: String,
        /// Its version.
        version: u32,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The organisation was on a plan that had no version in force then.
    #[error(
        "the plan {plan:?} has no version in force at {at_s} (Unix seconds); add one that is effective by then"
    )]
    NoVersion {
        /// The plan's id.
        plan: String,
        /// The instant, in Unix seconds.
        at_s: i64,
    },
    /// Terms overlap or end before they begin.
    #[error(
        "the terms of an organisation follow each other without overlap, and each ends after it begins: {0}"
    )]
    Terms(String),
    /// There was no plan in the month and nothing to adjust, so there is no currency to bill in.
    #[error("no plan was in force in {0}, so there is nothing to bill")]
    NoPlan(Month),
    /// Plans, credits or costs that meet are in different currencies. They are never converted.
    #[error("{what} is in {found}, but this is billed in {expected}; amounts are never converted")]
    Currency {
        /// What is in another currency.
        what: String,
        /// The currency that it is in.
        found: Currency,
        /// The currency of the bill.
        expected: Currency,
    },
    /// A month is billed twice, or is not before the month of the invoice.
    #[error("{billed} cannot be adjusted by the invoice of {month}: it must be an earlier month, given once")]
    Adjusted {
        /// The month to adjust.
        billed: Month,
        /// The month of the invoice.
        month: Month,
    },
    /// A text is no month, or a month lies outside the calendar.
    #[error("{0:?} is no month; a month is written as in 2026-11")]
    Month(String),
}
