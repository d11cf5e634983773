//! `loadtest compare`: the same payloads against several servers.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::visible::{self, Background, VisibleReport};
use super::write::{self, ServerCost, WriteReport, megabytes};
use super::{CommandError, Outcome, chosen, work_dir};
use crate::cli::Compare;
use crate::clock;
use crate::progress::note;
use crate::sender::Pace;
use crate::server::{Launch, Product};
use crate::stats::{Latencies, LatencySummary};
use crate::table::Table;
use crate::verify::Verdict;
use crate::workload::Settings;
use crate::workload::payloads::Payloads;

/// All that was measured of one server.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    /// Which one.
    pub name: &'static str,
    /// Start to ready with an empty directory.
    pub first_ready_ms: f64,
    /// The load at full speed.
    pub write: WriteReport,
    /// Visibility, after that load.
    pub visible: VisibleReport,
    /// Start to ready after kills.
    pub ready_after_kill: LatencySummary,
}

/// Runs the command.
///
/// # Errors
/// When one of the servers cannot be measured.
pub async fn run(args: &Compare) -> Result<Outcome, CommandError> {
    let chosen = chosen(&args.servers)?;
    let now_ms = clock::unix_ms();
    let settings = args.workload.settings(now_ms);
    let payloads = Arc::new(Payloads::encode(settings.clone(), args.workload.shape())?);
    let background = Background::prepare(&args.probes, &args.workload, now_ms)?;
    let mut reports = Vec::new();
    for (product, binary, extra_args) in chosen {
        note(&format!("measuring {}", product.name()));
        let bench = Bench { args, settings: &settings, payloads: &payloads, background: background.as_ref() };
        reports.push(bench.measure(product, binary, extra_args).await?);
    }
    let good = reports.iter().all(|report| report.write.verdict.as_ref().is_none_or(Verdict::is_good));
    let mut text = table(&reports).to_string();
    for report in &reports {
        if let Some(error) = &report.write.send.first_error {
            text.push_str(&format!("\n{}: the first request that was not acked: {error}\n", report.name));
        }
        if let Some(verdict) = &report.write.verdict {
            text.push_str(&format!("\n{} {verdict}\n", report.name));
        }
    }
    Ok(Outcome { text, json: serde_json::to_value(&reports)?, good })
}

/// What is the same for all servers.
struct Bench<'a> {
    args: &'a Compare,
    settings: &'a Settings,
    payloads: &'a Arc<Payloads>,
    background: Option<&'a Background>,
}

impl Bench<'_> {
    async fn measure(
        &self,
        product: Product,
        binary: PathBuf,
        extra_args: Vec<String>,
    ) -> Result<ServerReport, CommandError> {
        let dir = work_dir("loadtest-compare-", self.args.servers.work_dir.as_deref())?;
        let mut launch = Launch::new(product, binary, dir.path().into(), extra_args);
        let mut running = launch.start().await?;
        let first_ready_ms = running.ready_after.as_secs_f64() * 1000.0;
        let (endpoint, settle) = (running.endpoint.clone(), self.args.settle);
        let mut write =
            write::measure(&endpoint, self.payloads, Pace::FullSpeed, Some(running.pid()), settle).await?;
        let visible =
            visible::measure(&endpoint, &self.args.probes, self.args.workload.seed, self.background).await?;
        if self.args.verify && product.keeps_every_digit() {
            let shape = self.args.workload.shape();
            write.verdict = Some(write::read_back(&endpoint, self.settings, shape, &write.send.acks).await?);
        }
        let mut ready = Latencies::default();
        for _ in 0..self.args.kills {
            running.kill()?;
            running = launch.start().await?;
            ready.push(running.ready_after);
        }
        running.kill()?;
        Ok(ServerReport {
            name: product.name(),
            first_ready_ms,
            write,
            visible,
            ready_after_kill: ready.summary(),
        })
    }
}

fn table(reports: &[ServerReport]) -> Table {
    let names = reports.iter().map(|report| report.name);
    let mut table = Table::new(std::iter::once("").chain(names));
    let mut row =
        |what: &str, cell: &dyn Fn(&ServerReport) -> String| table.row(what, reports.iter().map(cell));
    let cost = |report: &ServerReport, cell: fn(&ServerCost) -> String| {
        report.write.server.as_ref().map_or_else(String::new, cell)
    };
    row("CPU s / million samples", &|report| {
        cost(report, |cost| format!("{:.2}", cost.cpu_s_per_million_samples))
    });
    row("of these until the last ack", &|report| {
        cost(report, |cost| {
            format!("{:.2}", cost.cpu_s_per_million_samples * cost.cpu_s_until_last_ack / cost.cpu_s)
        })
    });
    row("samples/s", &|report| format!("{:.0}", report.write.samples_per_s));
    row("ack p50 / p99, ms", &|report| pair(&report.write.send.ack));
    row("requests not acked", &|report| report.write.send.errors.values().sum::<usize>().to_string());
    row("peak RSS, MB", &|report| cost(report, |cost| megabytes(cost.peak_rss_bytes)));
    row("known series visible p50 / p99, ms", &|report| pair(&report.visible.known.visible));
    row("new series visible p50 / p99, ms", &|report| pair(&report.visible.new.visible));
    row("probes, known / new", &|report| {
        format!("{} / {}", report.visible.known.visible.count, report.visible.new.visible.count)
    });
    row("start to ready, empty, ms", &|report| format!("{:.0}", report.first_ready_ms));
    row("start to ready after kill -9, ms", &|report| format!("{:.0}", report.ready_after_kill.p50_ms));
    table
}

fn pair(latencies: &LatencySummary) -> String {
    format!("{:.0} / {:.0}", latencies.p50_ms, latencies.p99_ms)
}
