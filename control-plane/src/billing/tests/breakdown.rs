//! Cost by tenant, signal, metric name and API key.

use super::*;

fn counted(dimension: Dimension, name: &str, count: u64) -> Attribution {
    Attribution {
        tenant: "prod".to_owned(),
        signal: Signal::Metrics,
        dimension,
        name: name.to_owned(),
        count,
    }
}

/// Causes with what they are charged.
fn charges(parts: &[CostPart]) -> Vec<(String, i64)> {
    parts
        .iter()
        .map(|part| match &part.cause {
            Cause::Named(name) => (name.clone(), part.charge_micros),
            other => (format!("{other:?}"), part.charge_micros),
        })
        .collect()
}

#[test]
fn everyone_has_the_same_part_of_what_is_included() {
    let mut input = acme();
    // 40 million samples cost 3 €: 10 million are included. Two thirds of them are prod's: 2 €.
    input.rows = vec![
        samples(hour(1, 0), 30_000_000),
        UsageRow { tenant: "test".to_owned(), ..samples(hour(20, 5), 10_000_000) },
    ];
    // Ingest counted in thirds: only the proportion matters.
    input.attribution = vec![
        counted(Dimension::Metric, "http_requests_total", 3),
        counted(Dimension::Metric, "up", 1),
        counted(Dimension::Metric, "", 2),
        counted(Dimension::ApiKey, "k1", 1_000),
        counted(Dimension::ApiKey, "k2", 3_000),
        counted(Dimension::ApiKey, "k1", 2_000),
    ];
    input.credits = vec![Credit {
        id: "sla".to_owned(),
        kind: CreditKind::Sla,
        currency: Currency::Eur,
        left_micros: 26_000_000,
        granted_s: 0,
        expires_s: None,
    }];
    let invoice = Invoice::compute(&input).unwrap();
    assert_eq!((invoice.subtotal_micros, invoice.total_micros), (52_000_000, 26_000_000));
    let named = |parts: &[(&str, i64)]| -> Vec<(String, i64)> {
        parts.iter().map(|(name, micros)| ((*name).to_owned(), *micros)).collect()
    };
    let breakdown = &invoice.breakdown;
    assert_eq!(
        charges(&breakdown.by_tenant),
        named(&[("prod", 2_250_000), ("test", 750_000), ("Fixed", 49_000_000)])
    );
    assert_eq!(charges(&breakdown.by_signal), named(&[("metrics", 3_000_000), ("Fixed", 49_000_000)]));
    assert_eq!(
        charges(&breakdown.by_metric),
        named(&[
            ("http_requests_total", 1_125_000),
            ("up", 375_000),
            ("Unattributed", 1_500_000),
            ("Fixed", 49_000_000)
        ])
    );
    assert_eq!(
        charges(&breakdown.by_api_key),
        named(&[("k1", 1_125_000), ("k2", 1_125_000), ("Unattributed", 750_000), ("Fixed", 49_000_000)])
    );
    // Credits pay half of it, so everyone's part is half.
    let payable: Vec<i64> = breakdown.by_tenant.iter().map(|part| part.payable_micros).collect();
    assert_eq!(payable, [1_125_000, 375_000, 24_500_000]);
    assert_eq!(breakdown.by_tenant[0].samples, 30_000_000);
}
