//! What came after an invoice was final, and verification.

use super::*;

fn december() -> Month {
    november().next().unwrap()
}

/// The invoice of December with November billed as `invoices` say.
fn december_after(november_input: &InvoiceInput, invoices: &[Invoice], late: Vec<UsageRow>) -> InvoiceInput {
    let mut input = november_input.clone();
    input.month = december();
    input.rows.extend(late);
    input.billed = vec![BilledMonth::from_invoices(november(), invoices)];
    input
}

#[test]
fn late_rows_are_billed_by_the_next_invoice_as_the_difference() {
    let mut input = acme();
    input.rows = vec![samples(hour(30, 22), 95_000_000)];
    let first = Invoice::compute(&input).unwrap().finalised();
    assert_eq!(first.status, InvoiceStatus::Final);

    // Nothing came late: nothing is corrected.
    let quiet = Invoice::compute(&december_after(&input, std::slice::from_ref(&first), Vec::new())).unwrap();
    assert_lines(&quiet, &[("base fee", 31 * 86_400, 49_000_000)]);

    // 20 million came late: 5 million fill the second tier, 15 million are in the third.
    let next = december_after(&input, std::slice::from_ref(&first), vec![samples(hour(30, 23), 20_000_000)]);
    let second = Invoice::compute(&next).unwrap().finalised();
    assert_lines(
        &second,
        &[
            ("base fee", 31 * 86_400, 49_000_000),
            ("correction of 2026-11: samples, tier 2", 5_000_000, 500_000),
            ("correction of 2026-11: samples, tier 3", 15_000_000, 900_000),
        ],
    );
    assert_eq!(second.lines[1].adjusts, Some(november()));
    assert_eq!(second.total_micros, 50_400_000);
    // What was billed in two invoices is what would have been billed in one.
    input.rows.push(samples(hour(30, 23), 20_000_000));
    let at_once = Invoice::compute(&input).unwrap();
    assert_eq!(first.subtotal_micros + 1_400_000, at_once.subtotal_micros);

    // The invoice after that knows both, and corrects nothing more.
    let mut third = next;
    third.month = december().next().unwrap();
    third.billed = vec![BilledMonth::from_invoices(november(), [&first, &second])];
    assert_lines(&Invoice::compute(&third).unwrap(), &[("base fee", 31 * 86_400, 49_000_000)]);
}

#[test]
fn a_correction_may_give_back_and_never_makes_an_invoice_negative() {
    let mut input = acme();
    input.rows = vec![samples(hour(3, 0), 1_010_000_000)];
    let first = Invoice::compute(&input).unwrap().finalised();
    // 90 million at 0.10 €, 910 million at 0.06 €.
    assert_eq!(first.subtotal_micros, 49_000_000 + 9_000_000 + 54_600_000);
    // The organisation turns out to have cancelled before, and nothing was used: all is given back.
    input.rows.clear();
    let mut next = december_after(&input, std::slice::from_ref(&first), Vec::new());
    next.terms = vec![Term { plan: "scale".to_owned(), from_s: 0, until_s: Some(day_s(1)) }];
    assert_eq!(Invoice::compute(&next), Err(BillingError::NoPlan(december())));
    next.terms[0].until_s = Some(day_s(2));
    let second = Invoice::compute(&next).unwrap();
    assert_eq!(second.total_micros, 0);
    // One day of 30 stays charged.
    assert_eq!(second.subtotal_micros, -(first.subtotal_micros - 1_633_333));
    assert_eq!(second.carried_over_micros, first.subtotal_micros - 1_633_333);
    assert!(second.credits.is_empty());
}

#[test]
fn a_minimum_that_late_usage_fills_is_given_back() {
    let mut input = acme();
    input.plans[0].minimum_micros = 60_000_000;
    let first = Invoice::compute(&input).unwrap().finalised();
    assert_lines(
        &first,
        &[("base fee", 30 * 86_400, 49_000_000), ("up to the minimum of the plan", 1, 11_000_000)],
    );
    let next = december_after(&input, std::slice::from_ref(&first), vec![samples(hour(9, 9), 60_000_000)]);
    let second = Invoice::compute(&next).unwrap();
    assert_lines(
        &second,
        &[
            ("base fee", 31 * 86_400, 49_000_000),
            ("up to the minimum of the plan", 1, 11_000_000),
            ("correction of 2026-11: samples, tier 1", 10_000_000, 0),
            ("correction of 2026-11: samples, tier 2", 50_000_000, 5_000_000),
            ("correction of 2026-11: up to the minimum of the plan", -1, -5_000_000),
        ],
    );
}

#[test]
fn only_earlier_months_are_corrected_and_each_once() {
    let mut input = acme();
    input.billed = vec![BilledMonth { month: november(), lines: Vec::new() }];
    assert!(matches!(Invoice::compute(&input), Err(BillingError::Adjusted { .. })));
    input.month = december();
    input.billed.push(input.billed[0].clone());
    assert!(matches!(Invoice::compute(&input), Err(BillingError::Adjusted { .. })));
}

#[test]
fn verification_finds_every_difference_and_nothing_else() {
    let mut input = acme();
    input.rows = vec![samples(hour(1, 0), 40_000_000), samples(hour(2, 0), 2_000_000)];
    let right = Invoice::compute(&input).unwrap();
    assert_eq!(verify(&right.clone().finalised(), &input), Ok(Vec::new()));
    let whats = |invoice: &Invoice| -> Vec<String> {
        verify(invoice, &input).unwrap().into_iter().map(|difference| difference.what).collect()
    };

    let mut wrong = right.clone();
    wrong.lines[2].amount_micros += 1;
    wrong.total_micros += 10_000;
    let differences = verify(&wrong, &input).unwrap();
    let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "line \"samples, tier 2\" of scale v1 for 2026-11-01 00:00 – 2026-12-01 00:00 UTC: amount_micros: \
             stated 3200001, computed 3200000",
            "total_micros: stated 52210000, computed 52200000",
        ]
    );

    let mut missing = right.clone();
    missing.lines.remove(0);
    assert!(whats(&missing).iter().all(|what| what.contains("base fee")) && !whats(&missing).is_empty());
    let mut twice = right.clone();
    twice.lines.push(twice.lines[1].clone());
    assert!(whats(&twice).iter().all(|what| what.contains("(again, 2)")) && !whats(&twice).is_empty());
    let mut renamed = right.clone();
    renamed.breakdown.by_tenant[0].cause = Cause::Named("other".to_owned());
    assert!(whats(&renamed).iter().all(|what| what.starts_with("part of tenant")));
    // A row that was lost shows, too.
    input.rows.pop();
    assert!(!verify(&right, &input).unwrap().is_empty());
}
