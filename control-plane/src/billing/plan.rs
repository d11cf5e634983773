//! Price plans with versions, and when which of them was in force.

use serde::{Deserialize, Serialize};

use super::limits::MAX_TIERS;
use super::month::HOUR_S;
use super::{BillingError, Currency, Meter, Month, Span};

/// A step of graduated prices: what lies between the tier before and `up_to` costs this much, whatever else was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Where the tier ends, counted from the month's first unit; `None` for the last tier, which has no end.
    pub up_to: Option<u64>,
    /// Price of `per` units, in micro-units of the currency. A first tier that costs 0 is what the plan includes.
    pub price_micros: u64,
    /// How many units `price_micros` buys, at least 1. Only a scale: quantities are never rounded up to it.
    pub per: u64,
}

/// The graduated prices of a meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterPrice {
    /// What is priced.
    pub meter: Meter,
    /// Tiers in ascending order, the last without end.
    pub tiers: Vec<Tier>,
}

/// A version of a price plan: never changed, only followed by another. What has no price in it is not charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersion {
    /// The plan's id.
    pub plan: String,
    /// The version, which invoices name.
    pub version: u32,
    /// The currency of all prices.
    pub currency: Currency,
    /// From when on it is in force, in Unix seconds, until the plan's next version is.
    pub effective_from_s: i64,
    /// Fee of a month, in micro-units.
    pub base_fee_micros: u64,
    /// What a month costs at least, fee included, in micro-units.
    pub minimum_micros: u64,
    /// Prices by meter, each meter at most once.
    pub prices: Vec<MeterPrice>,
}

impl PlanVersion {
    /// Checks that prices make sense by themselves.
    ///
    /// # Errors
    /// [`BillingError::Plan`] with what is wrong.
    pub fn validate(&self) -> Result<(), BillingError> {
        for (index, price) in self.prices.iter().enumerate() {
            let unit = price.meter.unit();
            if self.prices[..index].iter().any(|earlier| earlier.meter == price.meter) {
                return Err(self.wrong(format!("{unit} are priced twice")));
            }
            if price.tiers.len() > MAX_TIERS {
                return Err(self.wrong(format!("{unit} have more than {MAX_TIERS} tiers")));
            }
            let Some((last, before)) = price.tiers.split_last() else {
                return Err(self.wrong(format!("{unit} have no tier; leave them out if they cost nothing")));
            };
            if last.up_to.is_some() {
                return Err(self.wrong(format!("the last tier of {unit} must have no end")));
            }
            let mut floor = 0;
            for tier in before {
                match tier.up_to {
                    Some(up_to) if up_to > floor => floor = up_to,
                    _ => return Err(self.wrong(format!("each tier of {unit} must end above the one before"))),
                }
            }
            if price.tiers.iter().any(|tier| tier.per == 0) {
                return Err(self.wrong(format!("a price of {unit} is for at least 1 of them, not for 0")));
            }
        }
        Ok(())
    }

    /// The tiers of a meter; none where it is not charged.
    pub(crate) fn tiers(&self, meter: Meter) -> &[Tier] {
        self.prices.iter().find(|price| price.meter == meter).map_or(&[], |price| &price.tiers)
    }

    /// The error of this version.
    fn wrong(&self, problem: String) -> BillingError {
        BillingError::Plan { plan: self.plan.clone(), version: self.version, problem }
    }
}

/// That an organisation was on a plan for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// The plan's id.
    pub plan: String,
    /// The signup, or the change to this plan, in Unix seconds.
    pub from_s: i64,
    /// The cancellation or the change to the next plan, in Unix seconds; `None` while it goes on.
    pub until_s: Option<i64>,
}

/// A part of a month in which one plan version was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase<'a> {
    /// When.
    pub(crate) span: Span,
    /// What was in force.
    pub(crate) version: &'a PlanVersion,
}

