//! Credits, and how they pay for an invoice.

use serde::{Deserialize, Serialize};

use super::{BillingError, Currency, Span};

/// Why there is a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreditKind {
    /// The service level was missed. Granted by itself, never claimed.
    Sla,
    /// A promotion.
    Promotion,
    /// A correction gave back more than its invoice charged.
    CarriedOver,
    /// An invoice was paid twice.
    Overpayment,
}

impl CreditKind {
    /// The name in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sla => "sla",
            Self::Promotion => "promotion",
            Self::CarriedOver => "carried_over",
            Self::Overpayment => "overpayment",
        }
    }
}

/// Money that pays for invoices before the customer does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The credit's id.
    pub id: String,
    /// Why there is one.
    pub kind: CreditKind,
    /// The currency.
    pub currency: Currency,
    /// What is left of it before this invoice, in micro-units.
    pub left_micros: u64,
    /// From when on it counts, in Unix seconds.
    pub granted_s: i64,
    /// Until when it counts, in Unix seconds; `None` for always.
    pub expires_s: Option<i64>,
}

/// What a credit paid of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedCredit {
    /// The credit's id.
    pub id: String,
    /// Why there is one.
    pub kind: CreditKind,
    /// What it paid, in micro-units.
    pub applied_micros: u64,
    /// What is left of it for later invoices, in micro-units.
    pub left_micros: u64,
}

impl AppliedCredit {
    /// What it takes off an amount, in micro-units, as a negative number. (What was computed always fits.)
    #[must_use]
    pub fn taken_off_micros(&self) -> i64 {
        i64::try_from(self.applied_micros).map_or(i64::MIN, |applied| -applied)
    }
}

/// Pays `due_micros` with the credits that counted at some time of the period: what expires first is used first, what never
/// expires last, and among equals what was granted first. No credit goes below zero, and neither does what is due.
///
/// # Errors
/// [`BillingError::Currency`] where a credit that would be used is in another currency.
pub(crate) fn apply(
    credits: &[Credit],
    period: Span,
    currency: Currency,
    due_micros: u64,
) -> Result<Vec<AppliedCredit>, BillingError> {
    let counts = |credit: &&Credit| {
        credit.left_micros > 0
            && credit.granted_s < period.end_s
            && credit.expires_s.is_none_or(|expires_s| expires_s > period.start_s)
    };
    let mut usable: Vec<&Credit> = credits.iter().filter(counts).collect();
    usable.sort_by_key(|credit| (credit.expires_s.unwrap_or(i64::MAX), credit.granted_s, &credit.id));
    let mut due = due_micros;
    let mut applied = Vec::new();
    for credit in usable {
        if due == 0 {
            break;
        }
        if credit.currency != currency {
            return Err(BillingError::Currency {
                what: format!("the credit {:?}", credit.id),
                found: credit.currency,
                expected: currency,
            });
        }
        let applied_micros = credit.left_micros.min(due);
        due -= applied_micros;
        applied.push(AppliedCredit {
            id: credit.id.clone(),
            kind: credit.kind,
            applied_micros,
            left_micros: credit.left_micros - applied_micros,
        });
    }
    Ok(applied)
}
