//! All that one needs to recompute an invoice, but the ledger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::month::HOUR_S;
use super::{BillingError, Difference, Invoice, InvoiceInput, Meter, Month, Signal, UsageRow, verify};

/// An invoice and what it was computed from, as the API gives it out and `farwatch verify-invoice` reads it.
///
/// Usage is repeated in it so that it can be compared with the ledger hour by hour. Plans, terms, credits, attribution and what
/// was billed before are in no ledger: who verifies an invoice reads them here, and compares plans with those that are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceExport {
    /// [`InvoiceExport::FORMAT`].
    pub format: u32,
    /// The invoice's number; `None` for a draft.
    pub number: Option<u64>,
    /// The organisation's tenants, deleted ones among them.
    pub tenants: Vec<String>,
    /// What is stated.
    pub invoice: Invoice,
    /// What it was computed from.
    pub input: InvoiceInput,
}

impl InvoiceExport {
    /// The version of this format.
    pub const FORMAT: u32 = 1;
}

/// An hour of which the ledger has more than the invoice billed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LateUsage {
    /// The tenant's id.
    pub tenant: String,
    /// The signal.
    pub signal: Signal,
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// What there is more of.
    pub meter: Meter,
    /// How much more.
    pub quantity: u64,
}

/// What came of verifying an invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Everything that is stated otherwise than it should be. None: the invoice is right to the last micro-unit.
    pub differences: Vec<Difference>,
    /// What came after the invoice was final: the next one bills it. Of a draft nothing is late.
    pub late: Vec<LateUsage>,
}

impl InvoiceExport {
    /// Recomputes the invoice from a ledger: hourly rows of the organisation's tenants, in any order and pieces. Rows of
    /// other tenants do not count.
    ///
    /// # Errors
    /// [`BillingError`] where no invoice can be computed from the input.
    pub fn verify(&self, ledger: &[UsageRow]) -> Result<Verification, BillingError> {
        let months: Vec<Month> =
            self.input.billed.iter().map(|billed| billed.month).chain([self.input.month]).collect();
        let billed = by_hour(&self.input.rows, &months, |_| true);
        let counted = by_hour(ledger, &months, |tenant| self.tenants.iter().any(|own| own == tenant));
        let mut found = Verification { differences: verify(&self.invoice, &self.input)?, late: Vec::new() };
        let is_final = self.number.is_some();
        for key in billed.keys().chain(counted.keys().filter(|key| !billed.contains_key(*key))) {
            let (tenant, signal, hour, meter) = *key;
            let stated = billed.get(key).copied().unwrap_or(0);
            let counted = counted.get(key).copied().unwrap_or(0);
            if counted > stated && is_final {
                let quantity = u64::try_from(counted - stated).unwrap_or(u64::MAX);
                found.late.push(LateUsage { tenant: tenant.to_owned(), signal, hour, meter, quantity });
            } else if counted != stated {
                found.differences.push(Difference {
                    what: format!("{} of {tenant} in the hour {hour}", meter.unit()),
                    stated: Some(stated.to_string()),
                    computed: Some(counted.to_string()),
                });
            }
        }
        Ok(found)
    }
}

/// Quantities above zero by tenant, signal, hour and meter.
fn by_hour<'a>(
    rows: &'a [UsageRow],
    months: &[Month],
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<(&'a str, Signal, i64, Meter), u128> {
    let mut sums = BTreeMap::new();
    for row in rows.iter().filter(|row| wanted(&row.tenant)) {
        let start_s = row.hour.saturating_mul(HOUR_S);
        if !months.iter().any(|month| month.span().contains(start_s)) {
            continue;
        }
        for meter in Meter::ALL {
            let quantity = u128::from(row.quantities.of(meter));
            if quantity > 0 {
                *sums.entry((row.tenant.as_str(), row.signal, row.hour, meter)).or_default() += quantity;
            }
        }
    }
    sums
}
