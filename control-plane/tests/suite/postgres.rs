//! A real PostgreSQL, as long as somebody needs it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running server with a socket of its own.
pub(crate) struct PostgresServer {
    /// Its standard input stays open as long as this process lives: when it ends, so does the server.
    _child: Child,
    /// The directory of its socket.
    socket: String,
}

impl PostgresServer {
    /// Starts one and waits until it takes connections.
    pub(crate) fn start() -> Self {
        let mut command = if is_root() {
            // PostgreSQL refuses to run as root; Debian's package makes a user for it. That user may not be able to read
            // this directory, so the script is an argument.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", include_str!("postgres.sh"), "postgres.sh"]).arg(programs());
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut socket = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut socket).unwrap();
        assert!(!socket.is_empty(), "PostgreSQL did not start; what it says is above");
        Self { _child: child, socket: socket.trim().to_owned() }
    }

    /// The URL of one of its databases; `postgres` is there from the start, and empty.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.socket)
    }
}

/// Where `initdb` and `pg_ctl` are.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    found.sort();
    let newest = found.into_iter().rfind(|folder| folder.join("initdb").exists());
    newest.expect(
        "these tests need PostgreSQL and there is none: run .ci/tools, or 'apt-get install postgresql'; to leave out those \
         of the control plane for now, name the ones you want: 'cargo test -p control-plane sqlite'",
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
