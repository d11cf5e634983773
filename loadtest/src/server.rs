//! Servers that the tool starts, kills and starts again by itself.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::api::Client;
use crate::clock;
use crate::http::Endpoint;
use crate::limits::{COMMAND_POLL, READY_POLL, READY_TIMEOUT};
use crate::procfs::{self, ProcError, Usage};

/// Which server a binary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// `farwatch`.
    Farwatch,
    /// `victoria-metrics` (single node).
    VictoriaMetrics,
    /// `prometheus`, as a remote-write receiver.
    Prometheus,
}

impl Product {
    /// How it is called in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Farwatch => "farwatch",
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Prometheus => "prometheus",
        }
    }

    /// Whether it answers with the very values that were written. VictoriaMetrics keeps decimals of a common scale for
    /// each block, which costs the last digits of long ones.
    #[must_use]
    pub fn keeps_every_digit(self) -> bool {
        match self {
            Self::Farwatch | Self::Prometheus => true,
            Self::VictoriaMetrics => false,
        }
    }

    /// Where a server is asked to show what it has taken but does not show yet; `None` where there is no such thing.
    #[must_use]
    pub fn flush_path(self) -> Option<&'static str> {
        match self {
            Self::Farwatch | Self::Prometheus => None,
            Self::VictoriaMetrics => Some("/internal/force_flush"),
        }
    }

    fn ready_path(self) -> &'static str {
        match self {
            Self::Farwatch => "/readyz",
            Self::VictoriaMetrics => "/health",
            Self::Prometheus => "/-/ready",
        }
    }
}

/// A server that does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The file system, or no such binary.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It ended instead of getting ready.
    #[error("{name} ended with {status} before it was ready; the end of its log:\n{log}")]
    Ended {
        /// The product.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// A command that must do its work and end did not.
    #[error("{command} ended with {status}; its log:\n{log}")]
    Failed {
        /// What was run.
        command: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// What it used cannot be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// It runs but does not get ready.
    #[error("{name} was not ready after {} s; the end of its log:\n{log}", READY_TIMEOUT.as_secs())]
    NotReady {
        /// The product.
        name: &'static str,
        /// Its last lines.
        log: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    let what = what.into();
    |source| ServerError::Io { what, source }
}

/// How to start a server over one directory, again and again.
#[derive(Debug)]
pub struct Launch {
    product: Product,
    binary: PathBuf,
    dir: PathBuf,
    extra_args: Vec<String>,
    name: &'static str,
    variables: Vec<(&'static str, &'static str)>,
    starts: u32,
}

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Guard,
    /// Where it answers, with its key.
    pub endpoint: Endpoint,
    /// From the start of the process to the first "ready".
    pub ready_after: Duration,
}

impl Launch {
    /// `dir` exists and is the server's own; data, keys and logs go below it.
    #[must_use]
    pub fn new(product: Product, binary: PathBuf, dir: PathBuf, extra_args: Vec<String>) -> Self {
        let (name, variables) = ("server", Vec::new());
        Self { product, binary, dir, extra_args, name, variables, starts: 0 }
    }

    /// Its logs are called so, where several processes share a directory.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// It gets these variables of the environment beside those of this process.
    #[must_use]
    pub fn with_variables(self, variables: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self { variables: variables.into_iter().collect(), ..self }
    }

    /// Starts the process without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<Starting, ServerError> {
        self.starts += 1;
        let log_path = self.dir.join(format!("{}-{}.log", self.name, self.starts));
        let log = File::create(&log_path).map_err(failed("the server's log cannot be created"))?;
        let both = log.try_clone().map_err(failed("the server's log cannot be opened twice"))?;
        let (args, known_port) = self.args()?;
        let started = clock::now();
        let child = Command::new(&self.binary)
            .args(args)
            .args(&self.extra_args)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .map_err(failed(format!("{} cannot be started", self.binary.display())))?;
        Ok(Starting {
            product: self.product,
            child: Guard(child),
            started,
            log_path,
            key_path: self.key_path(),
            known_port,
        })
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&mut self) -> Result<Running, ServerError> {
        self.spawn()?.ready().await
    }

    /// Where the server keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Brings what a Farwatch that does not run has stored to rest.
    ///
    /// # Errors
    /// When that fails.
    pub async fn compact_once(&self) -> Result<Work, ServerError> {
        let data = self.data_dir().display().to_string();
        self.farwatch("farwatch compact", &["compact", "--once", "--data-dir", &data]).await
    }

    /// Runs a command of Farwatch to its end.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn farwatch(&self, command: &'static str, args: &[&str]) -> Result<Work, ServerError> {
        let log_path = self.dir.join("command.log");
        let log = File::create(&log_path).map_err(failed("the command's log cannot be created"))?;
        let both = log.try_clone().map_err(failed("the command's log cannot be opened twice"))?;
        let begun = clock::now();
        let child = Command::new(&self.binary)
            .args(args)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .map_err(failed(format!("{} cannot be started", self.binary.display())))?;
        let (mut child, mut used) = (Guard(child), Usage::default());
        loop {
            // Once it has ended, and until it is waited for, its CPU time can be read but not its memory.
            let now = procfs::usage(child.0.id())?;
            used = Usage { cpu_s: now.cpu_s, peak_rss_bytes: now.peak_rss_bytes.max(used.peak_rss_bytes) };
            if let Some(status) = child.0.try_wait().map_err(failed("the command cannot be waited for"))? {
                let work = Work { used, elapsed: begun.elapsed() };
                let log = || last_lines(&log_path);
                return status.success().then_some(work).ok_or_else(|| ServerError::Failed {
                    command,
                    status,
                    log: log(),
                });
            }
            tokio::time::sleep(COMMAND_POLL).await;
        }
    }

    fn key_path(&self) -> PathBuf {
        self.dir.join("api-key")
    }

    /// The arguments, and the port where it is not the server's choice.
    fn args(&self) -> Result<(Vec<String>, Option<u16>), ServerError> {
        let data = self.data_dir().display().to_string();
        Ok(match self.product {
            Product::Farwatch => {
                let key_path = self.key_path().display().to_string();
                let args = [
                    "serve",
                    "--data-dir",
                    &data,
                    "--listen",
                    "127.0.0.1:0",
                    "--bootstrap-key-file",
                    &key_path,
                ];
                (args.map(str::to_owned).to_vec(), None)
            }
            Product::VictoriaMetrics => {
                let port = free_port()?;
                let args = vec![
                    format!("-httpListenAddr=127.0.0.1:{port}"),
                    format!("-storageDataPath={data}"),
                    // Otherwise it leaves the last 30 s out of every answer.
                    "-search.latencyOffset=0s".to_owned(),
                    "-search.disableCache".to_owned(),
                ];
                (args, Some(port))
            }
            Product::Prometheus => {
                let port = free_port()?;
                let config = self.dir.join("prometheus.yml");
                std::fs::write(&config, "global: {}\n")
                    .map_err(failed("no prometheus.yml can be written"))?;
                let args = vec![
                    format!("--config.file={}", config.display()),
                    format!("--storage.tsdb.path={data}"),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                    "--log.level=warn".to_owned(),
                ];
                (args, Some(port))
            }
        })
    }
}

