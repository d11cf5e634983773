//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::limits::SERIES_MAX;
use crate::workload::Settings;
use crate::workload::payloads::Shape;

/// Writes realistic metrics to a server with Prometheus's APIs, measures it, and checks what it says it has.
///
/// Results go to standard output, progress to standard error. The exit status is 0 when all is as it must be, 1 when
/// something acked is lost or wrong, and 2 when the measurement itself did not work.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    /// Print results as JSON instead of a table.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a workload: throughput, CPU a sample, ack latency, memory, and whether all of it is there afterwards.
    Write(Write),
    /// Measure how long it takes until a sample that was sent is in query results.
    Visible(Visible),
    /// Kill a server with -9 again and again under load, and check that nothing acked is lost.
    Crash(Crash),
    /// Run the same payloads against several servers, one after another, each fresh, and print one table.
    Compare(Compare),
    /// Ask several servers the same questions about the same data, check that answers agree, and print one table.
    Queries(Queries),
}

/// Which server.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The server's URL, such as http://127.0.0.1:9600.
    #[arg(long)]
    pub target: String,
    /// API key, sent as a bearer token.
    #[arg(long, env = "FARWATCH_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

/// Which samples.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// Series that exist at any time.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=SERIES_MAX as i64))]
    pub series: u32,
    /// Between two scrapes of a target, in the samples' timestamps.
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    pub interval: Duration,
    /// By how much a scrape comes late at most; all samples of a scrape have one timestamp.
    #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
    pub jitter: Duration,
    /// Pods replaced in an hour as a share of all pods: 0.1 for a tenth. Replaced pods' series end and new ones begin.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub churn: f64,
    /// Seed: the same seed writes the same series and values.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Value of the label "cluster" [default: load-SEED]. Take another one to write to a server that has it already.
    #[arg(long)]
    pub cluster: Option<String>,
    /// Samples to write in all.
    #[arg(long, default_value_t = 3_000_000)]
    pub samples: usize,
    /// Samples in a request.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub samples_per_request: u32,
    /// Connections, each with its own series.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1000.0).contains(&share) { Ok(share) } else { Err("must be 0 to 1000".to_owned()) }
}

impl WorkloadArgs {
    /// The workload that ends about now: `now_ms` in Unix milliseconds.
    #[must_use]
    pub fn settings(&self, now_ms: i64) -> Settings {
        let rounds = self.samples.div_ceil(self.series as usize).max(1) as i64;
        Settings {
            series: self.series as usize,
            interval: self.interval.max(Duration::from_millis(1)),
            jitter: self.jitter,
            churn_per_hour: self.churn,
            seed: self.seed,
            cluster: self.cluster.clone().unwrap_or_else(|| format!("load-{}", self.seed)),
            start_ms: now_ms - rounds * self.interval.as_millis() as i64 - self.jitter.as_millis() as i64,
        }
    }

    /// How its samples are spread over requests.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            samples: self.samples,
            samples_per_request: self.samples_per_request as usize,
            connections: self.connections as usize,
        }
    }
}

/// `loadtest write`.
#[derive(Debug, Args)]
pub struct Write {
    /// Which server.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Which samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Samples a second, whether the server keeps up or not: requests sent late are counted as MISSED. Without it,
    /// each connection sends as fast as it is answered.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Process id of the server, to read its CPU time and peak memory from /proc, its children included.
    #[arg(long, conflicts_with = "process")]
    pub pid: Option<u32>,
    /// Name of the server's process, instead of --pid.
    #[arg(long)]
    pub process: Option<String>,
    /// How long to wait at most for the server to come to rest, so that its background work counts too.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Read everything back through the query API and compare it sample by sample.
    #[arg(long)]
    pub verify: bool,
}

/// `loadtest visible`.
#[derive(Debug, Args)]
pub struct Visible {
    /// Which server.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How it is probed.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// The background load's samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

/// How visibility is probed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probes")]
pub struct ProbeArgs {
    /// Probes of each kind: samples of a known series, and samples that begin a new series.
    #[arg(long, default_value_t = 100)]
    pub probes: u32,
    /// No further probe of a kind is begun after this time.
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    pub budget: Duration,
    /// Samples a second that are written in the background meanwhile, from the workload.
    #[arg(long, default_value_t = 0.0)]
    pub background_rate: f64,
}

/// `loadtest crash`.
#[derive(Debug, Args)]
pub struct Crash {
    /// The farwatch binary.
    #[arg(long)]
    pub binary: PathBuf,
    /// Kills under load. About a quarter of the restarts are killed as well before they are ready.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: u32,
    /// Writers, each with one connection and one request on it.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub writers: u32,
    /// Series of a writer, all of them in each of its requests.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub series_per_writer: u32,
    /// How long the server lives under load at most before it is killed; random, see --seed.
    #[arg(long, default_value = "800ms", value_parser = humantime::parse_duration)]
    pub life: Duration,
    /// Seed of the moments of the kills and of what is sent again after them.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Another argument for the server; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Directory below which data and logs go, so that a certain disk is measured [default: the system's temporary
    /// directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Keep the server's data and logs and say where, also when all went well.
    #[arg(long)]
    pub keep: bool,
}

/// `loadtest compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// A farwatch binary.
    #[arg(long)]
    pub farwatch: Option<PathBuf>,
    /// A victoria-metrics (single node) binary; get-peers.sh gets one.
    #[arg(long)]
    pub victoria_metrics: Option<PathBuf>,
    /// A prometheus binary; get-peers.sh gets one.
    #[arg(long)]
    pub prometheus: Option<PathBuf>,
    /// Directory below which data and logs go, so that a certain disk is measured [default: the system's temporary
    /// directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Another argument for farwatch; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub farwatch_arg: Vec<String>,
    /// How long to wait at most for each server to come to rest after the load, so that its background work counts.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Kills with -9, each followed by a measured restart; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub kills: u32,
    /// Read everything back after the probes, and compare it sample by sample. Not from VictoriaMetrics, which drops
    /// the last digits of long values.
    #[arg(long)]
    pub verify: bool,
    /// How visibility is probed.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// Which samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

/// `loadtest queries`.
#[derive(Debug, Args)]
pub struct Queries {
    /// A farwatch binary.
    #[arg(long)]
    pub farwatch: Option<PathBuf>,
    /// A victoria-metrics (single node) binary; get-peers.sh gets one.
    #[arg(long)]
    pub victoria_metrics: Option<PathBuf>,
    /// A prometheus binary; get-peers.sh gets one.
    #[arg(long)]
    pub prometheus: Option<PathBuf>,
    /// Directory below which data and logs go, so that a certain disk is measured [default: the system's temporary
    /// directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Another argument for farwatch; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub farwatch_arg: Vec<String>,
    /// How long to wait at most for each server to come to rest after the load.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Time for each question to each server; it is measured three times also when that takes longer.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub budget: Duration,
    /// Only questions whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Fail also when farwatch is slower than the faster of the others.
    #[arg(long)]
    pub strict: bool,
    /// Which samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_workload_ends_before_now() {
        let line =
            "loadtest write --target http://localhost:1 --series 10 --samples 95 --interval 1s --jitter 5ms";
        let Command::Write(write) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("another command");
        };
        let settings = write.workload.settings(1_000_000);
        assert_eq!(settings.start_ms, 1_000_000 - 10_000 - 5);
        assert_eq!(settings.cluster, "load-1");
    }
}
