//! What holds for every usage, every plan and every credit.

use proptest::prelude::*;

use super::*;

/// Rows of November 2026.
fn rows() -> impl Strategy<Value = Vec<UsageRow>> {
    let row = (0..3_u8, any::<bool>(), 0..720_i64, 0..50_000_000_u64, 0..1_000_u64, 0..100_u64).prop_map(
        |(tenant, traces, after, main, bytes, series)| UsageRow {
            tenant: format!("tenant-{tenant}"),
            signal: if traces { Signal::Traces } else { Signal::Metrics },
            hour: hour(1, 0) + after,
            quantities: Quantities {
                samples: if traces { 0 } else { main },
                spans: if traces { main } else { 0 },
                stored_bytes: bytes * 1_000_003,
                active_series: series,
            },
        },
    );
    prop::collection::vec(row, 0..30)
}

/// What ingest counted of the same tenants.
fn attribution() -> impl Strategy<Value = Vec<Attribution>> {
    let counted = (0..3_u8, any::<bool>(), any::<bool>(), 0..4_u8, any::<u64>()).prop_map(
        |(tenant, traces, metric, name, count)| Attribution {
            tenant: format!("tenant-{tenant}"),
            signal: if traces { Signal::Traces } else { Signal::Metrics },
            dimension: if metric { Dimension::Metric } else { Dimension::ApiKey },
            name: if name == 0 { String::new() } else { format!("name_{name}") },
            count,
        },
    );
    prop::collection::vec(counted, 0..20)
}

/// Graduated tiers with odd prices.
fn tiers() -> impl Strategy<Value = Vec<Tier>> {
    prop::collection::vec((1..40_000_000_u64, 0..1_000_000_u64, 1..2_000_000_u64), 1..5).prop_map(|steps| {
        let mut floor = 0;
        let last = steps.len() - 1;
        steps
            .into_iter()
            .enumerate()
            .map(|(index, (length, price_micros, per))| {
                floor += length;
                Tier { up_to: (index < last).then_some(floor), price_micros, per }
            })
            .collect()
    })
}

/// Plans with a change of price at any second of the month, and terms with a signup or cancellation at any second.
fn input() -> impl Strategy<Value = InvoiceInput> {
    let month_s = november().span().seconds().cast_signed();
    let usage = (rows(), attribution());
    (usage, tiers(), tiers(), 0..200_000_000_u64, 0..200_000_000_u64, 0..month_s, 0..month_s, credits())
        .prop_map(move |((rows, attribution), first, second, fee, minimum, change, signup, credits)| {
            let mut input = acme();
            input.rows = rows;
            input.attribution = attribution;
            input.credits = credits;
            input.plans[0].base_fee_micros = fee;
            input.plans[0].minimum_micros = minimum;
            input.plans[0].prices[0].tiers = first;
            let mut next = input.plans[0].clone();
            next.version = 2;
            next.effective_from_s = day_s(1) + change;
            next.prices[0].tiers = second;
            input.plans.push(next);
            if signup % 3 == 0 {
                input.terms[0].from_s = day_s(1) + signup;
            } else if signup % 3 == 1 {
                input.terms[0].until_s = Some(day_s(1) + signup);
            }
            input
        })
}

fn credits() -> impl Strategy<Value = Vec<Credit>> {
    prop::collection::vec((0..40_000_000_u64, -5..40_i64, any::<bool>()), 0..5).prop_map(|credits| {
        let credit = |(index, (left_micros, day, forever)): (usize, (u64, i64, bool))| Credit {
            id: format!("c{index}"),
            kind: CreditKind::Promotion,
            currency: Currency::Eur,
            left_micros,
            granted_s: day_s(day - 20),
            expires_s: (!forever).then_some(day_s(day)),
        };
        credits.into_iter().enumerate().map(credit).collect()
    })
}