/// What a command that ended has used.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// CPU time and memory.
    pub used: Usage,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// A process that has been started and may not be ready. It is killed when this is dropped.
#[derive(Debug)]
pub struct Starting {
    product: Product,
    child: Guard,
    started: std::time::Instant,
    log_path: PathBuf,
    key_path: PathBuf,
    known_port: Option<u16>,
}

impl Starting {
    /// Waits until the server says that it is ready.
    ///
    /// # Errors
    /// When it ends or takes too long.
    pub async fn ready(mut self) -> Result<Running, ServerError> {
        let name = self.product.name();
        while self.started.elapsed() < READY_TIMEOUT {
            if let Some(status) =
                self.child.0.try_wait().map_err(failed("the server cannot be waited for"))?
            {
                return Err(ServerError::Ended { name, status, log: self.log_end() });
            }
            if let Some(endpoint) = self.ready_endpoint().await {
                let ready_after = self.started.elapsed();
                return Ok(Running { child: self.child, endpoint, ready_after });
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Err(ServerError::NotReady { name, log: self.log_end() })
    }

    /// Kills it as it is.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<(), ServerError> {
        self.child.kill()
    }

    /// The first of the addresses in question that says it is ready.
    async fn ready_endpoint(&self) -> Option<Endpoint> {
        let ports = match self.known_port {
            Some(port) => vec![port],
            None => loopback_ports(&std::fs::read_to_string(&self.log_path).unwrap_or_default()),
        };
        let key = std::fs::read_to_string(&self.key_path).ok().map(|key| key.trim().to_owned());
        for port in ports {
            let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}"), key.clone()).ok()?;
            if Client::new(endpoint.clone()).is_ok(self.product.ready_path()).await {
                return Some(endpoint);
            }
        }
        None
    }

    fn log_end(&self) -> String {
        last_lines(&self.log_path)
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Kills it with `SIGKILL`, which gives it no chance to do anything more, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<(), ServerError> {
        self.child.kill()
    }
}

/// A child that does not outlive its owner.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn kill(&mut self) -> Result<(), ServerError> {
        self.0.kill().map_err(failed("the server cannot be killed"))?;
        self.0.wait().map_err(failed("the server cannot be waited for"))?;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Nothing is left to do about a child that cannot be killed.
        let _ = self.kill();
    }
}

/// The end of a log.
fn last_lines(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Every port that a log says to be on the loopback address, in order and without doubles. A server that was told
/// to take port 0 says so what it got.
fn loopback_ports(log: &str) -> Vec<u16> {
    let mut ports = Vec::new();
    for rest in log.split("127.0.0.1:").skip(1) {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        // Without the character behind it, the number may not have been written to its end yet.
        let complete = rest.len() > digits.len();
        if let Some(port) = digits.parse().ok().filter(|port| complete && *port != 0 && !ports.contains(port))
        {
            ports.push(port);
        }
    }
    ports
}

/// A port that nobody has at the moment.
fn free_port() -> Result<u16, ServerError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed("no free port"))?;
    Ok(listener.local_addr().map_err(failed("no free port"))?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_ports_are_read_from_a_log() {
        let log =
            "listening on http://127.0.0.1:4321/\ngrpc addr=127.0.0.1:999 127.0.0.1:4321\nasked 127.0.0.1:0 ";
        assert_eq!(loopback_ports(log), [4321, 999]);
        assert!(loopback_ports("addr=127.0.0.1:432").is_empty(), "may be cut off");
        assert!(loopback_ports("127.0.0.1:70000\n127.0.0.1:x\n").is_empty());
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_shows_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let args = vec!["-c".to_owned(), "echo out of luck >&2; exit 3".to_owned()];
        let mut launch = Launch::new(Product::Prometheus, "/bin/false".into(), dir.path().into(), args);
        let error = launch.start().await.unwrap_err();
        assert!(matches!(error, ServerError::Ended { .. }), "{error}");
        let mut missing = Launch::new(Product::Farwatch, "/no/such".into(), dir.path().into(), Vec::new());
        assert!(matches!(missing.start().await.unwrap_err(), ServerError::Io { .. }));
    }
}
