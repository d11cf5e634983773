//! What came late: the difference between what a month was billed and what it should have been.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line::LineKey;
use super::money::too_large;
use super::{BillingError, Invoice, Line, LineKind, Month};

/// A month whose invoice is final, with all that was ever billed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledMonth {
    /// The month.
    pub month: Month,
    /// The lines of its invoice, and those of later invoices that adjusted it.
    pub lines: Vec<Line>,
}

impl BilledMonth {
    /// Collects what final invoices billed for a month.
    #[must_use]
    pub fn from_invoices<'a>(month: Month, invoices: impl IntoIterator<Item = &'a Invoice>) -> Self {
        let lines = invoices
            .into_iter()
            .flat_map(|invoice| invoice.lines.iter().map(move |line| (invoice.month, line)))
            .filter(|(billed_in, line)| line.adjusts.unwrap_or(*billed_in) == month)
            .map(|(_, line)| line.clone())
            .collect();
        Self { month, lines }
    }
}

/// The lines that turn what was billed for a month into what is now known to be right: quantities and amounts are
/// differences. None where nothing changed.
///
/// # Errors
/// [`BillingError::TooLarge`] where a difference does not fit.
pub(crate) fn adjust(billed: &BilledMonth, right: &[Line]) -> Result<Vec<Line>, BillingError> {
    /// Sums of what one key was billed and should be.
    struct Change<'a> {
        quantity: i128,
        amount: i128,
        like: &'a Line,
    }
    let mut changes: BTreeMap<LineKey, Change<'_>> = BTreeMap::new();
    // What is right comes last, so that its unit price is the one that is shown.
    for (sign, line) in billed.lines.iter().map(|line| (-1, line)).chain(right.iter().map(|line| (1, line))) {
        let change = changes.entry(line.key()).or_insert(Change { quantity: 0, amount: 0, like: line });
        change.quantity += sign * i128::from(line.quantity);
        change.amount += sign * i128::from(line.amount_micros);
        change.like = line;
    }
    let mut lines = Vec::new();
    for change in changes.into_values().filter(|change| change.quantity != 0 || change.amount != 0) {
        let what = format!("the correction of {}", billed.month);
        let amount_micros = i64::try_from(change.amount).map_err(|_| too_large(&what, change.amount))?;
        let mut line = Line {
            adjusts: Some(billed.month),
            quantity: i64::try_from(change.quantity).map_err(|_| too_large(&what, change.quantity))?,
            amount_micros,
            ..change.like.clone()
        };
        if line.kind == LineKind::Minimum {
            // Its price is what was missing, so the difference is in the price, not in the quantity.
            line.quantity = amount_micros.signum();
            line.unit_price_micros = amount_micros.unsigned_abs();
        }
        lines.push(line);
    }
    Ok(lines)
}
