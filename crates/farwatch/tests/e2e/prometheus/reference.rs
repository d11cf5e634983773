//! The real Prometheus and the real node_exporter.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use reqwest::RequestBuilder;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::farwatch::client;
use crate::harness::promapi::ask;
use crate::harness::{Farwatch, Options, eventually, now_ms, tools};

/// How long the programs may take to start.
const START: Duration = Duration::from_secs(30);

/// A Prometheus that scrapes every second and writes to a Farwatch.
pub(super) struct Reference {
    _prometheus: Child,
    _node_exporter: Child,
    _directory: TempDir,
    url: String,
    client: reqwest::Client,
}

/// A time to ask for, at which both have everything, and on which no window's start meets a sample.
pub(super) struct Instant {
    /// Unix seconds.
    pub(super) seconds: f64,
    /// A range for selectors inside subqueries, whose windows end at whole seconds.
    inner_range: String,
}

impl Instant {
    /// The query with `$inner` filled in.
    pub(super) fn fill(&self, query: &str) -> String {
        query.replace("$inner", &self.inner_range)
    }
}

/// Prometheus must find Farwatch on the same port after a restart.
pub(super) fn farwatch_options() -> Options {
    Options { port: tools::free_port(), ..Options::default() }
}

impl Reference {
    pub(super) async fn start(farwatch: &Farwatch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, node_port) = (tools::free_port(), tools::free_port());
        let config = format!(
            r#"
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node_port}"]}}]
remote_write:
  - url: {url}/api/v1/write
    authorization: {{credentials: "{key}"}}
    queue_config: {{batch_send_deadline: 500ms, min_backoff: 30ms, max_backoff: 500ms}}
"#,
            url = farwatch.url,
            key = farwatch.key,
        );
        let config_path = directory.path().join("prometheus.yml");
        std::fs::write(&config_path, config).unwrap();
        let node_exporter = quiet(Command::new(tools::node_exporter()))
            .arg(format!("--web.listen-address=127.0.0.1:{node_port}"))
            .spawn()
            .unwrap();
        let prometheus = quiet(Command::new(tools::prometheus()))
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .spawn()
            .unwrap();
        let reference = Self {
            _prometheus: prometheus,
            _node_exporter: node_exporter,
            _directory: directory,
            url: format!("http://127.0.0.1:{port}"),
            client: client(),
        };
        eventually("Prometheus to scrape both", START, async || {
            let up = ask(reference.post("/api/v1/query"), &[("query", "up == 1".to_owned())]).await?;
            if up.len() == 2 { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
        reference
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// Waits until both targets have been scraped for `time`, as their samples say.
    pub(super) async fn wait_for_scrapes(&self, time: Duration) {
        let span = "min(max_over_time(timestamp(up)[10m:1s]) - min_over_time(timestamp(up)[10m:1s]))";
        eventually("scrapes", 2 * time + START, async || {
            let answer = ask(self.post("/api/v1/query"), &[("query", span.to_owned())]).await?;
            let seconds =
                answer.values().next().and_then(|series| series.points.first()).map_or(0.0, |point| point.1);
            if seconds >= time.as_secs_f64() { Ok(()) } else { Err(format!("{seconds} s so far")) }
        })
        .await;
    }

    /// A time in the near past, long enough ago that no scrape of that time is still on its way.
    pub(super) async fn quiet_instant(&self) -> Instant {
        const SETTLED_MS: i64 = 3_000;
        let form = [("query", "up[10m]".to_owned()), ("time", (now_ms() as f64 / 1_000.0).to_string())];
        let scrapes = ask(self.post("/api/v1/query"), &form).await.unwrap();
        // Within the second, in ms, when scrapes happen. Every sample of a scrape has its time.
        let busy: BTreeSet<i64> = scrapes
            .values()
            .flat_map(|series| series.points.iter().map(|(at, _)| (at * 1_000.0).round() as i64 % 1_000))
            .collect();
        let phase = quiet_phase(&busy, |phase| phase);
        // The window of a selector inside a subquery starts so many ms before a whole second.
        let inner = quiet_phase(&busy, |more| (1_000 - more) % 1_000);
        let second = (now_ms() - SETTLED_MS) / 1_000 - 1;
        Instant {
            seconds: second as f64 + phase as f64 / 1_000.0,
            inner_range: format!("{}ms", 8_000 + inner),
        }
    }
}

/// The number below 1,000, and not 0, for which `place` is farthest from every place in `busy`.
fn quiet_phase(busy: &BTreeSet<i64>, place: impl Fn(i64) -> i64) -> i64 {
    let distance = |phase: i64| {
        let apart =
            |at: &i64| (at - place(phase)).rem_euclid(1_000).min((place(phase) - at).rem_euclid(1_000));
        busy.iter().map(apart).min().unwrap_or(1_000)
    };
    let quietest = (1..1_000).max_by_key(|phase| distance(*phase)).unwrap();
    assert!(distance(quietest) > 5, "scrapes at every time of the second: {busy:?}");
    quietest
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}
