//! Who and what an invoice's money is for, in parts that sum to it exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::charge::Charges;
use super::fold::Used;
use super::money::{divide, too_large};
use super::{Attribution, BillingError, Dimension, InvoiceInput, Meter, Signal};

/// What a part of the cost is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Cause {
    /// The tenant, signal, metric name or API key of this name.
    Named(String),
    /// Usage whose metric name or API key is not known.
    Unattributed,
    /// Fees and minimum, which nobody's usage caused.
    Fixed,
    /// Corrections of earlier months.
    EarlierMonths,
}

/// A part of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostPart {
    /// What it is for.
    pub cause: Cause,
    /// What a tenant was called when this was computed; `None` where there is no other name than that in `cause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Samples.
    pub samples: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Series-hours.
    pub series_hours: u64,
    /// Its part of the subtotal, in micro-units: in proportion to quantity, meter by meter and price by price, so that
    /// everyone has the same part of cheap and of dear tiers.
    pub charge_micros: i64,
    /// Its part of the total after credits, in micro-units: in proportion to `charge_micros`.
    pub payable_micros: i64,
}

impl CostPart {
    /// What it is for, where that has a name: with what people call it before its id.
    #[must_use]
    pub fn named(&self) -> Option<String> {
        let Cause::Named(name) = &self.cause else { return None };
        Some(self.label.as_ref().map_or_else(|| name.clone(), |label| format!("{label} ({name})")))
    }
}

/// The parts of an invoice by each dimension. In each, `charge_micros` sums to the subtotal and `payable_micros` to the total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// By tenant.
    pub by_tenant: Vec<CostPart>,
    /// By signal.
    pub by_signal: Vec<CostPart>,
    /// By metric name: the exact usage of each tenant, divided in proportion to an [`Attribution`].
    pub by_metric: Vec<CostPart>,
    /// By API key, likewise.
    pub by_api_key: Vec<CostPart>,
}

/// Divides the charges of a month, and what corrections of earlier months and credits made of them.
///
/// # Errors
/// [`BillingError::TooLarge`] where a sum does not fit.
pub(crate) fn breakdown(
    charges: &Charges<'_>,
    input: &InvoiceInput,
    earlier_micros: i64,
    total_micros: i64,
) -> Result<Breakdown, BillingError> {
    let attribution = &input.attribution;
    let dimension =
        |parts: &dyn Fn(&Used<'_>) -> Parts| one_dimension(charges, parts, earlier_micros, total_micros);
    let by = |name: fn(&str, Signal) -> String| {
        move |used: &Used<'_>| {
            let mut parts = Parts::new();
            for ((tenant, signal), quantity) in &used.parts {
                *parts.entry(Cause::Named(name(tenant, *signal))).or_default() += quantity;
            }
            parts
        }
    };
    let metrics = Weights::of(attribution, Dimension::Metric);
    let api_keys = Weights::of(attribution, Dimension::ApiKey);
    let mut by_tenant = dimension(&by(|tenant, _| tenant.to_owned()))?;
    for part in &mut by_tenant {
        if let Cause::Named(id) = &part.cause {
            part.label = input.tenant_names.get(id).cloned();
        }
    }
    Ok(Breakdown {
        by_tenant,
        by_signal: dimension(&by(|_, signal| signal.as_str().to_owned()))?,
        by_metric: dimension(&|used| metrics.divide(used))?,
        by_api_key: dimension(&|used| api_keys.divide(used))?,
    })
}

/// A quantity by cause.
type Parts = BTreeMap<Cause, u128>;

/// In which proportion each tenant's usage is divided among names.
struct Weights<'a>(BTreeMap<(&'a str, Signal), BTreeMap<&'a str, u64>>);

