//! All that one needs to recompute an invoice, but the ledger.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::month::{HOUR_S, instant};
use super::plan::{counted_at_s, signup_s};
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
    /// All that the ledger had at this time, in milliseconds since the Unix epoch, is in the usage; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of_ms: Option<i64>,
    /// The organisation's tenants, deleted ones among them.
    pub tenants: Vec<String>,
    /// Those of them whose data was deleted, and with it their ledger: nothing is left to compare their usage with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_ledger: Vec<String>,
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
    /// What the ledger has more than was known when the invoice was computed. A draft that is made now has it; a final invoice is
    /// followed by one that bills it.
    pub late: Vec<LateUsage>,
    /// When that was, in milliseconds since the Unix epoch: up to then the invoice and the ledger agree, unless there are differences.
    pub as_of_ms: Option<i64>,
    /// Tenants of the invoice that have no ledger any more, since their data was deleted: their usage is taken as it is stated.
    pub without_ledger: Vec<String>,
}

impl InvoiceExport {
    /// Recomputes the invoice from a ledger: hourly rows of the organisation's tenants, in any order and pieces. Rows of
    /// other tenants do not count.
    ///
    /// A ledger only ever grows. So where it has less than is stated, the invoice is wrong; where it has more, that came later.
    ///
    /// # Errors
    /// [`BillingError`] where no invoice can be computed from the input.
    pub fn verify(&self, ledger: &[UsageRow]) -> Result<Verification, BillingError> {
        let months: Vec<Month> =
            self.input.billed.iter().map(|billed| billed.month).chain([self.input.month]).collect();
        let signup_s = signup_s(&self.input.terms);
        let has_ledger = |tenant: &str| !self.without_ledger.iter().any(|gone| gone == tenant);
        let is_own = |tenant: &str| self.tenants.iter().any(|own| own == tenant) && has_ledger(tenant);
        let billed = by_hour(&self.input.rows, &months, signup_s, has_ledger);
        let counted = by_hour(ledger, &months, signup_s, is_own);
        let mut found = Verification {
            differences: verify(&self.invoice, &self.input)?,
            late: Vec::new(),
            as_of_ms: self.as_of_ms,
            without_ledger: self.without_ledger.clone(),
        };
        for key in billed.keys().chain(counted.keys().filter(|key| !billed.contains_key(*key))) {
            let (tenant, signal, hour, meter) = *key;
            let stated = billed.get(key).copied().unwrap_or(0);
            let counted = counted.get(key).copied().unwrap_or(0);
            if counted > stated {
                let quantity = u64::try_from(counted - stated).unwrap_or(u64::MAX);
                found.late.push(LateUsage { tenant: tenant.to_owned(), signal, hour, meter, quantity });
            } else if counted < stated {
                found.differences.push(Difference {
                    what: format!("{} of {tenant} in the hour from {}", meter.unit(), hour_text(hour)),
                    stated: Some(stated.to_string()),
                    computed: Some(counted.to_string()),
                });
            }
        }
        Ok(found)
    }
}

impl fmt::Display for LateUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, signal: _, hour, meter, quantity } = self;
        write!(f, "{quantity} {} of {tenant} in the hour from {}", meter.unit(), hour_text(*hour))
    }
}

/// When an hour begins, for people.
fn hour_text(hour: i64) -> String {
    format!("{} UTC", instant(hour.saturating_mul(HOUR_S)))
}

/// Quantities above zero by tenant, signal, hour and meter, of the hours that count in some months.
fn by_hour<'a>(
    rows: &'a [UsageRow],
    months: &[Month],
    signup_s: Option<i64>,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<(&'a str, Signal, i64, Meter), u128> {
    let mut sums = BTreeMap::new();
    for row in rows.iter().filter(|row| wanted(&row.tenant)) {
        let at_s = counted_at_s(row.hour, signup_s);
        if !months.iter().any(|month| month.span().contains(at_s)) {
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
