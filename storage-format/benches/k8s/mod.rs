//! Realistic metrics: what a Kubernetes cluster scraped by Prometheus sends. Deterministic.
//!
//! Targets are pods with an application, its Go runtime, its containers (cAdvisor) and its objects (kube-state-metrics).
//! Values are counters as integers and as decimals, gauges with two or three decimals, byte counts, histogram buckets,
//! sums of floats without a short decimal form, and many constants. Each target is scraped with a jitter of its own.

use std::sync::Arc;

use telemetry::{Labels, MetricBatch, Series};

/// A small generator of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// In `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-uniform in `low..high`.
    fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }
}

/// How a series' value moves.
#[derive(Clone, Debug)]
enum Motion {
    Constant(f64),
    /// Grows by about `rate` a scrape, in units of `1 / scale`.
    Counter {
        now: f64,
        rate: f64,
        scale: f64,
    },
    /// Wanders around `mean`, in units of `1 / scale`.
    Gauge {
        now: f64,
        mean: f64,
        scale: f64,
    },
    /// Multiples of a page, constant most of the time.
    Bytes {
        now: f64,
        step: f64,
    },
    /// A bucket: a share of the counter that the first series of its histogram is.
    Bucket {
        share: f64,
    },
    /// Grows without a short decimal form.
    Float {
        now: f64,
        rate: f64,
    },
}

#[derive(Clone, Debug)]
struct Source {
    series: Arc<Series>,
    target: usize,
    motion: Motion,
    /// The counter of observations that a bucket is a share of.
    observations: usize,
}

/// A cluster, and its clock.
#[derive(Clone, Debug)]
pub struct Cluster {
    sources: Vec<Source>,
    observations: Vec<(f64, f64)>,
    offsets_ms: Vec<i64>,
    random: Random,
    now_ms: i64,
}

const LE: [&str; 12] =
    ["+Inf", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "10", "2.5", "5"];
const LE_SHARE: [f64; 12] = [1.0, 0.02, 0.08, 0.3, 0.55, 0.8, 0.93, 0.98, 0.995, 1.0, 0.9985, 0.9995];

impl Cluster {
    /// A cluster of about `series` series.
    pub fn new(series: usize) -> Self {
        let mut random = Random::new(7);
        let mut cluster = Self {
            sources: Vec::new(),
            observations: Vec::new(),
            offsets_ms: Vec::new(),
            random: random.clone(),
            now_ms: 1_790_000_000_000,
        };
        let mut pod = 0;
        while cluster.sources.len() < series {
            cluster.add_pod(pod, &mut random, series);
            pod += 1;
        }
        cluster.sources.sort_by(|a, b| a.series.labels().cmp(b.series.labels()));
        cluster
    }

