//! The commands that do one thing and end, against a running server and its files.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::harness::farwatch::BINARY;
use crate::harness::remote_write::{request, series, write};
use crate::harness::{Farwatch, now_ms};

fn farwatch(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    for name in ["FARWATCH_URL", "FARWATCH_KEY", "FARWATCH_KEY_FILE", "FARWATCH_BUCKET"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{error}");
    out.into_owned()
}

fn error(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn server_with_data() -> Farwatch {
    let server = Farwatch::start().await;
    let now = now_ms();
    let samples: Vec<(i64, f64)> = (0..60).map(|i| (now - 60_000 + i * 1_000, (i % 10) as f64)).collect();
    let message = request([series(&[("__name__", "saw"), ("host", "a")], &samples)]);
    assert_eq!(write(&server, &message).await.unwrap().0, 204);
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_answered_in_the_terminal() {
    let server = server_with_data().await;
    let key_file = server.data_dir().parent().unwrap().join("key");
    let key_file = key_file.to_str().unwrap();
    let ask =
        |more: &[&str]| farwatch(&[&["query", "--url", &server.url, "--key-file", key_file], more].concat());
    let table = out(&ask(&["saw"]));
    assert!(table.contains("SERIES") && table.contains("saw{host=\"a\"}  9"), "{table}");
    let chart = out(&ask(&["saw", "--range", "1m"]));
    assert!(chart.contains('█') && chart.contains("min 0 max 9"), "{chart}");
    let json = out(&ask(&["saw", "--json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["status"], "success");
    assert_eq!(out(&ask(&["1 + 1"])), "2\n");
    assert_eq!(out(&ask(&["nothing"])), "no series match\n");

    let wrong = error(&ask(&["sum("]));
    assert!(wrong.contains("400") && wrong.contains("parse error"), "{wrong}");
    let refused = error(&farwatch(&["query", "--url", &server.url, "saw"]));
    assert!(refused.contains("401") && refused.contains("--key"), "{refused}");
    let nobody = error(&farwatch(&["query", "--url", "http://127.0.0.1:1", "saw"]));
    assert!(nobody.contains("is `farwatch serve` running there?"), "{nobody}");
    let no_scheme = error(&farwatch(&["query", "--url", "127.0.0.1:9600", "saw"]));
    assert!(no_scheme.contains("http://127.0.0.1:9600"), "{no_scheme}");
    assert!(error(&ask(&["saw", "--start", "yesterday"])).contains("RFC 3339"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_can_be_looked_into_by_path_and_by_key() {
    let server = server_with_data().await;
    let bucket = server.data_dir().join("bucket");
    let segment = first_segment(&bucket);
    let key = segment.strip_prefix(&bucket).unwrap().to_str().unwrap();
    let address = format!("file://{}", bucket.display());
    let path = segment.to_str().unwrap();
    for which in [&[path][..], &[key, "--bucket", &address][..]] {
        let inspected = out(&farwatch(&[&["segment", "inspect"], which].concat()));
        assert!(
            inspected.contains("default metrics") && inspected.contains("1 series, 60 samples"),
            "{inspected}"
        );
        let verified = out(&farwatch(&[&["segment", "verify"], which].concat()));
        assert!(verified.contains("60 samples"), "{verified}");
    }
    // A copy elsewhere is the same segment.
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.seg");
    std::fs::copy(&segment, &copy).unwrap();
    let verified = out(&farwatch(&["segment", "verify", copy.to_str().unwrap()]));
    assert!(verified.contains("60 samples"), "{verified}");
    assert!(error(&farwatch(&["segment", "verify", "no/such/file"])).contains("cannot read no/such/file"));

    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let damaged = error(&farwatch(&["segment", "verify", path]));
    assert!(damaged.contains("damaged"), "{damaged}");
}

/// The first object of the bucket's fresh segments.
fn first_segment(bucket: &std::path::Path) -> PathBuf {
    let mut place = bucket.join("fresh");
    while place.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        place = entries.first().unwrap().clone();
    }
    place
}

#[test]
fn versions_and_mistakes_are_told() {
    assert!(out(&farwatch(&["--version"])).starts_with("farwatch 0."));
    assert!(error(&farwatch(&["brew"])).contains("unrecognized subcommand"));
    assert!(error(&farwatch(&[])).contains("Usage"));
    assert!(out(&farwatch(&["config", "reference"])).contains("`--data-dir DIR`"));
}

#[test]
fn a_command_ends_quietly_when_nobody_reads_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(BINARY);
    let ended = command.args(["config", "reference"]).stdout(writer).stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", error(&ended));
}
