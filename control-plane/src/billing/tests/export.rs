//! Verifying an invoice against a ledger.

use super::*;

fn export(number: Option<u64>) -> InvoiceExport {
    let mut input = acme();
    input.rows = vec![samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 7)];
    let invoice = Invoice::compute(&input).unwrap();
    InvoiceExport {
        format: InvoiceExport::FORMAT,
        number,
        as_of_ms: Some(hour(2, 5) * 3_600_000),
        tenants: vec!["prod".to_owned()],
        without_ledger: Vec::new(),
        invoice,
        input,
    }
}

#[test]
fn a_ledger_with_the_same_usage_agrees_whatever_its_order_and_whoever_else_is_in_it() {
    let export = export(Some(1));
    let mut ledger = vec![samples(hour(2, 4), 3), samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 4)];
    ledger.push(UsageRow { tenant: "somebody".to_owned(), ..samples(hour(2, 3), 1) });
    ledger.push(samples(hour(31, 0), 5));
    let agrees = Verification { as_of_ms: export.as_of_ms, ..Verification::default() };
    assert_eq!(export.verify(&ledger).unwrap(), agrees);
    // As JSON and back it is the same.
    let text = serde_json::to_string(&export).unwrap();
    assert_eq!(serde_json::from_str::<InvoiceExport>(&text).unwrap(), export);
}

#[test]
fn what_the_ledger_has_less_of_is_a_difference_and_more_came_later() {
    let less = [samples(hour(2, 3), 39_999_999), samples(hour(2, 4), 7)];
    let found = export(Some(1)).verify(&less).unwrap();
    assert_eq!(found.differences.len(), 1);
    assert!(found.differences[0].to_string().contains("stated 40000000, computed 39999999"), "{found:?}");
    let more = [samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 9)];
    // Also of a draft, which is as old as its download.
    for number in [Some(1), None] {
        let found = export(number).verify(&more).unwrap();
        assert_eq!((found.differences.len(), found.late.len(), found.late[0].quantity), (0, 1, 2));
        assert_eq!(found.as_of_ms, Some(hour(2, 5) * 3_600_000));
    }
    // One that states more than there is, is wrong whatever came since.
    let mut wrong = export(None);
    wrong.input.rows[0].quantities.samples += 1;
    wrong.invoice = Invoice::compute(&wrong.input).unwrap();
    let found = wrong.verify(&more).unwrap();
    assert_eq!((found.differences.len(), found.late.len()), (1, 1));
    let told = found.differences[0].to_string();
    assert!(told.contains("2026-11-02 03:00 UTC"), "{told}");
}

#[test]
fn hours_before_the_signup_are_compared_too_and_deleted_ledgers_are_not() {
    let mut export = export(None);
    export.input.terms[0].from_s = day_s(2);
    let october = samples(hour(1, 0) - 24 * 20, 1_000);
    export.input.rows.push(october.clone());
    export.invoice = Invoice::compute(&export.input).unwrap();
    let ledger = export.input.rows.clone();
    assert_eq!(export.verify(&ledger).unwrap().differences, []);
    let found = export.verify(&ledger[..2]).unwrap();
    assert_eq!(found.differences.len(), 1);
    assert!(found.differences[0].to_string().contains("2026-10-12 00:00 UTC"), "{found:?}");
    export.without_ledger = vec!["prod".to_owned()];
    let found = export.verify(&[]).unwrap();
    assert_eq!((found.differences, found.without_ledger), (Vec::new(), vec!["prod".to_owned()]));
}

#[test]
fn a_total_that_was_changed_is_found() {
    let mut export = export(Some(1));
    export.invoice.total_micros += 10_000;
    let ledger = export.input.rows.clone();
    let found = export.verify(&ledger).unwrap();
    assert_eq!(found.differences.len(), 1);
    assert_eq!(found.differences[0].what, "total_micros");
}
