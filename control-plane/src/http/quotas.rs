//! The limits of a tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tenancy::limits::{MAX_RATE, burst_of};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller};
use super::problem::Problems;
use crate::app::App;
use crate::app::quotas::plan::{Plan, QuotaName};
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get, set))
}

#[derive(Serialize, ToSchema)]
struct Quota {
    name: QuotaName,
    /// What holds; null: no limit.
    value: Option<u64>,
    /// What the plan says where nothing is set; null: no limit.
    default: Option<u64>,
    /// The highest value that may be set; null: any.
    ceiling: Option<u64>,
    /// What is set; null: nothing.
    set: Option<u64>,
    /// Of a rate: what may come at once after a quiet time, and so at most in one request. Null: no limit, or none of a rate.
    at_once: Option<u64>,
}

fn at_once(name: QuotaName, value: Option<u64>) -> Option<u64> {
    match name {
        QuotaName::SamplesPerSecond => value.map(|rate| burst_of(rate).min(MAX_RATE.into())),
        QuotaName::SpansPerSecond => value.map(burst_of),
        _ => None,
    }
}

#[derive(Serialize, ToSchema)]
struct Quotas {
    /// The organisation's.
    plan: Plan,
    quotas: Vec<Quota>,
}

/// The limits of a tenant
#[utoipa::path(get, path = "/tenants/{tenant}/quotas", tag = "quotas", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    responses((status = 200, body = Quotas), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
) -> Result<Json<Quotas>, AppError> {
    let (plan, quotas) = app.quotas(&actor, &tenant).await?;
    let quotas = quotas.into_iter().map(|quota| Quota {
        name: quota.name,
        value: quota.value,
        default: quota.default,
        ceiling: quota.ceiling,
        set: quota.set,
        at_once: at_once(quota.name, quota.value),
    });
    Ok(Json(Quotas { plan, quotas: quotas.collect() }))
}

/// Limits that the tenant sets for itself. What is left out, or null, is what the plan says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetQuotas {
    /// Zero stops all writes of samples.
    samples_per_second: Option<u64>,
    spans_per_second: Option<u64>,
    /// From midnight to midnight UTC.
    bytes_per_day: Option<u64>,
    active_series: Option<u64>,
    series_per_metric: Option<u64>,
    query_concurrency: Option<u64>,
    query_bytes: Option<u64>,
}

/// Set the limits of a tenant
///
/// All at once: what is left out is what the plan says. They hold at every ingest and query process within 5 seconds.
#[utoipa::path(put, path = "/tenants/{tenant}/quotas", tag = "quotas", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    request_body = SetQuotas, responses((status = 204, description = "The new limits hold."), Problems))]
async fn set(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Body(body): Body<SetQuotas>,
) -> Result<StatusCode, AppError> {
    // A field more, and this does not compile.
    let SetQuotas {
        samples_per_second,
        spans_per_second,
        bytes_per_day,
        active_series,
        series_per_metric,
        query_concurrency,
        query_bytes,
    } = body;
    let named = [
        (QuotaName::SamplesPerSecond, samples_per_second),
        (QuotaName::SpansPerSecond, spans_per_second),
        (QuotaName::BytesPerDay, bytes_per_day),
        (QuotaName::ActiveSeries, active_series),
        (QuotaName::SeriesPerMetric, series_per_metric),
        (QuotaName::QueryConcurrency, query_concurrency),
        (QuotaName::QueryBytes, query_bytes),
    ];
    let set: BTreeMap<QuotaName, u64> =
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    app.set_quotas(&actor, &tenant, &set).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::quotas::limits_of;

    #[test]
    fn what_may_come_at_once_is_what_the_data_plane_takes() {
        for rate in [0, 1, 500, 1_000] {
            let name = QuotaName::SamplesPerSecond;
            let limits = limits_of(Plan::Free, &BTreeMap::from([(name, rate)]));
            assert_eq!(at_once(name, Some(rate)), Some(limits.samples_burst.into()));
        }
        assert_eq!(at_once(QuotaName::SpansPerSecond, Some(7)), Some(70));
        assert_eq!(at_once(QuotaName::SamplesPerSecond, None), None);
        assert_eq!(at_once(QuotaName::ActiveSeries, Some(7)), None);
    }
}
