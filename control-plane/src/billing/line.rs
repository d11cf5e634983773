//! The lines of an invoice.

use serde::{Deserialize, Serialize};

use super::{Meter, Month, Span};

/// What a line charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The plan's fee: the quantity is seconds, the price is that of all seconds of the month.
    BaseFee,
    /// Usage of a meter within one tier.
    Usage,
    /// What is missing to the plan's minimum.
    Minimum,
}

/// One line of an invoice. `amount_micros` is `quantity × unit_price_micros / per`, rounded once to micro-units, half to
/// even. Only a line that adjusts an earlier month differs: its quantity and amount are what two such lines differ by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is charged.
    pub kind: LineKind,
    /// The earlier month that this corrects; `None` for the invoice's own month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusts: Option<Month>,
    /// The plan's id.
    pub plan: String,
    /// The plan's version.
    pub plan_version: u32,
    /// What was used, in a line of usage.
    pub meter: Option<Meter>,
    /// The tier, counted from 1, in a line of usage.
    pub tier: Option<u32>,
    /// How much: units of the meter, seconds of a base fee, 1 for a minimum.
    pub quantity: i64,
    /// Price of `per` units, in micro-units.
    pub unit_price_micros: u64,
    /// How many units the price buys.
    pub per: u64,
    /// When the plan version was in force.
    pub period: Span,
    /// What the line costs, in micro-units.
    pub amount_micros: i64,
}

/// What makes a line this one and no other: two computations of a month differ in what is behind the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineKey {
    /// When, first, so that lines are in order of time.
    period: Span,
    /// What is charged.
    kind: LineKind,
    /// The plan's id.
    plan: String,
    /// The plan's version.
    plan_version: u32,
    /// What was used.
    meter: Option<Meter>,
    /// The tier.
    tier: Option<u32>,
}

impl Line {
    /// The line's key.
    pub(crate) fn key(&self) -> LineKey {
        LineKey {
            period: self.period,
            kind: self.kind,
            plan: self.plan.clone(),
            plan_version: self.plan_version,
            meter: self.meter,
            tier: self.tier,
        }
    }

    /// What the line is for, for people: `samples, tier 2`, `base fee`.
    #[must_use]
    pub fn describe(&self) -> String {
        let what = match (self.kind, self.meter, self.tier) {
            (LineKind::BaseFee, ..) => "base fee".to_owned(),
            (LineKind::Minimum, ..) => "up to the minimum of the plan".to_owned(),
            (LineKind::Usage, Some(meter), Some(tier)) => format!("{}, tier {tier}", meter.unit()),
            (LineKind::Usage, ..) => "usage".to_owned(),
        };
        match self.adjusts {
            Some(month) => format!("correction of {month}: {what}"),
            None => what,
        }
    }

    /// What the quantity counts.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match (self.kind, self.meter) {
            (LineKind::Usage, Some(meter)) => meter.unit(),
            (LineKind::BaseFee, _) => "seconds",
            _ => "",
        }
    }
}
