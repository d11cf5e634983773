//! What a control plane's database has on record, for who looks after stored data: no control plane needs to run.

use crate::db::{Db, OpenError, tenants};

/// What is on record of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    /// Its id.
    pub id: String,
    /// Its name, which others may have, too.
    pub name: String,
    /// The name of its organisation.
    pub organisation: String,
    /// When its owner deleted it, in milliseconds since the Unix epoch.
    pub deleted_at_ms: Option<i64>,
}

/// Why the records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not what it should be, or went away.
    #[error("the database does not give its tenants")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Every tenant there ever was, deleted ones among them, oldest first. Nothing is changed, nor made where there is no database.
///
/// # Errors
/// [`RecordsError`].
pub async fn tenants_on_record(database_url: &str) -> Result<Vec<TenantRecord>, RecordsError> {
    let db = Db::open_to_read(database_url).await?;
    let rows = tenants::on_record(db.pool()).await.map_err(|error| RecordsError::Read(Box::new(error)))?;
    db.close().await;
    let record = |row: tenants::RecordRow| TenantRecord {
        id: row.id,
        name: row.name,
        organisation: row.organisation,
        deleted_at_ms: row.deleted_at_ms,
    };
    Ok(rows.into_iter().map(record).collect())
}
