//! The series that random expressions are evaluated over: counters with resets, gauges with every special value, gaps,
//! staleness markers, classic and native histograms.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::remote_write::{BucketSpan, Histogram, Label, Sample, TimeSeries, WriteRequest};

/// Metric names of the data set, one of which has no series.
pub(super) const METRICS: [&str; 9] = [
    "counter_total",
    "counter_total",
    "gauge",
    "gauge",
    "wild",
    "h_bucket",
    "native",
    "custom",
    "missing_metric",
];

/// Distance of samples (ms), but for jitter.
const INTERVAL_MS: i64 = 15_000;
/// Samples a series.
const SAMPLES: i64 = 160;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The data set of a seed.
#[derive(Debug)]
pub(super) struct Dataset {
    /// What to write.
    pub(super) request: WriteRequest,
    /// First and last timestamp (ms).
    pub(super) span_ms: (i64, i64),
}

impl Dataset {
    /// The data set of `seed`, beginning at `start_ms`.
    #[must_use]
    pub(super) fn new(seed: u64, start_ms: i64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut timeseries = Vec::new();
        for (job, env, instance) in [
            ("api", "prod", "0"),
            ("api", "prod", "1"),
            ("api", "test", "2"),
            ("db", "prod", "0"),
            ("db", "", "3"),
        ] {
            let identity = |metric: &str, extra: &[(&str, &str)]| {
                let mut pairs = vec![("__name__", metric), ("job", job), ("instance", instance)];
                pairs.extend_from_slice(extra);
                if !env.is_empty() {
                    pairs.push(("env", env));
                }
                pairs.sort_unstable();
                pairs
                    .into_iter()
                    .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
                    .collect::<Vec<_>>()
            };
            for metric in ["counter_total", "gauge", "wild"] {
                let samples = floats(&mut rng, metric, start_ms);
                timeseries.push(TimeSeries {
                    labels: identity(metric, &[]),
                    samples,
                    histograms: Vec::new(),
                });
            }
            let info = identity("target_info", &[("version", instance), ("zone", "z1")]);
            timeseries.push(TimeSeries {
                labels: info,
                samples: constant(&mut rng, start_ms),
                histograms: Vec::new(),
            });
            timeseries.extend(classic_histogram(&mut rng, start_ms, &identity));
            for metric in ["native", "custom"] {
                let histograms = natives(&mut rng, metric == "custom", start_ms);
                timeseries.push(TimeSeries {
                    labels: identity(metric, &[]),
                    samples: Vec::new(),
                    histograms,
                });
            }
        }
        let span_ms = (start_ms, start_ms + SAMPLES * INTERVAL_MS);
        Self { request: WriteRequest { timeseries }, span_ms }
    }
}

/// The times of a series' samples: jittered, with gaps.
fn times(rng: &mut ChaCha8Rng, start_ms: i64) -> Vec<i64> {
    let jitter_ms = if rng.random_bool(0.5) { 0 } else { 800 };
    let phase_ms = rng.random_range(0..INTERVAL_MS);
    let mut gap = 0;
    let mut times = Vec::new();
    for index in 0..SAMPLES {
        if gap == 0 && rng.random_bool(0.02) {
            gap = rng.random_range(1..30);
        }
        if gap > 0 {
            gap -= 1;
            continue;
        }
        let jitter = if jitter_ms == 0 { 0 } else { rng.random_range(0..jitter_ms) };
        times.push(start_ms + phase_ms + index * INTERVAL_MS + jitter);
    }
    times
}

fn floats(rng: &mut ChaCha8Rng, metric: &str, start_ms: i64) -> Vec<Sample> {
    let mut level = f64::from(rng.random_range(0..1_000));
    times(rng, start_ms)
        .into_iter()
        .map(|timestamp| {
            level = match metric {
                "counter_total" if rng.random_bool(0.03) => f64::from(rng.random_range(0..20)),
                "counter_total" => level + f64::from(rng.random_range(0..50)),
                _ => ((level + rng.random_range(-20.0..20.0)) * 100.0).round() / 100.0,
            };
            let special = match rng.random_range(0..if metric == "wild" { 12 } else { 60 }) {
                0 => Some(STALE),
                1 if metric == "wild" => Some(f64::NAN),
                2 if metric == "wild" => Some(f64::INFINITY),
                3 if metric == "wild" => Some(f64::NEG_INFINITY),
                4 if metric == "wild" => Some(-0.0),
                _ => None,
            };
            Sample { value: special.unwrap_or(level), timestamp }
        })
        .collect()
}

