//! What was used.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Caller, Parameters};
use super::problem::Problems;
use crate::app::App;
use crate::app::usage::Usage;
use crate::billing::{Quantities, Signal, UsageRow};
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(of_organisation)).routes(routes!(of_tenant))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichMonth {
    /// A calendar month (UTC) such as `2026-11`; this month when left out.
    month: Option<String>,
}

/// How much. Exact: each sample and span once, however often it was sent; counted when it is compacted, some minutes after it
/// was acknowledged.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
struct Used {
    samples: u64,
    spans: u64,
    /// Logical bytes: 16 for a sample, however well it is compressed.
    bytes: u64,
    /// Active series, summed over hours.
    series_hours: u64,
}

impl Used {
    fn add(&mut self, quantities: &Quantities) {
        let Quantities { samples, spans, stored_bytes, active_series } = quantities;
        for (sum, more) in [
            (&mut self.samples, samples),
            (&mut self.spans, spans),
            (&mut self.bytes, stored_bytes),
            (&mut self.series_hours, active_series),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

#[derive(Serialize, ToSchema)]
struct DayOfTenant {
    tenant: String,
    #[schema(value_type = String, example = "metrics")]
    signal: Signal,
    /// When the day begins (UTC), in milliseconds since the Unix epoch.
    day_ms: i64,
    #[serde(flatten)]
    used: Used,
}

#[derive(Serialize, ToSchema)]
struct OrganisationUsage {
    #[schema(example = "2026-11")]
    month: String,
    /// All that had been compacted by then is in these figures, in milliseconds since the Unix epoch; null: nothing was counted yet.
    as_of_ms: Option<i64>,
    total: Used,
    /// By tenant, deleted ones among them, signal and day; days without usage are left out.
    days: Vec<DayOfTenant>,
}

/// What an organisation used, by tenant and day
#[utoipa::path(get, path = "/organisations/{organisation}/usage", tag = "usage", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"), WhichMonth),
    responses((status = 200, body = OrganisationUsage), Problems))]
async fn of_organisation(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Parameters(which): Parameters<WhichMonth>,
) -> Result<Json<OrganisationUsage>, AppError> {
    let month = app.month_named(which.month.as_deref())?;
    let Usage { as_of_ms, rows } = app.organisation_usage(&actor, &organisation, month).await?;
    let mut days: BTreeMap<(String, Signal, i64), Used> = BTreeMap::new();
    for row in &rows {
        let day_ms = row.hour.div_euclid(24).saturating_mul(24 * 3_600_000);
        days.entry((row.tenant.clone(), row.signal, day_ms)).or_default().add(&row.quantities);
    }
    let days =
        days.into_iter().map(|((tenant, signal, day_ms), used)| DayOfTenant { tenant, signal, day_ms, used });
    let (month, total) = (month.to_string(), total(&rows));
    Ok(Json(OrganisationUsage { month, as_of_ms, total, days: days.collect() }))
}

#[derive(Serialize, ToSchema)]
struct HourOfTenant {
    #[schema(value_type = String, example = "metrics")]
    signal: Signal,
    /// When the hour begins, in milliseconds since the Unix epoch. An hour is that of the samples' timestamps.
    hour_ms: i64,
    #[serde(flatten)]
    used: Used,
}

#[derive(Serialize, ToSchema)]
struct TenantUsage {
    #[schema(example = "2026-11")]
    month: String,
    /// All that had been compacted by then is in these figures, in milliseconds since the Unix epoch; null: nothing was counted yet.
    as_of_ms: Option<i64>,
    total: Used,
    /// By signal and hour; hours without usage are left out.
    hours: Vec<HourOfTenant>,
}

/// What a tenant used, by hour
#[utoipa::path(get, path = "/tenants/{tenant}/usage", tag = "usage", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id"), WhichMonth),
    responses((status = 200, body = TenantUsage), Problems))]
async fn of_tenant(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Parameters(which): Parameters<WhichMonth>,
) -> Result<Json<TenantUsage>, AppError> {
    let month = app.month_named(which.month.as_deref())?;
    let Usage { as_of_ms, rows } = app.tenant_usage(&actor, &tenant, month).await?;
    let hours = rows.iter().map(|row| {
        let mut used = Used::default();
        used.add(&row.quantities);
        HourOfTenant { signal: row.signal, hour_ms: row.hour.saturating_mul(3_600_000), used }
    });
    let (month, total) = (month.to_string(), total(&rows));
    Ok(Json(TenantUsage { month, as_of_ms, total, hours: hours.collect() }))
}

fn total(rows: &[UsageRow]) -> Used {
    rows.iter().fold(Used::default(), |mut sum, row| {
        sum.add(&row.quantities);
        sum
    })
}
