//! Where tenants are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller};
use super::problem::Problems;
use crate::app::App;
use crate::app::placement::decision::{Decision, Declaration, Unplaceable};
use crate::app::placement::{Footprint, NewCell, Placed};
use crate::error::AppError;
use crate::placement::{RegionRef, jurisdiction};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(regions))
        .routes(routes!(cells))
        .routes(routes!(put_cell))
        .routes(routes!(get, set))
        .routes(routes!(propose))
        .routes(routes!(conflicts))
}

/// A region of a cloud provider.
#[derive(Serialize, ToSchema)]
struct Region {
    /// Such as `aws:eu-west-1`.
    id: String,
    /// `aws`, `gcp` or `azure`.
    provider: &'static str,
    /// The provider's code.
    code: &'static str,
    /// The city, or the nearest one.
    city: &'static str,
    /// ISO 3166-1 alpha-2.
    country: &'static str,
    /// Whose law holds there: `EU`, or a country's code.
    jurisdiction: &'static str,
    /// Degrees north.
    latitude: f64,
    /// Degrees east.
    longitude: f64,
}

#[derive(Serialize, ToSchema)]
struct Catalogue {
    regions: Vec<Region>,
}

/// The cloud regions that are known
#[utoipa::path(get, path = "/regions", tag = "placement",
    responses((status = 200, body = Catalogue), Problems))]
async fn regions() -> Json<Catalogue> {
    let regions = RegionRef::all().map(|region| Region {
        id: region.to_string(),
        provider: region.provider.as_str(),
        code: region.code,
        city: region.city,
        country: region.country,
        jurisdiction: jurisdiction(region),
        latitude: region.latitude,
        longitude: region.longitude,
    });
    Json(Catalogue { regions: regions.collect() })
}

/// A place where tenants can be: a whole installation in one region.
#[derive(Serialize, ToSchema)]
struct Cell {
    id: String,
    /// Such as `gcp:europe-west4`.
    region: String,
    /// What it needs besides its region: other regions, which count as if it ran there, and providers.
    depends_on: Vec<String>,
    /// Samples a second that are not promised to anybody.
    free: u64,
    /// Whether it takes new tenants.
    open: bool,
}

#[derive(Serialize, ToSchema)]
struct CellList {
    cells: Vec<Cell>,
}

/// The cells that there are
#[utoipa::path(get, path = "/cells", tag = "placement", security(("bearer" = [])),
    responses((status = 200, body = CellList), Problems))]
async fn cells(State(app): State<Arc<App>>, Caller(actor): Caller) -> Result<Json<CellList>, AppError> {
    let cells = app.cells(&actor).await?.into_iter().map(|row| Cell {
        free: u64::try_from(row.capacity.saturating_sub(row.used)).unwrap_or_default(),
        open: row.closed_at_ms.is_none(),
        depends_on: row.depends_on.split_ascii_whitespace().map(str::to_owned).collect(),
        id: row.id,
        region: row.region,
    });
    Ok(Json(CellList { cells: cells.collect() }))
}

/// A cell as the operator sets it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetCell {
    /// Such as `gcp:europe-west4`. A cell stays in its region.
    region: String,
    /// What it needs besides: regions, which count as if it ran there, and providers.
    #[serde(default)]
    #[schema(required = false, example = json!(["aws:us-east-1"]))]
    depends_on: Vec<String>,
    /// Samples a second that can be promised in it.
    capacity: u64,
    /// What it costs to run, in percent of the reference.
    #[serde(default = "reference_cost")]
    #[schema(required = false)]
    cost_index: u32,
    /// Whether it takes new tenants.
    #[serde(default = "yes")]
    #[schema(required = false)]
    open: bool,
}

const fn reference_cost() -> u32 {
    100
}

const fn yes() -> bool {
    true
}

/// Add a cell, or change one
///
/// Tenants in it stay, also when it is closed.
#[utoipa::path(put, path = "/operator/cells/{cell}", tag = "operator", security(("bearer" = [])),
    params(("cell" = String, Path, description = "Its id: letters a to z, digits and dashes")),
    request_body = SetCell, responses((status = 204, description = "It is so."), Problems))]
