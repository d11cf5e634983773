//! Invitations into an organisation.

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
use crate::db::invitations::InvitationRow;
use crate::error::AppError;
use crate::role::Role;
use crate::secret::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(invite, list)).routes(routes!(withdraw)).routes(routes!(accept))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvitation {
    #[schema(example = "grace@example.com")]
    email: String,
    #[schema(value_type = Role)]
    role: String,
}

#[derive(Serialize, ToSchema)]
struct Invitation {
    id: String,
    email: String,
    role: Option<Role>,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    expires_at_ms: i64,
}

impl From<InvitationRow> for Invitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            role: Role::parse(&row.role),
            id: row.id,
            email: row.email,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
        }
    }
}

/// Invite somebody
///
/// Sends a mail with a link that is good for a week. An earlier invitation of the same address is void then.
#[utoipa::path(post, path = "/organisations/{organisation}/invitations", tag = "members", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = NewInvitation, responses((status = 201, body = Invitation), Problems))]
async fn invite(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Body(body): Body<NewInvitation>,
) -> Result<(StatusCode, Json<Invitation>), AppError> {
    let role = one_of("role", &Role::ALL, Role::as_str, &body.role)?;
    let row = app.invite(&actor, &organisation, &body.email, role).await?;
    Ok((StatusCode::CREATED, Json(row.into())))
}

#[derive(Serialize, ToSchema)]
struct InvitationList {
    invitations: Vec<Invitation>,
}

/// Open invitations
#[utoipa::path(get, path = "/organisations/{organisation}/invitations", tag = "members", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = InvitationList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
) -> Result<Json<InvitationList>, AppError> {
    let rows = app.invitations(&actor, &organisation).await?;
    Ok(Json(InvitationList { invitations: rows.into_iter().map(Invitation::from).collect() }))
}

/// Withdraw an invitation
#[utoipa::path(delete, path = "/organisations/{organisation}/invitations/{invitation}", tag = "members",
    security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("invitation" = String, Path, description = "The invitation's id")),
    responses((status = 204, description = "Its link is good no more."), Problems))]
async fn withdraw(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, invitation)): Path<(String, String)>,
) -> Result<StatusCode, AppError> {
    app.withdraw_invitation(&actor, &organisation, &invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Accept {
    /// What stands behind `#token=` in the link.
    token: Secret,
}

#[derive(Serialize, ToSchema)]
struct Joined {
    /// The organisation's id.
    organisation: String,
}

/// Accept an invitation
///
/// The caller's account must have the address that was invited.
#[utoipa::path(post, path = "/invitations/accept", tag = "members", security(("bearer" = [])), request_body = Accept,
    responses((status = 200, body = Joined), Problems))]
async fn accept(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<Accept>,
) -> Result<Json<Joined>, AppError> {
    Ok(Json(Joined { organisation: app.accept_invitation(&actor, &body.token).await? }))
}
