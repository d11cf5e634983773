//! Invoices, computed by hand and held to properties.

mod breakdown;
mod credits;
mod export;
mod hand;
mod late;
mod margins;
mod properties;
mod rendering;

use std::collections::BTreeMap;

use super::*;

/// 2026-11: 30 days.
pub(crate) fn november() -> Month {
    "2026-11".parse().unwrap()
}

/// An instant of November 2026: the beginning of a day, counted from 1.
pub(crate) fn day_s(day: i64) -> i64 {
    november().span().start_s + (day - 1) * 86_400
}

/// An hour of November 2026: `hour` hours after the beginning of a day.
pub(crate) fn hour(day: i64, hour: i64) -> i64 {
    day_s(day) / 3600 + hour
}

/// 49 € a month; 10 million samples included, the next 90 million at 0.10 € a million, then at 0.06 €; spans at 0.50 € a
/// million; storage at 0.02 € a gigabyte; a series at 0.0073 € for 730 hours.
pub(crate) fn scale() -> PlanVersion {
    let flat =
        |meter, price_micros, per| MeterPrice { meter, tiers: vec![Tier { up_to: None, price_micros, per }] };
    PlanVersion {
        plan: "scale".to_owned(),
        version: 1,
        currency: Currency::Eur,
        effective_from_s: 0,
        base_fee_micros: 49_000_000,
        minimum_micros: 0,
        prices: vec![
            MeterPrice {
                meter: Meter::Samples,
                tiers: vec![
                    Tier { up_to: Some(10_000_000), price_micros: 0, per: 1_000_000 },
                    Tier { up_to: Some(100_000_000), price_micros: 100_000, per: 1_000_000 },
                    Tier { up_to: None, price_micros: 60_000, per: 1_000_000 },
                ],
            },
            flat(Meter::Spans, 500_000, 1_000_000),
            flat(Meter::StoredBytes, 20_000, 1_000_000_000),
            flat(Meter::SeriesHours, 7_300, 730),
        ],
    }
}

/// The organisation `acme` on [`scale`] since long ago, without any usage.
pub(crate) fn acme() -> InvoiceInput {
    InvoiceInput {
        organisation: "acme".to_owned(),
        month: november(),
        plans: vec![scale()],
        terms: vec![Term { plan: "scale".to_owned(), from_s: 0, until_s: None }],
        rows: Vec::new(),
        tenant_names: BTreeMap::new(),
        attribution: Vec::new(),
        credits: Vec::new(),
        billed: Vec::new(),
    }
}

/// Samples of the tenant `prod`.
pub(crate) fn samples(hour: i64, samples: u64) -> UsageRow {
    UsageRow {
        tenant: "prod".to_owned(),
        signal: Signal::Metrics,
        hour,
        quantities: Quantities { samples, ..Quantities::default() },
    }
}

/// The lines as (description, quantity, amount in micro-units).
pub(crate) fn amounts(invoice: &Invoice) -> Vec<(String, i64, i64)> {
    invoice.lines.iter().map(|line| (line.describe(), line.quantity, line.amount_micros)).collect()
}

/// Compares lines with what was computed by hand.
#[track_caller]
pub(crate) fn assert_lines(invoice: &Invoice, by_hand: &[(&str, i64, i64)]) {
    let by_hand: Vec<(String, i64, i64)> =
        by_hand.iter().map(|(what, quantity, micros)| ((*what).to_owned(), *quantity, *micros)).collect();
    assert_eq!(amounts(invoice), by_hand);
}
