//! Sessions and their refresh tokens.

use sqlx::{AnyConnection, AnyPool, FromRow};

use super::DbError;

#[derive(FromRow)]
pub(crate) struct RefreshRow {
    pub(crate) session_id: String,
    pub(crate) user_id: String,
    pub(crate) used_at_ms: Option<i64>,
}

pub(crate) async fn add(
    db: &mut AnyConnection,
    id: &str,
    user_id: &str,
    now_ms: i64,
    expires_at_ms: i64,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO sessions (id, user_id, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)")
        .bind(id.to_owned())
        .bind(user_id.to_owned())
        .bind(now_ms)
        .bind(expires_at_ms)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a session goes on.
pub(crate) async fn is_live(db: &AnyPool, id: &str, user_id: &str, now_ms: i64) -> Result<bool, DbError> {
    let row: Option<String> = sqlx::query_scalar(
        "SELECT id FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at_ms IS NULL AND expires_at_ms > $3",
    )
    .bind(id.to_owned())
    .bind(user_id.to_owned())
    .bind(now_ms)
    .fetch_optional(db)
    .await?;
    Ok(row.is_some())
}

pub(crate) async fn end(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE sessions SET ended_at_ms = $2 WHERE id = $1 AND ended_at_ms IS NULL")
        .bind(id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

/// Ends every session of an account but `except`.
pub(crate) async fn end_all(
    db: &mut AnyConnection,
    user_id: &str,
    except: Option<&str>,
    now_ms: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE sessions SET ended_at_ms = $3 WHERE user_id = $1 AND id <> $2 AND ended_at_ms IS NULL",
    )
    .bind(user_id.to_owned())
    .bind(except.unwrap_or_default().to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn add_refresh(
    db: &mut AnyConnection,
    token_sha256: &str,
    session_id: &str,
    now_ms: i64,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO refresh_tokens (token_sha256, session_id, issued_at_ms) VALUES ($1, $2, $3)")
        .bind(token_sha256.to_owned())
        .bind(session_id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that a token was used. `false` when it was already: of two at once, one gets `true`.
pub(crate) async fn use_refresh(
    db: &mut AnyConnection,
    token_sha256: &str,
    now_ms: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE refresh_tokens SET used_at_ms = $2 WHERE token_sha256 = $1 AND used_at_ms IS NULL",
    )
    .bind(token_sha256.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The token of a session that goes on.
pub(crate) async fn refresh(
    db: &mut AnyConnection,
    token_sha256: &str,
    now_ms: i64,
) -> Result<Option<RefreshRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT r.session_id, s.user_id, r.used_at_ms FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id
         WHERE r.token_sha256 = $1 AND s.ended_at_ms IS NULL AND s.expires_at_ms > $2",
    )
    .bind(token_sha256.to_owned())
    .bind(now_ms)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Their refresh tokens go with them.
pub(crate) async fn drop_expired(db: &mut AnyConnection, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE expires_at_ms <= $1").bind(now_ms).execute(db).await?;
    Ok(())
}
