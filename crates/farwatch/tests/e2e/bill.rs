//! From signing up to an invoice that is computed anew, at the shell: data plane and control plane are processes of their own, on
//! SQLite and on PostgreSQL, and a real Prometheus writes.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use segment_store::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::customer::{Customer, PASSWORD};
use crate::harness::farwatch::{BINARY, collect};
use crate::harness::postgres::PostgresServer;
use crate::harness::remote_write::{request, series, write_with_key};
use crate::harness::{Farwatch, Options, eventually, now_ms, signup_token, tools};

const PATIENCE: Duration = Duration::from_secs(60);
/// What holds for revocations and limits, everywhere.
const ENFORCED_WITHIN: Duration = Duration::from_secs(5);

/// `farwatch control-plane` beside a data plane.
struct ControlPlane {
    child: Child,
    url: String,
    output: Arc<Mutex<String>>,
}

impl ControlPlane {
    async fn start(data_plane: &Farwatch, port: u16, database: Option<&str>) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["control-plane", "--default-plan", "team", "--data-dir"]).arg(data_plane.data_dir());
        command.arg(format!("--listen=127.0.0.1:{port}")).env_remove("FARWATCH_CONFIG");
        command.args(database.iter().flat_map(|url| ["--database-url", url]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = Arc::default();
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        let control = Self { child, url: format!("http://127.0.0.1:{port}"), output };
        eventually("the control plane", PATIENCE, async || {
            let plans = data_plane.client.get(format!("{}/api/control/v1/plans", control.url)).send().await;
            match plans {
                Ok(plans) if plans.status() == 200 => Ok(()),
                other => Err(format!("{other:?}\n{}", control.output.lock().unwrap())),
            }
        })
        .await;
        control
    }

    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A Prometheus that scrapes itself and writes to a Farwatch, until it is told to scrape no more.
struct Prometheus {
    child: Child,
    directory: TempDir,
    port: u16,
    remote_write: String,
}

/// What Prometheus says of its remote write.
#[derive(Debug, PartialEq)]
struct Sent {
    samples: u64,
    pending: u64,
    failed: u64,
}

impl Prometheus {
    fn start(farwatch: &Farwatch, key: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), tools::free_port());
        let url = &farwatch.url;
        let remote_write = format!(
            "remote_write: [{{url: '{url}/api/v1/write', authorization: {{credentials: '{key}'}}, \
             metadata_config: {{send: false}}, queue_config: {{batch_send_deadline: 500ms}}}}]\n"
        );
        let config = directory.path().join("prometheus.yml");
        let targets = format!(
            "scrape_configs: [{{job_name: prometheus, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
        );
        std::fs::write(&config, format!("global: {{scrape_interval: 1s}}\n{remote_write}{targets}\n"))
            .unwrap();
        let child = Command::new(tools::prometheus())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-lifecycle"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, directory, port, remote_write }
    }

    /// Scrapes no more; sends the rest, markers of the series' ends among it, and tells how much it sent in all.
    async fn finish(mut self, client: &reqwest::Client) -> u64 {
        std::fs::write(self.directory.path().join("prometheus.yml"), &self.remote_write).unwrap();
        let reload = format!("http://127.0.0.1:{}/-/reload", self.port);
        assert_eq!(client.post(reload).send().await.unwrap().status(), 200);
        // The markers come two scrape intervals later: until nothing has come for longer than that, it is not the end.
        const QUIET: Duration = Duration::from_secs(5);
        let clock = SystemClock::new();
        let last = Mutex::new((self.sent(client).await, clock.monotonic()));
        let sent = eventually("Prometheus to have sent everything", PATIENCE, async || {
            let sent = self.sent(client).await;
            let mut last = last.lock().unwrap();
            if sent.as_ref().is_ok_and(|sent| sent.pending > 0) || sent != last.0 {
                *last = (sent, clock.monotonic());
            }
            match &*last {
                (Ok(sent), since) if clock.monotonic() - *since > QUIET => Ok((sent.samples, sent.failed)),
                (sent, _) => Err(format!("{sent:?}")),
            }
        })
        .await;
        assert_eq!(sent.1, 0, "samples that Prometheus gave up on");
        self.child.kill().await.unwrap();
        sent.0
    }

    async fn sent(&self, client: &reqwest::Client) -> Result<Sent, String> {
        let page = client.get(format!("http://127.0.0.1:{}/metrics", self.port)).send().await;
        let page =
            page.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
        let sum = |name: &str| {
            let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            let values = page.lines().filter(of).map(|line| line.rsplit_once(' ').unwrap().1);
            values.map(|value| value.parse::<f64>().unwrap() as u64).sum()
        };
        Ok(Sent {
            samples: sum("prometheus_remote_storage_samples_total"),
            pending: sum("prometheus_remote_storage_samples_pending"),
            failed: sum("prometheus_remote_storage_samples_failed_total")
                + sum("prometheus_remote_storage_samples_dropped_total"),
        })
    }
}

