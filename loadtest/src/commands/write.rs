//! `loadtest write`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use super::{CommandError, Outcome, api};
use crate::api::{Client, SeriesKey};
use crate::cli::Write;
use crate::clock;
use crate::http::Endpoint;
use crate::procfs::{self, Usage};
use crate::progress::{Progress, note};
use crate::sender::{Acks, Pace, SendReport, send_all};
use crate::table::Table;
use crate::verify::{ExpectedSeries, Group, Sent, Verdict, verify};
use crate::workload::payloads::{Batches, Payloads, Shape};
use crate::workload::{Settings, is_stale_marker};

/// What the server used for a load.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerCost {
    /// CPU seconds from before the first request until it was at rest again.
    pub cpu_s: f64,
    /// The same for a million acked samples.
    pub cpu_s_per_million_samples: f64,
    /// The part of [`Self::cpu_s`] up to the last ack.
    pub cpu_s_until_last_ack: f64,
    /// Whether it came to rest in the time given.
    pub settled: bool,
    /// Most resident memory since the process started.
    pub peak_rss_bytes: u64,
}

/// What a load came to.
#[derive(Debug, Serialize)]
pub struct WriteReport {
    /// Requests, latencies, errors.
    #[serde(flatten)]
    pub send: SendReport,
    /// Acked samples a second.
    pub samples_per_s: f64,
    /// Bytes of the compressed request bodies for each sample in them.
    pub payload_bytes_per_sample: f64,
    /// CPU seconds that this tool itself used meanwhile.
    pub client_cpu_s: f64,
    /// When the server's process is known.
    pub server: Option<ServerCost>,
    /// When it was asked for.
    pub verdict: Option<Verdict>,
}

/// Sends all payloads and measures.
///
/// # Errors
/// When the server's process cannot be read.
pub async fn measure(
    endpoint: &Endpoint,
    payloads: &Arc<Payloads>,
    pace: Pace,
    pid: Option<u32>,
    settle: Duration,
) -> Result<WriteReport, CommandError> {
    let own_before = procfs::usage(std::process::id())?.cpu_s;
    let before = pid.map(procfs::usage).transpose()?;
    let progress = Progress::new("samples sent", payloads.samples);
    let send = send_all(endpoint, payloads, pace, &Arc::new(AtomicBool::new(false)), progress).await;
    let until_ack = pid.map(procfs::usage).transpose()?;
    let client_cpu_s = procfs::usage(std::process::id())?.cpu_s - own_before;
    let server = match (pid, before, until_ack) {
        (Some(pid), Some(before), Some(until_ack)) => {
            let settled = procfs::settle(pid, settle).await?;
            Some(cost(before, until_ack, procfs::usage(pid)?, settled, send.samples_acked))
        }
        _ => None,
    };
    Ok(WriteReport {
        samples_per_s: send.samples_per_s(),
        payload_bytes_per_sample: payloads.bytes as f64 / payloads.samples.max(1) as f64,
        client_cpu_s,
        server,
        verdict: None,
        send,
    })
}

fn cost(before: Usage, until_ack: Usage, after: Usage, settled: bool, samples: usize) -> ServerCost {
    let cpu_s = after.cpu_s - before.cpu_s;
    ServerCost {
        cpu_s,
        cpu_s_per_million_samples: cpu_s / (samples as f64 / 1e6).max(f64::MIN_POSITIVE),
        cpu_s_until_last_ack: until_ack.cpu_s - before.cpu_s,
        settled,
        peak_rss_bytes: after.peak_rss_bytes,
    }
}

/// Reads back everything that a load has sent.
///
/// # Errors
/// When a query fails.
pub async fn read_back(
    endpoint: &Endpoint,
    settings: &Settings,
    shape: Shape,
    acks: &[Acks],
) -> Result<Verdict, CommandError> {
    note("reading everything back");
    let groups = expected(settings, shape, acks);
    verify(&mut Client::new(endpoint.clone()), &groups).await.map_err(api("reading back"))
}

