//! A running `farwatch serve`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::RequestBuilder;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::eventually;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_farwatch");
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How to start one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The HTTP port; 0 lets the system choose one at each start.
    pub(crate) port: u16,
    /// More flags.
    pub(crate) flags: Vec<String>,
    /// More variables of the environment.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Options {
    pub(crate) fn with(flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Self::default() }
    }
}

/// A running server. It is killed when this is dropped; [`Farwatch::restart`] keeps its data.
pub(crate) struct Farwatch {
    child: Child,
    directory: TempDir,
    options: Options,
    /// What it printed and logged, all starts together.
    pub(crate) output: Arc<Mutex<String>>,
    /// `http://ADDRESS`
    pub(crate) url: String,
    /// `http://ADDRESS` of OTLP/gRPC.
    pub(crate) grpc_url: String,
    /// The first tenant's key.
    pub(crate) key: String,
    pub(crate) client: reqwest::Client,
}

impl Farwatch {
    /// Starts one with an empty data directory and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (child, url, grpc_url) = spawn(directory.path(), &options, &output).await;
        let key = std::fs::read_to_string(directory.path().join("key")).unwrap().trim().to_owned();
        Self { child, directory, options, output, url, grpc_url, key, client: client() }
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again on the same data; its ports may differ.
    pub(crate) async fn restart(&mut self) {
        (self.child, self.url, self.grpc_url) =
            spawn(self.directory.path(), &self.options, &self.output).await;
    }

    /// Asks it to end (SIGTERM) and returns its exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        self.signal_termination();
        self.wait().await
    }

    /// Waits until it has ended and returns its exit code; `None` when a signal ended it.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn signal_termination(&self) {
        let id = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
    }

    /// Whether the process is still the one that was started.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What was printed and logged so far.
    pub(crate) fn said(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }
}

/// A client that keeps no connection: servers come and go here.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).build().unwrap()
}

/// A client that speaks HTTP/2 without being asked to.
pub(crate) fn client_of_http2() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().timeout(Duration::from_secs(60)).build().unwrap()
}

async fn spawn(directory: &Path, options: &Options, output: &Arc<Mutex<String>>) -> (Child, String, String) {
    let before = output.lock().unwrap().len();
    let mut child = Command::new(BINARY)
        .args(["serve", "--otlp-grpc-listen", "127.0.0.1:0"])
        .arg(format!("--listen=127.0.0.1:{}", options.port))
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg("--bootstrap-key-file")
        .arg(directory.join("key"))
        .args(&options.flags)
        .env_remove("FARWATCH_CONFIG")
        .envs(options.variables.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    collect(child.stdout.take().unwrap(), output);
    collect(child.stderr.take().unwrap(), output);
    let bound = |scheme: &str| {
        let said = output.lock().unwrap()[before..].to_owned();
        let marker = format!("listening on {scheme}://");
        let address = said.split_once(&marker).and_then(|(_, rest)| rest.split_once('\n'));
        address.map(|(address, _)| format!("http://{}", address.trim())).ok_or(said)
    };
    let url = eventually("the HTTP port", START, async || bound("http")).await;
    let grpc_url = eventually("the gRPC port", START, async || bound("grpc")).await;
    let client = client();
    eventually("readiness", START, async || {
        let answer = client.get(format!("{url}/readyz")).send().await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
    (child, url, grpc_url)
}

/// Keeps what a pipe says, line by line; under `cargo test -- --nocapture` it can be read there, too.
pub(crate) fn collect(pipe: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}
