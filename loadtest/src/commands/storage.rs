//! `loadtest storage`: what is stored of the same payloads when each server has come to rest, and what that takes.
//!
//! | server | brought to rest by | counted as stored |
//! |---|---|---|
//! | farwatch | `farwatch compact --once`, after the server was killed | every file of its bucket, manifests included |
//! | victoria-metrics | waiting for its memory to be written to disk; `/internal/force_merge` | every file of its data, caches not included |
//! | prometheus | a snapshot, which writes what is in memory as a block | every file of the snapshot |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::write::{self, WriteReport, megabytes};
use super::{CommandError, Outcome, api, chosen, work_dir};
use crate::api::{Client, parse_json};
use crate::cli::Storage;
use crate::clock;
use crate::limits::{SETTLE_WINDOW, VICTORIA_METRICS_TO_DISK};
use crate::procfs;
use crate::progress::note;
use crate::sender::Pace;
use crate::server::{Launch, Product, Running, Work};
use crate::table::Table;
use crate::workload::payloads::Payloads;

/// All that was measured of one server.
#[derive(Debug, Serialize)]
pub struct StorageReport {
    /// Which one.
    pub name: &'static str,
    /// The load, until the server had come to rest by itself.
    pub write: WriteReport,
    /// CPU seconds that bringing it to rest took on top of that.
    pub rest_cpu_s: f64,
    /// How long that took.
    pub rest_elapsed_s: f64,
    /// Most resident memory meanwhile, where it was done by a process of its own.
    pub rest_peak_rss_bytes: Option<u64>,
    /// Bytes of all that is stored then.
    pub stored_bytes: u64,
}

impl StorageReport {
    fn million_samples(&self) -> f64 {
        self.write.send.samples_acked as f64 / 1e6
    }

    /// CPU seconds from the first request until all was at rest, for a million samples.
    #[must_use]
    pub fn cpu_s_per_million_samples(&self) -> f64 {
        let written = self.write.server.map_or(0.0, |cost| cost.cpu_s);
        (written + self.rest_cpu_s) / self.million_samples()
    }

    /// Stored bytes for each sample.
    #[must_use]
    pub fn stored_bytes_per_sample(&self) -> f64 {
        self.stored_bytes as f64 / (self.million_samples() * 1e6)
    }
}

/// Runs the command.
///
/// # Errors
/// When one of the servers cannot be measured.
pub async fn run(args: &Storage) -> Result<Outcome, CommandError> {
    let chosen = chosen(&args.servers)?;
    let settings = args.workload.settings(clock::unix_ms());
    let payloads = Arc::new(Payloads::encode(settings, args.workload.shape())?);
    let mut reports = Vec::new();
    for (product, binary, extra_args) in chosen {
        note(&format!("measuring {}", product.name()));
        reports.push(measure(args, product, binary, extra_args, &payloads).await?);
    }
    let good = reports.iter().all(|report| report.write.send.errors.is_empty());
    Ok(Outcome { text: table(&reports).to_string(), json: serde_json::to_value(&reports)?, good })
}

async fn measure(
    args: &Storage,
    product: Product,
    binary: PathBuf,
    mut extra_args: Vec<String>,
    payloads: &Arc<Payloads>,
) -> Result<StorageReport, CommandError> {
    let dir = work_dir("loadtest-storage-", args.servers.work_dir.as_deref())?;
    if product == Product::Prometheus {
        extra_args.push("--web.enable-admin-api".to_owned());
    }
    let mut launch = Launch::new(product, binary, dir.path().into(), extra_args);
    let running = launch.start().await?;
    let endpoint = running.endpoint.clone();
    let write =
        write::measure(&endpoint, payloads, Pace::FullSpeed, Some(running.pid()), args.settle).await?;
    note("bringing to rest");
    let (work, stored_in, is_own_process) = match product {
        Product::Farwatch => {
            running.kill()?;
            (launch.compact_once().await?, launch.data_dir().join("bucket"), true)
        }
        Product::VictoriaMetrics => {
            (merge_victoria_metrics(args, &launch, &running).await?, launch.data_dir(), false)
        }
        Product::Prometheus => {
            let (work, name) = snapshot_prometheus(&running).await?;
            (work, launch.data_dir().join("snapshots").join(name), false)
        }
    };
    Ok(StorageReport {
        name: product.name(),
        write,
        rest_cpu_s: work.used.cpu_s,
        rest_elapsed_s: work.elapsed.as_secs_f64(),
        rest_peak_rss_bytes: is_own_process.then_some(work.used.peak_rss_bytes),
        stored_bytes: bytes_below(&stored_in).map_err(CommandError::Stored)?,
    })
}

