//! Signups whose address is not proven yet.

use sqlx::{AnyConnection, FromRow};

use super::DbError;

#[derive(FromRow)]
pub(crate) struct SignupRow {
    pub(crate) email: String,
    pub(crate) password_hash: String,
}

pub(crate) async fn add(
    db: &mut AnyConnection,
    token_sha256: &str,
    email: &str,
    password_hash: &str,
    now_ms: i64,
    expires_at_ms: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO signups (token_sha256, email, password_hash, created_at_ms, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(token_sha256.to_owned())
    .bind(email.to_owned())
    .bind(password_hash.to_owned())
    .bind(now_ms)
    .bind(expires_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn find(
    db: &mut AnyConnection,
    token_sha256: &str,
    now_ms: i64,
) -> Result<Option<SignupRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT email, password_hash FROM signups WHERE token_sha256 = $1 AND expires_at_ms > $2",
    )
    .bind(token_sha256.to_owned())
    .bind(now_ms)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Makes every signup with this address void.
pub(crate) async fn drop_all(db: &mut AnyConnection, email: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM signups WHERE email = $1").bind(email.to_owned()).execute(db).await?;
    Ok(())
}

pub(crate) async fn drop_expired(db: &mut AnyConnection, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM signups WHERE expires_at_ms <= $1").bind(now_ms).execute(db).await?;
    Ok(())
}
