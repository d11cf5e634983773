//! Who is in an organisation.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Debug, FromRow)]
pub(crate) struct MemberRow {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) created_at_ms: i64,
}

/// `false` when the account is a member already.
pub(crate) async fn add(
    db: &mut AnyConnection,
    organisation_id: &str,
    user_id: &str,
    role: &str,
    now_ms: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO memberships (organisation_id, user_id, role, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (organisation_id, user_id) DO NOTHING",
    )
    .bind(organisation_id.to_owned())
    .bind(user_id.to_owned())
    .bind(role.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn role(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
    user_id: &str,
) -> Result<Option<String>, DbError> {
    let role = sqlx::query_scalar("SELECT role FROM memberships WHERE organisation_id = $1 AND user_id = $2")
        .bind(organisation_id.to_owned())
        .bind(user_id.to_owned())
        .fetch_optional(db)
        .await?;
    Ok(role)
}

/// Everybody, the longest-standing first.
pub(crate) async fn all(db: &AnyPool, organisation_id: &str) -> Result<Vec<MemberRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT m.user_id, u.email, m.role, m.created_at_ms FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.organisation_id = $1 ORDER BY m.created_at_ms, m.user_id",
    )
    .bind(organisation_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn count(db: &mut AnyConnection, organisation_id: &str) -> Result<i64, DbError> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM memberships WHERE organisation_id = $1")
        .bind(organisation_id.to_owned())
        .fetch_one(db)
        .await?;
    Ok(count)
}

pub(crate) async fn count_with_role(
    db: &mut AnyConnection,
    organisation_id: &str,
    role: &str,
) -> Result<i64, DbError> {
    let count =
        sqlx::query_scalar("SELECT COUNT(*) FROM memberships WHERE organisation_id = $1 AND role = $2")
            .bind(organisation_id.to_owned())
            .bind(role.to_owned())
            .fetch_one(db)
            .await?;
    Ok(count)
}

pub(crate) async fn count_of_user(db: &mut AnyConnection, user_id: &str) -> Result<i64, DbError> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM memberships WHERE user_id = $1")
        .bind(user_id.to_owned())
        .fetch_one(db)
        .await?;
    Ok(count)
}

pub(crate) async fn set_role(
    db: &mut AnyConnection,
    organisation_id: &str,
    user_id: &str,
    role: &str,
) -> Result<(), DbError> {
    sqlx::query("UPDATE memberships SET role = $3 WHERE organisation_id = $1 AND user_id = $2")
        .bind(organisation_id.to_owned())
        .bind(user_id.to_owned())
        .bind(role.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn remove(
    db: &mut AnyConnection,
    organisation_id: &str,
    user_id: &str,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM memberships WHERE organisation_id = $1 AND user_id = $2")
        .bind(organisation_id.to_owned())
        .bind(user_id.to_owned())
        .execute(db)
        .await?;
    Ok(())
}
