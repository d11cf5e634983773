//! Members of an organisation.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller, one_of};
use super::problem::Problems;
use crate::app::App;
use crate::error::AppError;
use crate::role::Role;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set_role, remove))
}

#[derive(Serialize, ToSchema)]
struct Member {
    /// The account's id.
    user: String,
    email: String,
    role: Option<Role>,
    /// Milliseconds since the Unix epoch.
    joined_at_ms: i64,
}

#[derive(Serialize, ToSchema)]
struct MemberList {
    members: Vec<Member>,
}

/// Everybody in an organisation
#[utoipa::path(get, path = "/organisations/{organisation}/members", tag = "members", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = MemberList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
) -> Result<Json<MemberList>, AppError> {
    let rows = app.members(&actor, &organisation).await?;
    let members = rows.into_iter().map(|row| Member {
        role: Role::parse(&row.role),
        user: row.user_id,
        email: row.email,
        joined_at_ms: row.created_at_ms,
    });
    Ok(Json(MemberList { members: members.collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    #[schema(value_type = Role)]
    role: String,
}

/// Give a member another role
///
/// Only an owner makes or unmakes owners; one stays.
#[utoipa::path(put, path = "/organisations/{organisation}/members/{user}", tag = "members", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("user" = String, Path, description = "The account's id")),
    request_body = NewRole, responses((status = 204, description = "The member has the new role."), Problems))]
async fn set_role(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, user)): Path<(String, String)>,
    Body(body): Body<NewRole>,
) -> Result<StatusCode, AppError> {
    let role = one_of("role", &Role::ALL, Role::as_str, &body.role)?;
    app.set_role(&actor, &organisation, &user, role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a member out, or leave
#[utoipa::path(delete, path = "/organisations/{organisation}/members/{user}", tag = "members", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("user" = String, Path, description = "The account's id")),
    responses((status = 204, description = "The account is no member any more."), Problems))]
async fn remove(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, user)): Path<(String, String)>,
) -> Result<StatusCode, AppError> {
    app.remove_member(&actor, &organisation, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
