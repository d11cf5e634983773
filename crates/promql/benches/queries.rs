//! How long do the usual shapes of queries take over 50,000 series of one hour at 15 s, all in memory?
//!
//! A range query of one hour at 15 s steps (240 steps), unless the name says otherwise; two threads; what the source
//! costs is a copy of each series' samples.
//!
//! `cargo bench -p promql` for all, `cargo bench -p promql -- sum` for some.

use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use promql::{EvalOptions, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError, Window};
use telemetry::{Labels, METRIC_NAME};

const SAMPLES: usize = 240;
const INTERVAL_MS: i64 = 15_000;
/// Buckets of a histogram; 1,000 histograms.
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf"];

/// Series in ascending label order, with values that are made once.
struct Memory {
    series: Vec<(Labels, Vec<f64>)>,
    timestamps_ms: Vec<i64>,
}

impl Memory {
    fn new() -> Self {
        let mut series = Vec::new();
        let mut add = |pairs: &[(&str, &str)], number: usize, counter: bool| {
            let Ok(labels) = Labels::from_pairs(pairs.iter().copied()) else { return };
            let mut total = 0.0;
            let values = (0..SAMPLES).map(|at| {
                let noise = (number * 7_919 + at * 104_729) % 1_000;
                total = if counter { total + noise as f64 } else { noise as f64 };
                total
            });
            series.push((labels, values.collect()));
        };
        for number in 0..40_000 {
            let (instance, pod) = (format!("host-{:03}", number % 400), format!("pod-{:05}", number));
            let (service, code) = (format!("service-{:02}", number % 50), ["200", "404", "500"][number % 3]);
            let pairs = [
                (METRIC_NAME, "http_requests_total"),
                ("instance", instance.as_str()),
                ("pod", pod.as_str()),
                ("service", service.as_str()),
                ("code", code),
            ];
            add(&pairs, number, true);
        }
        for number in 0..1_000 {
            let (service, pod) = (format!("service-{:02}", number % 50), format!("pod-{number:05}"));
            for (rank, bound) in BOUNDS.into_iter().enumerate() {
                let pairs = [
                    (METRIC_NAME, "latency_bucket"),
                    ("pod", pod.as_str()),
                    ("service", service.as_str()),
                    ("le", bound),
                ];
                add(&pairs, rank, true);
            }
        }
        for number in 0..400 {
            let (instance, zone) = (format!("host-{number:03}"), format!("zone-{}", number % 3));
            add(&[(METRIC_NAME, "host_info"), ("instance", &instance), ("zone", &zone)], 1, false);
        }
        series.sort_by(|a, b| a.0.cmp(&b.0));
        let timestamps_ms = (0..SAMPLES as i64).map(|at| at * INTERVAL_MS).collect();
        Self { series, timestamps_ms }
    }
}

struct Selected<'m> {
    memory: &'m Memory,
    found: Vec<usize>,
}

impl SeriesSource for Memory {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let matches = |labels: &Labels| {
            let of = |name: &str| labels.get(name).unwrap_or("");
            selection.matchers.iter().rev().all(|matcher| matcher.matches(of(matcher.name())))
        };
        let found = (0..self.series.len()).filter(|index| matches(&self.series[*index].0)).collect();
        Ok(Box::new(Selected { memory: self, found }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.found.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        &self.memory.series[self.found[index]].0
    }

    fn may_have_histograms(&self) -> bool {
        false
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        out.timestamps_ms.extend_from_slice(&self.memory.timestamps_ms);
        out.values.extend_from_slice(&self.memory.series[self.found[index]].1);
        Ok(())
    }
}

const RANGE: Window = Window { start_ms: 0, end_ms: 3_585_000, step_ms: 15_000 };
const INSTANT: Window = Window::instant(3_585_000);

const QUERIES: [(&str, &str, Window); 22] = [
    ("select 40k, instant", "http_requests_total", INSTANT),
    ("select 40k, aggregated by count", "count(http_requests_total)", RANGE),
    ("sum", "sum(http_requests_total)", RANGE),
    ("sum by service", "sum by (service) (http_requests_total)", RANGE),
    ("sum by pod, 40k groups", "sum by (pod) (http_requests_total)", INSTANT),
    ("sum rate by service", "sum by (service) (rate(http_requests_total[5m]))", RANGE),
    ("sum rate by service, instant", "sum by (service) (rate(http_requests_total[5m]))", INSTANT),
    ("sum increase 1h by service", "sum by (service) (increase(http_requests_total[1h]))", RANGE),
    (
        "error ratio",
        "sum(rate(http_requests_total{code=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m]))",
        RANGE,
    ),
    (
        "histogram_quantile by service",
        "histogram_quantile(0.99, sum by (service, le) (rate(latency_bucket[5m])))",
        RANGE,
    ),
    ("histogram_quantile by pod", "histogram_quantile(0.9, rate(latency_bucket[5m]))", RANGE),
    ("topk 10 rate", "topk(10, rate(http_requests_total[5m]))", RANGE),
    (
        "group_left zone",
        "sum by (zone) (rate(http_requests_total[5m]) * on (instance) group_left (zone) host_info)",
        RANGE,
    ),
    ("subquery", "max_over_time(sum by (service) (rate(http_requests_total[5m]))[30m:1m])", INSTANT),
    ("avg_over_time 30m", "sum(avg_over_time(http_requests_total[30m]))", RANGE),
    ("max_over_time 30m", "max(max_over_time(http_requests_total[30m]))", RANGE),
    ("stddev_over_time 30m", "max(stddev_over_time(http_requests_total[30m]))", RANGE),
    ("quantile_over_time 30m", "max(quantile_over_time(0.9, http_requests_total{code=\"500\"}[30m]))", RANGE),
    ("quantile by service", "quantile by (service) (0.9, http_requests_total)", RANGE),
    (
        "regex of alternatives",
        "sum(http_requests_total{service=~\"service-01|service-02|service-03\"})",
        RANGE,
    ),
    ("comparison filter", "count(http_requests_total > 50000)", RANGE),
    ("single series", "http_requests_total{pod=\"pod-00007\"}", RANGE),
];

fn queries(criterion: &mut Criterion) {
    let memory = Memory::new();
    let options = EvalOptions {
        threads: NonZeroUsize::MIN.saturating_add(1),
        limits: promql::Limits { max_memory_bytes: 4 << 30, ..promql::Limits::default() },
        ..EvalOptions::default()
    };
    for (name, query, window) in QUERIES {
        let plan = promql::parse(query).ok().and_then(|expr| promql::plan(&expr, window, &options).ok());
        let Some(plan) = plan else { continue };
        if let Ok(output) = promql::evaluate(&plan, &memory, &options) {
            let stats = output.stats;
            println!(
                "{name}: {} series, {} samples, {} KiB at most",
                stats.series,
                stats.samples,
                stats.peak_memory_bytes >> 10
            );
        }
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| promql::evaluate(&plan, &memory, &options).is_ok());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .without_plots();
    targets = queries
}
criterion_main!(benches);
