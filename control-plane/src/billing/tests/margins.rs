//! The operator's own cost.

use super::*;

fn used(tenant: Option<&str>, resource: Resource, quantity: u64) -> ResourceUse {
    ResourceUse { tenant: tenant.map(str::to_owned), resource, quantity }
}

/// 5 € a million writes, 0.40 € a million reads, 0.023 € for a gigabyte over 730 hours, 0.04 € for an hour of CPU.
fn table() -> CostTable {
    let price = |resource, price_micros, per| ResourcePrice { resource, price_micros, per };
    CostTable {
        currency: Currency::Eur,
        prices: vec![
            price(Resource::WriteRequests, 5_000_000, 1_000_000),
            price(Resource::ReadRequests, 400_000, 1_000_000),
            price(Resource::StorageByteHours, 23_000, 730_000_000_000),
            price(Resource::CpuMs, 40_000, 3_600_000),
        ],
    }
}

#[test]
fn shared_costs_are_divided_by_what_tenants_stored() {
    let mut input = acme();
    let stored = |tenant: &str, stored_bytes| UsageRow {
        tenant: tenant.to_owned(),
        quantities: Quantities { samples: 1_000_000, stored_bytes, ..Quantities::default() },
        ..samples(hour(4, 4), 0)
    };
    input.rows = vec![stored("prod", 3_000_000_000), stored("test", 1_000_000_000)];
    let invoice = Invoice::compute(&input).unwrap();
    let margins = margins(
        &[invoice],
        &[
            used(None, Resource::WriteRequests, 800_000),
            used(Some("test"), Resource::ReadRequests, 500_000),
            used(Some("prod"), Resource::StorageByteHours, 2_190_000_000_000),
            used(None, Resource::CpuMs, 36_000_000),
        ],
        &table(),
    )
    .unwrap();
    let row = |m: &TenantMargin| {
        let costs = [m.requests_micros, m.storage_micros, m.compute_micros];
        (m.tenant.clone(), m.revenue_micros, costs, m.margin_micros)
    };
    let rows: Vec<_> = margins.iter().map(row).collect();
    let tenant = |id: &str| Some(id.to_owned());
    assert_eq!(
        rows,
        [
            // The fee; no cost of its own.
            (None, 49_000_000, [0, 0, 0], 49_000_000),
            // 0.06 € for 3 GB; ¾ of 4 € for writes; 3 GB kept; ¾ of 0.40 € for CPU.
            (tenant("prod"), 60_000, [3_000_000, 69_000, 300_000], -3_309_000),
            (tenant("test"), 20_000, [1_200_000, 0, 100_000], -1_280_000),
        ]
    );
}

#[test]
fn costs_that_nobody_caused_stay_visible() {
    let margins = margins(&[], &[used(None, Resource::WriteRequests, 200_000)], &table()).unwrap();
    assert_eq!(margins.len(), 1);
    assert_eq!((margins[0].tenant.as_deref(), margins[0].margin_micros), (None, -1_000_000));
}
