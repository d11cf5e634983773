//! A month's usage times its prices: the lines.

use super::fold::{MonthUsage, fold};
use super::money::{price, round_half_even, sum, too_large};
use super::plan::{Phase, phases, signup_s};
use super::{BillingError, Currency, Line, LineKind, Meter, Month, PlanVersion, Span, Term, UsageRow};

/// What a month costs before credits, and what it was computed from.
#[derive(Clone, Debug)]
pub(crate) struct Charges<'a> {
    /// The currency; `None` where no plan was in force.
    pub(crate) currency: Option<Currency>,
    /// The lines, in order of time.
    pub(crate) lines: Vec<Line>,
    /// What was used.
    pub(crate) usage: MonthUsage<'a>,
    /// What the usage costs, by phase and meter as [`MonthUsage::phases`] is.
    pub(crate) amounts: Vec<[i64; 4]>,
    /// What is charged whatever was used: fees and minimum.
    pub(crate) fixed_micros: i64,
}

/// Charges a month.
///
/// - A base fee and a minimum count by the second that the plan version was in force.
/// - Tiers go by what the organisation used in the month, and go on over a change of plan or price: what follows the change
///   begins in the new version's ladder where the old one's usage ended. So a change to the same prices changes nothing.
/// - In a month that was covered in part (signup, cancellation), tiers are as much shorter, by the second, rounded up to a unit.
///
/// # Errors
/// [`BillingError`] where plans, terms or rows contradict themselves, or a number does not fit.
pub(crate) fn charge<'a>(
    month: Month,
    plans: &[PlanVersion],
    terms: &[Term],
    rows: &'a [UsageRow],
) -> Result<Charges<'a>, BillingError> {
    let phases = phases(month, plans, terms)?;
    let usage = fold(month, &phases, signup_s(terms), rows);
    let currency = common_currency(&phases)?;
    let coverage = Coverage {
        covered_s: phases.iter().map(|phase| phase.span.seconds()).sum(),
        month_s: month.span().seconds(),
    };
    let mut lines = Vec::new();
    let mut amounts = vec![[0; 4]; phases.len()];
    let mut positions = [0_u64; 4];
    for ((phase, used), amounts) in phases.iter().zip(&usage.phases).zip(&mut amounts) {
        if phase.version.base_fee_micros > 0 {
            lines.push(base_fee(phase, coverage.month_s)?);
        }
        for (index, meter) in Meter::ALL.into_iter().enumerate() {
            let from = positions[index];
            let what = || format!("{} of {month}", meter.unit());
            let to = u128::from(from) + used[index].whole;
            let to = i64::try_from(to).map_err(|_| too_large(&what(), to))?.unsigned_abs();
            let priced = usage_lines(phase, meter, from..to, coverage)?;
            amounts[index] = sum(priced.iter().map(|line| line.amount_micros), &what())?;
            lines.extend(priced);
            positions[index] = to;
        }
    }
    lines.extend(minimum(month, &phases, &lines)?);
    let fixed = lines.iter().filter(|line| line.kind != LineKind::Usage).map(|line| line.amount_micros);
    let fixed_micros = sum(fixed, "the fees of a month")?;
    Ok(Charges { currency, lines, usage, amounts, fixed_micros })
}

/// How much of a month plans were in force.
#[derive(Clone, Copy, Debug)]
struct Coverage {
    /// Seconds with a plan.
    covered_s: u64,
    /// Seconds of the month.
    month_s: u64,
}

impl Coverage {
    /// The part of a month's quantity that belongs to the covered time, rounded up to a unit.
    fn part_of(self, quantity: u64) -> u64 {
        let exact = u128::from(quantity) * u128::from(self.covered_s);
        u64::try_from(exact.div_ceil(u128::from(self.month_s.max(1)))).unwrap_or(u64::MAX)
    }
}

/// The currency of all phases.
fn common_currency(phases: &[Phase<'_>]) -> Result<Option<Currency>, BillingError> {
    let Some(first) = phases.first() else { return Ok(None) };
    let expected = first.version.currency;
    match phases.iter().map(|phase| phase.version).find(|version| version.currency != expected) {
        Some(other) => Err(BillingError::Currency {
            what: format!("version {} of the plan {:?}", other.version, other.plan),
            found: other.currency,
            expected,
        }),
        None => Ok(Some(expected)),
    }
}

/// The fee of a phase.
fn base_fee(phase: &Phase<'_>, month_s: u64) -> Result<Line, BillingError> {
    let seconds = phase.span.seconds();
    let fee = phase.version.base_fee_micros;
    Ok(Line {
        kind: LineKind::BaseFee,
        meter: None,
        tier: None,
        // A phase is at most a month.
        quantity: seconds.cast_signed(),
        unit_price_micros: fee,
        per: month_s,
        amount_micros: price(seconds, fee, month_s, "a base fee")?,
        ..line_of(phase.version, phase.span)
    })
}

/// The usage of a phase that lies at `range` of the month's, cut at the tiers.
fn usage_lines(
    phase: &Phase<'_>,
    meter: Meter,
    range: std::ops::Range<u64>,
    coverage: Coverage,
) -> Result<Vec<Line>, BillingError> {
    let mut lines = Vec::new();
    let mut at = range.start;
    for (number, tier) in (1..).zip(phase.version.tiers(meter)) {
        let end = tier.up_to.map_or(u64::MAX, |up_to| coverage.part_of(up_to)).min(range.end);
        if end <= at {
            continue;
        }
        let quantity = end - at;
        lines.push(Line {
            kind: LineKind::Usage,
            meter: Some(meter),
            tier: Some(number),
            // The caller's range ends below i64::MAX.
            quantity: quantity.cast_signed(),
            unit_price_micros: tier.price_micros,
            per: tier.per,
            amount_micros: price(quantity, tier.price_micros, tier.per, meter.unit())?,
            ..line_of(phase.version, phase.span)
        });
        at = end;
    }
    Ok(lines)
}

/// The line that lifts a month to the minimum of its plans, where it is below.
fn minimum(month: Month, phases: &[Phase<'_>], lines: &[Line]) -> Result<Option<Line>, BillingError> {
    let (Some(first), Some(last)) = (phases.first(), phases.last()) else { return Ok(None) };
    let exact: u128 = phases
        .iter()
        .map(|phase| u128::from(phase.version.minimum_micros) * u128::from(phase.span.seconds()))
        .sum();
    let required = round_half_even(exact, u128::from(month.span().seconds().max(1)));
    let charged = sum(lines.iter().map(|line| line.amount_micros), "the charges of a month")?;
    let missing = required.saturating_sub(u128::from(charged.unsigned_abs()));
    if missing == 0 {
        return Ok(None);
    }
    let amount_micros = i64::try_from(missing).map_err(|_| too_large("a plan's minimum", missing))?;
    Ok(Some(Line {
        kind: LineKind::Minimum,
        meter: None,
        tier: None,
        quantity: 1,
        unit_price_micros: amount_micros.unsigned_abs(),
        per: 1,
        amount_micros,
        ..line_of(last.version, Span { start_s: first.span.start_s, end_s: last.span.end_s })
    }))
}

/// A line of a plan version without what it charges.
fn line_of(version: &PlanVersion, period: Span) -> Line {
    Line {
        kind: LineKind::Usage,
        adjusts: None,
        plan: version.plan.clone(),
        plan_version: version.version,
        meter: None,
        tier: None,
        quantity: 0,
        unit_price_micros: 0,
        per: 1,
        period,
        amount_micros: 0,
    }
}
