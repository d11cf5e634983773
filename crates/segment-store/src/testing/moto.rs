//! A real S3 server for tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A moto server of this process's own, on a free port, with one empty bucket. It ends when this is dropped.
#[derive(Debug)]
pub struct MotoServer {
    process: Child,
    port: u16,
}

/// The starter, which also puts moto's writes under a lock.
const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/moto_server.py");

impl MotoServer {
    /// Starts a server with bucket `bucket`.
    ///
    /// # Panics
    /// When it does not start. It needs Python with moto: `python3 -m pip install 'moto[server]'`. A test that needs a
    /// server fails without one; it never passes unseen.
    #[must_use]
    pub fn start(bucket: &str) -> Self {
        let mut process = Command::new("python3")
            .args([STARTER, bucket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let port = port.expect("moto starts; where it is missing: python3 -m pip install 'moto[server]'");
        Self { process, port }
    }

    /// The port on the loopback that it serves on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL to use as endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
