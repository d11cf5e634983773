//! API keys.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Clone, Debug, FromRow)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) scopes: String,
    pub(crate) priority: String,
    pub(crate) networks: String,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) revoked_at_ms: Option<i64>,
    pub(crate) last_used_at_ms: Option<i64>,
    /// How long it was to be good when it was made; nothing in keys that are older than this column.
    pub(crate) life_ms: Option<i64>,
}

pub(crate) async fn add(db: &mut AnyConnection, key: &KeyRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO api_keys
           (id, tenant_id, name, sha256, scopes, priority, networks, created_at_ms, expires_at_ms, life_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id.clone())
    .bind(key.tenant_id.clone())
    .bind(key.name.clone())
    .bind(key.sha256.clone())
    .bind(key.scopes.clone())
    .bind(key.priority.clone())
    .bind(key.networks.clone())
    .bind(key.created_at_ms)
    .bind(key.expires_at_ms)
    .bind(key.life_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// All of a tenant's, newest first, at most `count` of them and older than `before` (a creation time and an id).
pub(crate) async fn page(
    db: &AnyPool,
    tenant_id: &str,
    before: (i64, &str),
    count: i64,
) -> Result<Vec<KeyRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, tenant_id, name, sha256, scopes, priority, networks, created_at_ms, expires_at_ms, revoked_at_ms,
           last_used_at_ms, life_ms
         FROM api_keys
         WHERE tenant_id = $1 AND (created_at_ms < $2 OR (created_at_ms = $2 AND id < $3))
         ORDER BY created_at_ms DESC, id DESC LIMIT $4",
    )
    .bind(tenant_id.to_owned())
    .bind(before.0)
    .bind(before.1.to_owned())
    .bind(count)
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn by_id(db: impl AnyExecutor<'_>, id: &str) -> Result<Option<KeyRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, tenant_id, name, sha256, scopes, priority, networks, created_at_ms, expires_at_ms, revoked_at_ms,
           last_used_at_ms, life_ms
         FROM api_keys WHERE id = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Those that are neither revoked nor expired.
pub(crate) async fn count_live(db: &mut AnyConnection, tenant_id: &str, now_ms: i64) -> Result<i64, DbError> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at_ms IS NULL
           AND (expires_at_ms IS NULL OR expires_at_ms > $2)",
    )
    .bind(tenant_id.to_owned())
    .bind(now_ms)
    .fetch_one(db)
    .await?;
    Ok(count)
}

pub(crate) async fn set_expiry(
    db: &mut AnyConnection,
    id: &str,
    expires_at_ms: Option<i64>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE api_keys SET expires_at_ms = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(expires_at_ms)
        .execute(db)
        .await?;
    Ok(())
}

/// `false` when it was revoked before.
pub(crate) async fn revoke(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE api_keys SET revoked_at_ms = $2 WHERE id = $1 AND revoked_at_ms IS NULL")
        .bind(id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Times of use come from several processes in any order: the latest stays.
pub(crate) async fn note_use(db: &mut AnyConnection, id: &str, used_at_ms: i64) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE api_keys SET last_used_at_ms = $2
         WHERE id = $1 AND (last_used_at_ms IS NULL OR last_used_at_ms < $2)",
    )
    .bind(id.to_owned())
    .bind(used_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// What the directory lists: keys of tenants that are not deleted, those that died before `dead_since_ms` left out.
pub(crate) async fn listed(db: &AnyPool, dead_since_ms: i64) -> Result<Vec<KeyRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT k.id, k.tenant_id, k.name, k.sha256, k.scopes, k.priority, k.networks, k.created_at_ms,
           k.expires_at_ms, k.revoked_at_ms, k.last_used_at_ms, k.life_ms
         FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
         WHERE t.deleted_at_ms IS NULL
           AND (k.revoked_at_ms IS NULL OR k.revoked_at_ms > $1)
           AND (k.expires_at_ms IS NULL OR k.expires_at_ms > $1)
         ORDER BY k.tenant_id, k.created_at_ms, k.id",
    )
    .bind(dead_since_ms)
    .fetch_all(db)
    .await?;
    Ok(rows)
}
