//! The invoice of a month: a pure function of usage, plans, terms, credits and what was billed before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::adjustment::adjust;
use super::breakdown::{breakdown, stated};
use super::charge::charge;
use super::credit::apply;
use super::money::sum;
use super::{
    AppliedCredit, Attribution, BilledMonth, BillingError, Breakdown, Credit, Currency, Line, Meter, Month,
    PlanVersion, Term, UsageRow,
};

/// All that an invoice is a function of. Nothing else goes into it, and no order of anything in here matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceInput {
    /// The organisation's id.
    pub organisation: String,
    /// The month to bill.
    pub month: Month,
    /// The versions of the plans that the organisation was on.
    pub plans: Vec<PlanVersion>,
    /// When it was on which plan.
    pub terms: Vec<Term>,
    /// The usage of its tenants, in this month and in the months of `billed`. Rows of other months do not count; hours before the
    /// first term count in its month.
    pub rows: Vec<UsageRow>,
    /// What its tenants are called, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenant_names: BTreeMap<String, String>,
    /// What ingest counted by metric name and API key in this month; of other causes in other months nothing is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<Attribution>,
    /// Its credits, with what was left of them before this invoice.
    pub credits: Vec<Credit>,
    /// Earlier months for which rows may have come after their invoice was final.
    pub billed: Vec<BilledMonth>,
}

/// Whether an invoice may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    /// What would be billed for the usage that is known: the same computation as the final one.
    Draft,
    /// Billed. What comes later goes into the next invoice.
    Final,
}

/// Usage that is not charged, since no plan was in force any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbilled {
    /// What was used.
    pub meter: Meter,
    /// How much.
    pub quantity: u64,
}

/// The invoice of an organisation for a month.
///
/// `subtotal_micros` is the exact sum of the lines. Credits are taken off, and what is left is rounded once, half to even,
/// to what can be paid: `subtotal − credits + carried over + rounding = total`, to the micro-unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// The organisation's id.
    pub organisation: String,
    /// The month.
    pub month: Month,
    /// Whether it may still change.
    pub status: InvoiceStatus,
    /// The currency of every amount.
    pub currency: Currency,
    /// The lines: this month's in order of time, then corrections of earlier months.
    pub lines: Vec<Line>,
    /// Sum of the lines, in micro-units. Below zero where corrections give back more than the month costs.
    pub subtotal_micros: i64,
    /// What credits paid, in the order in which they were used.
    pub credits: Vec<AppliedCredit>,
    /// What corrections give back beyond this invoice, in micro-units: a credit for the next one.
    pub carried_over_micros: i64,
    /// What rounding to a payable amount added, in micro-units.
    pub rounding_micros: i64,
    /// What is to be paid, in micro-units: a whole number of the currency's smallest unit, never below zero.
    pub total_micros: i64,
    /// Usage that is not charged.
    pub unbilled: Vec<Unbilled>,
    /// Who and what the money is for.
    pub breakdown: Breakdown,
}

impl Invoice {
    /// Computes the invoice, as a draft.
    ///
    /// # Errors
    /// [`BillingError`] where the input contradicts itself or a number does not fit: nothing is ever billed in part.
    pub fn compute(input: &InvoiceInput) -> Result<Self, BillingError> {
        let charges = charge(input.month, &input.plans, &input.terms, &input.rows)?;
        let (earlier, earlier_currency) = corrections(input)?;
        let currency = charges.currency.or(earlier_currency).ok_or(BillingError::NoPlan(input.month))?;
        if let Some(found) = earlier_currency.filter(|found| *found != currency) {
            let what = "the correction of an earlier month".to_owned();
            return Err(BillingError::Currency { what, found, expected: currency });
        }
        let earlier_micros = sum(earlier.iter().map(|line| line.amount_micros), "the corrections")?;
        let lines: Vec<Line> = charges.lines.iter().cloned().chain(earlier).collect();
        let subtotal_micros = sum(lines.iter().map(|line| line.amount_micros), "the subtotal")?;
        let carried_over_micros = subtotal_micros.min(0).saturating_neg();
        let due_micros = subtotal_micros.max(0).unsigned_abs();
        let credits = apply(&input.credits, input.month.span(), currency, due_micros)?;
        let credited: u64 = credits.iter().map(|credit| credit.applied_micros).sum();
        // No more is credited than is due, which was an i64.
        let left_micros = (due_micros - credited).cast_signed();
        let total_micros = currency.payable(left_micros)?;
        let unbilled = Meter::ALL
            .into_iter()
            .zip(charges.usage.outside)
            .filter(|(_, quantity)| *quantity > 0)
            .map(|(meter, quantity)| Ok(Unbilled { meter, quantity: stated(quantity, meter)? }))
            .collect::<Result<_, BillingError>>()?;
        Ok(Self {
            organisation: input.organisation.clone(),
            month: input.month,
            status: InvoiceStatus::Draft,
            currency,
            subtotal_micros,
            carried_over_micros,
            rounding_micros: total_micros - left_micros,
            total_micros,
            unbilled,
            breakdown: breakdown(&charges, input, earlier_micros, total_micros)?,
            credits,
            lines,
        })
    }

    /// The same invoice, final.
    #[must_use]
    pub fn finalised(self) -> Self {
        Self { status: InvoiceStatus::Final, ..self }
    }
}

/// What earlier months are to be corrected by, and in which currency they were billed.
fn corrections(input: &InvoiceInput) -> Result<(Vec<Line>, Option<Currency>), BillingError> {
    let mut billed: Vec<&BilledMonth> = input.billed.iter().collect();
    billed.sort_by_key(|billed| billed.month);
    let mut lines = Vec::new();
    let mut currency: Option<Currency> = None;
    for (index, month) in billed.iter().enumerate() {
        if month.month >= input.month || billed[..index].iter().any(|other| other.month == month.month) {
            return Err(BillingError::Adjusted { billed: month.month, month: input.month });
        }
        let right = charge(month.month, &input.plans, &input.terms, &input.rows)?;
        let changed = adjust(month, &right.lines)?;
        if !changed.is_empty() {
            if let (Some(found), Some(expected)) = (right.currency, currency)
                && found != expected
            {
                let what = format!("the correction of {}", month.month);
                return Err(BillingError::Currency { what, found, expected });
            }
            currency = currency.or(right.currency);
        }
        lines.extend(changed);
    }
    Ok((lines, currency))
}
