//! `loadtest crash`: the crash drill.
//!
//! Writers write values that follow from series and timestamp, so that what must be there needs no second store. The
//! server is killed with `SIGKILL` at random moments, restarted, and read back at once: every sample that was acked
//! before the kill must be there exactly once with its value. At the end everything is read back once more. About half
//! of the requests that a kill cut off are sent again after the restart, as Prometheus would, so that what became
//! durable without an ack is written twice.
//!
//! A killed process leaves its written files to the kernel: this drill shows what a crash of the process loses, not
//! what a power cut would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hyper::StatusCode;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{CommandError, Outcome, api, work_dir};
use crate::api::{ApiError, Client, SeriesKey};
use crate::cli::Crash;
use crate::clock;
use crate::http::Endpoint;
use crate::progress::note;
use crate::proto::{EncodedLabels, RequestBuilder};
use crate::server::{Launch, Product, Running};
use crate::stats::{Latencies, LatencySummary};
use crate::table::Table;
use crate::verify::{ExpectedSeries, Group, Sent, Verdict, verify};

/// How often a restart is killed before it is ready, again and again.
const STARTUP_KILL_PROBABILITY: f64 = 0.2;
/// How long such a start lives at most.
const STARTUP_LIFE_MAX: Duration = Duration::from_millis(60);
/// How often a request that a kill has cut off is sent again.
const RESEND_PROBABILITY: f64 = 0.5;
/// The first timestamp lies this long before the drill.
const PAST: Duration = Duration::from_secs(3600);
/// Pause after the server said that it is overloaded.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(5);

/// What a drill found.
#[derive(Debug, Serialize)]
pub struct CrashReport {
    /// Kills under load.
    pub kills: u32,
    /// Kills of starts that were not ready yet.
    pub startup_kills: u32,
    /// Requests sent.
    pub requests: usize,
    /// Those of them that were acked in the end.
    pub requests_acked: usize,
    /// Requests that were sent again after a kill.
    pub requests_resent: usize,
    /// From the start of the process after a kill until it was ready.
    pub ready: LatencySummary,
    /// What was found after all kills.
    pub verdict: Verdict,
    /// What was wrong right after one of the kills.
    pub wrong_after_kills: Vec<String>,
}

