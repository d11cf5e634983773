//! Where tenants are, why, and where their telemetry says that production runs.

use sqlx::{AnyConnection, AnyExecutor, AnyPool, FromRow};

use super::DbError;

#[derive(Clone, Debug, FromRow)]
pub(crate) struct PlacementRow {
    pub(crate) tenant_id: String,
    /// JSON.
    pub(crate) declaration: String,
    pub(crate) home_cell: String,
    pub(crate) standby_cell: Option<String>,
    /// Samples a second.
    pub(crate) capacity: i64,
    /// JSON.
    pub(crate) decision: String,
    pub(crate) decided_at_ms: i64,
}

/// A place that telemetry named.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct FootprintRow {
    pub(crate) provider: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) samples: i64,
    pub(crate) first_seen_ms: i64,
    pub(crate) last_seen_ms: i64,
}

/// A conflict that was raised.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct ConflictRow {
    pub(crate) role: String,
    pub(crate) cell: String,
    pub(crate) region: String,
    pub(crate) hidden: i64,
    pub(crate) raised_at_ms: i64,
    pub(crate) resolved_at_ms: Option<i64>,
    /// Why it is over; `None` while it is not, and for those that are older than this.
    pub(crate) resolution: Option<String>,
}

/// Waits for other placements, and keeps others out until the transaction is done.
pub(crate) async fn take_turn(db: &mut AnyConnection) -> Result<(), DbError> {
    sqlx::query("UPDATE placement_turn SET revision = revision + 1 WHERE name = 'turn'").execute(db).await?;
    Ok(())
}

pub(crate) async fn of_tenant(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
) -> Result<Option<PlacementRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT tenant_id, declaration, home_cell, standby_cell, capacity, decision, decided_at_ms
         FROM placements WHERE tenant_id = $1",
    )
    .bind(tenant_id.to_owned())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// The home cell of every tenant that has one.
pub(crate) async fn homes(db: &AnyPool) -> Result<Vec<(String, String)>, DbError> {
    Ok(sqlx::query_as("SELECT tenant_id, home_cell FROM placements").fetch_all(db).await?)
}

/// Takes the place of the tenant's placement.
pub(crate) async fn put(db: &mut AnyConnection, placement: &PlacementRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO placements
           (tenant_id, declaration, home_cell, standby_cell, capacity, decision, decided_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id) DO UPDATE SET declaration = excluded.declaration, home_cell = excluded.home_cell,
           standby_cell = excluded.standby_cell, capacity = excluded.capacity, decision = excluded.decision,
           decided_at_ms = excluded.decided_at_ms",
    )
    .bind(placement.tenant_id.clone())
    .bind(placement.declaration.clone())
    .bind(placement.home_cell.clone())
    .bind(placement.standby_cell.clone())
    .bind(placement.capacity)
    .bind(placement.decision.clone())
    .bind(placement.decided_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Places that a tenant's telemetry named since a time, the most samples first.
pub(crate) async fn footprint(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
    since_ms: i64,
) -> Result<Vec<FootprintRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT provider, region, zone, samples, first_seen_ms, last_seen_ms FROM footprints
         WHERE tenant_id = $1 AND last_seen_ms >= $2 ORDER BY samples DESC, provider, region, zone",
    )
    .bind(tenant_id.to_owned())
    .bind(since_ms)
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Adds to what was seen of a place.
pub(crate) async fn add_to_footprint(
    db: &mut AnyConnection,
    tenant_id: &str,
    seen: &FootprintRow,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO footprints (tenant_id, provider, region, zone, samples, first_seen_ms, last_seen_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, provider, region, zone) DO UPDATE SET
           samples = footprints.samples + excluded.samples,
           first_seen_ms = CASE WHEN excluded.first_seen_ms < footprints.first_seen_ms
             THEN excluded.first_seen_ms ELSE footprints.first_seen_ms END,
           last_seen_ms = CASE WHEN excluded.last_seen_ms > footprints.last_seen_ms
             THEN excluded.last_seen_ms ELSE footprints.last_seen_ms END",
    )
    .bind(tenant_id.to_owned())
    .bind(seen.provider.clone())
    .bind(seen.region.clone())
    .bind(seen.zone.clone())
    .bind(seen.samples)
    .bind(seen.first_seen_ms)
    .bind(seen.last_seen_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets places that nothing has named since a time.
pub(crate) async fn drop_old_footprints(db: &mut AnyConnection, since_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM footprints WHERE last_seen_ms < $1").bind(since_ms).execute(db).await?;
    Ok(())
}

/// Those of a tenant, the newest first.
pub(crate) async fn conflicts(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
    count: i64,
) -> Result<Vec<ConflictRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT role, cell, region, hidden, raised_at_ms, resolved_at_ms, resolution FROM placement_conflicts
         WHERE tenant_id = $1 ORDER BY raised_at_ms DESC, role, cell, region LIMIT $2",
    )
    .bind(tenant_id.to_owned())
    .bind(count)
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) async fn raise_conflict(
    db: &mut AnyConnection,
    tenant_id: &str,
    conflict: &ConflictRow,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO placement_conflicts (tenant_id, role, cell, region, hidden, raised_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tenant_id.to_owned())
    .bind(conflict.role.clone())
    .bind(conflict.cell.clone())
    .bind(conflict.region.clone())
    .bind(conflict.hidden)
    .bind(conflict.raised_at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends one that is open.
pub(crate) async fn end_conflict(
    db: &mut AnyConnection,
    tenant_id: &str,
    conflict: &ConflictRow,
    now_ms: i64,
    resolution: &'static str,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE placement_conflicts SET resolved_at_ms = $6, resolution = $7
         WHERE tenant_id = $1 AND role = $2 AND cell = $3 AND region = $4 AND raised_at_ms = $5
           AND resolved_at_ms IS NULL",
    )
    .bind(tenant_id.to_owned())
    .bind(conflict.role.clone())
    .bind(conflict.cell.clone())
    .bind(conflict.region.clone())
    .bind(conflict.raised_at_ms)
    .bind(now_ms)
    .bind(resolution)
    .execute(db)
    .await?;
    Ok(())
}

/// The tenants that have conflicts that are open.
pub(crate) async fn with_open_conflicts(db: &AnyPool) -> Result<Vec<String>, DbError> {
    let sql =
        "SELECT DISTINCT tenant_id FROM placement_conflicts WHERE resolved_at_ms IS NULL ORDER BY tenant_id";
    Ok(sqlx::query_scalar(sql).fetch_all(db).await?)
}
