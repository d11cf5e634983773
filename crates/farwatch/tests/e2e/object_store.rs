//! Data in an S3 bucket: what was acked is in the bucket, and is found there after the process was killed.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::promapi::ask;
use crate::harness::remote_write::{request, series, write};
use crate::harness::tools::{python, root};
use crate::harness::{Farwatch, Options, now_ms};

const BUCKET: &str = "farwatch-end-to-end";

/// A real S3 server, which ends when this is dropped.
async fn s3_server() -> (Child, String) {
    let mut server = Command::new(python())
        .arg(root().join("crates/segment-store/tests/support/moto_server.py"))
        .arg(BUCKET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("the S3 server starts");
    let port: u16 = line.strip_prefix("listening ").unwrap().parse().unwrap();
    (server, format!("http://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_is_in_the_bucket() {
    let (_s3, endpoint) = s3_server().await;
    let mut options =
        Options::with(&["--bucket", &format!("s3://{BUCKET}/below/here"), "--s3-endpoint", &endpoint]);
    options.variables =
        vec![("AWS_ACCESS_KEY_ID", "test".to_owned()), ("AWS_SECRET_ACCESS_KEY", "test".to_owned())];
    let mut server = Farwatch::start_with(options).await;
    let at = now_ms();
    for number in 0..5 {
        let message = request([series(&[("__name__", "kept")], &[(at - 1_000 + number, number as f64)])]);
        assert_eq!(write(&server, &message).await.unwrap().0, 204);
    }
    server.kill().await;
    assert!(!server.data_dir().join("bucket").exists(), "nothing but the signing key is kept here");
    server.restart().await;
    let form = [("query", "kept[1m]".to_owned()), ("time", (at as f64 / 1_000.0).to_string())];
    let answer = ask(server.post("/api/v1/query"), &form).await.unwrap();
    let values: Vec<f64> = answer.values().next().unwrap().points.iter().map(|point| point.1).collect();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0]);
}