/// The same rows, each cut into two at `cut` hundredths, in another order.
fn cut_and_shuffled(rows: &[UsageRow], cut: u64) -> Vec<UsageRow> {
    let part = |quantities: Quantities, first: bool| {
        let part = |whole: u64| if first { whole * cut / 100 } else { whole - whole * cut / 100 };
        Quantities {
            samples: part(quantities.samples),
            spans: part(quantities.spans),
            stored_bytes: part(quantities.stored_bytes),
            active_series: part(quantities.active_series),
        }
    };
    let half =
        |row: &UsageRow, first: bool| UsageRow { quantities: part(row.quantities, first), ..row.clone() };
    let mut cut: Vec<UsageRow> = rows.iter().rev().map(|row| half(row, false)).collect();
    cut.extend(rows.iter().map(|row| half(row, true)));
    cut
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_and_pieces_change_nothing(input in input(), cut in 0..=100_u64) {
        let mut other = input.clone();
        other.rows = cut_and_shuffled(&input.rows, cut);
        other.plans.reverse();
        other.credits.reverse();
        other.attribution.reverse();
        prop_assert_eq!(Invoice::compute(&input).unwrap(), Invoice::compute(&other).unwrap());
    }

    #[test]
    fn sums_are_exact(input in input()) {
        let invoice = Invoice::compute(&input).unwrap();
        let lines: i64 = invoice.lines.iter().map(|line| line.amount_micros).sum();
        let credits: u64 = invoice.credits.iter().map(|credit| credit.applied_micros).sum();
        prop_assert_eq!(lines, invoice.subtotal_micros);
        prop_assert_eq!(lines - credits.cast_signed() + invoice.rounding_micros, invoice.total_micros);
        prop_assert!(invoice.total_micros >= 0 && invoice.total_micros % 10_000 == 0);
        prop_assert!(invoice.rounding_micros.abs() <= 5_000);
        let Breakdown { by_tenant, by_signal, by_metric, by_api_key } = &invoice.breakdown;
        for parts in [by_tenant, by_signal, by_metric, by_api_key] {
            prop_assert_eq!(parts.iter().map(|part| part.charge_micros).sum::<i64>(), invoice.subtotal_micros);
            prop_assert_eq!(parts.iter().map(|part| part.payable_micros).sum::<i64>(), invoice.total_micros);
        }
        // Every line can be computed from itself.
        for line in &invoice.lines {
            let exact = i128::from(line.quantity) * i128::from(line.unit_price_micros);
            let off = (exact - i128::from(line.amount_micros) * i128::from(line.per)).abs();
            prop_assert!(off * 2 <= i128::from(line.per));
        }
        // And all usage is in some line, or said not to be.
        let used: u64 = input.rows.iter().map(|row| row.quantities.samples).sum();
        let of_samples = |line: &&Line| line.meter == Some(Meter::Samples);
        let billed: i64 = invoice.lines.iter().filter(of_samples).map(|line| line.quantity).sum();
        let unbilled: u64 = invoice.unbilled.iter().filter(|u| u.meter == Meter::Samples).map(|u| u.quantity).sum();
        prop_assert_eq!(used, billed.unsigned_abs() + unbilled);
    }

    #[test]
    fn an_invoice_verifies_and_a_changed_one_does_not(input in input(), at in any::<prop::sample::Index>()) {
        let invoice = Invoice::compute(&input).unwrap();
        prop_assert_eq!(verify(&invoice, &input).unwrap(), Vec::new());
        let mut wrong = invoice.clone();
        if !wrong.lines.is_empty() {
            let at = at.index(wrong.lines.len());
            wrong.lines[at].quantity += 1;
            prop_assert_eq!(verify(&wrong, &input).unwrap().len(), 1);
        }
    }

    #[test]
    fn hourly_sums_equal_the_month(input in input()) {
        // All of a phase's rows in one row of its first whole hour, by tenant and signal: the invoice is the same.
        let change = input.plans[1].effective_from_s;
        let (from, until) = (input.terms[0].from_s.max(day_s(1)), input.terms[0].until_s.unwrap_or(day_s(31)));
        let mut monthly = input.clone();
        for row in &mut monthly.rows {
            let start_s = row.hour * 3600;
            let inside = start_s + 3600 > from && start_s < until;
            let second = start_s >= change || (from >= change && inside);
            let first_hour = if second { change.max(from) } else { from }.div_euclid(3600);
            let target = first_hour + i64::from(second && change > from && change % 3600 != 0);
            row.hour = if inside { target } else { row.hour };
        }
        prop_assert_eq!(Invoice::compute(&input).unwrap(), Invoice::compute(&monthly).unwrap());
    }

    #[test]
    fn a_change_to_the_same_prices_changes_nothing_but_the_cut(input in input()) {
        let mut same = input.clone();
        let mut plan = same.plans[0].clone();
        plan.version = 2;
        plan.effective_from_s = same.plans[1].effective_from_s;
        same.plans[1] = plan;
        let mut uncut = same.clone();
        uncut.plans.truncate(1);
        let (same, uncut) = (Invoice::compute(&same).unwrap(), Invoice::compute(&uncut).unwrap());
        for meter in Meter::ALL {
            for tier in 1..6 {
                let quantity = |invoice: &Invoice| -> i64 {
                    let of_tier = |line: &&Line| line.meter == Some(meter) && line.tier == Some(tier);
                    invoice.lines.iter().filter(of_tier).map(|line| line.quantity).sum()
                };
                prop_assert_eq!(quantity(&same), quantity(&uncut));
            }
        }
        // Each line is rounded by half a micro-unit at most.
        let roundings = i64::try_from(same.lines.len() + uncut.lines.len()).unwrap();
        prop_assert!((same.subtotal_micros - uncut.subtotal_micros).abs() * 2 <= roundings);
    }

    #[test]
    fn a_price_change_is_each_part_at_its_price(input in input(), change_hour in 1..720_i64) {
        let mut input = input;
        input.terms = acme().terms;
        input.plans[1].effective_from_s = day_s(1) + change_hour * 3600;
        let invoice = Invoice::compute(&input).unwrap();
        let change_s = input.plans[1].effective_from_s;
        for (version, later) in [(1, false), (2, true)] {
            let used: u64 = input
                .rows
                .iter()
                .filter(|row| (row.hour * 3600 >= change_s) == later)
                .map(|row| row.quantities.samples)
                .sum();
            let of_version = |line: &&Line| line.meter == Some(Meter::Samples) && line.plan_version == version;
            let billed: i64 = invoice.lines.iter().filter(of_version).map(|line| line.quantity).sum();
            prop_assert_eq!(used, billed.unsigned_abs());
            for line in invoice.lines.iter().filter(of_version) {
                let tier = input.plans[usize::from(later)].prices[0].tiers[line.tier.unwrap() as usize - 1];
                prop_assert_eq!((line.unit_price_micros, line.per), (tier.price_micros, tier.per));
            }
        }
    }

    #[test]
    fn credits_never_go_below_zero(input in input()) {
        let invoice = Invoice::compute(&input).unwrap();
        for applied in &invoice.credits {
            let before = input.credits.iter().find(|credit| credit.id == applied.id).unwrap();
            prop_assert_eq!(before.left_micros, applied.applied_micros + applied.left_micros);
            prop_assert!(before.expires_s.is_none_or(|expires_s| expires_s > day_s(1)));
        }
        // Only the last of them may have something left, and only where nothing is left to pay.
        if let Some((last, before)) = invoice.credits.split_last() {
            prop_assert!(before.iter().all(|credit| credit.left_micros == 0));
            prop_assert!(last.left_micros == 0 || invoice.total_micros == 0);
        }
        let expiry = |id: &str| input.credits.iter().find(|c| c.id == id).and_then(|c| c.expires_s).unwrap_or(i64::MAX);
        prop_assert!(invoice.credits.is_sorted_by_key(|credit| expiry(&credit.id)));
    }

    #[test]
    fn graduated_tiers_are_monotone_and_continuous(tiers in tiers(), quantity in 0..200_000_000_u64) {
        let mut input = acme();
        input.plans[0].base_fee_micros = 0;
        input.plans[0].prices[0].tiers = tiers.clone();
        let mut cost = |quantity| {
            input.rows = vec![samples(hour(1, 0), quantity)];
            let invoice = Invoice::compute(&input).unwrap();
            (invoice.subtotal_micros, i64::try_from(invoice.lines.len()).unwrap())
        };
        let ((less, _), (more, lines)) = (cost(quantity), cost(quantity + 1));
        let dearest = tiers.iter().map(|tier| tier.price_micros.div_ceil(tier.per)).max().unwrap();
        prop_assert!(less <= more);
        // One unit more costs at most the dearest unit, and a rounding.
        prop_assert!(more - less <= dearest.cast_signed() + lines);
    }

    #[test]
    fn late_rows_bring_the_bill_to_what_it_would_have_been(input in input(), kept in any::<prop::sample::Index>()) {
        let mut early = input.clone();
        early.rows.truncate(kept.index(input.rows.len() + 1));
        let first = Invoice::compute(&early).unwrap().finalised();
        let mut next = input.clone();
        next.month = november().next().unwrap();
        next.terms[0].until_s = None;
        let without = Invoice::compute(&next).unwrap();
        // A cancellation that is taken back would itself be corrected; here only rows come late.
        next.terms.clone_from(&input.terms);
        next.terms.push(Term { plan: "scale".to_owned(), from_s: day_s(31), until_s: None });
        if input.terms[0].until_s.is_none() {
            next.terms.pop();
        }
        next.billed = vec![BilledMonth::from_invoices(november(), [&first])];
        let second = Invoice::compute(&next).unwrap();
        let at_once = Invoice::compute(&input).unwrap();
        let own = |invoice: &Invoice| -> i64 {
            invoice.lines.iter().filter(|line| line.adjusts.is_none()).map(|line| line.amount_micros).sum()
        };
        prop_assert_eq!(own(&second), without.subtotal_micros);
        prop_assert_eq!(first.subtotal_micros + second.subtotal_micros, at_once.subtotal_micros + own(&second));
    }

    #[test]
    fn no_number_is_too_large_for_an_answer(
        counted in any::<(u64, u64, u64, u64)>(),
        fee in any::<u64>(),
        minimum in any::<u64>(),
        prices in prop::collection::vec((any::<u64>(), 1_u64..), 4),
        credit in any::<u64>(),
    ) {
        let mut input = acme();
        input.plans[0].base_fee_micros = fee;
        input.plans[0].minimum_micros = minimum;
        input.plans[0].prices = Meter::ALL
            .into_iter()
            .zip(prices)
            .map(|(meter, (price_micros, per))| MeterPrice { meter, tiers: vec![Tier { up_to: None, price_micros, per }] })
            .collect();
        let (samples, spans, stored_bytes, active_series) = counted;
        let quantities = Quantities { samples, spans, stored_bytes, active_series };
        input.rows = vec![UsageRow { quantities, ..super::samples(hour(1, 0), 0) }; 3];
        input.credits = vec![Credit {
            id: "c".to_owned(), kind: CreditKind::Sla, currency: Currency::Eur, left_micros: credit,
            granted_s: i64::MIN, expires_s: Some(i64::MAX),
        }];
        match Invoice::compute(&input) {
            Ok(invoice) => prop_assert!(verify(&invoice, &input).unwrap().is_empty()),
            Err(error) => prop_assert!(matches!(error, BillingError::TooLarge { .. }), "{error}"),
        }
    }
}