    fn add_pod(&mut self, pod: usize, random: &mut Random, limit: usize) {
        let target = self.offsets_ms.len();
        self.offsets_ms.push(random.below(15_000) as i64);
        let app = ["checkout", "cart", "search", "payments", "frontend", "catalog", "mailer"][pod % 7];
        let namespace = ["shop", "platform", "data"][pod % 3];
        let pod_name =
            format!("{app}-{:08x}-{:05x}", 0x7c9d_5f4b_u32 ^ (pod as u32 % 7 * 99991), random.below(1 << 20));
        let node = format!("ip-10-2-{}-{}.eu-central-1.compute.internal", pod % 5, pod % 23);
        let instance = format!("10.2.{}.{}:8080", pod % 5, pod % 250);
        let load = random.magnitude(0.2, 5.0);
        let add =
            |cluster: &mut Self, name: &str, extra: &[(&str, &str)], motion: Motion, observations: usize| {
                if cluster.sources.len() >= limit {
                    return;
                }
                let mut pairs = vec![
                    ("__name__", name),
                    ("cluster", "prod-eu-1"),
                    ("container", app),
                    ("endpoint", "http-metrics"),
                    ("instance", &instance),
                    ("job", app),
                    ("namespace", namespace),
                    ("node", &node),
                    ("pod", &pod_name),
                    ("service", app),
                ];
                pairs.extend_from_slice(extra);
                let series = Arc::new(Series::new(Labels::from_pairs(pairs).unwrap()));
                cluster.sources.push(Source { series, target, motion, observations });
            };
        let counter = |random: &mut Random, low: f64, high: f64, scale: f64| {
            let rate = random.magnitude(low, high) * load;
            Motion::Counter {
                now: (rate * random.magnitude(500.0, 50_000.0) * scale).round() / scale,
                rate,
                scale,
            }
        };
        let gauge = |random: &mut Random, low: f64, high: f64, scale: f64| {
            let mean = random.magnitude(low, high) * load;
            Motion::Gauge { now: mean, mean, scale }
        };
        // The application: requests by handler and code, durations as histograms.
        for handler in ["/api/v1/items", "/api/v1/items/{id}", "/healthz", "/login"] {
            for code in ["200", "404", "500"] {
                let motion = if code == "500" && random.below(3) > 0 {
                    Motion::Constant(0.0)
                } else {
                    counter(random, 0.05, 300.0, 1.0)
                };
                add(
                    self,
                    "http_requests_total",
                    &[("code", code), ("handler", handler), ("method", "GET")],
                    motion,
                    0,
                );
            }
            let observations = self.observations.len();
            let rate = (random.magnitude(0.1, 500.0) * load).max(0.05);
            let now = (rate * random.magnitude(500.0, 50_000.0)).round();
            self.observations.push((now, rate));
            for (le, share) in LE.iter().zip(LE_SHARE) {
                let motion = Motion::Bucket { share };
                add(
                    self,
                    "http_request_duration_seconds_bucket",
                    &[("handler", handler), ("le", le)],
                    motion,
                    observations,
                );
            }
            add(
                self,
                "http_request_duration_seconds_count",
                &[("handler", handler)],
                Motion::Bucket { share: 1.0 },
                observations,
            );
            let motion = Motion::Float { now: now * 0.0483, rate: rate * 0.0483 };
            add(self, "http_request_duration_seconds_sum", &[("handler", handler)], motion, 0);
        }
        for queue in ["default", "mail", "index"] {
            let extra = [("queue", queue)];
            add(self, "queue_depth", &extra, gauge(random, 1.0, 50.0, 1.0), 0);
            add(self, "queue_latency_milliseconds", &extra, gauge(random, 1.0, 80.0, 1000.0), 0);
            add(self, "queue_utilisation_percent", &extra, gauge(random, 5.0, 20.0, 100.0), 0);
            add(self, "queue_processed_total", &extra, counter(random, 1.0, 800.0, 1.0), 0);
        }
        // The Go runtime and the process.
        for index in 0..24 {
            let name = format!(
                "go_memstats_{}_bytes",
                [
                    "heap_alloc",
                    "heap_sys",
                    "stack_inuse",
                    "mspan",
                    "mcache",
                    "next_gc",
                    "other_sys",
                    "gc_sys"
                ][index % 8]
            );
            if index < 8 {
                let now = (random.magnitude(1e5, 5e8) / 4096.0).round() * 4096.0;
                add(
                    self,
                    &name,
                    &[],
                    Motion::Bytes { now, step: if index % 2 == 0 { 8.0 } else { 4096.0 } },
                    0,
                );
            }
        }
        add(self, "go_goroutines", &[], gauge(random, 10.0, 400.0, 1.0), 0);
        add(self, "go_threads", &[], Motion::Constant(random.below(20) as f64 + 5.0), 0);
        add(self, "go_info", &[("version", "go1.24.2")], Motion::Constant(1.0), 0);
        add(self, "go_memstats_mallocs_total", &[], counter(random, 1e3, 1e6, 1.0), 0);
        add(self, "go_memstats_frees_total", &[], counter(random, 1e3, 1e6, 1.0), 0);
        for quantile in ["0", "0.25", "0.5", "0.75", "1"] {
            let now = random.magnitude(1e-5, 1e-2);
            add(
                self,
                "go_gc_duration_seconds",
                &[("quantile", quantile)],
                Motion::Gauge { now, mean: now, scale: 1e9 },
                0,
            );
        }
        add(self, "process_cpu_seconds_total", &[], counter(random, 0.01, 10.0, 100.0), 0);
        add(self, "process_open_fds", &[], gauge(random, 8.0, 200.0, 1.0), 0);
        add(
            self,
            "process_start_time_seconds",
            &[],
            Motion::Constant((1.789e11 + random.unit() * 1e9).round() / 100.0),
            0,
        );
        let now = (random.magnitude(1e7, 1e9) / 4096.0).round() * 4096.0;
        add(self, "process_resident_memory_bytes", &[], Motion::Bytes { now, step: 4096.0 }, 0);
        // cAdvisor.
        for name in ["rss", "working_set_bytes", "cache", "usage_bytes", "mapped_file"] {
            let now = (random.magnitude(1e6, 2e9) / 4096.0).round() * 4096.0;
            add(
                self,
                &format!("container_memory_{name}"),
                &[("image", "registry.example.com/shop/app:v1.42.7")],
                Motion::Bytes { now, step: 4096.0 },
                0,
            );
        }
        for name in ["usage", "user", "system"] {
            add(
                self,
                &format!("container_cpu_{name}_seconds_total"),
                &[("cpu", "total")],
                counter(random, 0.05, 8.0, if name == "usage" { 1e9 } else { 100.0 }),
                0,
            );
        }
        for interface in ["eth0", "lo"] {
            for name in [
                "receive_bytes",
                "transmit_bytes",
                "receive_packets",
                "transmit_packets",
                "receive_errors",
                "transmit_errors",
                "receive_packets_dropped",
                "transmit_packets_dropped",
            ] {
                let motion = if name.contains("errors") || name.contains("dropped") {
                    Motion::Constant(0.0)
                } else {
                    counter(random, 10.0, 1e6, 1.0)
                };
                add(self, &format!("container_network_{name}_total"), &[("interface", interface)], motion, 0);
            }
        }
        // kube-state-metrics: mostly constants.
        for phase in ["Failed", "Pending", "Running", "Succeeded", "Unknown"] {
            add(
                self,
                "kube_pod_status_phase",
                &[("phase", phase)],
                Motion::Constant(f64::from(u8::from(phase == "Running"))),
                0,
            );
        }
        for condition in ["true", "false", "unknown"] {
            for name in ["kube_pod_status_ready", "kube_pod_status_scheduled"] {
                add(
                    self,
                    name,
                    &[("condition", condition)],
                    Motion::Constant(f64::from(u8::from(condition == "true"))),
                    0,
                );
            }
        }
        for reason in ["OOMKilled", "Error", "Completed", "ContainerCannotRun"] {
            add(
                self,
                "kube_pod_container_status_terminated_reason",
                &[("reason", reason)],
                Motion::Constant(0.0),
                0,
            );
        }
        for (resource, value) in [("cpu", 0.25), ("memory", 536_870_912.0)] {
            add(
                self,
                "kube_pod_container_resource_limits",
                &[("resource", resource)],
                Motion::Constant(value),
                0,
            );
            add(
                self,
                "kube_pod_container_resource_requests",
                &[("resource", resource)],
                Motion::Constant(value),
                0,
            );
        }
        add(
            self,
            "kube_pod_container_status_restarts_total",
            &[],
            Motion::Constant(random.below(4) as f64),
            0,
        );
        add(self, "kube_pod_created", &[], Motion::Constant(1.789e9 + random.below(1_000_000) as f64), 0);
        add(self, "up", &[], Motion::Constant(1.0), 0);
        add(self, "scrape_duration_seconds", &[], gauge(random, 0.002, 0.08, 1e9), 0);
        add(self, "scrape_samples_scraped", &[], Motion::Constant(182.0), 0);
        add(self, "scrape_series_added", &[], Motion::Constant(0.0), 0);
        // A long tail of metrics that few share.
        for index in 0..8 {
            let name = format!(
                "{app}_{}_total",
                ["orders", "sessions", "retries", "cache_hits", "cache_misses", "jobs", "events", "emails"]
                    [index]
            );
            add(self, &name, &[], counter(random, 0.01, 100.0, 1.0), 0);
            let name = format!(
                "{app}_{}_ratio",
                ["orders", "sessions", "retries", "cache_hits", "cache_misses", "jobs", "events", "emails"]
                    [index]
            );
            add(self, &name, &[], gauge(random, 0.05, 0.3, 1000.0), 0);
        }
    }

