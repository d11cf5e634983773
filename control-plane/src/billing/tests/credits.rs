//! Credits and the spend limit.

use super::*;

fn credit(id: &str, left_micros: u64, expires_s: Option<i64>) -> Credit {
    Credit {
        id: id.to_owned(),
        kind: CreditKind::Sla,
        currency: Currency::Eur,
        left_micros,
        granted_s: day_s(1) - 100,
        expires_s,
    }
}

/// Ids, what was applied, what is left.
fn applied(invoice: &Invoice) -> Vec<(&str, u64, u64)> {
    invoice.credits.iter().map(|c| (c.id.as_str(), c.applied_micros, c.left_micros)).collect()
}

#[test]
fn what_expires_first_is_used_first() {
    let mut input = acme();
    input.credits = vec![
        credit("for ever", 100_000_000, None),
        credit("next year", 10_000_000, Some(day_s(60))),
        credit("this month", 5_000_000, Some(day_s(10))),
        credit("expired", 5_000_000, Some(day_s(1))),
        Credit { granted_s: day_s(31), ..credit("later", 5_000_000, Some(day_s(40))) },
        credit("used up", 0, Some(day_s(11))),
    ];
    let invoice = Invoice::compute(&input).unwrap();
    assert_eq!(
        applied(&invoice),
        [("this month", 5_000_000, 0), ("next year", 10_000_000, 0), ("for ever", 34_000_000, 66_000_000)]
    );
    assert_eq!((invoice.subtotal_micros, invoice.total_micros), (49_000_000, 0));
}

#[test]
fn what_credits_leave_is_rounded_once() {
    let mut input = acme();
    // 49 € less 12.345678 € is 36.654322 €: 36.65 €.
    input.credits = vec![credit("odd", 12_345_678, None)];
    let invoice = Invoice::compute(&input).unwrap();
    assert_eq!((invoice.rounding_micros, invoice.total_micros), (-4_322, 36_650_000));
}

#[test]
fn a_credit_in_another_currency_is_refused_only_where_it_would_be_used() {
    let mut input = acme();
    let dollars = |expires_s| Credit { currency: Currency::Usd, ..credit("dollars", 1, expires_s) };
    input.credits = vec![dollars(Some(day_s(1)))];
    assert!(Invoice::compute(&input).unwrap().credits.is_empty());
    input.credits = vec![dollars(None)];
    let error = Invoice::compute(&input).unwrap_err().to_string();
    assert_eq!(
        error,
        "the credit \"dollars\" is in USD, but this is billed in EUR; amounts are never converted"
    );
}

#[test]
fn the_spend_limit_is_compared_with_what_is_to_be_paid() {
    let invoice = Invoice::compute(&acme()).unwrap();
    for (limit_euro, percent) in [(0, 100), (49, 100), (50, 80), (98, 50), (99, 0)] {
        assert_eq!(SpendStatus::of(&invoice, limit_euro * 1_000_000).reached_percent, percent);
    }
    // 80 % of 61.25 € is 49 € to the cent.
    assert_eq!(SpendStatus::of(&invoice, 61_250_000).reached_percent, 80);
    assert_eq!(SpendStatus::of(&invoice, 61_250_002).reached_percent, 50);
    assert_eq!(SpendStatus::of(&invoice, u64::MAX).reached_percent, 0);
}