async fn merge_victoria_metrics(
    args: &Storage,
    launch: &Launch,
    running: &Running,
) -> Result<Work, CommandError> {
    let (pid, begun) = (running.pid(), clock::now());
    let before = procfs::usage(pid)?;
    tokio::time::sleep(VICTORIA_METRICS_TO_DISK).await;
    let mut client = Client::new(running.endpoint.clone());
    client.ask("/internal/force_merge", None).await.map_err(api("telling victoria-metrics to merge"))?;
    // It answers at once; what was merged is deleted some time after.
    let mut bytes = None;
    loop {
        procfs::settle(pid, args.settle).await?;
        let now = bytes_below(&launch.data_dir()).map_err(CommandError::Stored)?;
        if bytes.replace(now) == Some(now) || begun.elapsed() > args.settle {
            break;
        }
        tokio::time::sleep(SETTLE_WINDOW).await;
    }
    let mut used = procfs::usage(pid)?;
    used.cpu_s -= before.cpu_s;
    Ok(Work { used, elapsed: begun.elapsed() })
}

#[derive(Deserialize)]
struct Snapshot {
    data: SnapshotData,
}

#[derive(Deserialize)]
struct SnapshotData {
    name: String,
}

async fn snapshot_prometheus(running: &Running) -> Result<(Work, String), CommandError> {
    let (pid, begun) = (running.pid(), clock::now());
    let before = procfs::usage(pid)?;
    let answer = Client::new(running.endpoint.clone())
        .ask("/api/v1/admin/tsdb/snapshot", Some(""))
        .await
        .and_then(|body| parse_json::<Snapshot>(&body).map(|snapshot| snapshot.data.name));
    let name = answer.map_err(api("taking a snapshot of prometheus"))?;
    let mut used = procfs::usage(pid)?;
    used.cpu_s -= before.cpu_s;
    Ok((Work { used, elapsed: begun.elapsed() }, name))
}

/// What all files below `dir` hold, but for those that a server can do without.
fn bytes_below(dir: &Path) -> io::Result<u64> {
    const NO_DATA: [&str; 2] = ["cache", "tmp"];
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Files come and go while a server runs.
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if !metadata.is_dir() {
            bytes += metadata.len();
        } else if !NO_DATA.iter().any(|name| entry.file_name() == *name) {
            bytes += match bytes_below(&entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                of_dir => of_dir?,
            };
        }
    }
    Ok(bytes)
}

fn table(reports: &[StorageReport]) -> Table {
    let names = reports.iter().map(|report| report.name);
    let mut table = Table::new(std::iter::once("").chain(names));
    let mut row =
        |what: &str, cell: &dyn Fn(&StorageReport) -> String| table.row(what, reports.iter().map(cell));
    let of_write = |report: &StorageReport| {
        let cost = report.write.server.map(|cost| cost.cpu_s).unwrap_or_default();
        cost / report.million_samples()
    };
    let bytes = |report: &StorageReport| report.stored_bytes_per_sample();
    let victoria = reports.iter().find(|report| report.name == Product::VictoriaMetrics.name()).map(bytes);
    row("stored bytes a sample, at rest", &|report| format!("{:.3}", bytes(report)));
    row("of victoria-metrics'", &|report| {
        victoria.map_or_else(String::new, |victoria| format!("{:.2}", bytes(report) / victoria))
    });
    row("CPU s / million samples, until at rest by itself", &|report| {
        let settled = report.write.server.is_none_or(|cost| cost.settled);
        format!("{:.2}{}", of_write(report), if settled { "" } else { " (not at rest)" })
    });
    row("brought to rest, on top of that", &|report| {
        format!("{:.2}", report.rest_cpu_s / report.million_samples())
    });
    row("both", &|report| format!("{:.2}", report.cpu_s_per_million_samples()));
    row("bringing to rest, s", &|report| format!("{:.1}", report.rest_elapsed_s));
    row("peak RSS of the server, MB", &|report| {
        report.write.server.map_or_else(String::new, |cost| megabytes(cost.peak_rss_bytes))
    });
    row("peak RSS of compact --once, MB", &|report| {
        report.rest_peak_rss_bytes.map_or_else(String::new, megabytes)
    });
    row("samples acked", &|report| report.write.send.samples_acked.to_string());
    row("samples/s", &|report| format!("{:.0}", report.write.samples_per_s));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_folders_count_but_caches() {
        let dir = tempfile::tempdir().unwrap();
        for (path, len) in
            [("a", 1), ("data/b", 10), ("data/small/c", 100), ("cache/d", 1000), ("tmp/e", 1000)]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; len]).unwrap();
        }
        assert_eq!(bytes_below(dir.path()).unwrap(), 111);
        assert!(bytes_below(&dir.path().join("none")).is_err());
    }
}