/// What must be there after a load: all samples again, by metric. Staleness markers end a series and are in no answer.
fn expected(settings: &Settings, shape: Shape, acks: &[Acks]) -> Vec<Group> {
    let mut batches = Batches::new(settings.clone(), shape);
    let mut sent: Vec<Vec<Sent>> = Vec::new();
    let mut taken = vec![0; acks.len()];
    while let Some((connection, points)) = batches.next() {
        let Some(&acked) = acks[connection].get(taken[connection]) else { continue };
        taken[connection] += 1;
        sent.resize_with(batches.workload().series_ever().max(sent.len()), Vec::new);
        for point in points.into_iter().filter(|point| !is_stale_marker(point.value)) {
            let expected = Sent { timestamp_ms: point.timestamp_ms, value: point.value, acked };
            sent[point.series as usize].push(expected);
        }
    }
    let mut by_metric: BTreeMap<String, Vec<ExpectedSeries>> = BTreeMap::new();
    for (series, sent) in sent.into_iter().enumerate().filter(|(_, sent)| !sent.is_empty()) {
        let Some(labels) = batches.workload().labels(series as u32) else { continue };
        let name = labels.decode().into_iter().find(|label| label.name == "__name__");
        let name = name.map(|label| label.value).unwrap_or_default();
        by_metric.entry(name).or_default().push(ExpectedSeries { key: SeriesKey::from(labels), sent });
    }
    let selector = |name: String| format!("{name}{{cluster={:?}}}", settings.cluster);
    by_metric.into_iter().map(|(name, series)| Group { selector: selector(name), series }).collect()
}

/// Runs the command.
///
/// # Errors
/// When nothing can be said about the server.
pub async fn run(args: &Write) -> Result<Outcome, CommandError> {
    let endpoint = Endpoint::parse(&args.target.target, args.target.key.clone())?;
    let pid = match &args.process {
        Some(name) => Some(procfs::find(name)?),
        None => args.pid,
    };
    let pace = args.rate.map_or(Pace::FullSpeed, Pace::SamplesPerSecond);
    let settings = args.workload.settings(clock::unix_ms());
    let shape = args.workload.shape();
    let payloads = Arc::new(Payloads::encode(settings.clone(), shape)?);
    let mut report = measure(&endpoint, &payloads, pace, pid, args.settle).await?;
    if args.verify {
        report.verdict = Some(read_back(&endpoint, &settings, shape, &report.send.acks).await?);
    }
    let mut text = table(&report, args.rate).to_string();
    if let Some(verdict) = &report.verdict {
        text = format!("{text}\n{verdict}");
    }
    let good = report.verdict.as_ref().is_none_or(Verdict::is_good) && report.send.samples_acked > 0;
    Ok(Outcome { text, json: serde_json::to_value(&report)?, good })
}

fn table(report: &WriteReport, rate: Option<f64>) -> Table {
    let send = &report.send;
    let mut table = Table::new(["write", ""]);
    table.row("samples acked", [send.samples_acked.to_string()]);
    table.row("samples/s", [format!("{:.0}", report.samples_per_s)]);
    table.row("time, s", [format!("{:.2}", send.elapsed_s)]);
    let ack = send.ack;
    table.row(
        "ack p50 / p99 / max, ms",
        [format!("{:.1} / {:.1} / {:.1}", ack.p50_ms, ack.p99_ms, ack.max_ms)],
    );
    table.row("requests", [send.requests.to_string()]);
    if rate.is_some() {
        table.row("MISSED (sent late)", [send.missed.to_string()]);
    }
    for (kind, count) in &send.errors {
        table.row(format!("not acked: {kind}"), [count.to_string()]);
    }
    if let Some(first_error) = &send.first_error {
        table.row("the first of these", [first_error.clone()]);
    }
    table.row("bytes of a sample in requests", [format!("{:.1}", report.payload_bytes_per_sample)]);
    table.row("client CPU s", [format!("{:.2}", report.client_cpu_s)]);
    if let Some(server) = &report.server {
        let rest = if server.settled { "" } else { " (not at rest yet)" };
        table.row(
            "server CPU s / million samples",
            [format!("{:.2}{rest}", server.cpu_s_per_million_samples)],
        );
        table.row("server CPU s until the last ack", [format!("{:.2}", server.cpu_s_until_last_ack)]);
        table.row("server CPU s until at rest", [format!("{:.2}{rest}", server.cpu_s)]);
        table.row("server peak RSS, MB", [megabytes(server.peak_rss_bytes)]);
    }
    table
}

/// Bytes in millions, as in the tables.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}
