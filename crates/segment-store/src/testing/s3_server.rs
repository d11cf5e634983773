//! Real S3 servers for tests.
//!
//! Both pass the conformance suite with conditional puts: moto in every run of the tests, radosgw by hand, since it takes some 15 s and
//! packages that few have (`cargo test -p segment-store --lib -- --ignored conforms_on_radosgw`). What they answer where S3 leaves room
//! or they differ from it, as seen with moto 5.2.5 and radosgw 16.2.15 (Debian 12):
//!
//! | request | AWS, by its documentation | moto | radosgw |
//! |---|---|---|---|
//! | put, `If-Match` with the right etag in quotes | stored | stored | 412: it wants no quotes |
//! | the same without quotes | stored | stored | stored |
//! | put, `If-Match`, no such key | 404 | 404 | 412 |
//! | put, `If-None-Match: *`, taken | 412 | 412 | 412 |
//! | 8 puts at once with `If-None-Match: *`, 20 times | one wins, others 412 or 409 | one, 412 | one, 412 |
//! | 8 puts at once with `If-Match`, 20 times | one wins, others 412 or 409 | one, 412 | one; 122 losers 412, 18 losers 500 |
//! | get, `If-None-Match`, unchanged, with quotes or without | 304 | 304 | 304 |
//! | get, range behind the end | 416 | 416 | 416 |
//! | get, a suffix of 0 bytes | 416 | 416 | 206 |
//! | a wrong secret | 403 | served: it checks no signature | 403 |
//! | no such bucket | 404 | 404 | 404 |
//!
//! - moto looks and then writes without a lock, so that two conditional puts may both win, and a read of an object that is being
//!   replaced may fail. `tests/support/moto_server.py` runs requests for objects one by one, which cures both.
//! - moto's HTTP server takes a request whose head was cut off for a whole one, and stored empty objects, some under a put-id of ours; the
//!   starter drops such requests.
//! - moto keeps everything in memory, some 100 puts a second. Its starter can close and cut all connections and serve again over the
//!   same data ("kill" and "start" on its standard input); what was under way may still be carried out, as on S3.
//! - radosgw keeps nothing itself, so it can be killed with -9 and started again (a tenth of a second) with the OSD, which is in memory
//!   here, going on: the same two commands of `tests/support/radosgw_server.py`.
//! - The SDK's checksums in trailers are sent only where S3 requires one: older servers refuse them.

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
