//! The servers of a drill, over one bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::s3_server::S3Server;
use crate::cli::Drill;
use crate::commands::CommandError;
use crate::http::Endpoint;
use crate::server::{Launch, Product, Running, Starting};
use crate::stats::Latencies;

/// The one process that does everything.
pub(super) const ALL: &str = "all";

/// The credentials that the S3 servers of `crates/segment-store/tests/support` have.
pub(in crate::commands) const S3_VARIABLES: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
/// The bucket's name there.
pub(in crate::commands) const S3_BUCKET: &str = "farwatch-drill";

/// Where something is served at the moment; a restart may change it.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Mutex<Endpoint>>);

impl Place {
    fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(Mutex::new(endpoint)))
    }

    pub(super) fn get(&self) -> Endpoint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, endpoint: Endpoint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }
}

/// Processes by what they do, with their data.
#[derive(Debug)]
pub(super) struct Cell {
    binary: PathBuf,
    dir: PathBuf,
    server_args: Vec<String>,
    /// Where the bucket is when it is not in the data directory.
    s3: Option<S3Server>,
    /// Arguments that name it then.
    bucket_args: Vec<String>,
    launches: BTreeMap<&'static str, Launch>,
    running: BTreeMap<&'static str, Running>,
    /// Where writes are taken.
    pub(super) writes: Place,
    /// Where queries are answered.
    pub(super) reads: Place,
    /// From the start of a process until it was ready.
    pub(super) ready: Latencies,
}

impl Cell {
    /// Starts nothing yet.
    pub(super) fn new(args: &Drill, dir: &Path) -> Result<Self, CommandError> {
        let nowhere = Endpoint::parse("http://127.0.0.1:1", None)?;
        Ok(Self {
            binary: args.binary.clone(),
            dir: dir.to_owned(),
            server_args: args.server_arg.clone(),
            s3: None,
            bucket_args: Vec::new(),
            launches: BTreeMap::new(),
            running: BTreeMap::new(),
            writes: Place::new(nowhere.clone()),
            reads: Place::new(nowhere),
            ready: Latencies::default(),
        })
    }

    /// Data goes to an S3 server instead of the data directory. Servers ask for it at `port`.
    pub(super) fn use_s3(&mut self, server: S3Server, port: u16) {
        self.s3 = Some(server);
        let endpoint = format!("http://127.0.0.1:{port}");
        self.bucket_args =
            vec!["--bucket".into(), format!("s3://{S3_BUCKET}"), "--s3-endpoint".into(), endpoint];
    }

    /// Another argument for servers that are started from now on.
    pub(super) fn add_server_arg(&mut self, arg: String) {
        self.server_args.push(arg);
    }

    /// Where servers keep what is theirs.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts a process without waiting until it is ready.
    pub(super) fn spawn(&mut self, role: &'static str) -> Result<Starting, CommandError> {
        let launch = self.launches.entry(role).or_insert_with(|| {
            let mut args = self.bucket_args.clone();
            if role != ALL {
                args.extend(["--role".to_owned(), role.to_owned()]);
            }
            args.extend(self.server_args.iter().cloned());
            Launch::new(Product::Farwatch, self.binary.clone(), self.dir.clone(), args)
                .named(role)
                .with_variables(S3_VARIABLES)
        });
        Ok(launch.spawn()?)
    }

    /// Starts a process that does `role`, and waits until it is ready.
    pub(super) async fn start(&mut self, role: &'static str) -> Result<(), CommandError> {
        let running = self.spawn(role)?.ready().await?;
        self.ready.push(running.ready_after);
        if role == ALL || role.contains("ingest") {
            self.writes.set(running.endpoint.clone());
        }
        if role == ALL || role.contains("query") {
            self.reads.set(running.endpoint.clone());
        }
        self.running.insert(role, running);
        Ok(())
    }

    /// Kills it with -9.
    pub(super) fn kill(&mut self, role: &'static str) -> Result<(), CommandError> {
        if let Some(running) = self.running.remove(role) {
            running.kill()?;
        }
        Ok(())
    }

    /// Kills all of them.
    pub(super) fn kill_all(&mut self) -> Result<(), CommandError> {
        for (_, running) in std::mem::take(&mut self.running) {
            running.kill()?;
        }
        Ok(())
    }

    /// A command over the data. It is killed when it is dropped.
    pub(super) fn command(&self, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in ["FARWATCH_BUCKET", "FARWATCH_DATA_DIR", "FARWATCH_S3_ENDPOINT"] {
            command.env_remove(name);
        }
        command.envs(S3_VARIABLES);
        if self.bucket_args.is_empty() {
            command.arg("--data-dir").arg(self.data_dir());
        } else {
            command.args(&self.bucket_args);
        }
        command
    }

    /// The JSON that a command prints.
    pub(super) async fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T, CommandError> {
        let failed = |reason: String| CommandError::Tool { words: words.join(" "), reason };
        let output = self.command(words).output().await.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(format!("{}: {}", output.status, said.trim())));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
    }

    /// The S3 server that data goes to, if it does.
    pub(super) fn s3(&mut self) -> Option<&mut S3Server> {
        self.s3.as_mut()
    }

    /// The keys of objects of telemetry in the bucket, manifests left out.
    pub(super) async fn objects(&mut self) -> Result<Vec<String>, CommandError> {
        let mut keys = match &mut self.s3 {
            Some(server) => server.keys().await?,
            None => {
                let mut keys = Vec::new();
                for part in ["fresh", "t"] {
                    list_files(&self.data_dir().join("bucket").join(part), part, &mut keys);
                }
                keys
            }
        };
        keys.retain(|key| {
            (key.starts_with("fresh/") || key.starts_with("t/")) && !key.ends_with("/manifest")
        });
        Ok(keys)
    }

    /// A counter or gauge of the process that answers queries, all its labels together.
    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let page = crate::api::Client::new(self.reads.get()).ask("/metrics", None).await.ok()?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let of = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        of.reduce(|sum, value| sum + value)
    }
}

/// Adds the files below `dir`, which is called `name`.
fn list_files(dir: &Path, name: &str, keys: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list_files(&entry.path(), &name, keys),
            _ => keys.push(name),
        }
    }
}

/// A random part of a time.
pub(super) fn part_of(time: Duration, rng: &mut impl rand::Rng) -> Duration {
    time.mul_f64(rng.random())
}
