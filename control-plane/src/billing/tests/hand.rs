//! Invoices that were computed by hand.

use super::*;

#[test]
fn a_whole_month_with_all_meters() {
    let mut input = acme();
    input.rows = vec![
        samples(hour(1, 0), 40_000_000),
        samples(hour(30, 23), 85_000_000),
        UsageRow {
            tenant: "prod".to_owned(),
            signal: Signal::Traces,
            hour: hour(15, 12),
            quantities: Quantities { spans: 3_000_001, stored_bytes: 2_500_000_000, ..Quantities::default() },
        },
        UsageRow {
            quantities: Quantities { active_series: 73_000, ..Quantities::default() },
            ..samples(hour(2, 2), 0)
        },
        // The last hour before the month and the first after it belong to other invoices.
        samples(hour(1, 0) - 1, 999_999_999),
        samples(hour(31, 0), 999_999_999),
    ];
    let invoice = Invoice::compute(&input).unwrap();
    assert_lines(
        &invoice,
        &[
            ("base fee", 30 * 86_400, 49_000_000),
            ("samples, tier 1", 10_000_000, 0),
            // 90 million at 0.10 € a million: 9.00 €.
            ("samples, tier 2", 90_000_000, 9_000_000),
            // 25 million at 0.06 € a million: 1.50 €.
            ("samples, tier 3", 25_000_000, 1_500_000),
            // 3,000,001 at 0.50 € a million: 1.5000005 €, a half, which goes to the even 1.500000 €.
            ("spans, tier 1", 3_000_001, 1_500_000),
            // 2.5 GB at 0.02 €: 0.05 €.
            ("bytes stored, tier 1", 2_500_000_000, 50_000),
            // 73,000 series-hours at 0.0073 € for 730: 0.73 €.
            ("series-hours, tier 1", 73_000, 730_000),
        ],
    );
    assert_eq!(invoice.subtotal_micros, 61_780_000);
    assert_eq!((invoice.rounding_micros, invoice.total_micros), (0, 61_780_000));
    assert!(invoice.unbilled.is_empty());
}

#[test]
fn the_total_is_rounded_once_and_says_so() {
    let mut input = acme();
    input.plans[0].base_fee_micros = 0;
    // 1,250 samples above what is included, at 0.10 € a million: 0.000125 €.
    input.rows = vec![samples(hour(1, 0), 10_001_250)];
    let invoice = Invoice::compute(&input).unwrap();
    assert_eq!(invoice.subtotal_micros, 125);
    assert_eq!((invoice.rounding_micros, invoice.total_micros), (-125, 0));
    // Half a cent goes to the even cent: 0.015 € to 0.02 €, 0.025 € to 0.02 €.
    for (samples_used, total) in [(10_150_000, 20_000), (10_250_000, 20_000)] {
        input.rows = vec![samples(hour(1, 0), samples_used)];
        assert_eq!(Invoice::compute(&input).unwrap().total_micros, total);
    }
}

#[test]
fn signup_in_mid_month_pays_and_includes_by_the_second() {
    let mut input = acme();
    // From the 16th 00:00: 15 of 30 days. The 15 million samples of that hour came an hour after the signup.
    input.terms[0].from_s = day_s(16);
    input.rows = vec![samples(hour(16, 1), 15_000_000)];
    assert_lines(
        &Invoice::compute(&input).unwrap(),
        &[
            ("base fee", 15 * 86_400, 24_500_000),
            // Half of the month: half of the 10 million included.
            ("samples, tier 1", 5_000_000, 0),
            ("samples, tier 2", 10_000_000, 1_000_000),
        ],
    );
}

#[test]
fn what_is_included_is_rounded_up_to_a_unit() {
    let mut input = acme();
    // One second of 2,592,000: 10 million included become 3.86, so 4; the ladder's next step is at 38.58, so 39.
    input.terms[0].from_s = day_s(31) - 1;
    input.rows = vec![samples(hour(30, 23), 50)];
    let quantities: Vec<i64> =
        Invoice::compute(&input).unwrap().lines[1..].iter().map(|line| line.quantity).collect();
    assert_eq!(quantities, [4, 35, 11]);
}

#[test]
fn a_signup_within_an_hour_is_charged_for_that_hours_usage_and_a_cancelled_hour_is_not_charged_twice() {
    let mut input = acme();
    input.terms =
        vec![Term { plan: "scale".to_owned(), from_s: day_s(16) + 1800, until_s: Some(day_s(17) + 1) }];
    input.rows = vec![
        samples(hour(15, 23), 7),
        samples(hour(16, 0), 100),
        samples(hour(17, 0), 10),
        samples(hour(17, 1), 3),
    ];
    let invoice = Invoice::compute(&input).unwrap();
    let seconds = 86_400 - 1800 + 1;
    // 49 € × 84,601 / 2,592,000 = 1.599324…
    // What is stamped before the signup is charged as the first of what came after it.
    assert_lines(&invoice, &[("base fee", seconds, 1_599_324), ("samples, tier 1", 117, 0)]);
    assert_eq!(invoice.unbilled, [Unbilled { meter: Meter::Samples, quantity: 3 }]);
}

