//! Plans, credits, the spend limit, and what payment providers tell.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller};
use super::problem::Problems;
use crate::app::App;
use crate::billing::{PlanVersion, Term};
use crate::db::credits::CreditRow;
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(price_plans))
        .routes(routes!(terms))
        .routes(routes!(credits))
        .routes(routes!(spend_limit, set_spend_limit))
        .routes(routes!(webhook))
}

#[derive(Serialize, ToSchema)]
struct PricePlans {
    /// Every version that ever was and that is announced. Prices are in millionths of the currency for `per` units; tiers are
    /// graduated. What has no price costs nothing.
    #[schema(value_type = Vec<Object>)]
    plans: Vec<PlanVersion>,
}

/// The price plans
#[utoipa::path(get, path = "/plans", tag = "billing", responses((status = 200, body = PricePlans), Problems))]
async fn price_plans(State(app): State<Arc<App>>) -> Result<Json<PricePlans>, AppError> {
    Ok(Json(PricePlans { plans: app.price_plans().await? }))
}

#[derive(Serialize, ToSchema)]
struct Terms {
    /// In order of time. The last one goes on.
    #[schema(value_type = Vec<Object>, example = json!([{"plan": "team", "from_s": 1_790_000_000, "until_s": null}]))]
    terms: Vec<Term>,
}

/// When an organisation was on which plan
#[utoipa::path(get, path = "/organisations/{organisation}/plan", tag = "billing", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = Terms), Problems))]
async fn terms(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Terms>, AppError> {
    Ok(Json(Terms { terms: app.plan_terms(&actor, &id).await? }))
}

/// Money that pays for invoices before the customer does.
#[derive(Serialize, ToSchema)]
pub(super) struct Credit {
    id: String,
    /// `sla`, `promotion`, `carried_over` or `overpayment`.
    kind: String,
    #[schema(example = "USD")]
    currency: String,
    /// Millionths of the currency.
    granted_micros: i64,
    /// What final invoices have not used.
    left_micros: i64,
    /// Unix seconds.
    granted_s: i64,
    /// Unix seconds; null: never.
    expires_s: Option<i64>,
    reason: String,
}

impl From<CreditRow> for Credit {
    fn from(row: CreditRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            currency: row.currency,
            granted_micros: row.granted_micros,
            left_micros: row.left_micros,
            granted_s: row.granted_s,
            expires_s: row.expires_s,
            reason: row.reason,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Credits {
    /// The oldest first.
    credits: Vec<Credit>,
}

/// The credits of an organisation
#[utoipa::path(get, path = "/organisations/{organisation}/credits", tag = "billing", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = Credits), Problems))]
async fn credits(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Credits>, AppError> {
    let rows = app.credits(&actor, &id).await?;
    Ok(Json(Credits { credits: rows.into_iter().map(Credit::from).collect() }))
}

#[derive(Serialize, ToSchema)]
struct Spending {
    /// Millionths of the currency, a calendar month (UTC); null: no limit.
    limit_micros: Option<i64>,
    /// What this month costs so far, credits taken off.
    spent_micros: i64,
    #[schema(example = "USD")]
    currency: Option<String>,
    #[schema(example = "2026-11")]
    month: String,
    /// 0, 50, 80 or 100: owners and who has the role `billing` get a mail at each step.
    reached_percent: u8,
    /// Whether writes are refused, since the limit is reached.
    stopped: bool,
}

/// The spend limit, and what is spent
#[utoipa::path(get, path = "/organisations/{organisation}/spend-limit", tag = "billing", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = Spending), Problems))]
async fn spend_limit(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Spending>, AppError> {
    let spending = app.spending(&actor, &id).await?;
    Ok(Json(Spending {
        limit_micros: spending.limit_micros,
        spent_micros: spending.spent_micros,
        currency: super::invoices::code(spending.currency),
        month: spending.month.to_string(),
        reached_percent: spending.reached_percent,
        stopped: spending.stopped,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SpendLimit {
    /// Millionths of the currency, a calendar month (UTC); null: no limit.
    #[schema(example = 250_000_000, required = true)]
    limit_micros: Option<i64>,
}

/// Set the spend limit
///
/// When it is reached, writes are refused (429) until it is raised or the month ends; queries go on. What was written before is
/// billed, also where that is a little more than the limit: usage is known when it is compacted.
#[utoipa::path(put, path = "/organisations/{organisation}/spend-limit", tag = "billing", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = SpendLimit, responses((status = 204, description = "The new limit holds."), Problems))]
async fn set_spend_limit(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Body(body): Body<SpendLimit>,
) -> Result<StatusCode, AppError> {
    app.set_spend_limit(&actor, &id, body.limit_micros).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the payment provider tells
///
/// Stripe's webhook. The header `Stripe-Signature` proves where it comes from; an event that comes again changes nothing.
#[utoipa::path(post, path = "/payments/webhook", tag = "billing",
    params(("Stripe-Signature" = Option<String>, Header, description = "t=SECONDS,v1=HEX")),
    request_body(content_type = "application/json", description = "An event"),
    responses((status = 204, description = "Noted."), Problems))]
async fn webhook(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, AppError> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    app.hear_of_payment(signature, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}
