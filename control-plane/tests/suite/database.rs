//! The two databases that every test of this suite runs on.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::postgres::PostgresServer;

/// An empty database.
pub(crate) struct Database {
    pub(crate) url: String,
    _files: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let files = TempDir::new().unwrap();
        let database = Self::sqlite_in(files.path());
        Self { _files: Some(files), ..database }
    }

    pub(crate) fn sqlite_in(folder: &Path) -> Self {
        Self { url: format!("sqlite://{}/control-plane.sqlite", folder.display()), _files: None }
    }

    /// In a PostgreSQL that all tests of this process share.
    pub(crate) async fn postgres() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin: sqlx::postgres::PgConnectOptions = server().url("postgres").parse().unwrap();
        let mut connection = admin.connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        Self { url: server().url(&name), _files: None }
    }
}

/// The one that all tests of this process share.
fn server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(PostgresServer::start)
}

/// Makes two tests of each function: one on SQLite, one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                use crate::database::Database;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    super::$name(&Database::sqlite()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    super::$name(&Database::postgres().await).await;
                }
            }
        )*
    };
}
pub(crate) use on_both_databases;
