//! Verifying an invoice against a ledger.

use super::*;

fn export(number: Option<u64>) -> InvoiceExport {
    let mut input = acme();
    input.rows = vec![samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 7)];
    let invoice = Invoice::compute(&input).unwrap();
    InvoiceExport { format: InvoiceExport::FORMAT, number, tenants: vec!["prod".to_owned()], invoice, input }
}

#[test]
fn a_ledger_with_the_same_usage_agrees_whatever_its_order_and_whoever_else_is_in_it() {
    let export = export(Some(1));
    let mut ledger = vec![samples(hour(2, 4), 3), samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 4)];
    ledger.push(UsageRow { tenant: "somebody".to_owned(), ..samples(hour(2, 3), 1) });
    ledger.push(samples(hour(31, 0), 5));
    assert_eq!(export.verify(&ledger).unwrap(), Verification::default());
    // As JSON and back it is the same.
    let text = serde_json::to_string(&export).unwrap();
    assert_eq!(serde_json::from_str::<InvoiceExport>(&text).unwrap(), export);
}

#[test]
fn what_the_ledger_has_less_of_is_a_difference_and_more_is_late_once_final() {
    let less = [samples(hour(2, 3), 39_999_999), samples(hour(2, 4), 7)];
    let found = export(Some(1)).verify(&less).unwrap();
    assert_eq!(found.differences.len(), 1);
    assert!(found.differences[0].to_string().contains("stated 40000000, computed 39999999"), "{found:?}");
    let more = [samples(hour(2, 3), 40_000_000), samples(hour(2, 4), 9)];
    let found = export(Some(1)).verify(&more).unwrap();
    assert_eq!((found.differences.len(), found.late.len(), found.late[0].quantity), (0, 1, 2));
    let found = export(None).verify(&more).unwrap();
    assert_eq!((found.differences.len(), found.late.len()), (1, 0));
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
