//! Credits of organisations.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

#[derive(Clone, Debug, FromRow)]
pub(crate) struct CreditRow {
    pub(crate) id: String,
    pub(crate) organisation_id: String,
    pub(crate) kind: String,
    pub(crate) currency: String,
    pub(crate) granted_micros: i64,
    pub(crate) left_micros: i64,
    pub(crate) granted_s: i64,
    pub(crate) expires_s: Option<i64>,
    pub(crate) reason: String,
}

pub(crate) async fn add(db: &mut AnyConnection, credit: &CreditRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO credits
           (id, organisation_id, kind, currency, granted_micros, left_micros, granted_s, expires_s, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(credit.id.clone())
    .bind(credit.organisation_id.clone())
    .bind(credit.kind.clone())
    .bind(credit.currency.clone())
    .bind(credit.granted_micros)
    .bind(credit.left_micros)
    .bind(credit.granted_s)
    .bind(credit.expires_s)
    .bind(credit.reason.clone())
    .execute(db)
    .await?;
    Ok(())
}

/// All of an organisation's, the oldest first.
pub(crate) async fn of_organisation(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
) -> Result<Vec<CreditRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, organisation_id, kind, currency, granted_micros, left_micros, granted_s, expires_s, reason
         FROM credits WHERE organisation_id = $1 ORDER BY granted_s, id",
    )
    .bind(organisation_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Uses a credit. `false` when less is left of it than was thought.
pub(crate) async fn take(db: &mut AnyConnection, id: &str, micros: i64) -> Result<bool, DbError> {
    let sql = "UPDATE credits SET left_micros = left_micros - $2 WHERE id = $1 AND left_micros >= $2";
    let done = sqlx::query(sql).bind(id.to_owned()).bind(micros).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