    /// Keeps only `series` series, spread over all metrics.
    pub fn keep(&mut self, series: usize) {
        let step = self.sources.len() / series;
        let mut index = 0;
        self.sources.retain(|_| {
            index += 1;
            index % step == 0
        });
        self.sources.truncate(series);
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// The next `scrapes` of every target, 15 s apart, as one batch.
    pub fn scrape(&mut self, scrapes: usize) -> MetricBatch {
        let mut columns: Vec<Vec<f64>> = vec![Vec::with_capacity(scrapes); self.sources.len()];
        let mut times: Vec<Vec<i64>> = vec![Vec::with_capacity(scrapes); self.offsets_ms.len()];
        for _ in 0..scrapes {
            for (target, offset) in self.offsets_ms.iter().enumerate() {
                let jitter = self.random.below(4) as i64;
                times[target].push(self.now_ms + offset + jitter);
            }
            for (now, rate) in &mut self.observations {
                *now += (*rate * 2.0 * self.random.unit()).round();
            }
            for (source, column) in self.sources.iter_mut().zip(&mut columns) {
                column.push(
                    source.motion.step(
                        &mut self.random,
                        self.observations.get(source.observations).map_or(0.0, |o| o.0),
                    ),
                );
            }
            self.now_ms += 15_000;
        }
        let mut batch = MetricBatch::default();
        for (source, column) in self.sources.iter().zip(columns) {
            batch.series.push(Arc::clone(&source.series));
            batch.timestamps_ms.extend_from_slice(&times[source.target]);
            batch.values.extend(column);
            batch.float_ends.push(batch.values.len() as u32);
        }
        batch
    }
}

impl Motion {
    fn step(&mut self, random: &mut Random, observations: f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Counter { now, rate, scale } => {
                let grown = *now + *rate * 2.0 * random.unit();
                *now = (grown * *scale).round() / *scale;
                *now
            }
            Self::Gauge { now, mean, scale } => {
                let drift = (*mean - *now) * 0.2 + *mean * 0.2 * (random.unit() - 0.5);
                *now = ((*now + drift) * *scale).round() / *scale;
                *now
            }
            Self::Bytes { now, step } => {
                if random.below(3) == 0 {
                    let pages = random.below(64) as f64 - 31.0;
                    *now = (*now + pages * *step).max(*step);
                }
                *now
            }
            Self::Bucket { share } => (observations * *share).floor(),
            Self::Float { now, rate } => {
                *now += *rate * 2.0 * random.unit();
                *now
            }
        }
    }
}
