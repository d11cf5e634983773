//! Attempts to have invoices paid, and what payment providers told.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

#[derive(Clone, Debug, FromRow)]
pub(crate) struct PaymentRow {
    pub(crate) id: String,
    pub(crate) organisation_id: String,
    pub(crate) month: String,
    pub(crate) provider: String,
    pub(crate) reference: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) amount_micros: i64,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) paid_at_ms: Option<i64>,
}

pub(crate) async fn add(db: &mut AnyConnection, payment: &PaymentRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO payments (id, organisation_id, month, provider, reference, url, amount_micros, created_at_ms,
           expires_at_ms, paid_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(payment.id.clone())
    .bind(payment.organisation_id.clone())
    .bind(payment.month.clone())
    .bind(payment.provider.clone())
    .bind(payment.reference.clone())
    .bind(payment.url.clone())
    .bind(payment.amount_micros)
    .bind(payment.created_at_ms)
    .bind(payment.expires_at_ms)
    .bind(payment.paid_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// The payments of an invoice, the newest first.
pub(crate) async fn of_invoice(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
    month: &str,
) -> Result<Vec<PaymentRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, organisation_id, month, provider, reference, url, amount_micros, created_at_ms, expires_at_ms,
           paid_at_ms
         FROM payments WHERE organisation_id = $1 AND month = $2 ORDER BY created_at_ms DESC, id DESC",
    )
    .bind(organisation_id.to_owned())
    .bind(month.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn by_id(db: impl AnyExecutor<'_>, id: &str) -> Result<Option<PaymentRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, organisation_id, month, provider, reference, url, amount_micros, created_at_ms, expires_at_ms,
           paid_at_ms
         FROM payments WHERE id = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// What the provider answered.
pub(crate) async fn opened(
    db: &mut AnyConnection,
    id: &str,
    reference: &str,
    url: &str,
) -> Result<(), DbError> {
    sqlx::query("UPDATE payments SET reference = $2, url = $3 WHERE id = $1")
        .bind(id.to_owned())
        .bind(reference.to_owned())
        .bind(url.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that money came. `false` when that was noted already.
pub(crate) async fn pay(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE payments SET paid_at_ms = $2 WHERE id = $1 AND paid_at_ms IS NULL")
        .bind(id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes what a provider told. `false` when it told that before.
pub(crate) async fn note_event(
    db: &mut AnyConnection,
    provider: &'static str,
    id: &str,
    now_ms: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO payment_events (provider, id, received_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (provider, id) DO NOTHING",
    )
    .bind(provider)
    .bind(id.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
