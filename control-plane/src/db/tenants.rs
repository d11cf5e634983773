//! Tenants: the environments of an organisation.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Debug, FromRow)]
pub(crate) struct TenantRow {
    pub(crate) id: String,
    pub(crate) organisation_id: String,
    pub(crate) name: String,
    pub(crate) shard: i64,
    pub(crate) retention_days: i64,
    pub(crate) created_at_ms: i64,
}

/// A tenant as the directory shows it.
#[derive(Debug, FromRow)]
pub(crate) struct ListedRow {
    pub(crate) id: String,
    pub(crate) shard: i64,
    pub(crate) retention_days: i64,
    /// The organisation's.
    pub(crate) plan: String,
    /// 1 while the spend limit of the organisation is reached.
    pub(crate) stopped: i64,
    pub(crate) deleted_at_ms: Option<i64>,
}

pub(crate) async fn add(db: &mut AnyConnection, tenant: &TenantRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO tenants (id, organisation_id, name, unique_name, shard, retention_days, created_at_ms)
         VALUES ($1, $2, $3, $3, $4, $5, $6)",
    )
    .bind(tenant.id.clone())
    .bind(tenant.organisation_id.clone())
    .bind(tenant.name.clone())
    .bind(tenant.shard)
    .bind(tenant.retention_days)
    .bind(tenant.created_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// A tenant that is not deleted.
pub(crate) async fn by_id(db: impl AnyExecutor<'_>, id: &str) -> Result<Option<TenantRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT id, organisation_id, name, shard, retention_days, created_at_ms FROM tenants
         WHERE id = $1 AND deleted_at_ms IS NULL",
    )
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Those that are not deleted, oldest first.
pub(crate) async fn of_organisation(db: &AnyPool, organisation_id: &str) -> Result<Vec<TenantRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, organisation_id, name, shard, retention_days, created_at_ms FROM tenants
         WHERE organisation_id = $1 AND deleted_at_ms IS NULL ORDER BY created_at_ms, id",
    )
    .bind(organisation_id.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn count(db: &mut AnyConnection, organisation_id: &str) -> Result<i64, DbError> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM tenants WHERE organisation_id = $1 AND deleted_at_ms IS NULL",
    )
    .bind(organisation_id.to_owned())
    .fetch_one(db)
    .await?;
    Ok(count)
}

pub(crate) async fn rename(db: &mut AnyConnection, id: &str, name: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE tenants SET name = $2, unique_name = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(name.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

/// Makes a name free that the release before this one, which does not know of `unique_name`, took from its tenant.
pub(crate) async fn free_name(
    db: &mut AnyConnection,
    organisation_id: &str,
    name: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tenants SET unique_name = NULL
         WHERE organisation_id = $1 AND unique_name = $2 AND (deleted_at_ms IS NOT NULL OR name <> $2)",
    )
    .bind(organisation_id.to_owned())
    .bind(name.to_owned())
    .execute(db)
    .await?;
    Ok(())
}

/// Whether another tenant of an organisation that is not deleted has this name.
pub(crate) async fn is_taken(
    db: &mut AnyConnection,
    organisation_id: &str,
    name: &str,
    but_by: Option<&str>,
) -> Result<bool, DbError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM tenants
         WHERE organisation_id = $1 AND name = $2 AND deleted_at_ms IS NULL AND id <> $3",
    )
    .bind(organisation_id.to_owned())
    .bind(name.to_owned())
    .bind(but_by.unwrap_or_default().to_owned())
    .fetch_one(db)
    .await?;
    Ok(count > 0)
}

/// Deletes it, and asks for its data to be deleted.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tenants SET deleted_at_ms = $2, erasure_asked_at_ms = $2, unique_name = NULL WHERE id = $1",
    )
    .bind(id.to_owned())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Whose a tenant is, or was.
pub(crate) async fn organisation_of(db: &AnyPool, id: &str) -> Result<Option<String>, DbError> {
    let organisation = sqlx::query_scalar("SELECT organisation_id FROM tenants WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(db)
        .await?;
    Ok(organisation)
}

/// The tenants that an organisation ever had, by id, with their names.
pub(crate) async fn names_ever(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
) -> Result<Vec<(String, String)>, DbError> {
    let names = sqlx::query_as("SELECT id, name FROM tenants WHERE organisation_id = $1 ORDER BY id")
        .bind(organisation_id.to_owned())
        .fetch_all(db)
        .await?;
    Ok(names)
}

/// A tenant as it is on record, deleted or not.
#[derive(Debug, FromRow)]
pub(crate) struct RecordRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The organisation's name.
    pub(crate) organisation: String,
    pub(crate) deleted_at_ms: Option<i64>,
}

/// Every tenant there ever was, oldest first.
pub(crate) async fn on_record(db: &AnyPool) -> Result<Vec<RecordRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT t.id, t.name, o.name AS organisation, t.deleted_at_ms FROM tenants t
         JOIN organisations o ON o.id = t.organisation_id ORDER BY t.created_at_ms, t.id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Every tenant there ever was, by id.
pub(crate) async fn listed(db: &AnyPool) -> Result<Vec<ListedRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT t.id, t.shard, t.retention_days, o.plan, COALESCE(s.stopped, 0) AS stopped, t.deleted_at_ms FROM tenants t
         JOIN organisations o ON o.id = t.organisation_id
         LEFT JOIN spend_states s ON s.organisation_id = t.organisation_id ORDER BY t.id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// A tenant whose data is to be deleted.
#[derive(Debug, FromRow)]
pub(crate) struct ErasureRow {
    pub(crate) id: String,
    pub(crate) organisation_id: String,
}

/// Those whose data was asked to be deleted before a time, and is not yet.
pub(crate) async fn to_erase(db: &AnyPool, before_ms: i64) -> Result<Vec<ErasureRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT id, organisation_id FROM tenants
         WHERE erasure_asked_at_ms <= $1 AND erased_at_ms IS NULL ORDER BY id",
    )
    .bind(before_ms)
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Notes that a tenant's data is deleted. `false` when it was already.
pub(crate) async fn note_erased(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<bool, DbError> {
    let sql = "UPDATE tenants SET erased_at_ms = $2 WHERE id = $1 AND erased_at_ms IS NULL";
    let done = sqlx::query(sql).bind(id.to_owned()).bind(now_ms).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// The tenants of an organisation whose data is deleted.
pub(crate) async fn erased(db: &AnyPool, organisation_id: &str) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM tenants WHERE organisation_id = $1 AND erased_at_ms IS NOT NULL ORDER BY id";
    Ok(sqlx::query_scalar(sql).bind(organisation_id.to_owned()).fetch_all(db).await?)
}
