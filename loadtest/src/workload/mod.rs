//! A Kubernetes-like cluster that is scraped: who exposes what, and what each scrape says.
//!
//! A cluster is nodes; on each node run a node exporter, a kubelet that reports the node's containers, and pods that
//! expose metrics of their own; one kube-state-metrics reports all pods. Each of these is a target, and everything
//! that one scrape of a target returns has one timestamp. The same settings give the same samples, byte by byte.

mod catalogue;
mod cluster;
pub mod payloads;
mod process;

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::catalogue::Catalogue;
use self::cluster::{Cluster, Exposed};
use self::process::Process;
use crate::proto::EncodedLabels;

/// The bits of Prometheus's staleness marker: the last "sample" of a series whose target or pod has gone.
const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value says "this series has ended" rather than something to be read back.
#[must_use]
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// What a workload is made from. Equal settings make equal workloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Series that exist at any time, exactly. At least 1.
    pub series: usize,
    /// Between two scrapes of a target.
    pub interval: Duration,
    /// By how much a scrape may come late, so that targets' timestamps are not a grid. Uniform.
    pub jitter: Duration,
    /// Share of the pods that are replaced in an hour: 0 for none, 1 for as many as there are.
    pub churn_per_hour: f64,
    /// Of everything that is random.
    pub seed: u64,
    /// The value of the label `cluster`.
    pub cluster: String,
    /// Unix milliseconds of the first round of scrapes.
    pub start_ms: i64,
}

/// One sample of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Index for [`Workload::labels`].
    pub series: u32,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// The value, possibly a staleness marker.
    pub value: f64,
}

/// What a series, or the group of series of a histogram, shows.
#[derive(Debug)]
struct Instrument {
    exposed: Exposed,
    /// The generation of the pod that it belongs to, as of the last scrape.
    generation: u32,
    first_series: u32,
    process: Process,
}

/// A target with all that it exposes.
#[derive(Debug)]
struct Target {
    /// When in the interval it is scraped.
    offset_ms: i64,
    instruments: Vec<Instrument>,
}

/// An endless run of scrapes.
#[derive(Debug)]
pub struct Workload {
    settings: Settings,
    cluster: Cluster,
    targets: Vec<Target>,
    /// Labels of every series there ever was, by index.
    labels: Vec<EncodedLabels>,
    rng: ChaCha8Rng,
    round: i64,
    next_target: usize,
}

impl Workload {
    /// Sets up the cluster.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut cluster = Cluster::new(settings.cluster.clone(), Catalogue::embedded());
        let exposed_by_target = cluster.grow_to(settings.series, &mut rng);
        let interval_ms = settings.interval.as_millis() as i64;
        let mut workload = Self {
            settings,
            cluster,
            targets: Vec::new(),
            labels: Vec::new(),
            rng,
            round: 0,
            next_target: 0,
        };
        for exposed in exposed_by_target {
            let instruments = exposed.into_iter().map(|exposed| workload.instrument(exposed, true)).collect();
            let offset_ms = workload.rng.random_range(0..interval_ms.max(1));
            workload.targets.push(Target { offset_ms, instruments });
        }
        workload.targets.sort_by_key(|target| target.offset_ms);
        workload
    }

    /// A series' labels.
    #[must_use]
    pub fn labels(&self, series: u32) -> Option<&EncodedLabels> {
        self.labels.get(series as usize)
    }

    /// How many series there have been up to now, replaced ones included.
    #[must_use]
    pub fn series_ever(&self) -> usize {
        self.labels.len()
    }

    /// Scrapes the next target in time, and appends what it returned to `out`.
    pub fn scrape(&mut self, out: &mut Vec<Point>) {
        if self.next_target == self.targets.len() {
            self.next_target = 0;
            self.round += 1;
            self.replace_pods();
        }
        let Some(target) = self.targets.get_mut(self.next_target) else { return };
        let interval_ms = self.settings.interval.as_millis() as i64;
        let jitter_ms = self.rng.random_range(0..=self.settings.jitter.as_millis() as i64);
        let timestamp_ms = self.settings.start_ms + self.round * interval_ms + target.offset_ms + jitter_ms;
        let mut instruments = std::mem::take(&mut target.instruments);
        for instrument in &mut instruments {
            if instrument.generation != self.cluster.generation(&instrument.exposed) {
                let series = instrument.first_series..;
                for (series, _) in series.zip(0..Process::series_of(self.cluster.kind(&instrument.exposed))) {
                    out.push(Point { series, timestamp_ms, value: f64::from_bits(STALE_NAN_BITS) });
                }
                *instrument = self.instrument(instrument.exposed, false);
            }
            let mut series = instrument.first_series;
            instrument.process.advance(&mut self.rng, |value| {
                out.push(Point { series, timestamp_ms, value });
                series += 1;
            });
        }
        if let Some(target) = self.targets.get_mut(self.next_target) {
            target.instruments = instruments;
        }
        self.next_target += 1;
    }

    fn instrument(&mut self, exposed: Exposed, past: bool) -> Instrument {
        let first_series = self.labels.len() as u32;
        self.cluster.labels(&exposed, |labels| self.labels.push(labels));
        let interval_s = self.settings.interval.as_secs_f64();
        let now_s = self.settings.start_ms as f64 / 1000.0 + self.round as f64 * interval_s;
        let process = Process::new(self.cluster.kind(&exposed), past, interval_s, now_s, &mut self.rng);
        Instrument { exposed, generation: self.cluster.generation(&exposed), first_series, process }
    }

    fn replace_pods(&mut self) {
        if self.settings.churn_per_hour <= 0.0 {
            return;
        }
        let share = self.settings.churn_per_hour * self.settings.interval.as_secs_f64() / 3600.0;
        for pod in 0..self.cluster.pods() {
            if self.rng.random_bool(share.min(1.0)) {
                self.cluster.replace_pod(pod, &mut self.rng);
            }
        }
    }
}

#[cfg(test)]
mod tests;