/// A month in the life of an organisation that signed up in mid-November: what came to the ledger before its invoice was made.
/// Months back from the invoice's, an hour of that month, and which samples of it: some are sent twice.
fn deliveries() -> impl Strategy<Value = Vec<Vec<(i64, i64, Vec<u16>)>>> {
    let delivery = (-2..4_i64, 0..672_i64, prop::collection::vec(0..40_u16, 1..20));
    prop::collection::vec(prop::collection::vec(delivery, 0..6), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whenever samples come, however often, and however old they are, even from before the signup: all invoices together charge each
    /// once, and so much for it as if everything had been known when its month was billed.
    #[test]
    fn all_invoices_together_are_the_distinct_samples(
        schedule in deliveries(), first in tiers(), second in tiers(), change in 0..100_i64,
    ) {
        let mut input = acme();
        input.terms[0].from_s = day_s(16) + 1_234;
        input.plans[0].base_fee_micros = 0;
        input.plans[0].prices[0].tiers = first;
        let mut next = input.plans[0].clone();
        next.version = 2;
        next.effective_from_s = day_s(16) + change * 86_400;
        next.prices[0].tiers = second;
        if change > 0 {
            input.plans.push(next);
        }
        let mut ledger = std::collections::BTreeSet::new();
        let rows = |ledger: &std::collections::BTreeSet<(i64, u16)>| -> Vec<UsageRow> {
            // One row a sample: rows of an hour add up.
            ledger.iter().map(|(hour, _)| samples(*hour, 1)).collect()
        };
        let mut finals: Vec<Invoice> = Vec::new();
        let mut month = november();
        for deliveries in schedule.iter().chain([&Vec::new(), &Vec::new(), &Vec::new()]) {
            for (back, hour_of_month, ids) in deliveries {
                let hour = month.span().start_s / 3600 - back * 730 + hour_of_month;
                ledger.extend(ids.iter().map(|id| (hour, *id)));
            }
            input.month = month;
            input.rows = rows(&ledger);
            input.billed = finals
                .iter()
                .map(|of| BilledMonth::from_invoices(of.month, finals.iter().filter(|later| later.month >= of.month)))
                .collect();
            let invoice = Invoice::compute(&input).unwrap();
            prop_assert!(invoice.unbilled.is_empty());
            prop_assert_eq!(verify(&invoice, &input).unwrap(), Vec::new());
            finals.push(invoice.finalised());
            month = month.next().unwrap();
        }
        let billed: i64 = finals.iter().flat_map(|invoice| &invoice.lines).map(|line| line.quantity).sum();
        prop_assert_eq!(billed.unsigned_abs(), ledger.len() as u64);
        // By month of use, the money is what one invoice for everything would have charged.
        for of in &finals {
            let mut at_once = input.clone();
            at_once.month = of.month;
            at_once.billed.clear();
            let right = Invoice::compute(&at_once).unwrap().subtotal_micros;
            let billed = BilledMonth::from_invoices(of.month, finals.iter().filter(|later| later.month >= of.month));
            prop_assert_eq!(billed.lines.iter().map(|line| line.amount_micros).sum::<i64>(), right);
        }
    }
}
