//! Real S3 servers for tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// An S3 server of this process's own, on a free port, with one empty bucket. It ends when this is dropped, or when the process
/// ends in any way. Its access key is `key`, the secret `secret`.
#[derive(Debug)]
pub struct S3Server {
    process: Child,
    port: u16,
}

impl S3Server {
    /// Starts moto, made strict about conditional puts, with bucket `bucket`: about a second.
    ///
    /// # Panics
    /// When it does not start. It needs Python with moto: `python3 -m pip install 'moto[server]'`. A test that needs a
    /// server fails without one; it never passes unseen.
    #[must_use]
    pub fn moto(bucket: &str) -> Self {
        Self::start("moto_server.py", bucket, "python3 -m pip install 'moto[server]'")
    }

    /// Starts radosgw over one OSD in memory, with bucket `bucket`: about ten seconds.
    ///
    /// # Panics
    /// When it does not start. It needs Debian's `ceph-mon`, `ceph-osd`, `radosgw` and `ceph-common`, and Python with boto3.
    #[must_use]
    pub fn radosgw(bucket: &str) -> Self {
        let install = "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common";
        Self::start("radosgw_server.py", bucket, install)
    }

    fn start(starter: &str, bucket: &str, install: &str) -> Self {
        let mut process = Command::new("python3")
            .args([&format!("{}/tests/support/{starter}", env!("CARGO_MANIFEST_DIR")), bucket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        assert!(port.is_some(), "{starter} does not start; is everything there? {install}");
        Self { process, port: port.unwrap() }
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

impl Drop for S3Server {
    fn drop(&mut self) {
        // The starters end when their standard input does, and take with them what they started.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
