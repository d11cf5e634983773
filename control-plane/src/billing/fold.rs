//! Hourly rows, added up by plan phase and meter.

use std::collections::BTreeMap;

use super::month::HOUR_S;
use super::plan::{Phase, phase_of_hour};
use super::{BillingError, Meter, Month, Signal, UsageRow};

/// The usage of one meter in one phase, whole and by cause.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used<'a> {
    /// All of it.
    pub(crate) whole: u128,
    /// By tenant; sums to the whole.
    pub(crate) by_tenant: BTreeMap<&'a str, u128>,
    /// By signal; sums to the whole.
    pub(crate) by_signal: BTreeMap<Signal, u128>,
    /// By metric name, as far as known.
    pub(crate) by_metric: BTreeMap<&'a str, u128>,
    /// By API key, as far as known.
    pub(crate) by_api_key: BTreeMap<&'a str, u128>,
}

/// A month's usage.
#[derive(Clone, Debug)]
pub(crate) struct MonthUsage<'a> {
    /// By phase, then by meter in the order of [`Meter::ALL`].
    pub(crate) phases: Vec<[Used<'a>; 4]>,
    /// What was used while no plan was in force, by meter.
    pub(crate) outside: [u128; 4],
}

/// Adds up the rows of a month, in whatever order and pieces they come.
///
/// # Errors
/// [`BillingError::Breakdown`] where the parts by metric name or API key are more than the whole.
pub(crate) fn fold<'a>(
    month: Month,
    phases: &[Phase<'_>],
    rows: &'a [UsageRow],
) -> Result<MonthUsage<'a>, BillingError> {
    let mut usage = MonthUsage { phases: vec![Default::default(); phases.len()], outside: [0; 4] };
    for row in rows {
        let hour_start_s = row.hour.saturating_mul(HOUR_S);
        if !month.span().contains(hour_start_s) {
            continue;
        }
        let phase = phase_of_hour(phases, hour_start_s);
        for (index, meter) in Meter::ALL.into_iter().enumerate() {
            let whole = u128::from(row.quantities.of(meter));
            let Some(phase) = phase else {
                usage.outside[index] += whole;
                continue;
            };
            let used = &mut usage.phases[phase][index];
            add(&mut used.by_tenant, row.tenant.as_str(), whole);
            add(&mut used.by_signal, row.signal, whole);
            used.whole += whole;
            for share in &row.breakdown {
                let part = u128::from(share.quantities.of(meter));
                if let Some(metric) = &share.metric {
                    add(&mut used.by_metric, metric.as_str(), part);
                }
                if let Some(api_key) = &share.api_key {
                    add(&mut used.by_api_key, api_key.as_str(), part);
                }
            }
        }
    }
    for used in &usage.phases {
        for (used, meter) in used.iter().zip(Meter::ALL) {
            for (dimension, parts) in [("metric name", &used.by_metric), ("API key", &used.by_api_key)] {
                let parts: u128 = parts.values().sum();
                if parts > used.whole {
                    return Err(BillingError::Breakdown {
                        month,
                        dimension,
                        meter,
                        parts,
                        whole: used.whole,
                    });
                }
            }
        }
    }
    Ok(usage)
}

/// Adds to an entry, and makes none for nothing.
fn add<K: Ord>(sums: &mut BTreeMap<K, u128>, key: K, quantity: u128) {
    if quantity > 0 {
        *sums.entry(key).or_default() += quantity;
    }
}
