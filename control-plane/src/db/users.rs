//! Accounts, and resets of their passwords.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

#[derive(FromRow)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) password_hash: String,
    pub(crate) totp_nonce: Option<String>,
    pub(crate) totp_enabled_at_ms: Option<i64>,
    pub(crate) totp_last_step: i64,
    pub(crate) recovery_used: i64,
    pub(crate) created_at_ms: i64,
}

/// `false` when there is an account with this address.
pub(crate) async fn add(
    db: &mut AnyConnection,
    id: &str,
    email: &str,
    password_hash: &str,
    now_ms: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO users (id, email, password_hash, totp_last_step, created_at_ms, revision)
         VALUES ($1, $2, $3, 0, $4, 0) ON CONFLICT (email) DO NOTHING",
    )
    .bind(id.to_owned())
    .bind(email.to_owned())
    .bind(password_hash.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn by_email(db: impl AnyExecutor<'_>, email: &str) -> Result<Option<UserRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, email, password_hash, totp_nonce, totp_enabled_at_ms, totp_last_step, recovery_used,
           created_at_ms
         FROM users WHERE email = $1",
    )
    .bind(email.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

pub(crate) async fn by_id(db: impl AnyExecutor<'_>, id: &str) -> Result<Option<UserRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, email, password_hash, totp_nonce, totp_enabled_at_ms, totp_last_step, recovery_used,
           created_at_ms
         FROM users WHERE id = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

pub(crate) async fn set_password(db: &mut AnyConnection, id: &str, hash: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(hash.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

/// A second factor that is not in force yet.
pub(crate) async fn propose_totp(db: &mut AnyConnection, id: &str, nonce: &str) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE users SET totp_nonce = $2, totp_enabled_at_ms = NULL, recovery_used = 0 WHERE id = $1",
    )
    .bind(id.to_owned())
    .bind(nonce.to_owned())
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn enable_totp(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE users SET totp_enabled_at_ms = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn disable_totp(db: &mut AnyConnection, id: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE users SET totp_nonce = NULL, totp_enabled_at_ms = NULL WHERE id = $1")
        .bind(id.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that the code of `step` was used. `false` when it, or a later one, was used already.
pub(crate) async fn use_totp_step(db: &mut AnyConnection, id: &str, step: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE users SET totp_last_step = $2 WHERE id = $1 AND totp_last_step < $2")
        .bind(id.to_owned())
        .bind(step)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a recovery code was used. `false` when it was already.
pub(crate) async fn use_recovery_code(
    db: &mut AnyConnection,
    id: &str,
    number: u32,
) -> Result<bool, DbError> {
    let sql = "UPDATE users SET recovery_used = recovery_used | $2 WHERE id = $1 AND recovery_used & $2 = 0";
    let done = sqlx::query(sql).bind(id.to_owned()).bind(1_i64 << number).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn add_reset(
    db: &mut AnyConnection,
    token_sha256: &str,
    user_id: &str,
    now_ms: i64,
    expires_at_ms: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO password_resets (token_sha256, user_id, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)",
    )
    .bind(token_sha256.to_owned())
    .bind(user_id.to_owned())
    .bind(now_ms)
    .bind(expires_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Whose password a token resets, if it is good.
pub(crate) async fn reset_owner(
    db: &mut AnyConnection,
    token_sha256: &str,
    now_ms: i64,
) -> Result<Option<String>, DbError> {
    let row = sqlx::query_scalar(
        "SELECT user_id FROM password_resets WHERE token_sha256 = $1 AND expires_at_ms > $2",
    )
    .bind(token_sha256.to_owned())
    .bind(now_ms)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Makes every reset of an account void.
pub(crate) async fn drop_resets(db: &mut AnyConnection, user_id: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM password_resets WHERE user_id = $1")
        .bind(user_id.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn drop_expired_resets(db: &mut AnyConnection, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM password_resets WHERE expires_at_ms <= $1").bind(now_ms).execute(db).await?;
    Ok(())
}
