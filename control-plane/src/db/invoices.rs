//! Final invoices.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

/// A final invoice without its lines.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct InvoiceRow {
    pub(crate) organisation_id: String,
    pub(crate) month: String,
    pub(crate) number: i64,
    pub(crate) currency: String,
    pub(crate) total_micros: i64,
    pub(crate) finalised_at_ms: i64,
    pub(crate) paid_at_ms: Option<i64>,
    /// Until when usage was known; `None` for those that are older than this.
    pub(crate) as_of_ms: Option<i64>,
}

/// The next number. Whoever asks waits until the one before has made its invoice, or has not.
pub(crate) async fn next_number(db: &mut AnyConnection) -> Result<i64, DbError> {
    sqlx::query("UPDATE invoice_numbers SET last = last + 1 WHERE name = 'invoices'")
        .execute(&mut *db)
        .await?;
    let number =
        sqlx::query_scalar("SELECT last FROM invoice_numbers WHERE name = 'invoices'").fetch_one(db).await?;
    Ok(number)
}

pub(crate) async fn add(
    db: &mut AnyConnection,
    invoice: &InvoiceRow,
    document: String,
    input: String,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO invoices
           (organisation_id, month, number, currency, total_micros, finalised_at_ms, paid_at_ms, as_of_ms, document, input)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(invoice.organisation_id.clone())
    .bind(invoice.month.clone())
    .bind(invoice.number)
    .bind(invoice.currency.clone())
    .bind(invoice.total_micros)
    .bind(invoice.finalised_at_ms)
    .bind(invoice.paid_at_ms)
    .bind(invoice.as_of_ms)
    .bind(document)
    .bind(input)
    .execute(db)
    .await?;
    Ok(())
}

/// All of an organisation's, the oldest first.
pub(crate) async fn of_organisation(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
) -> Result<Vec<InvoiceRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT organisation_id, month, number, currency, total_micros, finalised_at_ms, paid_at_ms, as_of_ms FROM invoices
         WHERE organisation_id = $1 ORDER BY month",
    )
    .bind(organisation_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn of_month(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
    month: &str,
) -> Result<Option<InvoiceRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT organisation_id, month, number, currency, total_micros, finalised_at_ms, paid_at_ms, as_of_ms FROM invoices
         WHERE organisation_id = $1 AND month = $2",
    )
    .bind(organisation_id.to_owned())
    .bind(month.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

pub(crate) async fn by_number(db: impl AnyExecutor<'_>, number: i64) -> Result<Option<InvoiceRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT organisation_id, month, number, currency, total_micros, finalised_at_ms, paid_at_ms, as_of_ms FROM invoices
         WHERE number = $1",
    )
    .bind(number)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// The invoices from a month on, as JSON, in order.
pub(crate) async fn documents_since(
    db: &mut AnyConnection,
    organisation_id: &str,
    month: &str,
) -> Result<Vec<String>, DbError> {
    let documents = sqlx::query_scalar(
        "SELECT document FROM invoices WHERE organisation_id = $1 AND month >= $2 ORDER BY month",
    )
    .bind(organisation_id.to_owned())
    .bind(month.to_owned())
    .fetch_all(db)
    .await?;
    Ok(documents)
}

/// One invoice as JSON, and what it was computed from.
#[derive(FromRow)]
pub(crate) struct InvoiceText {
    pub(crate) document: String,
    pub(crate) input: String,
}

pub(crate) async fn text(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
    month: &str,
) -> Result<Option<InvoiceText>, DbError> {
    let row =
        sqlx::query_as("SELECT document, input FROM invoices WHERE organisation_id = $1 AND month = $2")
            .bind(organisation_id.to_owned())
            .bind(month.to_owned())
            .fetch_optional(db)
            .await?;
    Ok(row)
}

/// Notes that an invoice is paid. `false` when it was already.
pub(crate) async fn pay(db: &mut AnyConnection, number: i64, now_ms: i64) -> Result<bool, DbError> {
    let sql = "UPDATE invoices SET paid_at_ms = $2 WHERE number = $1 AND paid_at_ms IS NULL";
    let done = sqlx::query(sql).bind(number).bind(now_ms).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
