//! The audit log.

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
use crate::db::audit::AuditRow;
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(of_organisation))
        .routes(routes!(of_account))
        .routes(routes!(of_operator))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only entries with a lower revision: the last one of the page before.
    before: Option<i64>,
    /// 1 to 200; 200 when left out.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct Entry {
    /// Counts the changes; there is no gap.
    revision: i64,
    /// Milliseconds since the Unix epoch.
    at_ms: i64,
    /// Who did it: `user:ID`, `key:ID`, or `operator`.
    #[schema(example = "user:usr_4c90gbrkq1zavw3x8n2m")]
    actor: String,
    /// What was done.
    #[schema(example = "key.create")]
    action: String,
    /// To what: mostly an id.
    subject: String,
    /// More of it.
    #[schema(value_type = Object)]
    details: serde_json::Value,
}

#[derive(Serialize, ToSchema)]
struct AuditLog {
    /// Newest first.
    entries: Vec<Entry>,
}

fn log(rows: Vec<AuditRow>) -> Json<AuditLog> {
    let entries = rows.into_iter().map(|row| Entry {
        revision: row.revision,
        at_ms: row.at_ms,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        details: serde_json::from_str(&row.details).unwrap_or_default(),
    });
    Json(AuditLog { entries: entries.collect() })
}

/// What was changed in an organisation
#[utoipa::path(get, path = "/organisations/{organisation}/audit", tag = "audit", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"), Page),
    responses((status = 200, body = AuditLog), Problems))]
async fn of_organisation(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Parameters(page): Parameters<Page>,
) -> Result<Json<AuditLog>, AppError> {
    Ok(log(app.audit_log(&actor, &organisation, page.before, page.limit).await?))
}

/// What was changed in the own account
#[utoipa::path(get, path = "/account/audit", tag = "audit", security(("bearer" = [])), params(Page),
    responses((status = 200, body = AuditLog), Problems))]
async fn of_account(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<AuditLog>, AppError> {
    Ok(log(app.own_audit_log(&actor, page.before, page.limit).await?))
}

/// What the operator changed
///
/// Of prices and cells. What the operator changes of an organisation is in its own log.
#[utoipa::path(get, path = "/operator/audit", tag = "operator", security(("bearer" = [])), params(Page),
    responses((status = 200, body = AuditLog), Problems))]
async fn of_operator(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<AuditLog>, AppError> {
    Ok(log(app.operator_audit_log(&actor, page.before, page.limit).await?))
}
