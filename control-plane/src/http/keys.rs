//! API keys of a tenant.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tenancy::{Priority, Scope};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller, Parameters, one_of};
use super::problem::Problems;
use crate::app::App;
use crate::app::keys::{KeyState, MadeKey, NewKey};
use crate::db::keys::KeyRow;
use crate::error::AppError;
use crate::secret::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get, revoke)).routes(routes!(rotate))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateKey {
    /// 1 to 80 characters.
    #[schema(example = "prometheus in production")]
    name: String,
    /// `metrics:write`, `metrics:read`, `traces:write`, `traces:read`, `admin`: one at least. `admin` manages the tenant's keys
    /// and limits, and nothing else.
    #[schema(value_type = Vec<String>, example = json!(["metrics:write"]))]
    scopes: Vec<String>,
    /// Milliseconds since the Unix epoch, ten years ahead at most; a year ahead when left out.
    expires_at_ms: Option<i64>,
    /// `low`, `normal` or `high`: what is written with a lower one goes first when the tenant is over a limit. `normal` when left
    /// out.
    priority: Option<String>,
    /// Networks that the key may be used from, such as `192.0.2.0/24`; any when left out or empty.
    #[serde(default)]
    #[schema(required = false)]
    networks: Vec<String>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Live,
    Expired,
    Revoked,
}

#[derive(Serialize, ToSchema)]
struct Key {
    /// The key's public part: what logs name it by.
    id: String,
    name: String,
    state: Standing,
    scopes: Vec<String>,
    priority: String,
    networks: Vec<String>,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    expires_at_ms: Option<i64>,
    /// Milliseconds since the Unix epoch.
    revoked_at_ms: Option<i64>,
    /// Milliseconds since the Unix epoch; null: never yet.
    last_used_at_ms: Option<i64>,
}

fn key(row: KeyRow, now_ms: i64) -> Key {
    let state = match KeyState::of(&row, now_ms) {
        KeyState::Live => Standing::Live,
        KeyState::Expired => Standing::Expired,
        KeyState::Revoked => Standing::Revoked,
    };
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect();
    Key {
        state,
        scopes: words(&row.scopes),
        networks: words(&row.networks),
        id: row.id,
        name: row.name,
        priority: row.priority,
        created_at_ms: row.created_at_ms,
        expires_at_ms: row.expires_at_ms,
        revoked_at_ms: row.revoked_at_ms,
        last_used_at_ms: row.last_used_at_ms,
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedKey {
    /// The key itself. It is shown here and never again.
    secret: Secret,
    key: Key,
}

fn created(app: &App, made: MadeKey) -> (StatusCode, Json<CreatedKey>) {
    let key = key(made.row, app.clock.now_ms());
    (StatusCode::CREATED, Json(CreatedKey { secret: made.text, key }))
}

/// Create an API key
///
/// It is good at every ingest and query process within seconds.
#[utoipa::path(post, path = "/tenants/{tenant}/keys", tag = "keys", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id")),
    request_body = CreateKey, responses((status = 201, body = CreatedKey), Problems))]
async fn create(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Body(body): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), AppError> {
    let scope = |text: &String| one_of("scopes", &Scope::ALL, Scope::as_str, text);
    let priority = |text: &String| one_of("priority", &Priority::ALL, Priority::as_str, text);
    let new = NewKey {
        name: body.name,
        scopes: body.scopes.iter().map(scope).collect::<Result<_, _>>()?,
        expires_at_ms: body.expires_at_ms,
        priority: body.priority.as_ref().map(priority).transpose()?.unwrap_or_default(),
        networks: body.networks,
    };
    let made = app.create_key(&actor, &tenant, new).await?;
    Ok(created(&app, made))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only what is older than the key with this id: the last one of the page before.
    before: Option<String>,
    /// 1 to 200; 200 when left out.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct KeyList {
    /// Newest first.
    keys: Vec<Key>,
}

/// The API keys of a tenant
#[utoipa::path(get, path = "/tenants/{tenant}/keys", tag = "keys", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id"), Page),
    responses((status = 200, body = KeyList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Parameters(page): Parameters<Page>,
) -> Result<Json<KeyList>, AppError> {
    let rows = app.keys(&actor, &tenant, page.before.as_deref(), page.limit).await?;
    let now_ms = app.clock.now_ms();
    Ok(Json(KeyList { keys: rows.into_iter().map(|row| key(row, now_ms)).collect() }))
}

/// One API key
#[utoipa::path(get, path = "/tenants/{tenant}/keys/{key}", tag = "keys", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id"),
        ("key" = String, Path, description = "The key's id")),
    responses((status = 200, body = Key), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Json<Key>, AppError> {
    let row = app.key(&actor, &tenant, &id).await?;
    Ok(Json(key(row, app.clock.now_ms())))
}

/// Revoke an API key
///
/// It is refused everywhere within 5 seconds.
#[utoipa::path(delete, path = "/tenants/{tenant}/keys/{key}", tag = "keys", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id"),
        ("key" = String, Path, description = "The key's id")),
    responses((status = 204, description = "It is revoked."), Problems))]
async fn revoke(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<StatusCode, AppError> {
    app.revoke_key(&actor, &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotate {
    /// For how many seconds the key stays good beside its successor: 0 to 30 days.
    #[schema(example = 86_400)]
    overlap_s: i64,
}

/// Rotate an API key
///
/// Makes a successor with the same rights and as long a life.
#[utoipa::path(post, path = "/tenants/{tenant}/keys/{key}/rotate", tag = "keys", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "The tenant's id"),
        ("key" = String, Path, description = "The key's id")),
    request_body = Rotate, responses((status = 201, body = CreatedKey), Problems))]
async fn rotate(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((tenant, id)): Path<(String, String)>,
    Body(body): Body<Rotate>,
) -> Result<(StatusCode, Json<CreatedKey>), AppError> {
    let made = app.rotate_key(&actor, &tenant, &id, body.overlap_s).await?;
    Ok(created(&app, made))
}
