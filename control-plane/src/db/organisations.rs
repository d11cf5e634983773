//! Organisations.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Debug, FromRow)]
pub(crate) struct OrganisationRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) spend_limit_micros: Option<i64>,
    pub(crate) created_at_ms: i64,
}

/// An organisation as one of its members sees it.
#[derive(Debug, FromRow)]
pub(crate) struct MembershipRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) created_at_ms: i64,
    pub(crate) role: String,
}

pub(crate) async fn add(
    db: &mut AnyConnection,
    id: &str,
    name: &str,
    plan: &str,
    now_ms: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO organisations (id, name, plan, created_at_ms, revision) VALUES ($1, $2, $3, $4, 0)",
    )
    .bind(id.to_owned())
    .bind(name.to_owned())
    .bind(plan.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn by_id(db: impl AnyExecutor<'_>, id: &str) -> Result<Option<OrganisationRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, name, plan, spend_limit_micros, created_at_ms FROM organisations WHERE id = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// An organisation as the operator sees it.
#[derive(Debug, FromRow)]
pub(crate) struct StandingRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) created_at_ms: i64,
    /// Final invoices that are not paid.
    pub(crate) unpaid: i64,
}

/// All of them, the oldest first.
pub(crate) async fn standings(db: &AnyPool) -> Result<Vec<StandingRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT o.id, o.name, o.plan, o.created_at_ms, COUNT(i.number) AS unpaid FROM organisations o
         LEFT JOIN invoices i ON i.organisation_id = o.id AND i.paid_at_ms IS NULL
         GROUP BY o.id, o.name, o.plan, o.created_at_ms ORDER BY o.created_at_ms, o.id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Those that were there before `until_ms` and have no final invoice of a month.
pub(crate) async fn without_invoice(
    db: &AnyPool,
    month: &str,
    until_ms: i64,
) -> Result<Vec<String>, DbError> {
    let ids = sqlx::query_scalar(
        "SELECT o.id FROM organisations o WHERE o.created_at_ms < $2
           AND NOT EXISTS (SELECT 1 FROM invoices i WHERE i.organisation_id = o.id AND i.month = $1)
         ORDER BY o.id",
    )
    .bind(month.to_owned())
    .bind(until_ms)
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// All of them.
pub(crate) async fn ids(db: &AnyPool) -> Result<Vec<String>, DbError> {
    Ok(sqlx::query_scalar("SELECT id FROM organisations ORDER BY id").fetch_all(db).await?)
}

/// The organisations of an account, oldest first.
pub(crate) async fn of_user(db: &AnyPool, user_id: &str) -> Result<Vec<MembershipRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT o.id, o.name, o.plan, o.created_at_ms, m.role FROM memberships m
         JOIN organisations o ON o.id = m.organisation_id WHERE m.user_id = $1 ORDER BY o.created_at_ms, o.id",
    )
    .bind(user_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn rename(db: &mut AnyConnection, id: &str, name: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE organisations SET name = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(name.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn set_plan(db: &mut AnyConnection, id: &str, plan: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE organisations SET plan = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(plan.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn set_spend_limit(
    db: &mut AnyConnection,
    id: &str,
    micros: Option<i64>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE organisations SET spend_limit_micros = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(micros)
        .execute(db)
        .await?;
    Ok(())
}