async fn put_cell(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Body(body): Body<SetCell>,
) -> Result<StatusCode, AppError> {
    let SetCell { region, depends_on, capacity, cost_index, open } = body;
    app.put_cell(&actor, &NewCell { id, region, depends_on, capacity, cost_index, open }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a tenant is.
#[derive(Serialize, ToSchema)]
struct Placement {
    declaration: Declaration,
    decision: Decision,
    /// Milliseconds since the Unix epoch.
    decided_at_ms: i64,
}

impl From<Placed> for Placement {
    fn from(placed: Placed) -> Self {
        let Placed { declaration, decision, decided_at_ms } = placed;
        Self { declaration, decision, decided_at_ms }
    }
}

#[derive(Serialize, ToSchema)]
struct CurrentPlacement {
    /// Null for a tenant that was never placed.
    placement: Option<Placement>,
}

/// Where a tenant is, and why
#[utoipa::path(get, path = "/tenants/{tenant}/placement", tag = "placement", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    responses((status = 200, body = CurrentPlacement), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
) -> Result<Json<CurrentPlacement>, AppError> {
    let placement = app.placement(&actor, &tenant).await?.map(Placement::from);
    Ok(Json(CurrentPlacement { placement }))
}

/// Declare where production runs
///
/// The tenant is placed anew: away from all that it declares and from where its telemetry says that it runs. It stays where it
/// is unless another place is much better. When nothing fits, the answer is 409 and says which constraints contradict each
/// other; nothing is changed then.
#[utoipa::path(put, path = "/tenants/{tenant}/placement", tag = "placement", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    request_body = Declaration, responses((status = 200, body = Placement), Problems))]
async fn set(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Body(declaration): Body<Declaration>,
) -> Result<Json<Placement>, AppError> {
    Ok(Json(app.declare_placement(&actor, &tenant, declaration).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Propose {
    /// The tenant's own when left out, with what its telemetry has shown since.
    declaration: Option<Declaration>,
}

/// Where a tenant would be
///
/// Changes nothing.
#[utoipa::path(post, path = "/tenants/{tenant}/placement/propose", tag = "placement", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    request_body = Propose, responses((status = 200, body = Decision), Problems))]
async fn propose(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Body(body): Body<Propose>,
) -> Result<Json<Decision>, AppError> {
    Ok(Json(app.propose_placement(&actor, &tenant, body.declaration).await?))
}

/// A region that telemetry came from.
#[derive(Serialize, ToSchema)]
struct SeenRegion {
    /// Such as `aws:eu-west-1`.
    region: String,
    samples: u64,
    /// Their part of all samples that name a place, in thousandths.
    per_mille: u32,
    /// Milliseconds since the Unix epoch.
    first_seen_ms: i64,
    /// Milliseconds since the Unix epoch.
    last_seen_ms: i64,
    /// The availability zones that were named.
    zones: Vec<String>,
    /// Whether the tenant had declared it.
    declared: bool,
    /// Whether it is too little to count as a place where production runs.
    noise: bool,
}

/// What names no region that is known.
#[derive(Serialize, ToSchema)]
struct UnknownPlace {
    provider: String,
    region: String,
    zone: String,
    samples: u64,
}

/// That production was seen where one of the tenant's cells is.
#[derive(Serialize, ToSchema)]
struct PlacementConflict {
    /// `home` or `standby`.
    role: String,
    cell: String,
    region: String,
    /// Whether the cell does not run in the region, but depends on it.
    hidden: bool,
    /// Milliseconds since the Unix epoch.
    raised_at_ms: i64,
    /// Milliseconds since the Unix epoch; null while it goes on.
    resolved_at_ms: Option<i64>,
    /// Why it is over: `moved`, the tenant is in another cell; `not_seen`, nothing has come from the region for a day;
    /// `tenant_deleted`. Null while it goes on, and for old ones.
    resolution: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct FootprintAndConflicts {
    /// Where telemetry came from, the most samples first.
    seen: Vec<SeenRegion>,
    unknown: Vec<UnknownPlace>,
    /// The newest first.
    conflicts: Vec<PlacementConflict>,
    /// Where to go instead; null where there is no conflict, or nothing fits.
    proposal: Option<Decision>,
    /// Why nothing fits, where that is so.
    impossible: Option<Unplaceable>,
}

/// Where a tenant's telemetry comes from, and what that means for its place
#[utoipa::path(get, path = "/tenants/{tenant}/placement/conflicts", tag = "placement", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    responses((status = 200, body = FootprintAndConflicts), Problems))]
async fn conflicts(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
) -> Result<Json<FootprintAndConflicts>, AppError> {
    let Footprint { seen, unknown, conflicts, proposal } = app.footprint(&actor, &tenant).await?;
    let seen = seen.into_iter().map(|seen| SeenRegion {
        region: seen.evidence.region.to_string(),
        samples: seen.evidence.samples,
        per_mille: seen.evidence.per_mille,
        first_seen_ms: seen.evidence.first_seen_ms,
        last_seen_ms: seen.evidence.last_seen_ms,
        zones: seen.evidence.zones.into_iter().collect(),
        declared: seen.evidence.declared,
        noise: seen.noise,
    });
    let unknown = unknown.into_iter().map(|place| UnknownPlace {
        provider: place.provider,
        region: place.region,
        zone: place.zone,
        samples: place.samples,
    });
    let conflicts = conflicts.into_iter().map(|conflict| PlacementConflict {
        role: conflict.role,
        cell: conflict.cell,
        region: conflict.region,
        hidden: conflict.hidden != 0,
        raised_at_ms: conflict.raised_at_ms,
        resolved_at_ms: conflict.resolved_at_ms,
        resolution: conflict.resolution,
    });
    let (proposal, impossible) = match proposal {
        Some(Ok(decision)) => (Some(decision), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    Ok(Json(FootprintAndConflicts {
        seen: seen.collect(),
        unknown: unknown.collect(),
        conflicts: conflicts.collect(),
        proposal,
        impossible,
    }))
}
