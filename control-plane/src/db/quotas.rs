//! What tenants' limits are instead of what their plans say.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Debug, FromRow)]
pub(crate) struct OverrideRow {
    pub(crate) tenant_id: String,
    pub(crate) name: String,
    pub(crate) value: i64,
}

pub(crate) async fn of_tenant(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
) -> Result<Vec<OverrideRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT tenant_id, name, value FROM quota_overrides WHERE tenant_id = $1 ORDER BY name",
    )
    .bind(tenant_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn all(db: &AnyPool) -> Result<Vec<OverrideRow>, DbError> {
    let rows = sqlx::query_as("SELECT tenant_id, name, value FROM quota_overrides ORDER BY tenant_id, name")
        .fetch_all(db)
        .await?;
    Ok(rows)
}

/// Takes the place of all overrides of a tenant.
pub(crate) async fn replace(
    db: &mut AnyConnection,
    tenant_id: &str,
    overrides: &[(&'static str, i64)],
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM quota_overrides WHERE tenant_id = $1")
        .bind(tenant_id.to_owned())
        .execute(&mut *db)
        .await?;
    for (name, value) in overrides {
        sqlx::query("INSERT INTO quota_overrides (tenant_id, name, value) VALUES ($1, $2, $3)")
            .bind(tenant_id.to_owned())
            .bind(*name)
            .bind(*value)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// When somebody was last told that a limit of a tenant is nearly reached.
pub(crate) async fn told_at(db: &AnyPool, tenant_id: &str, name: &str) -> Result<Option<i64>, DbError> {
    let told_at_ms =
        sqlx::query_scalar("SELECT told_at_ms FROM limit_notices WHERE tenant_id = $1 AND name = $2")
            .bind(tenant_id.to_owned())
            .bind(name.to_owned())
            .fetch_optional(db)
            .await?;
    Ok(told_at_ms)
}

pub(crate) async fn note_told(
    db: &mut AnyConnection,
    tenant_id: &str,
    name: &str,
    now_ms: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO limit_notices (tenant_id, name, told_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, name) DO UPDATE SET told_at_ms = excluded.told_at_ms",
    )
    .bind(tenant_id.to_owned())
    .bind(name.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}
