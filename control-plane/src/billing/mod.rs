//! Billing as a pure function: hourly usage, price plans, terms and credits in; an invoice out. No I/O, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`usage`] | hourly rows of the ledger, meters |
//! | [`plan`] | price plans with versions, terms of an organisation |
//! | [`invoice`] | the invoice of a month |
//! | [`mod@line`] | its lines |
//! | [`credit`] | credits |
//! | [`adjustment`] | what came after an invoice was final |
//! | [`breakdown`] | cost by tenant, signal, metric name and API key |
//! | [`mod@verify`] | recomputing an invoice |
//! | [`export`] | an invoice with all that it was computed from |
//! | [`render`] | CSV and HTML |
//! | [`spend`] | the spend limit |
//! | [`margin`] | the operator's own cost |
//! | [`money`], [`month`] | currencies and calendar |
//! | [`limits`] | bounds |
//!
//! The rules that make an invoice recomputable by anyone:
//!
//! - **Money** is whole micro-units (10⁻⁶ of the currency). A line is quantity × price, exact, then rounded once to micro-units,
//!   half to even. Lines are summed exactly. The total after credits is rounded once to what can be paid, half to even; the
//!   rounding is stated.
//! - **A month** is a calendar month in UTC. Plan versions cut it into phases, to the second; fees and minima count by the second.
//! - **An hour's usage** belongs to the phase in force when the hour began. What is stamped before the signup belongs to the first
//!   phase, and so to the month of the signup: every sample is on an invoice, once.
//! - **Tiers** go by the organisation's usage of the whole month, over all its tenants and phases. In a month that was not
//!   covered whole, they are as much shorter, to the second.
//! - **A draft is the final invoice** for the usage that is known: there is one computation.
//! - **Metric names and API keys** are no part of the ledger. A tenant's exact usage is divided among them in proportion to what
//!   ingest counted: see [`Attribution`].
//! - **Late usage** is billed by the next invoice as the difference to what was billed.

pub mod adjustment;
pub mod breakdown;
mod charge;
pub mod credit;
pub mod error;
pub mod export;
mod fold;
pub mod invoice;
pub mod limits;
pub mod line;
pub mod margin;
pub mod money;
pub mod month;
pub mod plan;
pub mod render;
pub mod spend;
pub mod usage;
pub mod verify;

#[cfg(test)]
mod tests;

pub use adjustment::BilledMonth;
pub use breakdown::{Breakdown, Cause, CostPart};
pub use credit::{AppliedCredit, Credit, CreditKind};
pub use error::BillingError;
pub use export::{InvoiceExport, LateUsage, Verification};
pub use invoice::{Invoice, InvoiceInput, InvoiceStatus, Unbilled};
pub use line::{Line, LineKind};
pub use margin::{CostTable, Resource, ResourcePrice, ResourceUse, TenantMargin, margins};
pub use money::Currency;
pub use month::{Month, Span};
pub use plan::{MeterPrice, PlanVersion, Term, Tier};
pub use spend::{SPEND_STEPS, SpendStatus};
pub use usage::{Attribution, Dimension, Meter, Quantities, Signal, UsageRow};
pub use verify::{Difference, verify};