impl<'a> Weights<'a> {
    /// The counts of one dimension, added up.
    fn of(attribution: &'a [Attribution], dimension: Dimension) -> Self {
        let mut weights: BTreeMap<_, BTreeMap<&str, u64>> = BTreeMap::new();
        for counted in attribution.iter().filter(|counted| counted.dimension == dimension) {
            let names = weights.entry((counted.tenant.as_str(), counted.signal)).or_default();
            let count = names.entry(counted.name.as_str()).or_default();
            *count = count.saturating_add(counted.count);
        }
        Self(weights)
    }

    /// Divides a quantity in whole units by the largest remainder: parts sum to it. What nobody counted has no name.
    fn divide(&self, used: &Used<'_>) -> Parts {
        let mut parts = Parts::new();
        for (who, quantity) in &used.parts {
            let names = self.0.get(who);
            let weights: Vec<u64> = names.into_iter().flat_map(BTreeMap::values).copied().collect();
            // More than fits is an error elsewhere.
            let whole = i64::try_from(*quantity).unwrap_or(i64::MAX);
            let divided = divide(whole, &weights);
            for (name, part) in names.into_iter().flat_map(BTreeMap::keys).zip(divided) {
                let cause =
                    if name.is_empty() { Cause::Unattributed } else { Cause::Named((*name).to_owned()) };
                *parts.entry(cause).or_default() += u128::from(part.unsigned_abs());
            }
        }
        parts
    }
}

/// What one cause used and costs, while it is summed up.
#[derive(Default)]
struct Sums {
    quantities: [u128; 4],
    charge: i128,
}

/// Divides by one dimension.
fn one_dimension(
    charges: &Charges<'_>,
    parts: &dyn Fn(&Used<'_>) -> Parts,
    earlier_micros: i64,
    total_micros: i64,
) -> Result<Vec<CostPart>, BillingError> {
    let mut causes: BTreeMap<Cause, Sums> = BTreeMap::new();
    for (used, amounts) in charges.usage.phases.iter().zip(&charges.amounts) {
        for (index, (used, amount)) in used.iter().zip(amounts).enumerate() {
            let mut quantities = parts(used);
            let attributed: u128 = quantities.values().sum();
            // Parts are at most the whole.
            *quantities.entry(Cause::Unattributed).or_default() += used.whole.saturating_sub(attributed);
            let weights: Vec<u64> = quantities
                .values()
                .map(|quantity| stated(*quantity, Meter::ALL[index]))
                .collect::<Result<_, _>>()?;
            for ((cause, quantity), part) in quantities.into_iter().zip(divide(*amount, &weights)) {
                if quantity > 0 {
                    let sums = causes.entry(cause).or_default();
                    sums.quantities[index] += quantity;
                    sums.charge += i128::from(part);
                }
            }
        }
    }
    for (cause, amount) in [(Cause::Fixed, charges.fixed_micros), (Cause::EarlierMonths, earlier_micros)] {
        if amount != 0 {
            causes.entry(cause).or_default().charge += i128::from(amount);
        }
    }
    let mut done = Vec::with_capacity(causes.len());
    for (cause, sums) in causes {
        done.push(CostPart {
            cause,
            label: None,
            samples: stated(sums.quantities[0], Meter::Samples)?,
            spans: stated(sums.quantities[1], Meter::Spans)?,
            stored_bytes: stated(sums.quantities[2], Meter::StoredBytes)?,
            series_hours: stated(sums.quantities[3], Meter::SeriesHours)?,
            charge_micros: i64::try_from(sums.charge)
                .map_err(|_| too_large("a part of an invoice", sums.charge))?,
            payable_micros: 0,
        });
    }
    // What gives back pays nothing: a total above zero is paid by what charges.
    let weights: Vec<u64> = done.iter().map(|part| u64::try_from(part.charge_micros).unwrap_or(0)).collect();
    for (part, payable) in done.iter_mut().zip(divide(total_micros, &weights)) {
        part.payable_micros = payable;
    }
    Ok(done)
}

/// A quantity as invoices state it.
pub(crate) fn stated(quantity: u128, meter: Meter) -> Result<u64, BillingError> {
    i64::try_from(quantity).map(i64::unsigned_abs).map_err(|_| too_large(meter.unit(), quantity))
}
