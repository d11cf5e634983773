//! Programs that tests run, which `.ci/tools` installs.

use std::path::{Path, PathBuf};

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program that `.ci/tools` put below `target/tools`.
pub(crate) fn tool(path: &str) -> PathBuf {
    let tool = root().join("target/tools").join(path);
    assert!(tool.exists(), "{path} is not there: run .ci/tools, which installs what the tests need");
    tool
}

/// Prometheus.
pub(crate) fn prometheus() -> PathBuf {
    tool("debian/usr/bin/prometheus")
}

/// Prometheus's exporter of what the machine does.
pub(crate) fn node_exporter() -> PathBuf {
    tool("debian/usr/bin/prometheus-node-exporter")
}

/// Python with the OpenTelemetry SDK.
pub(crate) fn python() -> PathBuf {
    tool("python/bin/python")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
