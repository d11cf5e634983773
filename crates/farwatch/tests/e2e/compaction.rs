//! Compaction from outside: data comes to rest, answers stay the same, the ledger counts each sample once, a tenant goes without a
//! trace, and damage is its owner's alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tenancy::Scope;

use crate::harness::compression::snappy;
use crate::harness::farwatch::BINARY;
use crate::harness::promapi::{Answer, ask, difference};
use crate::harness::protobuf::Message;
use crate::harness::remote_write::{request, series, write_body};
use crate::harness::tenants::{add_tenant, change_directory};
use crate::harness::{Farwatch, now_ms};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Runs a command over the data of `server`.
fn command(server: &Farwatch, words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    for name in ["FARWATCH_BUCKET", "FARWATCH_DATA_DIR"] {
        command.env_remove(name);
    }
    let data_dir = server.data_dir();
    command.args(words).arg("--data-dir").arg(data_dir).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {error}"))
}

async fn send(server: &Farwatch, key: &str, message: &Message) {
    let post = server.client.post(format!("{}/api/v1/write", server.url)).bearer_auth(key);
    let answer = write_body(post, snappy(&message.0)).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// A native histogram with two buckets, as remote write 1.0 has it.
fn histogram(at_ms: i64, count: u64) -> Message {
    let span = Message::new().varint(1, 0).varint(2, 2);
    // Deltas of bucket counts, zigzag: `count` in the first, as many in the second.
    let deltas = [count * 2, 0];
    let mut packed = Vec::new();
    deltas.iter().for_each(|delta| crate::harness::protobuf::put_varint(&mut packed, *delta));
    Message::new()
        .varint(1, count * 2)
        .double(3, count as f64 * 1.5)
        .varint(4, 0)
        .double(5, 1e-128)
        .varint(6, 0)
        .message(11, &span)
        .bytes(12, &packed)
        .varint(15, at_ms.cast_unsigned())
}

fn with_histograms(labels: &[(&str, &str)], histograms: impl IntoIterator<Item = Message>) -> Message {
    let labels = labels.iter().map(|(name, value)| Message::new().text(1, name).text(2, value));
    Message::new().messages(1, labels).messages(4, histograms)
}

async fn answers(server: &Farwatch, key: &str, now: i64) -> Vec<Answer> {
    let mut answers = Vec::new();
    for query in ["load[3d]", "latency[3d]", "count_over_time(load[3d])", "sum(rate(load[10m]))"] {
        let post = server.client.post(format!("{}/api/v1/query", server.url)).bearer_auth(key);
        let form = [("query", query.to_owned()), ("time", (now as f64 / 1_000.0).to_string())];
        answers.push(ask(post, &form).await.unwrap());
    }
    answers
}

fn assert_alike(before: &[Answer], after: &[Answer]) {
    for (before, after) in before.iter().zip(after) {
        assert_eq!(difference(before, after), None);
    }
}

/// Writes to `key`: 20 series over three hours, native histograms, duplicates, an overwrite, and samples two days late. Returns how
/// many distinct samples and histograms these are.
async fn write_all(server: &Farwatch, key: &str, now: i64) -> (u64, u64) {
    let hosts: Vec<String> = (0..20).map(|host| format!("host-{host}")).collect();
    for minute in (0..180).step_by(3) {
        let at = now - 3 * HOUR_MS + minute * MINUTE_MS;
        let all = hosts.iter().enumerate().map(|(host, name)| {
            series(&[("__name__", "load"), ("host", name)], &[(at, (host as i64 * 7 + minute) as f64)])
        });
        let message = request(all.chain([with_histograms(
            &[("__name__", "latency")],
            [histogram(at, minute.cast_unsigned() + 1)],
        )]));
        send(server, key, &message).await;
        if minute % 30 == 0 {
            // A client that did not hear the answer.
            send(server, key, &message).await;
        }
    }
    let at = now - 3 * HOUR_MS;
    send(server, key, &request([series(&[("__name__", "load"), ("host", "host-0")], &[(at, -1.0)])])).await;
    let late: Vec<(i64, f64)> = (0..10).map(|n| (now - 48 * HOUR_MS + n * MINUTE_MS, n as f64)).collect();
    send(server, key, &request([series(&[("__name__", "load"), ("host", "late")], &late)])).await;
    (20 * 60 + 10, 60)
}

fn usage_of<'a>(usage: &'a Value, tenant: &str) -> &'a Value {
    usage["tenants"].as_array().unwrap().iter().find(|of| of["tenant"] == tenant).unwrap()
}

