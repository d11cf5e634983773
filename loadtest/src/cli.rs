//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::SERIES_MAX;
use crate::server::Product;
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
    /// Make one kind of fault again and again under load, and check that nothing acked is lost, wrong or there twice.
    Drill(Drill),
    /// Run the same payloads against several servers, one after another, each fresh, and print one table.
    Compare(Compare),
    /// Ask several servers the same questions about the same data, check that answers agree, and print one table.
    Queries(Queries),
    /// Write the same payloads to several servers, one after another, bring each to rest, and print what is stored and
    /// what that took.
    Storage(Storage),
    /// Ask a process that has just started, over compacted data in an S3 bucket that is some milliseconds away.
    Cold(Cold),
    /// Measure how long it takes until a new key, a limit and a revocation hold where data is written.
    Enforce(Enforce),
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

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The one server process is killed with -9 and started again
    Crash,
    /// The S3 server is killed with -9 and started again; its data stays
    S3,
    /// A proxy before the S3 server cuts connections in the middle of requests and answers, loses answers, delays requests,
    /// some until the client has given up, and refuses connections or hangs for a while
    Network,
    /// The disks of the local bucket and of the cache run full
    Disk,
    /// Three compactors are started at once on the same work
    Compactors,
    /// Compactors and the query process are killed with -9 beside a process that takes writes
    Roles,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// `loadtest drill`.
#[derive(Debug, Args)]
pub struct Drill {
    /// What goes wrong.
    pub fault: Fault,
    /// The farwatch binary.
    #[arg(long)]
    pub binary: PathBuf,
    /// How often it goes wrong.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Time between two faults at most; random, see --seed.
    #[arg(long, default_value = "800ms", value_parser = humantime::parse_duration)]
    pub life: Duration,
    /// How long a fault lasts at most, where it is not over at once; random.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub fault_time: Duration,
    /// Writers, each with one connection and one request on it.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub writers: u32,
    /// Series of a writer, all of them in each of its requests.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub series_per_writer: u32,
    /// Readers, each of which asks for what a writer has sent and checks the answer, again and again.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub readers: u32,
    /// Seed of the moments of faults and of what is sent again.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Program that runs an S3 server for the data, with its arguments, such as
    /// "python3 crates/segment-store/tests/support/moto_server.py" [default: data is in a local directory]
    #[arg(long)]
    pub s3_server: Option<String>,
    /// Another argument for servers; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Directory below which data and logs go, so that a certain disk is measured [default: the system's temporary
    /// directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Keep the servers' data and logs and say where, also when all went well.
    #[arg(long)]
    pub keep: bool,
}

/// Which servers, each started for the occasion.
#[derive(Debug, Args)]
#[command(next_help_heading = "Servers")]
pub struct ServersArgs {
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
}

impl ServersArgs {
    /// Those that were named, each with its binary and further arguments.
    #[must_use]
    pub fn chosen(&self) -> Vec<(Product, PathBuf, Vec<String>)> {
        let candidates = [
            (Product::Farwatch, &self.farwatch, self.farwatch_arg.as_slice()),
            (Product::VictoriaMetrics, &self.victoria_metrics, &[]),
            (Product::Prometheus, &self.prometheus, &[]),
        ];
        let named = candidates.into_iter();
        named
            .filter_map(|(product, binary, extra)| Some((product, binary.clone()?, extra.to_vec())))
            .collect()
    }
}

/// `loadtest compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Which servers.
    #[command(flatten)]
    pub servers: ServersArgs,
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
    /// Which servers.
    #[command(flatten)]
    pub servers: ServersArgs,
    /// Ask farwatch when all it has is compacted, and nothing is in its memory any more: it is killed after the load,
    /// `compact --once` runs, and it is started again.
    #[arg(long)]
    pub compacted: bool,
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

/// `loadtest storage`.
#[derive(Debug, Args)]
pub struct Storage {
    /// Which servers.
    #[command(flatten)]
    pub servers: ServersArgs,
    /// How long to wait at most for each server to come to rest, after the load and again after it was told to merge.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Which samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

/// `loadtest cold`.
#[derive(Debug, Args)]
pub struct Cold {
    /// A farwatch binary.
    #[arg(long)]
    pub farwatch: PathBuf,
    /// Program that runs an S3 server for the data, with its arguments, such as
    /// "python3 crates/segment-store/tests/support/moto_server.py".
    #[arg(long)]
    pub s3_server: String,
    /// How much later the bucket answers, the nearest first; may be repeated.
    #[arg(long, default_values = ["0ms", "20ms", "60ms"], value_parser = humantime::parse_duration)]
    pub delay: Vec<Duration>,
    /// Starts of a process for each question and delay.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Directory below which data and logs go [default: the system's temporary directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Which samples.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

/// `loadtest enforce`.
#[derive(Debug, Args)]
pub struct Enforce {
    /// A farwatch binary.
    #[arg(long)]
    pub farwatch: PathBuf,
    /// A further argument of `farwatch serve`, such as --args=--database-url=postgres://…; may be repeated.
    #[arg(long)]
    pub args: Vec<String>,
    /// How often a key is made, limited and revoked.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Seed of the pauses between rounds.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Directory below which data and logs go [default: the system's temporary directory].
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
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
