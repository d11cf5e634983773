//! Hourly rows, added up by plan phase and meter.

use std::collections::BTreeMap;

use super::plan::{Phase, counted_at_s, phase_at};
use super::{Meter, Month, Signal, UsageRow};

/// The usage of one meter in one phase, whole and by who used it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used<'a> {
    /// All of it.
    pub(crate) whole: u128,
    /// By tenant and signal; sums to the whole.
    pub(crate) parts: BTreeMap<(&'a str, Signal), u128>,
}

/// A month's usage.
#[derive(Clone, Debug)]
pub(crate) struct MonthUsage<'a> {
    /// By phase, then by meter in the order of [`Meter::ALL`].
    pub(crate) phases: Vec<[Used<'a>; 4]>,
    /// What was used after one plan ended and before another began, by meter.
    pub(crate) outside: [u128; 4],
}

/// Adds up the rows that count in a month, in whatever order and pieces they come.
pub(crate) fn fold<'a>(
    month: Month,
    phases: &[Phase<'_>],
    signup_s: Option<i64>,
    rows: &'a [UsageRow],
) -> MonthUsage<'a> {
    let mut usage = MonthUsage { phases: vec![Default::default(); phases.len()], outside: [0; 4] };
    for row in rows {
        let at_s = counted_at_s(row.hour, signup_s);
        if !month.span().contains(at_s) {
            continue;
        }
        let phase = phase_at(phases, at_s);
        for (index, meter) in Meter::ALL.into_iter().enumerate() {
            let whole = u128::from(row.quantities.of(meter));
            let Some(phase) = phase else {
                usage.outside[index] += whole;
                continue;
            };
            let used = &mut usage.phases[phase][index];
            if whole > 0 {
                *used.parts.entry((row.tenant.as_str(), row.signal)).or_default() += whole;
                used.whole += whole;
            }
        }
    }
    usage
}