/// What a command over the stored data prints.
async fn over_data(server: &Farwatch, words: &[&str]) -> std::process::Output {
    let mut command = Command::new(BINARY);
    command.args(words).arg("--data-dir").arg(server.data_dir()).stdin(Stdio::null());
    command.env_remove("FARWATCH_BUCKET").env("FARWATCH_SESSION_FILE", "/nonexistent/session");
    command.output().await.unwrap()
}

async fn from_signup_to_a_verified_invoice(database: Option<&str>) {
    // What the machine stores, another process than the one that knows accounts takes.
    let data_plane = Farwatch::start_with(Options::with(&["--role", "ingest,query,compact"])).await;
    let port = tools::free_port();
    let mut control = ControlPlane::start(&data_plane, port, database).await;
    let ada = Customer::of(&control.url);
    let who = ["--email", "ada@example.com"];
    ada.done_with(&[&["signup"], &who[..]].concat(), PASSWORD);
    let token = signup_token(&control.output).await;
    ada.done_with(&[&["signup"], &who[..], &["--confirm", &token]].concat(), PASSWORD);

    let declared = "aws:eu-central-1";
    let tenant = ada.json(&["tenant", "create", "production", "--region", declared]);
    let placed = ada.json(&["placement", "show"]);
    let home = placed["placement"]["decision"]["home"]["region"].as_str().unwrap();
    assert_ne!(home, declared);
    assert!(ada.done(&["placement", "show"]).contains(home));

    let made =
        ada.json(&["keys", "create", "prometheus", "--scope", "metrics:write", "--scope", "metrics:read"]);
    let (key, key_id) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    let status = async |value: f64| {
        let message = request([series(&[("__name__", "probe")], &[(now_ms(), value)])]);
        write_with_key(&data_plane, key, &message).await.unwrap()
    };
    let becomes = async |wanted: u16| {
        let clock = SystemClock::new();
        let body = eventually("the data plane to know", PATIENCE, async || match status(f64::NAN).await {
            (found, body) if found == wanted => Ok(body),
            other => Err(format!("{other:?}")),
        })
        .await;
        (clock.monotonic(), body)
    };
    // What is asked while the key is not known yet stores nothing; the one that is taken is a sample.
    becomes(204).await;
    let prometheus = Prometheus::start(&data_plane, key);
    eventually("scrapes", PATIENCE, async || {
        let asked =
            data_plane.client.get(format!("{}/api/v1/query?query=count_over_time(up[1m])", data_plane.url));
        let answer: Value = asked.bearer_auth(key).send().await.unwrap().json().await.unwrap();
        let count = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").parse::<u64>().unwrap();
        if count >= 5 { Ok(()) } else { Err(format!("{count} scrapes")) }
    })
    .await;
    let sent = prometheus.finish(&data_plane.client).await + 1;
    assert!(sent > 1_000, "{sent} samples");

    let compacted = over_data(&data_plane, &["compact", "--once"]).await;
    assert!(compacted.status.success(), "{}", String::from_utf8_lossy(&compacted.stderr));
    // A control plane folds all ledgers when it starts.
    control.kill().await;
    let mut control = ControlPlane::start(&data_plane, port, database).await;
    let usage = eventually("usage", PATIENCE, async || match ada.json(&["usage"]) {
        usage if usage["total"]["samples"] == json!(0) => Err(usage.to_string()),
        usage => Ok(usage),
    })
    .await;
    assert_eq!(usage["total"]["samples"], json!(sent), "{usage}");
    let hours = ada.json(&["usage", "--tenant", "production"]);
    let by_hour: u64 =
        hours["hours"].as_array().unwrap().iter().map(|hour| hour["samples"].as_u64().unwrap()).sum();
    assert_eq!(by_hour, sent);

    let month = usage["month"].as_str().unwrap();
    let document = ada.json(&["invoice", "show", month]);
    let lines = document["invoice"]["lines"].as_array().unwrap();
    let samples = lines.iter().filter(|line| line["meter"] == "samples");
    let billed: u64 = samples.map(|line| line["quantity"].as_u64().unwrap()).sum();
    assert_eq!(billed, sent, "{document:#}");
    let shown = ada.done(&["invoice", "show"]);
    assert!(shown.contains("total") && shown.contains(tenant["id"].as_str().unwrap()), "{shown}");
    assert!(ada.done(&["invoice", "show", "--html"]).contains("<html"));
    assert!(ada.done(&["invoice", "show", "--csv"]).contains("samples"));

    let data_dir = data_plane.data_dir();
    let verify = ["verify-invoice", month, "--data-dir", data_dir.to_str().unwrap()];
    let verified = ada.done(&verify);
    assert!(verified.contains("is right"), "{verified}");
    // The same without the control plane: from what it gave out, and what the operator gave out.
    let directory = tempfile::tempdir().unwrap();
    let [inputs, ledger] = ["inputs.json", "ledger.json"].map(|name| directory.path().join(name));
    let mut export = ada.json(&["invoice", "inputs", month]);
    let file = |path: &std::path::Path, text: &str| std::fs::write(path, text).unwrap();
    file(&inputs, &export.to_string());
    file(&ledger, std::str::from_utf8(&over_data(&data_plane, &["usage", "--json"]).await.stdout).unwrap());
    let by_files = ["verify-invoice", inputs.to_str().unwrap(), "--ledger", ledger.to_str().unwrap()];
    assert!(ada.done(&by_files).contains("is right"));
    let total = export["invoice"]["total_micros"].as_i64().unwrap();
    export["invoice"]["total_micros"] = json!(total + 10_000);
    file(&inputs, &export.to_string());
    let wrong = ada.run(&by_files, "");
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(!wrong.status.success() && said.contains("total_micros"), "{said}");

    ada.done(&["quota", "set", "samples_per_second=0"]);
    let (after, body) = becomes(429).await;
    assert!(after < ENFORCED_WITHIN && body.contains("samples"), "{after:?} {body}");
    ada.done(&["quota", "set", "samples_per_second=default"]);
    becomes(204).await;

    control.kill().await;
    let (status_now, body) = status(7.0).await;
    assert_eq!(status_now, 204, "{body}");
    let asked =
        data_plane.client.get(format!("{}/api/v1/query?query=probe", data_plane.url)).bearer_auth(key);
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"]["result"][0]["value"][1], "7");

    let _control = ControlPlane::start(&data_plane, port, database).await;
    ada.done(&["keys", "revoke", key_id]);
    let (after, _) = becomes(401).await;
    assert!(after < ENFORCED_WITHIN, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_signup_to_a_verified_invoice_on_sqlite() {
    from_signup_to_a_verified_invoice(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_signup_to_a_verified_invoice_on_postgresql() {
    let server = PostgresServer::start();
    from_signup_to_a_verified_invoice(Some(&server.url("postgres"))).await;
}