impl CrashReport {
    fn is_good(&self) -> bool {
        self.verdict.is_good() && self.wrong_after_kills.is_empty() && self.requests_acked > 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Request {
    timestamp_ms: i64,
    acked: bool,
}

/// One writer with all that it has sent.
#[derive(Debug)]
struct Writer {
    name: String,
    run: String,
    series: Vec<EncodedLabels>,
    requests: Vec<Request>,
    first_timestamp_ms: i64,
    resent: usize,
    rng: ChaCha8Rng,
    refused: Option<ApiError>,
}

impl Writer {
    fn new(number: u32, args: &Crash, run: &str, first_timestamp_ms: i64) -> Self {
        let name = number.to_string();
        let labels = |series: u32| {
            let series = series.to_string();
            let pairs = [
                ("__name__", "loadtest_crash"),
                ("job", "loadtest"),
                ("run", run),
                ("series", &series),
                ("writer", &name),
            ];
            EncodedLabels::new(pairs)
        };
        Self {
            series: (0..args.series_per_writer).map(labels).collect(),
            name,
            run: run.to_owned(),
            requests: Vec::new(),
            first_timestamp_ms,
            resent: 0,
            rng: ChaCha8Rng::seed_from_u64(args.seed ^ (u64::from(number) + 1).rotate_left(32)),
            refused: None,
        }
    }

    /// Writes at full speed until the server is gone, or `stop`.
    async fn write_on(mut self, endpoint: Endpoint, stop: Arc<AtomicBool>) -> Self {
        let mut client = Client::new(endpoint);
        let cut_off = self.requests.last().is_some_and(|request| !request.acked);
        let mut resend = cut_off && self.rng.random_bool(RESEND_PROBABILITY);
        self.resent += usize::from(resend);
        while !stop.load(Ordering::Relaxed) {
            if !std::mem::take(&mut resend) {
                let timestamp_ms = self.first_timestamp_ms + self.requests.len() as i64;
                self.requests.push(Request { timestamp_ms, acked: false });
            }
            let Some(request) = self.requests.last().copied() else { break };
            match client.write(self.body(request.timestamp_ms)).await {
                Ok(()) => {
                    if let Some(request) = self.requests.last_mut() {
                        request.acked = true;
                    }
                }
                Err(ApiError::Refused { status, .. })
                    if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) =>
                {
                    tokio::time::sleep(OVERLOAD_PAUSE).await;
                }
                Err(ApiError::Unanswered(_)) => break,
                Err(refused) => {
                    self.refused = Some(refused);
                    break;
                }
            }
        }
        self
    }

    fn body(&self, timestamp_ms: i64) -> Bytes {
        let mut request = RequestBuilder::default();
        for (series, labels) in self.series.iter().enumerate() {
            request.push(labels, value_of(&self.name, series, timestamp_ms), timestamp_ms);
        }
        request.finish().unwrap_or_default()
    }

    /// What must be there of the requests from the `from`-th on.
    fn expected(&self, from: usize) -> Group {
        let requests = self.requests.get(from..).unwrap_or_default();
        let sent = |series: usize| {
            let sample = move |request: &Request| Sent {
                timestamp_ms: request.timestamp_ms,
                value: value_of(&self.name, series, request.timestamp_ms),
                acked: request.acked,
            };
            requests.iter().map(sample).collect()
        };
        let series = self.series.iter().enumerate();
        let series =
            series.map(|(index, labels)| ExpectedSeries { key: SeriesKey::from(labels), sent: sent(index) });
        let selector = format!("loadtest_crash{{run={:?},writer={:?}}}", self.run, self.name);
        Group { selector, series: series.collect() }
    }
}

/// The value that a series has at a time: 52 bits that look random, so that no other sample has the same.
fn value_of(writer: &str, series: usize, timestamp_ms: i64) -> f64 {
    let mut hash = timestamp_ms as u64;
    for part in writer.bytes().map(u64::from).chain([0x100, series as u64]) {
        // SplitMix64's finalizer.
        hash = hash.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    (hash >> 12) as f64
}

/// Runs the command.
///
/// # Errors
/// When the server does not come back, or refuses what is well-formed.
pub async fn run(args: &Crash) -> Result<Outcome, CommandError> {
    let dir = work_dir("loadtest-crash-", args.work_dir.as_deref())?;
    let launch =
        Launch::new(Product::Farwatch, args.binary.clone(), dir.path().into(), args.server_arg.clone());
    let report = drill(args, launch).await;
    let good = report.as_ref().is_ok_and(CrashReport::is_good);
    if args.keep || !good {
        note(&format!("the server's data and logs are in {}", dir.keep().display()));
    }
    let report = report?;
    Ok(Outcome { text: text(&report), json: serde_json::to_value(&report)?, good })
}

async fn drill(args: &Crash, mut launch: Launch) -> Result<CrashReport, CommandError> {
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let now_ms = clock::unix_ms();
    let first_timestamp_ms = now_ms - PAST.as_millis() as i64;
    let run = format!("{now_ms:x}");
    let mut writers: Vec<Writer> =
        (0..args.writers).map(|number| Writer::new(number, args, &run, first_timestamp_ms)).collect();
    let mut ready = Latencies::default();
    let mut startup_kills = 0;
    let mut wrong_after_kills = Vec::new();
    let mut running = launch.start().await?;
    for kill in 1..=args.kills {
        // The last request before may be sent again now, and then counts anew.
        let from: Vec<usize> = writers.iter().map(|writer| writer.requests.len().saturating_sub(1)).collect();
        let life = args.life.mul_f64(rng.random());
        writers = live_and_die(writers, running, life).await?;
        while rng.random_bool(STARTUP_KILL_PROBABILITY) {
            let starting = launch.spawn()?;
            tokio::time::sleep(STARTUP_LIFE_MAX.mul_f64(rng.random())).await;
            starting.kill()?;
            startup_kills += 1;
        }
        running = launch.start().await?;
        ready.push(running.ready_after);
        let groups: Vec<Group> =
            writers.iter().zip(from).map(|(writer, from)| writer.expected(from)).collect();
        let verdict = read_back(&running.endpoint, &groups).await?;
        note(&format!(
            "kill {kill} of {} after {} ms: ready after {:.0} ms, {} acked samples found, {}",
            args.kills,
            life.as_millis(),
            running.ready_after.as_secs_f64() * 1000.0,
            verdict.acked_found,
            if verdict.is_good() { "none lost" } else { "FAILED" },
        ));
        wrong_after_kills
            .extend(verdict.findings.into_iter().map(|finding| format!("after kill {kill}: {finding}")));
    }
    note("reading everything back once more");
    let groups: Vec<Group> = writers.iter().map(|writer| writer.expected(0)).collect();
    let verdict = read_back(&running.endpoint, &groups).await?;
    running.kill()?;
    let requests = || writers.iter().flat_map(|writer| &writer.requests);
    Ok(CrashReport {
        kills: args.kills,
        startup_kills,
        requests: requests().count(),
        requests_acked: requests().filter(|request| request.acked).count(),
        requests_resent: writers.iter().map(|writer| writer.resent).sum(),
        ready: ready.summary(),
        verdict,
        wrong_after_kills,
    })
}

/// All writers at full speed, until the server is killed after `life`.
async fn live_and_die(
    writers: Vec<Writer>,
    running: Running,
    life: Duration,
) -> Result<Vec<Writer>, CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    let endpoint = running.endpoint.clone();
    let tasks = writers.into_iter().map(|writer| writer.write_on(endpoint.clone(), stop.clone()));
    let kill = async {
        tokio::time::sleep(life).await;
        let killed = running.kill();
        stop.store(true, Ordering::Relaxed);
        killed
    };
    let (mut writers, killed) = tokio::join!(join_all(tasks), kill);
    killed?;
    match writers.iter_mut().find_map(|writer| writer.refused.take()) {
        Some(source) => Err(CommandError::Api { doing: "writing", source }),
        None => Ok(writers),
    }
}

async fn read_back(endpoint: &Endpoint, groups: &[Group]) -> Result<Verdict, CommandError> {
    verify(&mut Client::new(endpoint.clone()), groups).await.map_err(api("reading back"))
}

fn text(report: &CrashReport) -> String {
    let mut table = Table::new(["crash", ""]);
    table.row("kills under load", [report.kills.to_string()]);
    table.row("kills during start", [report.startup_kills.to_string()]);
    table.row("requests", [report.requests.to_string()]);
    table.row("acked", [report.requests_acked.to_string()]);
    table.row("cut off by a kill, not sent again", [(report.requests - report.requests_acked).to_string()]);
    table.row("cut off by a kill, sent again", [report.requests_resent.to_string()]);
    let ready = report.ready;
    table.row("start to ready p50 / max, ms", [format!("{:.0} / {:.0}", ready.p50_ms, ready.max_ms)]);
    let mut text = format!("{table}\n{}", report.verdict);
    for finding in &report.wrong_after_kills {
        text.push_str("\n  ");
        text.push_str(finding);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_survive_as_text() {
        let mut seen = std::collections::HashSet::new();
        for writer in ["1", "11"] {
            for series in 0..50 {
                for timestamp_ms in 1_700_000_000_000..1_700_000_000_050 {
                    let value = value_of(writer, series, timestamp_ms);
                    assert_eq!(value.to_string().parse(), Ok(value));
                    assert!(seen.insert(value.to_bits()));
                }
            }
        }
    }
}
