//! A `farwatch serve` as an engine under test.

use std::time::Duration;

use promql::{SeriesSamples, Window};
use promqltest::{Answer, Engine};
use telemetry::Labels;
use tokio::runtime::Runtime;

use crate::answer;
use crate::harness::remote_write::{request, series, write};
use crate::harness::{Farwatch, Options};
use crate::histogram;

/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);

/// A server with nothing in it but what was loaded; each `clear` begins a new one.
pub(crate) struct Served {
    running: Option<Running>,
    runtime: Runtime,
}

struct Running {
    server: Farwatch,
    /// Keeps its connection, unlike the server's own.
    client: reqwest::Client,
}

impl Served {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { running: None, runtime }
    }

    fn running(&mut self) -> (&Runtime, &Running) {
        let running = self.running.get_or_insert_with(|| {
            let options = Options::with(&[
                "--enable-feature=promql-experimental-functions,promql-delayed-name-removal",
                // The scripts begin in 1970.
                "--out-of-order-window=unlimited",
            ]);
            let server = self.runtime.block_on(Farwatch::start_with(options));
            Running { server, client: reqwest::Client::builder().timeout(ANSWER).build().unwrap() }
        });
        (&self.runtime, running)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Engine for Served {
    fn clear(&mut self) {
        if let Some(mut running) = self.running.take() {
            self.runtime.block_on(running.server.kill());
        }
    }

    fn load(&mut self, loaded: &[(Labels, SeriesSamples)]) -> Result<(), String> {
        let (runtime, Running { server, .. }) = self.running();
        let message = request(loaded.iter().map(|(labels, samples)| {
            let labels: Vec<(&str, &str)> = labels.iter().collect();
            let floats: Vec<(i64, f64)> =
                samples.timestamps_ms.iter().copied().zip(samples.values.iter().copied()).collect();
            let histograms = samples.histograms.iter().map(|(at_ms, one)| histogram::message(*at_ms, one));
            series(&labels, &floats).messages(4, histograms)
        }));
        match runtime.block_on(write(server, &message)) {
            Ok((204, _)) => Ok(()),
            Ok((status, text)) => Err(format!("{status}: {text}")),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    fn query(&mut self, expr: &str, window: Window) -> Result<Answer, String> {
        let (runtime, Running { server, client }) = self.running();
        let seconds = |ms: i64| (ms as f64 / 1_000.0).to_string();
        let mut form = vec![("query", expr.to_owned())];
        let path = if window.is_instant() {
            form.push(("time", seconds(window.start_ms)));
            "query"
        } else {
            form.push(("start", seconds(window.start_ms)));
            form.push(("end", seconds(window.end_ms)));
            form.push(("step", seconds(window.step_ms)));
            "query_range"
        };
        let post = client.post(format!("{}/api/v1/{path}", server.url)).bearer_auth(&server.key).form(&form);
        let body = runtime
            .block_on(async { post.send().await?.text().await })
            .unwrap_or_else(|error| panic!("{expr}: {error:?}\n{}", server.said()));
        answer::read(&body)
    }
}