#[test]
fn a_price_change_in_mid_month_splits_at_the_hour_and_goes_on_in_the_ladder() {
    let mut input = acme();
    let mut dearer = scale();
    dearer.version = 2;
    dearer.effective_from_s = day_s(11);
    dearer.base_fee_micros = 60_000_000;
    dearer.prices[0].tiers[1].price_micros = 120_000;
    input.plans.push(dearer);
    input.rows = vec![samples(hour(10, 23), 30_000_000), samples(hour(11, 0), 50_000_000)];
    let invoice = Invoice::compute(&input).unwrap();
    assert_lines(
        &invoice,
        &[
            // 10 of 30 days: 16.333333 €.
            ("base fee", 10 * 86_400, 16_333_333),
            ("samples, tier 1", 10_000_000, 0),
            ("samples, tier 2", 20_000_000, 2_000_000),
            // 20 of 30 days of 60 €.
            ("base fee", 20 * 86_400, 40_000_000),
            // Nothing is included a second time; 50 million at 0.12 €.
            ("samples, tier 2", 50_000_000, 6_000_000),
        ],
    );
    let versions: Vec<u32> = invoice.lines.iter().map(|line| line.plan_version).collect();
    assert_eq!(versions, [1, 1, 1, 2, 2]);
    assert_eq!(invoice.lines[2].period, Span { start_s: day_s(1), end_s: day_s(11) });
    assert_eq!(invoice.lines[4].period, Span { start_s: day_s(11), end_s: day_s(31) });
}

#[test]
fn a_change_of_plan_leaves_the_minimum_to_the_second() {
    let mut input = acme();
    let free = PlanVersion {
        plan: "free".to_owned(),
        base_fee_micros: 0,
        prices: vec![MeterPrice {
            meter: Meter::Samples,
            tiers: vec![Tier { up_to: None, price_micros: 0, per: 1 }],
        }],
        ..scale()
    };
    input.plans[0].base_fee_micros = 0;
    input.plans[0].minimum_micros = 90_000_000;
    input.plans.push(free);
    input.terms = vec![
        Term { plan: "free".to_owned(), from_s: 0, until_s: Some(day_s(21)) },
        Term { plan: "scale".to_owned(), from_s: day_s(21), until_s: None },
    ];
    input.rows = vec![samples(hour(20, 0), 60_000_000), samples(hour(21, 0), 50_000_000)];
    assert_lines(
        &Invoice::compute(&input).unwrap(),
        &[
            ("samples, tier 1", 60_000_000, 0),
            // The month stands at 60 million when the plan changes: 40 million at 0.10 €, 10 million at 0.06 €.
            ("samples, tier 2", 40_000_000, 4_000_000),
            ("samples, tier 3", 10_000_000, 600_000),
            // 10 of 30 days of 90 €, less 4.60 €.
            ("up to the minimum of the plan", 1, 25_400_000),
        ],
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let version = |change: &dyn Fn(&mut PlanVersion)| {
        let mut input = acme();
        change(&mut input.plans[0]);
        Invoice::compute(&input).unwrap_err()
    };
    let plan = |error: BillingError, part: &str| {
        assert!(matches!(error, BillingError::Plan { .. }) && error.to_string().contains(part), "{error}");
    };
    plan(version(&|plan| plan.prices[0].tiers[1].up_to = Some(10_000_000)), "above the one before");
    plan(version(&|plan| plan.prices[0].tiers[2].up_to = Some(1 << 40)), "no end");
    plan(version(&|plan| plan.prices[1].tiers[0].per = 0), "at least 1");
    plan(version(&|plan| plan.prices[1].tiers.clear()), "no tier");
    plan(version(&|plan| plan.prices[1].meter = Meter::Samples), "twice");
    assert!(matches!(
        version(&|plan| plan.effective_from_s = day_s(2)),
        BillingError::NoVersion { at_s, .. } if at_s == day_s(1)
    ));

    let mut input = acme();
    input.terms.push(Term { plan: "scale".to_owned(), from_s: day_s(3), until_s: None });
    assert!(matches!(Invoice::compute(&input), Err(BillingError::Terms(_))));
    input.terms = vec![Term { plan: "scale".to_owned(), from_s: day_s(3), until_s: Some(day_s(3)) }];
    assert!(matches!(Invoice::compute(&input), Err(BillingError::Terms(_))));
    input.terms.clear();
    assert_eq!(Invoice::compute(&input), Err(BillingError::NoPlan(november())));

    let mut input = acme();
    let mut dollars = scale();
    dollars.version = 2;
    dollars.effective_from_s = day_s(5);
    dollars.currency = Currency::Usd;
    input.plans.push(dollars);
    assert!(matches!(Invoice::compute(&input), Err(BillingError::Currency { .. })));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut input = acme();
    input.rows = vec![samples(hour(1, 0), u64::MAX)];
    assert!(Invoice::compute(&input).unwrap_err().to_string().starts_with("samples of 2026-11 is too large"));
    input.rows.clear();
    input.plans[0].base_fee_micros = u64::MAX;
    assert!(Invoice::compute(&input).unwrap_err().to_string().starts_with("a base fee is too large"));
    input.plans[0].base_fee_micros = i64::MAX.unsigned_abs();
    input.plans[0].prices[0].tiers[2].price_micros = u64::MAX;
    input.rows = vec![samples(hour(1, 0), 200_000_000)];
    assert!(matches!(Invoice::compute(&input), Err(BillingError::TooLarge { .. })));
}
