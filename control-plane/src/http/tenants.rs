//! Tenants: the environments of an organisation.

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
use crate::app::placement::decision::Declaration;
use crate::db::tenants::TenantRow;
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get, rename, delete))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    /// 1 to 80 characters.
    #[schema(example = "production")]
    name: String,
    /// Where production runs, so that the tenant is placed elsewhere.
    #[serde(default)]
    #[schema(required = false)]
    placement: Declaration,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RenamedTenant {
    /// 1 to 80 characters.
    #[schema(example = "production")]
    name: String,
}

#[derive(Serialize, ToSchema)]
struct Tenant {
    id: String,
    /// The organisation's id.
    organisation: String,
    name: String,
    /// How long its data is kept.
    retention_days: i64,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id,
            organisation: row.organisation_id,
            name: row.name,
            retention_days: row.retention_days,
            created_at_ms: row.created_at_ms,
        }
    }
}

/// Create a tenant
///
/// It is placed in a cell away from where production runs. When nothing fits, the answer is 409 and says which constraints
/// contradict each other. Another tenant of the organisation may not have the same name (409).
#[utoipa::path(post, path = "/organisations/{organisation}/tenants", tag = "tenants", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = NewTenant, responses((status = 201, body = Tenant), Problems))]
async fn create(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Body(body): Body<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), AppError> {
    let row = app.create_tenant(&actor, &organisation, &body.name, &body.placement).await?;
    Ok((StatusCode::CREATED, Json(row.into())))
}

#[derive(Serialize, ToSchema)]
struct TenantList {
    tenants: Vec<Tenant>,
}

/// The tenants of an organisation
#[utoipa::path(get, path = "/organisations/{organisation}/tenants", tag = "tenants", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = TenantList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
) -> Result<Json<TenantList>, AppError> {
    let rows = app.tenants(&actor, &organisation).await?;
    Ok(Json(TenantList { tenants: rows.into_iter().map(Tenant::from).collect() }))
}

/// One tenant
#[utoipa::path(get, path = "/tenants/{tenant}", tag = "tenants", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    responses((status = 200, body = Tenant), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Tenant>, AppError> {
    Ok(Json(app.tenant(&actor, &id).await?.into()))
}

/// Rename a tenant
///
/// Its id, which everything else goes by, stays. Invoices that are final have the name of then.
#[utoipa::path(patch, path = "/tenants/{tenant}", tag = "tenants", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    request_body = RenamedTenant, responses((status = 204, description = "It has the new name."), Problems))]
async fn rename(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Body(body): Body<RenamedTenant>,
) -> Result<StatusCode, AppError> {
    app.rename_tenant(&actor, &id, &body.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a tenant
///
/// Its keys are refused within seconds, and its data is deleted for good a day later. Invoices, and the usage that they are computed
/// from, are kept; a name may be given again.
#[utoipa::path(delete, path = "/tenants/{tenant}", tag = "tenants", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    responses((status = 204, description = "It is gone."), Problems))]
async fn delete(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, AppError> {
    app.delete_tenant(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
