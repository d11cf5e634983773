//! Invoices, as data and as a page, and having them paid.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Caller;
use super::problem::Problems;
use crate::app::App;
use crate::app::invoices::number_of;
use crate::billing::render::{Party, to_csv, to_html};
use crate::billing::{Currency, Invoice, InvoiceExport, Month};
use crate::db::invoices::InvoiceRow;
use crate::error::AppError;
use crate::payments::PaymentOffer;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(page))
        .routes(routes!(table))
        .routes(routes!(export))
        .routes(routes!(pay))
}

/// A final invoice.
#[derive(Serialize, ToSchema)]
pub(super) struct InvoiceSummary {
    /// Numbers have no gap.
    number: i64,
    /// The number for people.
    #[schema(example = "FW-000042")]
    name: String,
    #[schema(example = "2026-11")]
    month: String,
    #[schema(example = "USD")]
    currency: String,
    /// What is to be paid, in millionths of the currency: whole cents.
    total_micros: i64,
    /// Milliseconds since the Unix epoch.
    finalised_at_ms: i64,
    /// Milliseconds since the Unix epoch; null: not paid. Where nothing was to be paid, it was paid at once.
    paid_at_ms: Option<i64>,
}

impl From<InvoiceRow> for InvoiceSummary {
    fn from(row: InvoiceRow) -> Self {
        Self {
            number: row.number,
            name: number_of(&row),
            month: row.month,
            currency: row.currency,
            total_micros: row.total_micros,
            finalised_at_ms: row.finalised_at_ms,
            paid_at_ms: row.paid_at_ms,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct InvoiceList {
    /// The oldest first. They never change.
    invoices: Vec<InvoiceSummary>,
    /// Months whose invoice is a draft. It becomes final two days after the month's end.
    #[schema(value_type = Vec<String>, example = json!(["2026-11"]))]
    drafts: Vec<Month>,
}

/// The invoices of an organisation
#[utoipa::path(get, path = "/organisations/{organisation}/invoices", tag = "invoices", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id")),
    responses((status = 200, body = InvoiceList), Problems))]
async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path(organisation): Path<String>,
) -> Result<Json<InvoiceList>, AppError> {
    let (rows, drafts) = app.invoices(&actor, &organisation).await?;
    Ok(Json(InvoiceList { invoices: rows.into_iter().map(InvoiceSummary::from).collect(), drafts }))
}

#[derive(Serialize, ToSchema)]
struct InvoiceDocument {
    /// Null: a draft.
    summary: Option<InvoiceSummary>,
    /// All that had been compacted by then is in it, in milliseconds since the Unix epoch; null: not known.
    as_of_ms: Option<i64>,
    /// Lines, credits, totals in millionths of the currency, and the same money by tenant, signal, metric name and API key. By tenant
    /// and signal it is exact; metric names and API keys have parts in proportion to what ingest counted.
    #[schema(value_type = Object)]
    invoice: Invoice,
}

/// One invoice
///
/// Of a month that is not final, it is what would be billed now: the same computation.
#[utoipa::path(get, path = "/organisations/{organisation}/invoices/{month}", tag = "invoices", security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("month" = String, Path, description = "Such as 2026-11")),
    responses((status = 200, body = InvoiceDocument), Problems))]
async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, month)): Path<(String, String)>,
) -> Result<Json<InvoiceDocument>, AppError> {
    let bill = app.invoice(&actor, &organisation, &month).await?;
    let summary = bill.row.map(InvoiceSummary::from);
    Ok(Json(InvoiceDocument { summary, as_of_ms: bill.as_of_ms, invoice: bill.invoice }))
}

/// One invoice to be printed
#[utoipa::path(get, path = "/organisations/{organisation}/invoices/{month}/page", tag = "invoices",
    security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("month" = String, Path, description = "Such as 2026-11")),
    responses((status = 200, content_type = "text/html", description = "A page for A4 that loads nothing"), Problems))]
async fn page(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, month)): Path<(String, String)>,
) -> Result<Response, AppError> {
    let bill = app.invoice(&actor, &organisation, &month).await?;
    let (row, _) = app.organisation(&actor, &organisation).await?;
    let buyer = Party { name: row.name, details: organisation };
    let page = to_html(&bill.invoice, &bill.number(), bill.as_of_ms, &app.seller, &buyer);
    let nothing_runs = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")];
    Ok((nothing_runs, Html(page)).into_response())
}

/// One invoice for spreadsheets
#[utoipa::path(get, path = "/organisations/{organisation}/invoices/{month}/csv", tag = "invoices",
    security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("month" = String, Path, description = "Such as 2026-11")),
    responses((status = 200, content_type = "text/csv", description = "RFC 4180, with a line of names"), Problems))]
async fn table(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, month)): Path<(String, String)>,
) -> Result<Response, AppError> {
    let bill = app.invoice(&actor, &organisation, &month).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], to_csv(&bill.invoice, bill.as_of_ms))
        .into_response())
}

/// All that an invoice was computed from, for documentation.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `InvoiceExport`, which is billing's and knows no OpenAPI")]
struct InvoiceInputs {
    /// The version of this format: 1.
    format: u32,
    /// Null: a draft.
    number: Option<u64>,
    /// All that the ledger had by then is in the usage, in milliseconds since the Unix epoch; left out where it is not known.
    #[schema(required = false)]
    as_of_ms: Option<i64>,
    /// The organisation's tenants, deleted ones among them.
    tenants: Vec<String>,
    /// What is stated.
    invoice: Value,
    /// Plans, terms, hourly usage, attribution, credits, and what was billed for earlier months that are corrected.
    input: Value,
}

/// What an invoice was computed from
///
/// For `farwatch verify-invoice`, which compares the usage with the ledger and computes the invoice anew.
#[utoipa::path(get, path = "/organisations/{organisation}/invoices/{month}/inputs", tag = "invoices",
    security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("month" = String, Path, description = "Such as 2026-11")),
    responses((status = 200, body = InvoiceInputs), Problems))]
async fn export(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, month)): Path<(String, String)>,
) -> Result<Json<InvoiceExport>, AppError> {
    Ok(Json(app.invoice_export(&actor, &organisation, &month).await?))
}

/// How to pay.
#[derive(Serialize, ToSchema)]
struct Offer {
    /// The page on which the invoice can be paid; null: by hand, as `instructions` say.
    url: Option<String>,
    /// Until when the page is good, in milliseconds since the Unix epoch.
    expires_at_ms: Option<i64>,
    instructions: Option<String>,
}

/// Pay an invoice
///
/// Asking again gives the same page as long as it is good. The invoice is paid once the payment provider, or the operator, says so.
#[utoipa::path(post, path = "/organisations/{organisation}/invoices/{month}/payment", tag = "invoices",
    security(("bearer" = [])),
    params(("organisation" = String, Path, description = "The organisation's id"),
        ("month" = String, Path, description = "Such as 2026-11")),
    responses((status = 200, body = Offer), Problems))]
async fn pay(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Path((organisation, month)): Path<(String, String)>,
) -> Result<Json<Offer>, AppError> {
    let (offer, expires_at_ms) = app.offer_payment(&actor, &organisation, &month).await?;
    Ok(Json(match offer {
        PaymentOffer::Page { url, .. } => Offer { url: Some(url), expires_at_ms, instructions: None },
        PaymentOffer::Instructions(text) => {
            Offer { url: None, expires_at_ms: None, instructions: Some(text) }
        }
    }))
}

/// The currency's code, for documents that are not made of billing's types.
pub(super) fn code(currency: Option<Currency>) -> Option<String> {
    currency.map(|currency| currency.code().to_owned())
}
