//! The two databases that every test of this suite runs on.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;

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
        let socket = server();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin: sqlx::postgres::PgConnectOptions =
            format!("postgres://postgres@localhost/postgres?host={socket}").parse().unwrap();
        let mut connection = admin.connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        Self { url: format!("postgres://postgres@localhost/{name}?host={socket}"), _files: None }
    }
}

/// The directory of the server's socket.
fn server() -> &'static str {
    // The child's standard input stays open as long as this process lives: when it ends, so does the server.
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    let (_, socket) = SERVER.get_or_init(|| {
        let programs = programs();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/postgres.sh");
        let mut command = if is_root() {
            // PostgreSQL refuses to run as root; Debian's package makes a user for it. The script goes by standard input's
            // neighbour `-c`, since that user may not be able to read this directory.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c"]);
            command
        } else {
            let mut command = Command::new("sh");
            command.arg("-c");
            command
        };
        command.arg(std::fs::read_to_string(script).unwrap()).arg("postgres.sh").arg(programs);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut socket = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut socket).unwrap();
        assert!(!socket.is_empty(), "PostgreSQL did not start; what it says is above");
        (child, socket.trim().to_owned())
    });
    socket
}

/// Where `initdb` and `pg_ctl` are.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    found.sort();
    let newest = found.into_iter().rfind(|folder| folder.join("initdb").exists());
    newest.expect(
        "these tests need PostgreSQL and there is none: run .ci/tools, or 'apt-get install postgresql'; to leave them out \
         for now, name the ones you want: 'cargo test -p control-plane sqlite'",
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
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
