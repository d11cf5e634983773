//! Organisations.

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
use crate::error::AppError;
use crate::role::Role;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get, rename))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrganisation {
    /// 1 to 80 characters.
    #[schema(example = "Example Ltd.")]
    name: String,
}

#[derive(Serialize, ToSchema)]
struct Organisation {
    id: String,
    name: String,
    /// What limits its tenants have.
    plan: String,
    /// The caller's role in it.
    role: Option<Role>,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
}

/// Create an organisation
///
/// The caller is its owner.
#[utoipa::path(post, path = "/organisations", tag = "organisations", security(("bearer" = [])),
    request_body = NewOrganisation, responses((status = 201, body = Organisation), Problems))]
async fn create(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<NewOrganisation>,
) -> Result<(StatusCode, Json<Organisation>), AppError> {
    let row = app.create_organisation(&actor, &body.name).await?;
    let organisation = Organisation {
        id: row.id,
        name: row.name,
        plan: row.plan,
        role: Some(Role::Owner),
        created_at_ms: row.created_at_ms,
    };
    Ok((StatusCode::CREATED, Json(organisation)))
}

#[derive(Serialize, ToSchema)]
struct OrganisationList {
    organisations: Vec<Organisation>,
}

/// The caller's organisations
#[utoipa::path(get, path = "/organisations", tag = "organisations", security(("bearer" = [])),
    responses((status = 200, body = OrganisationList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
) -> Result<Json<OrganisationList>, AppError> {
    let rows = app.own_organisations(&actor).await?;
    let organisations = rows.into_iter().map(|row| Organisation {
        role: Role::parse(&row.role),
        id: row.id,
        name: row.name,
        plan: row.plan,
        created_at_ms: row.created_at_ms,
    });
    Ok(Json(OrganisationList { organisations: organisations.collect() }))
}

/// One organisation
#[utoipa::path(get, path = "/organisations/{organisation}", tag = "organisations", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = Organisation), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Organisation>, AppError> {
    let (row, role) = app.organisation(&actor, &id).await?;
    Ok(Json(Organisation {
        id: row.id,
        name: row.name,
        plan: row.plan,
        role: Some(role),
        created_at_ms: row.created_at_ms,
    }))
}

/// Rename an organisation
#[utoipa::path(patch, path = "/organisations/{organisation}", tag = "organisations", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = NewOrganisation, responses((status = 204, description = "It has the new name."), Problems))]
async fn rename(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Body(body): Body<NewOrganisation>,
) -> Result<StatusCode, AppError> {
    app.rename_organisation(&actor, &id, &body.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
