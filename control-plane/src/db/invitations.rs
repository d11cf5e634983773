//! Invitations into an organisation that nobody has accepted yet.

use sqlx::{AnyConnection, AnyPool, FromRow};

use super::DbError;

#[derive(Debug, FromRow)]
pub(crate) struct InvitationRow {
    pub(crate) id: String,
    pub(crate) organisation_id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

pub(crate) async fn add(
    db: &mut AnyConnection,
    invitation: &InvitationRow,
    token_sha256: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO invitations (id, organisation_id, email, role, token_sha256, created_at_ms, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(invitation.id.clone())
    .bind(invitation.organisation_id.clone())
    .bind(invitation.email.clone())
    .bind(invitation.role.clone())
    .bind(token_sha256.to_owned())
    .bind(invitation.created_at_ms)
    .bind(invitation.expires_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// The open ones, oldest first.
pub(crate) async fn open(
    db: &AnyPool,
    organisation_id: &str,
    now_ms: i64,
) -> Result<Vec<InvitationRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, organisation_id, email, role, created_at_ms, expires_at_ms FROM invitations
         WHERE organisation_id = $1 AND expires_at_ms > $2 ORDER BY created_at_ms, id",
    )
    .bind(organisation_id.to_owned())
    .bind(now_ms)
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn count_open(
    db: &mut AnyConnection,
    organisation_id: &str,
    now_ms: i64,
) -> Result<i64, DbError> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM invitations WHERE organisation_id = $1 AND expires_at_ms > $2",
    )
    .bind(organisation_id.to_owned())
    .bind(now_ms)
    .fetch_one(db)
    .await?;
    Ok(count)
}

pub(crate) async fn by_token(
    db: &AnyPool,
    token_sha256: &str,
    now_ms: i64,
) -> Result<Option<InvitationRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, organisation_id, email, role, created_at_ms, expires_at_ms FROM invitations
         WHERE token_sha256 = $1 AND expires_at_ms > $2",
    )
    .bind(token_sha256.to_owned())
    .bind(now_ms)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// `false` when there is none: of two who settle it at once, one gets `true`.
pub(crate) async fn remove(db: &mut AnyConnection, organisation_id: &str, id: &str) -> Result<bool, DbError> {
    let done = sqlx::query("DELETE FROM invitations WHERE organisation_id = $1 AND id = $2")
        .bind(organisation_id.to_owned())
        .bind(id.to_owned())
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes earlier invitations of the same address void.
pub(crate) async fn remove_for(
    db: &mut AnyConnection,
    organisation_id: &str,
    email: &str,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM invitations WHERE organisation_id = $1 AND email = $2")
        .bind(organisation_id.to_owned())
        .bind(email.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn drop_expired(db: &mut AnyConnection, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM invitations WHERE expires_at_ms <= $1").bind(now_ms).execute(db).await?;
    Ok(())
}
