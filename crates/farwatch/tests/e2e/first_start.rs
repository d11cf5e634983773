//! What a newcomer sees, and what a script relies on.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::farwatch::BINARY;
use crate::harness::{Farwatch, Options, eventually};

#[tokio::test]
async fn the_first_start_hands_the_key_over_and_later_ones_do_not() {
    let mut server = Farwatch::start().await;
    let key_file = server.data_dir().parent().unwrap().join("key");
    assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.get("/api/v1/labels").send().await.unwrap().status(), 200);

    server.kill().await;
    std::fs::remove_file(&key_file).unwrap();
    server.restart().await;
    assert!(!key_file.exists());
    assert_eq!(server.get("/api/v1/labels").send().await.unwrap().status(), 200);
    let written = format!("the API key was written to {}", key_file.display());
    assert_eq!(server.said().matches(&written).count(), 1, "{}", server.said());
    assert!(!server.said().contains(&server.key), "the key is in the output:\n{}", server.said());
}

#[tokio::test]
async fn without_a_file_the_key_is_printed_once_with_lines_to_copy() {
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        let mut child = tokio::process::Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(directory.path().join("out")).unwrap())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let printed = || std::fs::read_to_string(directory.path().join("out")).unwrap();
        eventually("the port", Duration::from_secs(30), async || {
            if printed().contains("listening on http://") { Ok(()) } else { Err(printed()) }
        })
        .await;
        // What is printed is printed before anything is served.
        let url =
            format!("http{}", printed().split_once("listening on http").unwrap().1.lines().next().unwrap());
        eventually("readiness", Duration::from_secs(30), async || {
            let answer = crate::harness::farwatch::client().get(format!("{url}/readyz")).send().await;
            match answer {
                Ok(answer) if answer.status() == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        child.kill().await.unwrap();
        printed()
    };
    let first = start().await;
    for expected in ["remote_write:", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=", "Grafana", "fw_"] {
        assert!(first.contains(expected), "{expected} is not in:\n{first}");
    }
    let second = start().await;
    assert!(!second.contains("fw_") && !second.contains("remote_write"), "{second}");
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let unknown = directory.path().join("farwatch.toml");
    std::fs::write(&unknown, "lisen = \"127.0.0.1:0\"\n").unwrap();
    let unknown = unknown.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--listen", "nowhere"], "HOST:PORT"),
        (&["--bucket", "ftp://x"], "file://DIR or s3://NAME"),
        (&["--role", "cook"], "query, compact and control-plane"),
        (&["--out-of-order-window", "soon"], "unlimited"),
        (&["--anonymous-tenant", "guests", "--listen", "0.0.0.0:0"], "loopback"),
        (
            &["--anonymous-tenant", "guests", "--listen", "127.0.0.1:0", "--otlp-grpc-listen", "0.0.0.0:0"],
            "loopback",
        ),
        (&["--anonymous-tenant", "No Name"], "tenant id"),
        (&["--config", unknown], "did you mean \"listen\""),
        (&["--log", "loud=very"], "setting log"),
        (&["--log", "inof"], "error, warn, info, debug, trace"),
        (&["--linger", "1h"], "at most 10s"),
        (&["--s3-endpoint", "http://127.0.0.1:1"], "--bucket s3://NAME"),
        (&["--bucket", "s3://b", "--s3-endpoint", "127.0.0.1:35000"], "http://127.0.0.1:35000"),
        (&["--listen", "127.0.0.1:0", "--bootstrap-key-file", unknown], "is there already"),
        (&["--listen", "127.0.0.1:0", "--bootstrap-key-file", "no/such/key"], "no/such (of setting"),
    ];
    for (flags, expected) in cases {
        let output = Command::new(BINARY)
            .arg("serve")
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(*flags)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{flags:?}: {error}");
        assert!(!directory.path().join("data").exists(), "{flags:?} made the data directory");
    }
}

#[tokio::test]
async fn who_sends_no_credentials_is_the_anonymous_tenant_where_there_is_one() {
    let server = Farwatch::start_with(Options::with(&["--anonymous-tenant", "guests"])).await;
    assert!(server.said().contains("without credentials belong to tenant \"guests\""), "{}", server.said());
    let without = server.client.get(format!("{}/api/v1/labels", server.url)).send().await.unwrap();
    assert_eq!(without.status(), 200);
    let wrong =
        server.client.get(format!("{}/api/v1/labels", server.url)).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
}

#[tokio::test]
async fn logs_can_be_json() {
    let server = Farwatch::start_with(Options::with(&["--log-format", "json"])).await;
    let said = server.said();
    let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no JSON in {said}"));
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(json["level"].is_string() && json["message"].is_string(), "{json}");
}
