//! The SQL database: one file for each aggregate, all SQL in sight, one text for SQLite and PostgreSQL.
//!
//! Ids and hashes are text, times and numbers are `BIGINT` (times in ms since the Unix epoch), parameters are `$1` to `$n`:
//! what both databases read alike. Nothing else is shared by convention only: [`change::Change`] is the one way to write.

pub(crate) mod audit;
pub(crate) mod cells;
pub(crate) mod change;
pub(crate) mod credits;
pub(crate) mod invitations;
pub(crate) mod invoices;
pub(crate) mod keys;
pub(crate) mod members;
mod migrations;
pub(crate) mod organisations;
pub(crate) mod outbox;
pub(crate) mod payments;
pub(crate) mod placements;
pub(crate) mod plans;
pub(crate) mod quotas;
pub(crate) mod sessions;
pub(crate) mod signups;
pub(crate) mod spending;
pub(crate) mod tenants;
pub(crate) mod usage;
pub(crate) mod users;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Once;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, Executor};

use crate::limits::{CONNECTION_TIME, MAX_CONNECTIONS};

/// Why the database did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// It cannot be reached, or is too busy: try again.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// A bug, or data that others have spoilt.
    #[error("a statement failed")]
    Failed(#[source] sqlx::Error),
    /// The same of a document in a column.
    #[error("a document in the database is not what it should be")]
    Document(#[from] serde_json::Error),
}

/// A value as a column's text.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, DbError> {
    Ok(serde_json::to_string(value)?)
}

/// A column's text as a value.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, DbError> {
    Ok(serde_json::from_str(text)?)
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_) => Self::Unavailable(error),
            sqlx::Error::Database(database) if is_passing(database.code().as_deref()) => {
                Self::Unavailable(error)
            }
            _ => Self::Failed(error),
        }
    }
}

/// Whether the same statement may work a moment later: by PostgreSQL's SQLSTATE, or by SQLite's result code.
fn is_passing(code: Option<&str>) -> bool {
    match code {
        // Connection lost, too many of them, shutting down or starting, a deadlock, or a conflict of transactions.
        Some(code) if code.len() == 5 => {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || code == "40001"
                || code == "40P01"
        }
        // SQLITE_BUSY and SQLITE_LOCKED, and their extended forms.
        Some(code) => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
        None => false,
    }
}

/// Why the database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an address of a database.
    #[error("the database's URL begins with neither 'sqlite://' nor 'postgres://'")]
    Url,
    /// The directory that the file is to be in cannot be written to.
    #[error("cannot make the database's file")]
    File(#[source] io::Error),
    /// Cannot be reached, or refuses.
    #[error("cannot open the database")]
    Connect(#[source] sqlx::Error),
    /// Its tables cannot be made or changed.
    #[error("cannot bring the database's tables up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

const SQLITE: &str = "sqlite://";

/// Whether a text says of itself that it is the URL of a database that can be used here.
#[must_use]
pub fn is_database_url(text: &str) -> bool {
    [SQLITE, "postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pool: AnyPool,
    begin: &'static str,
}

impl Db {
    /// Connects, and brings the tables up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        install_drivers();
        if !is_database_url(url) {
            return Err(OpenError::Url);
        }
        let (url, begin) = if let Some(file) = url.strip_prefix(SQLITE) {
            let (file, parameters) = file.split_once('?').unwrap_or((file, ""));
            let made = if parameters.contains("mode=") { "" } else { "&mode=rwc" };
            // The lock is taken at the beginning: a transaction that reads first cannot fail for another's write.
            (format!("{SQLITE}{file}?{parameters}{made}"), "BEGIN IMMEDIATE")
        } else {
            (url.to_owned(), "BEGIN")
        };
        let is_sqlite = url.starts_with(SQLITE);
        let _alone = if is_sqlite { Some(alone_with(&url).await?) } else { None };
        let options: AnyConnectOptions = url.parse().map_err(OpenError::Connect)?;
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(CONNECTION_TIME)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        // Readers and the writer do not wait for each other; a commit is on disk when it is done.
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = FULL").await?;
                        connection.execute("PRAGMA foreign_keys = ON").await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(OpenError::Connect)?;
        migrations::run(&pool).await.map_err(OpenError::Migrate)?;
        Ok(Self { pool, begin })
    }

    /// Connects to read what is there: makes nothing, and leaves the tables as they are.
    pub(crate) async fn open_to_read(url: &str) -> Result<Self, OpenError> {
        install_drivers();
        if !is_database_url(url) {
            return Err(OpenError::Url);
        }
        let url = match url.strip_prefix(SQLITE) {
            Some(file) if !file.contains('?') => format!("{url}?mode=rw"),
            _ => url.to_owned(),
        };
        let options: AnyConnectOptions = url.parse().map_err(OpenError::Connect)?;
        let pool = AnyPoolOptions::new().max_connections(1).acquire_timeout(CONNECTION_TIME);
        let pool = pool.connect_with(options).await.map_err(OpenError::Connect)?;
        Ok(Self { pool, begin: "BEGIN" })
    }

    /// For reading.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn install_drivers() {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);
}

/// Waits for other processes that open the same SQLite file, until what is returned is dropped: while tables are made nobody
/// else makes them (PostgreSQL has a lock of its own for that). Makes the file if it is not there, for its owner only.
async fn alone_with(url: &str) -> Result<File, OpenError> {
    let options: SqliteConnectOptions = url.parse().map_err(OpenError::Connect)?;
    let file = options.get_filename().to_owned();
    let mut lock = file.clone().into_os_string();
    lock.push("-opening");
    let locked = tokio::task::spawn_blocking(move || {
        let lock = File::options().create(true).append(true).mode(0o600).open(lock)?;
        lock.lock()?;
        File::options().create(true).append(true).mode(0o600).open(file)?;
        Ok(lock)
    });
    locked.await.map_err(io::Error::other).flatten().map_err(OpenError::File)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for passing in ["40001", "08006", "53300", "57P01", "5", "517", "6", "262"] {
            assert!(is_passing(Some(passing)), "{passing}");
        }
        for lasting in ["23505", "42P01", "1", "19", "2067", "nonsense"] {
            assert!(!is_passing(Some(lasting)), "{lasting}");
        }
        assert!(!is_passing(None));
    }
}
