//! What tells the publisher that the tenant directory has to be published anew.

use sqlx::{AnyConnection, AnyPool};

use super::DbError;

pub(super) async fn add(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<(), DbError> {
    sqlx::query("INSERT INTO directory_outbox (id, created_at_ms) VALUES ($1, $2)")
        .bind(id.to_owned())
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn ids(db: &AnyPool, count: i64) -> Result<Vec<String>, DbError> {
    let ids = sqlx::query_scalar("SELECT id FROM directory_outbox ORDER BY created_at_ms LIMIT $1")
        .bind(count)
        .fetch_all(db)
        .await?;
    Ok(ids)
}

/// Deletes these very rows: others may have been committed meanwhile.
pub(crate) async fn settle(db: &mut AnyConnection, ids: &[String]) -> Result<(), DbError> {
    for id in ids {
        sqlx::query("DELETE FROM directory_outbox WHERE id = $1").bind(id.clone()).execute(&mut *db).await?;
    }
    Ok(())
}