/// The phases of a month in order of time. They do not overlap; where there is none, no plan was in force.
///
/// # Errors
/// [`BillingError`] where plans or terms contradict each other, or a plan had no version yet.
pub(crate) fn phases<'a>(
    month: Month,
    plans: &'a [PlanVersion],
    terms: &[Term],
) -> Result<Vec<Phase<'a>>, BillingError> {
    let mut versions: Vec<&PlanVersion> = plans.iter().collect();
    versions.sort_by(|a, b| a.plan.cmp(&b.plan).then(a.version.cmp(&b.version)));
    for pair in versions.windows(2) {
        if pair[0].plan == pair[1].plan && pair[0].version == pair[1].version {
            return Err(pair[1].wrong("there are two with this number".to_owned()));
        }
        if pair[0].plan == pair[1].plan && pair[0].effective_from_s >= pair[1].effective_from_s {
            return Err(pair[1].wrong("it must be effective after the version before it".to_owned()));
        }
    }
    let mut terms: Vec<&Term> = terms.iter().collect();
    terms.sort_by_key(|term| term.from_s);
    check_terms(&terms)?;

    let mut phases: Vec<Phase<'a>> = Vec::new();
    for term in terms {
        let term_span = Span { start_s: term.from_s, end_s: term.until_s.unwrap_or(i64::MAX) };
        let Some(span) = term_span.within(month.span()) else { continue };
        let own: Vec<&'a PlanVersion> =
            versions.iter().copied().filter(|version| version.plan == term.plan).collect();
        if own.first().is_none_or(|first| first.effective_from_s > span.start_s) {
            return Err(BillingError::NoVersion { plan: term.plan.clone(), at_s: span.start_s });
        }
        for (index, version) in own.iter().enumerate() {
            let end_s = own.get(index + 1).map_or(i64::MAX, |next| next.effective_from_s);
            let Some(span) = span.within(Span { start_s: version.effective_from_s, end_s }) else { continue };
            version.validate()?;
            match phases.last_mut() {
                // A term that was written in two parts is one.
                Some(last) if last.span.end_s == span.start_s && last.version == *version => {
                    last.span.end_s = span.end_s;
                }
                _ => phases.push(Phase { span, version }),
            }
        }
    }
    Ok(phases)
}

/// Checks that terms in order of their beginning do not overlap.
fn check_terms(terms: &[&Term]) -> Result<(), BillingError> {
    for term in terms {
        if term.until_s.is_some_and(|until_s| until_s <= term.from_s) {
            return Err(BillingError::Terms(format!(
                "one of {:?} ends at {} and begins at {} (Unix seconds)",
                term.plan,
                term.until_s.unwrap_or_default(),
                term.from_s
            )));
        }
    }
    for pair in terms.windows(2) {
        if pair[0].until_s.is_none_or(|until_s| until_s > pair[1].from_s) {
            return Err(BillingError::Terms(format!(
                "{:?} goes on when {:?} begins at {} (Unix seconds)",
                pair[0].plan, pair[1].plan, pair[1].from_s
            )));
        }
    }
    Ok(())
}

/// When an organisation signed up, in Unix seconds: the beginning of its first term.
pub(crate) fn signup_s(terms: &[Term]) -> Option<i64> {
    terms.iter().map(|term| term.from_s).min()
}

/// When an hour's usage counts as used, in Unix seconds: at its beginning, but never before the signup. What is stamped before
/// that was written after it all the same, by somebody who brought their past along, and is billed as the first of what they wrote.
pub(crate) fn counted_at_s(hour: i64, signup_s: Option<i64>) -> i64 {
    hour.saturating_mul(HOUR_S).max(signup_s.unwrap_or(i64::MIN))
}

/// Which phase the usage of an hour belongs to that is counted at an instant: the one in force then, else the first that began
/// within an hour of it (a plan that was taken up again). An hour is never divided, since nobody knows when in it the usage was.
pub(crate) fn phase_at(phases: &[Phase<'_>], at_s: i64) -> Option<usize> {
    phases.iter().position(|phase| phase.span.contains(at_s)).or_else(|| {
        let hour = Span { start_s: at_s, end_s: at_s.saturating_add(HOUR_S) };
        phases.iter().position(|phase| hour.contains(phase.span.start_s))
    })
}