/// Every file below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_at_rest_gives_the_same_answers_and_counts_once() {
    let mut server = Farwatch::start().await;
    let now = now_ms();
    let other = add_tenant(&mut server, "other", &Scope::ALL).await;
    let first = server.key.clone();
    let (samples, histograms) = write_all(&server, &first, now).await;
    write_all(&server, &other, now).await;
    let before = [answers(&server, &first, now).await, answers(&server, &other, now).await];
    assert_eq!(before[0][0].len(), 21);
    server.kill().await;

    let summary = json(&command(&server, &["compact", "--once", "--json"]));
    assert_eq!(summary["stored"]["fresh_objects"], 0);
    assert_eq!(summary["stored"]["objects_to_delete"], 0, "nobody else uses the data: nothing is kept");
    assert_eq!(summary["stored"]["samples"], 2 * (samples + histograms));
    assert_eq!(summary["done"]["new_samples"], 2 * (samples + histograms));
    let usage = json(&command(&server, &["usage", "--json"]));
    for tenant in ["default", "other"] {
        let total = &usage_of(&usage, tenant)["total"];
        assert_eq!(
            (&total["samples"], &total["histogram_samples"]),
            (&samples.into(), &histograms.into()),
            "{usage}"
        );
    }
    assert_eq!(usage["objects_not_counted_yet"], 0);
    let at_rest = files(&server.data_dir().join("bucket"));
    let again = json(&command(&server, &["compact", "--once", "--json"]));
    assert_eq!(
        (&again["done"]["merges"], &again["done"]["bytes_written"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    assert_eq!(files(&server.data_dir().join("bucket")), at_rest);

    server.restart().await;
    assert_alike(&before[0], &answers(&server, &first, now).await);
    assert_alike(&before[1], &answers(&server, &other, now).await);
    // Sent once more, long after: the same answers, the same bill. Readers may look at what is replaced, so it is kept for a while.
    write_all(&server, &first, now).await;
    assert_alike(&before[0], &answers(&server, &first, now).await);
    json(&command(&server, &["compact", "--once", "--json"]));
    assert_alike(&before[0], &answers(&server, &first, now).await);
    let later = json(&command(&server, &["usage", "--json"]));
    assert_eq!(usage_of(&later, "default")["total"], usage_of(&usage, "default")["total"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_its_retention_goes_where_that_is_known() {
    let mut server = Farwatch::start().await;
    let now = now_ms();
    let other = add_tenant(&mut server, "other", &Scope::ALL).await;
    let first = server.key.clone();
    for key in [&first, &other] {
        let late = [(now - 72 * HOUR_MS, 1.0), (now, 2.0)];
        send(&server, key, &request([series(&[("__name__", "late")], &late)])).await;
    }
    change_directory(&server, |document| {
        let other = document.tenants.iter_mut().find(|tenant| tenant.id == "other").unwrap();
        other.retention_days = 1;
    })
    .await;
    server.kill().await;
    // The bucket alone does not say whom to believe.
    let bucket = format!("file://{}", server.data_dir().join("bucket").display());
    let alone =
        Command::new(BINARY).args(["compact", "--once", "--json", "--bucket", &bucket]).output().unwrap();
    assert_eq!(json(&alone)["stored"]["samples"], 4);
    assert!(String::from_utf8_lossy(&alone.stderr).contains("--data-dir"));
    assert_eq!(json(&command(&server, &["compact", "--once", "--json"]))["stored"]["samples"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_leaves_no_byte() {
    let mut server = Farwatch::start().await;
    let now = now_ms();
    let other = add_tenant(&mut server, "secret-tenant", &Scope::ALL).await;
    let first = server.key.clone();
    for key in [&first, &other] {
        write_all(&server, key, now).await;
    }
    let before = answers(&server, &first, now).await;
    server.kill().await;
    json(&command(&server, &["compact", "--once", "--json"]));
    server.restart().await;
    for key in [&first, &other] {
        send(&server, key, &request([series(&[("__name__", "load"), ("host", "new")], &[(now, 1.0)])])).await;
    }
    server.kill().await;

    let found = command(&server, &["tenant", "prove-deleted", "secret-tenant"]);
    assert!(!found.status.success());
    // Nobody is proven to be gone who was never there.
    for words in [
        &["tenant", "prove-deleted", "secret"][..],
        &["tenant", "delete", "secret"],
        &["usage", "--tenant", "secret"],
    ] {
        let unknown = command(&server, words);
        let said = String::from_utf8_lossy(&unknown.stderr);
        assert!(!unknown.status.success() && said.contains("tenant list"), "{words:?}: {said}");
    }
    let deleted = command(&server, &["tenant", "delete", "secret-tenant"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let proof = command(&server, &["tenant", "prove-deleted", "secret-tenant"]);
    let said = String::from_utf8_lossy(&proof.stdout);
    assert!(proof.status.success() && said.contains("its data is deleted"), "{said}");
    let never = command(&server, &["tenant", "prove-deleted", "default"]);
    let said = String::from_utf8_lossy(&never.stderr);
    assert!(!never.status.success() && said.contains("never deleted"), "{said}");
    for file in files(&server.data_dir().join("bucket")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(!file.to_str().unwrap().contains("secret-tenant"), "{}", file.display());
        // The directory of tenants is the control plane's; manifests are compressed, and keep the name of who was deleted.
        if name != "directory" && name != "manifest" {
            let bytes = std::fs::read(&file).unwrap();
            let holds = bytes.windows(13).any(|window| window == b"secret-tenant");
            assert!(!holds, "{}", file.display());
        }
    }
    server.restart().await;
    let after = answers(&server, &first, now).await;
    assert_eq!(after[0].len(), before[0].len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_and_stops_nobody_else() {
    let mut server = Farwatch::start().await;
    let now = now_ms();
    let other = add_tenant(&mut server, "other", &Scope::ALL).await;
    let first = server.key.clone();
    for key in [&first, &other] {
        write_all(&server, key, now).await;
    }
    server.kill().await;
    json(&command(&server, &["compact", "--once", "--json"]));
    let mut segments = files(&server.data_dir().join("bucket/t/other/metrics"));
    segments.retain(|path| path.file_name().unwrap() != "manifest");
    for segment in &segments {
        let mut bytes = std::fs::read(segment).unwrap();
        let last = bytes.len() - 20;
        bytes[last] ^= 1;
        std::fs::write(segment, bytes).unwrap();
    }
    server.restart().await;
    for key in [&first, &other] {
        write_all(&server, key, now).await;
    }
    server.kill().await;
    let summary = json(&command(&server, &["compact", "--once", "--json"]));
    let told: Vec<&str> =
        summary["stored"]["quarantined"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(!told.is_empty(), "{summary}");
    for of in told {
        // Thinned segments are made anew from raw ones, so only what nothing could replace is told.
        let named = |path: &&PathBuf| of.contains(path.file_name().unwrap().to_str().unwrap());
        let segment = segments.iter().find(named).unwrap_or_else(|| panic!("{of}"));
        assert!(segment.exists(), "what is damaged is kept: {of}");
    }
    let usage = json(&command(&server, &["usage", "--json"]));
    assert_eq!(usage_of(&usage, "default")["total"]["samples"], 20 * 60 + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_told() {
    let server = Farwatch::start().await;
    let error = |words: &[&str]| {
        let output = Command::new(BINARY).args(words).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(error(&["compact", "--data-dir", "x"]).contains("--once"));
    assert!(error(&["compact", "--once", "--data-dir", "/nowhere"]).contains("--data-dir or --bucket"));
    assert!(error(&["usage", "--bucket", "gs://x"]).contains("s3://NAME"));
    let data_dir = server.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    assert!(error(&["tenant", "delete", "No Such", "--data-dir", data_dir]).contains("tenant list"));
    assert!(error(&["usage", "--from", "yesterday", "--data-dir", data_dir]).contains("RFC 3339"));
    // Beside a running server nothing is deleted that readers may need.
    let output = command(&server, &["compact", "--once"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
