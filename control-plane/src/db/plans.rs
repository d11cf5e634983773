//! Versions of price plans, and when organisations were on which.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;
use crate::billing::{PlanVersion, Term};

/// Adds a version of a plan. `false` when there is one with this number.
pub(crate) async fn add(db: &mut AnyConnection, version: &PlanVersion) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO price_plans (plan, version, effective_from_s, document) VALUES ($1, $2, $3, $4)
         ON CONFLICT (plan, version) DO NOTHING",
    )
    .bind(version.plan.clone())
    .bind(i64::from(version.version))
    .bind(version.effective_from_s)
    .bind(super::to_json(version)?)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Every version, by plan and number.
pub(crate) async fn all(db: impl AnyExecutor<'_>) -> Result<Vec<PlanVersion>, DbError> {
    let documents: Vec<String> =
        sqlx::query_scalar("SELECT document FROM price_plans ORDER BY plan, version").fetch_all(db).await?;
    documents.iter().map(|document| super::from_json(document)).collect()
}

#[derive(FromRow)]
struct TermRow {
    from_s: i64,
    until_s: Option<i64>,
    plan: String,
}

/// The terms of an organisation, in order.
pub(crate) async fn terms(db: impl AnyExecutor<'_>, organisation_id: &str) -> Result<Vec<Term>, DbError> {
    let rows: Vec<TermRow> = sqlx::query_as(
        "SELECT from_s, until_s, plan FROM plan_terms WHERE organisation_id = $1 ORDER BY from_s",
    )
    .bind(organisation_id.to_owned())
    .fetch_all(db)
    .await?;
    let term = |row: TermRow| Term { plan: row.plan, from_s: row.from_s, until_s: row.until_s };
    Ok(rows.into_iter().map(term).collect())
}

/// Puts an organisation, which is locked, on a plan from `now_s` on.
pub(crate) async fn begin_term(
    db: &mut AnyConnection,
    organisation_id: &str,
    plan: &str,
    now_s: i64,
) -> Result<(), DbError> {
    // A term that began in this very second, or later on a clock that went back, has never been.
    sqlx::query("DELETE FROM plan_terms WHERE organisation_id = $1 AND from_s >= $2")
        .bind(organisation_id.to_owned())
        .bind(now_s)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE plan_terms SET until_s = $2 WHERE organisation_id = $1 AND (until_s IS NULL OR until_s > $2)",
    )
    .bind(organisation_id.to_owned())
    .bind(now_s)
    .execute(&mut *db)
    .await?;
    sqlx::query("INSERT INTO plan_terms (organisation_id, from_s, plan) VALUES ($1, $2, $3)")
        .bind(organisation_id.to_owned())
        .bind(now_s)
        .bind(plan.to_owned())
        .execute(db)
        .await?;
    Ok(())
}
