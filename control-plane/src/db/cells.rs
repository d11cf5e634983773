//! Cells: where tenants can be.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

#[derive(Clone, Debug, FromRow)]
pub(crate) struct CellRow {
    pub(crate) id: String,
    pub(crate) region: String,
    /// Separated by spaces.
    pub(crate) depends_on: String,
    /// Samples a second.
    pub(crate) capacity: i64,
    pub(crate) cost_index: i64,
    pub(crate) closed_at_ms: Option<i64>,
    /// What its tenants were promised, in samples a second.
    pub(crate) used: i64,
}

/// Every cell with what is promised in it, by id.
pub(crate) async fn all(db: impl AnyExecutor<'_>) -> Result<Vec<CellRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT c.id, c.region, c.depends_on, c.capacity, c.cost_index, c.closed_at_ms,
                CAST(COALESCE((SELECT SUM(p.capacity) FROM placements p JOIN tenants t ON t.id = p.tenant_id
                 WHERE t.deleted_at_ms IS NULL AND (p.home_cell = c.id OR p.standby_cell = c.id)), 0) AS BIGINT) AS used
         FROM cells c ORDER BY c.id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Adds a cell, or changes it; what is promised in it stays.
pub(crate) async fn put(db: &mut AnyConnection, cell: &CellRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO cells (id, region, depends_on, capacity, cost_index, closed_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET region = excluded.region, depends_on = excluded.depends_on,
           capacity = excluded.capacity, cost_index = excluded.cost_index, closed_at_ms = excluded.closed_at_ms",
    )
    .bind(cell.id.clone())
    .bind(cell.region.clone())
    .bind(cell.depends_on.clone())
    .bind(cell.capacity)
    .bind(cell.cost_index)
    .bind(cell.closed_at_ms)
    .execute(db)
    .await?;
    Ok(())
}
