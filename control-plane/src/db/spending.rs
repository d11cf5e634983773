//! How far organisations have come towards their spend limits.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;

#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct SpendRow {
    pub(crate) month: String,
    pub(crate) warned_percent: i64,
    /// 1 while writes are refused.
    pub(crate) stopped: i64,
}

pub(crate) async fn state(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
) -> Result<Option<SpendRow>, DbError> {
    let row =
        sqlx::query_as("SELECT month, warned_percent, stopped FROM spend_states WHERE organisation_id = $1")
            .bind(organisation_id.to_owned())
            .fetch_optional(db)
            .await?;
    Ok(row)
}

pub(crate) async fn put(
    db: &mut AnyConnection,
    organisation_id: &str,
    state: &SpendRow,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO spend_states (organisation_id, month, warned_percent, stopped) VALUES ($1, $2, $3, $4)
         ON CONFLICT (organisation_id) DO UPDATE SET month = excluded.month,
           warned_percent = excluded.warned_percent, stopped = excluded.stopped",
    )
    .bind(organisation_id.to_owned())
    .bind(state.month.clone())
    .bind(state.warned_percent)
    .bind(state.stopped)
    .execute(db)
    .await?;
    Ok(())
}

/// Organisations with a limit, and those that were stopped by one.
pub(crate) async fn watched(db: impl AnyExecutor<'_>) -> Result<Vec<String>, DbError> {
    let ids = sqlx::query_scalar(
        "SELECT o.id FROM organisations o LEFT JOIN spend_states s ON s.organisation_id = o.id
         WHERE o.spend_limit_micros IS NOT NULL OR s.stopped = 1 ORDER BY o.id",
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}
