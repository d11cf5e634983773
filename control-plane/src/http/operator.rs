//! What only the operator does, with the operator's token.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::billing::Credit;
use super::extract::{Body, Caller, Parameters, one_of};
use super::invoices::InvoiceSummary;
use super::problem::Problems;
use crate::app::App;
use crate::app::credits::NewCredit;
use crate::app::quotas::plan::Plan;
use crate::billing::{CostTable, CreditKind, Currency, PlanVersion, ResourceUse, TenantMargin};
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(organisations))
        .routes(routes!(margins))
        .routes(routes!(add_plan))
        .routes(routes!(set_plan))
        .routes(routes!(grant))
        .routes(routes!(mark_paid))
}

#[derive(Serialize, ToSchema)]
struct OrganisationStanding {
    id: String,
    name: String,
    plan: String,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
    /// Final invoices that are not paid.
    unpaid_invoices: i64,
}

#[derive(Serialize, ToSchema)]
struct OrganisationStandings {
    /// The oldest first.
    organisations: Vec<OrganisationStanding>,
}

/// Every organisation
#[utoipa::path(get, path = "/operator/organisations", tag = "operator", security(("bearer" = [])),
    responses((status = 200, body = OrganisationStandings), Problems))]
async fn organisations(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
) -> Result<Json<OrganisationStandings>, AppError> {
    let organisations = app.standings(&actor).await?.into_iter().map(|row| OrganisationStanding {
        id: row.id,
        name: row.name,
        plan: row.plan,
        created_at_ms: row.created_at_ms,
        unpaid_invoices: row.unpaid,
    });
    Ok(Json(OrganisationStandings { organisations: organisations.collect() }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MarginsOf {
    /// A calendar month (UTC) such as `2026-11`; this month when left out.
    month: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Margins {
    #[schema(example = "2026-11")]
    month: String,
    /// What the operator pays for resources.
    #[schema(value_type = Object)]
    costs: CostTable,
    /// Revenue before credits, cost of requests, storage and computing, and the difference, in millionths of the currency. A tenant
    /// of null is what none of them caused.
    #[schema(value_type = Vec<Object>)]
    tenants: Vec<TenantMargin>,
    /// What was used up. Of what many tenants used together (requests, CPU), each has a part by the bytes it stored.
    #[schema(value_type = Vec<Object>)]
    uses: Vec<ResourceUse>,
    /// Organisations that are billed in another currency.
    left_out: Vec<String>,
}

/// Revenue beside cost, by tenant
#[utoipa::path(get, path = "/operator/margins", tag = "operator", security(("bearer" = [])), params(MarginsOf),
    responses((status = 200, body = Margins), Problems))]
async fn margins(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Parameters(which): Parameters<MarginsOf>,
) -> Result<Json<Margins>, AppError> {
    actor.operator()?;
    let month = app.month_named(which.month.as_deref())?;
    let margins = app.margins(&actor, month).await?;
    Ok(Json(Margins {
        month: month.to_string(),
        costs: margins.costs,
        tenants: margins.tenants,
        uses: margins.uses,
        left_out: margins.left_out,
    }))
}

/// Add a version of a price plan
///
/// The next number, in force from a time to come, in the plan's currency. Versions are never changed.
#[utoipa::path(post, path = "/operator/plans", tag = "operator", security(("bearer" = [])),
    request_body(content = Object, description = "A version as GET /plans shows them"),
    responses((status = 204, description = "It is announced."), Problems))]
async fn add_plan(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(version): Body<PlanVersion>,
) -> Result<StatusCode, AppError> {
    app.add_price_plan(&actor, &version).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlan {
    #[schema(value_type = Plan)]
    plan: String,
}

/// Put an organisation on another plan
///
/// Its limits hold within 5 seconds, its prices from this second on.
#[utoipa::path(put, path = "/operator/organisations/{organisation}/plan", tag = "operator", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = NewPlan, responses((status = 204, description = "It is on the plan."), Problems))]
async fn set_plan(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Body(body): Body<NewPlan>,
) -> Result<StatusCode, AppError> {
    actor.operator()?;
    let plan = one_of("plan", &Plan::ALL, Plan::as_str, &body.plan)?;
    if !app.set_plan(&organisation, plan).await? {
        return Err(AppError::NotFound("organisation"));
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GrantCredit {
    /// `sla` or `promotion`.
    #[schema(example = "sla")]
    kind: String,
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// Millionths of the currency, more than zero.
    micros: i64,
    /// Unix seconds; never when left out.
    expires_s: Option<i64>,
    /// For its owner: 200 characters at most.
    reason: String,
}

/// Grant a credit
#[utoipa::path(post, path = "/operator/organisations/{organisation}/credits", tag = "operator", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    request_body = GrantCredit, responses((status = 201, body = Credit), Problems))]
async fn grant(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
    Body(body): Body<GrantCredit>,
) -> Result<(StatusCode, Json<Credit>), AppError> {
    actor.operator()?;
    let GrantCredit { kind, currency, micros, expires_s, reason } = body;
    // Others come about by themselves.
    let kind = one_of("kind", &[CreditKind::Sla, CreditKind::Promotion], CreditKind::as_str, &kind)?;
    let new = NewCredit { kind, currency, micros, expires_s, reason };
    let credit = app.grant_credit(&actor, &organisation, new).await?;
    Ok((StatusCode::CREATED, Json(credit.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MarkPaid {
    /// What the payment is called in the books, such as a bank's reference: 200 characters at most.
    reference: String,
}

/// Note that an invoice was paid
#[utoipa::path(put, path = "/operator/invoices/{number}/paid", tag = "operator", security(("bearer" = [])),
    params(("number" = i64, Path, description = "The invoice's number")),
    request_body = MarkPaid, responses((status = 200, body = InvoiceSummary), Problems))]
async fn mark_paid(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(number): Path<String>,
    Body(body): Body<MarkPaid>,
) -> Result<Json<InvoiceSummary>, AppError> {
    actor.operator()?;
    let number = number.parse().map_err(|_| AppError::NotFound("invoice"))?;
    Ok(Json(app.mark_paid(&actor, number, &body.reference).await?.into()))
}