fn constant(rng: &mut ChaCha8Rng, start_ms: i64) -> Vec<Sample> {
    times(rng, start_ms).into_iter().map(|timestamp| Sample { value: 1.0, timestamp }).collect()
}

fn classic_histogram(
    rng: &mut ChaCha8Rng,
    start_ms: i64,
    identity: &impl Fn(&str, &[(&str, &str)]) -> Vec<Label>,
) -> Vec<TimeSeries> {
    let bounds = ["0.1", "0.5", "1", "2.5", "+Inf"];
    let mut counts = [0.0_f64; 5];
    let mut samples = vec![Vec::new(); bounds.len()];
    for timestamp in times(rng, start_ms) {
        if rng.random_bool(0.02) {
            counts = [0.0; 5];
        }
        let mut below = 0.0;
        for (index, count) in counts.iter_mut().enumerate() {
            below += f64::from(rng.random_range(0..9_u32));
            *count += below;
            samples[index].push(Sample { value: *count, timestamp });
        }
    }
    bounds
        .iter()
        .zip(samples)
        .map(|(le, samples)| TimeSeries {
            labels: identity("h_bucket", &[("le", le)]),
            samples,
            histograms: Vec::new(),
        })
        .collect()
}

fn natives(rng: &mut ChaCha8Rng, custom: bool, start_ms: i64) -> Vec<Histogram> {
    let mut schema = if custom { -53 } else { rng.random_range(0..4) };
    let mut positive = [0_i64; 6];
    let mut negative = [0_i64; 3];
    let mut zero = 0_u64;
    let mut sum = 0.0;
    times(rng, start_ms)
        .into_iter()
        .map(|timestamp| {
            if rng.random_bool(0.04) {
                (positive, negative, zero, sum) = ([0; 6], [0; 3], 0, 0.0);
            }
            if !custom && rng.random_bool(0.02) {
                schema = rng.random_range(0..4);
            }
            positive.iter_mut().for_each(|count| *count += rng.random_range(0..7));
            if !custom {
                negative.iter_mut().for_each(|count| *count += rng.random_range(0..2));
                zero += rng.random_range(0..3);
            }
            sum += f64::from(rng.random_range(0..400)) / 8.0;
            if rng.random_bool(0.015) {
                return Histogram { sum: STALE, timestamp, schema, ..Histogram::default() };
            }
            let custom_values = if custom { vec![0.1, 0.5, 1.0, 2.5, 10.0] } else { Vec::new() };
            let first = if custom { 0 } else { -2 };
            let count = positive.iter().chain(&negative).sum::<i64>() as u64 + zero;
            Histogram {
                count_int: Some(count),
                sum,
                schema,
                zero_threshold: if custom { 0.0 } else { 0.001 },
                zero_count_int: Some(zero),
                negative_spans: if custom { Vec::new() } else { vec![BucketSpan { offset: 0, length: 3 }] },
                negative_deltas: if custom { Vec::new() } else { deltas(&negative) },
                positive_spans: if custom {
                    vec![BucketSpan { offset: first, length: 6 }]
                } else {
                    vec![BucketSpan { offset: first, length: 4 }, BucketSpan { offset: 2, length: 2 }]
                },
                positive_deltas: deltas(&positive),
                timestamp,
                custom_values,
            }
        })
        .collect()
}

fn deltas(counts: &[i64]) -> Vec<i64> {
    let mut previous = 0;
    counts.iter().map(|count| count - std::mem::replace(&mut previous, *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_data_with_every_special_value() {
        let bits = |dataset: &Dataset| -> Vec<(i64, u64)> {
            let series = dataset.request.timeseries.iter();
            series.flat_map(|s| s.samples.iter().map(|x| (x.timestamp, x.value.to_bits()))).collect()
        };
        let (a, b) = (Dataset::new(3, 1_000_000), Dataset::new(3, 1_000_000));
        assert_eq!(bits(&a), bits(&b));
        for special in [STALE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            assert!(bits(&a).iter().any(|(_, bits)| *bits == special.to_bits()), "{special}");
        }
        let ascending = |series: &TimeSeries| {
            series.samples.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp)
                && series.histograms.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp)
        };
        assert!(a.request.timeseries.iter().all(ascending));
    }
}
