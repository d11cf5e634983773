//! What the operator pays for tenants, beside what they pay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::money::{divide, round_half_even, sum, too_large};
use super::{BillingError, Cause, Currency, Invoice};

/// Something that the operator pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Requests that write or list (PUT, LIST).
    WriteRequests,
    /// Requests that read (GET, HEAD).
    ReadRequests,
    /// Byte-hours at rest in the bucket.
    StorageByteHours,
    /// Milliseconds of CPU.
    CpuMs,
}

impl Resource {
    /// All resources.
    pub const ALL: [Self; 4] = [Self::WriteRequests, Self::ReadRequests, Self::StorageByteHours, Self::CpuMs];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WriteRequests => "write_requests",
            Self::ReadRequests => "read_requests",
            Self::StorageByteHours => "storage_byte_hours",
            Self::CpuMs => "cpu_ms",
        }
    }
}

/// Price of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcePrice {
    /// What is priced.
    pub resource: Resource,
    /// Price of `per` units, in micro-units.
    pub price_micros: u64,
    /// How many units the price buys, at least 1.
    pub per: u64,
}

/// What the operator pays for resources. What is not in it costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTable {
    /// The currency of all prices.
    pub currency: Currency,
    /// The prices, each resource at most once.
    pub prices: Vec<ResourcePrice>,
}

impl CostTable {
    /// What AWS asks in us-east-1 (list prices): S3 Standard at $5 a million writes, $0.40 a million reads and $0.023 a gigabyte and
    /// month of 730 hours; a vCPU of Fargate on ARM at $0.03238 an hour. What else is paid (traffic, people) is not in it.
    #[must_use]
    pub fn aws() -> Self {
        let price = |resource, price_micros, per| ResourcePrice { resource, price_micros, per };
        Self {
            currency: Currency::Usd,
            prices: vec![
                price(Resource::WriteRequests, 5_000_000, 1_000_000),
                price(Resource::ReadRequests, 400_000, 1_000_000),
                price(Resource::StorageByteHours, 23_000, 730_000_000_000),
                price(Resource::CpuMs, 32_380, 3_600_000),
            ],
        }
    }
}

/// How much of a resource was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// By whom; `None` where many used it together (a flush, a listing): divided by what each tenant stored.
    pub tenant: Option<String>,
    /// What.
    pub resource: Resource,
    /// How much.
    pub quantity: u64,
}

/// Revenue and cost of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantMargin {
    /// The tenant; `None` for what no tenant caused: fees, corrections, and costs when nobody stored anything.
    pub tenant: Option<String>,
    /// What is charged, before credits, in micro-units.
    pub revenue_micros: i64,
    /// What requests cost, in micro-units.
    pub requests_micros: i64,
    /// What storage costs, in micro-units.
    pub storage_micros: i64,
    /// What computing costs, in micro-units.
    pub compute_micros: i64,
    /// Revenue less cost, in micro-units.
    pub margin_micros: i64,
}

/// Revenue and cost by tenant. Revenues sum to the invoices' subtotals, costs to the price of all resources, each resource
/// rounded once and divided by the largest remainder.
///
/// # Errors
/// [`BillingError`] where invoices are in another currency than the costs, or a number does not fit.
pub fn margins(
    invoices: &[Invoice],
    uses: &[ResourceUse],
    costs: &CostTable,
) -> Result<Vec<TenantMargin>, BillingError> {
    let mut rows: BTreeMap<Option<String>, TenantMargin> = BTreeMap::new();
    let mut stored: BTreeMap<Option<String>, u128> = BTreeMap::new();
    for invoice in invoices {
        if invoice.currency != costs.currency {
            return Err(BillingError::Currency {
                what: format!("the invoice of {:?}", invoice.organisation),
                found: invoice.currency,
                expected: costs.currency,
            });
        }
        for part in &invoice.breakdown.by_tenant {
            let tenant = match &part.cause {
                Cause::Named(tenant) => Some(tenant.clone()),
                _ => None,
            };
            *stored.entry(tenant.clone()).or_default() += u128::from(part.stored_bytes);
            let row = row(&mut rows, tenant);
            row.revenue_micros = sum([row.revenue_micros, part.charge_micros], "a tenant's revenue")?;
        }
    }
    for resource in Resource::ALL {
        for (tenant, cost) in cost_of(resource, uses, costs, &stored)? {
            let row = row(&mut rows, tenant);
            let field = match resource {
                Resource::WriteRequests | Resource::ReadRequests => &mut row.requests_micros,
                Resource::StorageByteHours => &mut row.storage_micros,
                Resource::CpuMs => &mut row.compute_micros,
            };
            *field = sum([*field, cost], "a tenant's cost")?;
        }
    }
    for row in rows.values_mut() {
        let costs = sum([row.requests_micros, row.storage_micros, row.compute_micros], "a tenant's cost")?;
        row.margin_micros = sum([row.revenue_micros, -costs], "a tenant's margin")?;
    }
    Ok(rows.into_values().collect())
}

/// The row of a tenant.
fn row(rows: &mut BTreeMap<Option<String>, TenantMargin>, tenant: Option<String>) -> &mut TenantMargin {
    rows.entry(tenant.clone()).or_insert(TenantMargin {
        tenant,
        revenue_micros: 0,
        requests_micros: 0,
        storage_micros: 0,
        compute_micros: 0,
        margin_micros: 0,
    })
}

/// What a resource cost, by tenant: first what each used, together with its part of what was used together.
fn cost_of(
    resource: Resource,
    uses: &[ResourceUse],
    costs: &CostTable,
    stored: &BTreeMap<Option<String>, u128>,
) -> Result<Vec<(Option<String>, i64)>, BillingError> {
    let Some(price) = costs.prices.iter().find(|price| price.resource == resource) else {
        return Ok(Vec::new());
    };
    let what = format!("the cost of {resource:?}");
    let mut quantities: BTreeMap<Option<String>, u128> = BTreeMap::new();
    for used in uses.iter().filter(|used| used.resource == resource) {
        *quantities.entry(used.tenant.clone()).or_default() += u128::from(used.quantity);
    }
    let amount = |quantity: u128| -> Result<i64, BillingError> {
        let exact =
            quantity.checked_mul(u128::from(price.price_micros)).ok_or_else(|| too_large(&what, quantity))?;
        let rounded = round_half_even(exact, u128::from(price.per.max(1)));
        i64::try_from(rounded).map_err(|_| too_large(&what, rounded))
    };
    let narrow = |quantities: Vec<u128>| -> Result<Vec<u64>, BillingError> {
        quantities.into_iter().map(|q| u64::try_from(q).map_err(|_| too_large(&what, q))).collect()
    };
    let together = quantities.remove(&None).unwrap_or(0);
    let own: u128 = quantities.values().sum();
    let mut parts: BTreeMap<Option<String>, i64> = BTreeMap::new();
    let weights = narrow(quantities.values().copied().collect())?;
    let total = amount(own + together)?;
    let own_total = amount(own)?.min(total);
    for (tenant, part) in quantities.into_keys().zip(divide(own_total, &weights)) {
        parts.insert(tenant, part);
    }
    let shared = total - own_total;
    let weights = narrow(stored.values().copied().collect())?;
    let divided = divide(shared, &weights);
    let nobody = shared - divided.iter().sum::<i64>();
    for (tenant, part) in stored.keys().cloned().zip(divided).chain([(None, nobody)]) {
        if part != 0 {
            *parts.entry(tenant).or_default() += part;
        }
    }
    Ok(parts.into_iter().collect())
}
