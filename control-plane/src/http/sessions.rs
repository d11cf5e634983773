//! Sessions: logging in, going on, logging out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller, Peer};
use super::problem::Problems;
use crate::app::App;
use crate::app::sessions::SessionTokens;
use crate::error::AppError;
use crate::limits::ACCESS_TOKEN_LIFE;
use crate::secret::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(log_in)).routes(routes!(refresh)).routes(routes!(log_out))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    #[schema(example = "ada@example.com")]
    email: String,
    password: Secret,
    /// Six digits from the app, or a recovery code, if a second factor is on.
    code: Option<Secret>,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// Goes into `Authorization: Bearer …`.
    access_token: Secret,
    /// How long it is good, in seconds.
    expires_in_s: u64,
    /// Exchange it for new tokens before the access token expires. It is good once: a second use ends the session.
    refresh_token: Secret,
}

impl From<SessionTokens> for Session {
    fn from(tokens: SessionTokens) -> Self {
        Self {
            access_token: tokens.access,
            expires_in_s: ACCESS_TOKEN_LIFE.as_secs(),
            refresh_token: tokens.refresh,
        }
    }
}

/// Log in
///
/// 401 with the code `second_factor_needed` means: the password is right, send the same again with a code.
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = LogIn,
    responses((status = 201, body = Session), Problems))]
async fn log_in(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<LogIn>,
) -> Result<(StatusCode, Json<Session>), AppError> {
    let tokens = app.log_in(&body.email, body.password, body.code.as_ref(), peer).await?;
    Ok((StatusCode::CREATED, Json(tokens.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: Secret,
}

/// Go on with a session
#[utoipa::path(post, path = "/sessions/refresh", tag = "sessions", request_body = Refresh,
    responses((status = 200, body = Session), Problems))]
async fn refresh(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<Refresh>,
) -> Result<Json<Session>, AppError> {
    Ok(Json(app.refresh(&body.refresh_token, peer).await?.into()))
}

/// Log out
///
/// Ends the session at once: neither of its tokens is good any more.
#[utoipa::path(delete, path = "/sessions/current", tag = "sessions", security(("bearer" = [])),
    responses((status = 204, description = "The session is over."), Problems))]
async fn log_out(State(app): State<Arc<App>>, Caller(actor): Caller) -> Result<StatusCode, AppError> {
    app.log_out(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
