//! The series that queries are about: counters with resets, gauges with every kind of number, classic and native
//! histograms, info metrics; with gaps, jitter and staleness markers.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::{SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError};
use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{CounterResetHint, Histogram, Labels, Span, stale_nan};

use crate::random::Random;

/// When the series begin (ms).
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// How long they go on.
pub(crate) const DURATION_MS: i64 = 40 * 60_000;
const INTERVAL_MS: i64 = 15_000;

pub(crate) struct Store {
    pub(crate) series: BTreeMap<Labels, SeriesSamples>,
}

#[derive(Clone, Copy)]
enum Shape {
    Counter,
    Gauge,
    Wild,
    Exponential,
    Custom,
    GaugeHistogram,
    /// Of changing resolutions and zero buckets.
    Drifting,
    /// Of changing custom boundaries.
    Bounds,
    /// With observations of NaN.
    NanObservations,
    Mixed,
    /// Without gaps.
    Steady,
    /// Always 1, without gaps.
    One,
}

impl Store {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(4_711);
        let mut store = Self { series: BTreeMap::new() };
        for job in ["api", "web"] {
            for instance in ["0", "1", "2"] {
                let labels = |name: &str, more: &[(&str, &str)]| {
                    let own = [("__name__", name), ("job", job), ("instance", instance)];
                    Labels::from_pairs(own.iter().chain(more).copied()).unwrap()
                };
                for (name, shape) in [
                    ("requests_total", Shape::Counter),
                    ("errors_total", Shape::Counter),
                    ("temperature", Shape::Gauge),
                    ("wild", Shape::Wild),
                    ("latency", Shape::Exponential),
                    ("sizes", Shape::Custom),
                    ("load", Shape::GaugeHistogram),
                    ("mixed", Shape::Mixed),
                    ("steady", Shape::Steady),
                    ("drifting", Shape::Drifting),
                    ("bounds", Shape::Bounds),
                    ("nans", Shape::NanObservations),
                ] {
                    for mode in ["r", "w"] {
                        store.add(labels(name, &[("mode", mode)]), shape, &mut random);
                    }
                }
                let zone = [("zone.name", random.pick(&["ost 1", "süd\"2"])), ("mode", "r")];
                store.add(labels("größe.in bytes", &zone), Shape::Gauge, &mut random);
                store.add(labels("anfragen.total", &zone), Shape::Counter, &mut random);
                let data = random.pick(&["eu", "us"]);
                store.add(labels("target_info", &[("region", data)]), Shape::One, &mut random);
                let mut counts = [0.0; 5];
                let bounds = ["0.1", "0.5", "1", "5", "+Inf"];
                let mut columns = vec![SeriesSamples::default(); bounds.len()];
                for at_ms in times(&mut random) {
                    let mut total = 0.0;
                    for (count, column) in counts.iter_mut().zip(&mut columns) {
                        *count += random.below(5) as f64;
                        total += *count;
                        column.timestamps_ms.push(at_ms);
                        column.values.push(total);
                    }
                }
                for (bound, column) in bounds.into_iter().zip(columns) {
                    store.series.insert(labels("duration_bucket", &[("le", bound)]), column);
                }
            }
        }
        store
    }

    fn add(&mut self, labels: Labels, shape: Shape, random: &mut Random) {
        let mut samples = SeriesSamples::default();
        let mut counter = 0.0;
        let mut histogram = empty(shape, random);
        let gapless = matches!(shape, Shape::Steady | Shape::One);
        let times = if gapless { steady_times() } else { times(random) };
        for at_ms in times {
            // The server keeps a marker as a histogram after a histogram, and then before the floats of its request.
            if random.chance(3) && !gapless && !matches!(shape, Shape::Mixed) {
                samples.timestamps_ms.push(at_ms);
                samples.values.push(stale_nan());
                continue;
            }
            let shape = match shape {
                Shape::Mixed if random.chance(50) => Shape::Gauge,
                Shape::Mixed => Shape::Exponential,
                other => other,
            };
            let value = match shape {
                Shape::Counter => {
                    counter = if random.chance(4) { 0.0 } else { counter + random.below(100) as f64 };
                    Some(counter)
                }
                Shape::Gauge | Shape::Mixed | Shape::Steady => Some(random.below(2_000) as f64 / 8.0 - 100.0),
                Shape::Wild => Some(match random.below(8) {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    2 => f64::NEG_INFINITY,
                    3 => 0.0,
                    4 => 1e300,
                    5 => -1e-300,
                    _ => random.below(1 << 40) as f64 / 1_024.0,
                }),
                Shape::One => Some(1.0),
                Shape::Exponential
                | Shape::Custom
                | Shape::GaugeHistogram
                | Shape::Drifting
                | Shape::Bounds
                | Shape::NanObservations => None,
            };
            if let Some(value) = value {
                samples.timestamps_ms.push(at_ms);
                samples.values.push(value);
                continue;
            }
            let lasts = match shape {
                Shape::GaugeHistogram => 0,
                Shape::Drifting | Shape::Bounds => 85,
                _ => 96,
            };
            if !random.chance(lasts) {
                histogram = empty(shape, random);
            }
            if matches!(shape, Shape::Drifting) && random.chance(10) {
                widen_zero_bucket(&mut histogram);
            }
            observe(&mut histogram, random);
            if matches!(shape, Shape::NanObservations) && random.chance(20) {
                histogram.count += random.below(4) as f64;
                histogram.sum = f64::NAN;
            }
            samples.histograms.push((at_ms, Arc::new(histogram.clone())));
        }
        self.series.insert(labels, samples);
    }
}

fn steady_times() -> Vec<i64> {
    (START_MS..START_MS + DURATION_MS).step_by(INTERVAL_MS as usize).collect()
}

fn times(random: &mut Random) -> Vec<i64> {
    let mut times = Vec::new();
    let mut at_ms = START_MS + random.below(INTERVAL_MS as u64) as i64;
    while at_ms < START_MS + DURATION_MS {
        if !random.chance(5) {
            times.push(at_ms + random.below(20) as i64);
        }
        at_ms += INTERVAL_MS;
        if random.chance(1) {
            at_ms += random.below(400_000) as i64;
        }
    }
    times
}

fn empty(shape: Shape, random: &mut Random) -> Histogram {
    let custom = matches!(shape, Shape::Custom | Shape::Bounds);
    let gauge = matches!(shape, Shape::GaugeHistogram);
    let drifting = matches!(shape, Shape::Drifting);
    let moved = matches!(shape, Shape::Bounds) && random.chance(50);
    Histogram {
        counter_reset_hint: if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
        schema: match (custom, drifting) {
            (true, _) => CUSTOM_BUCKETS_SCHEMA,
            (false, true) => random.pick(&[-1, 0, 1, 2]),
            (false, false) => 1,
        },
        zero_threshold: if custom { 0.0 } else { 0.001 },
        positive_spans: vec![Span { offset: if drifting { random.pick(&[-2, 0, 3]) } else { 0 }, length: 3 }],
        positive_buckets: vec![0.0; 3],
        negative_spans: if custom { Vec::new() } else { vec![Span { offset: 1, length: 2 }] },
        negative_buckets: if custom { Vec::new() } else { vec![0.0; 2] },
        custom_values: match (custom, moved) {
            (true, false) => vec![1.0, 5.0],
            (true, true) => vec![-1.0, 5.0],
            (false, _) => Vec::new(),
        },
        ..Histogram::default()
    }
}

/// The zero bucket takes in the buckets next to it, as clients do it when buckets become too many. Some are left on both
/// sides: about histograms with nothing beside the zero bucket the server may panic.
fn widen_zero_bucket(histogram: &mut Histogram) {
    let first = histogram.positive_spans[0].offset;
    let inside = |spans: &[Span]| (first + 1 - spans[0].offset).max(0) as usize;
    let (positive, negative) = (inside(&histogram.positive_spans), inside(&histogram.negative_spans));
    if positive >= histogram.positive_buckets.len() || negative >= histogram.negative_buckets.len() {
        return;
    }
    let buckets = promql::all_buckets(histogram);
    let Some(bound) = buckets.iter().find(|bucket| bucket.lower > 0.0).map(|bucket| bucket.upper) else {
        return;
    };
    for (inside, spans, counts) in [
        (positive, &mut histogram.positive_spans, &mut histogram.positive_buckets),
        (negative, &mut histogram.negative_spans, &mut histogram.negative_buckets),
    ] {
        histogram.zero_count += counts.drain(..inside).sum::<f64>();
        spans[0].offset += inside as i32;
        spans[0].length -= inside as u32;
    }
    histogram.zero_threshold = bound;
}

fn observe(histogram: &mut Histogram, random: &mut Random) {
    let mut more = |count: &mut f64, value: f64, total: &mut f64, sum: &mut f64| {
        let new = random.below(4) as f64;
        *count += new;
        *total += new;
        *sum += new * value;
    };
    let (total, sum) = (&mut histogram.count, &mut histogram.sum);
    for (index, count) in histogram.positive_buckets.iter_mut().enumerate() {
        more(count, 0.9 * 2_f64.powf(index as f64 / 2.0), total, sum);
    }
    for (index, count) in histogram.negative_buckets.iter_mut().enumerate() {
        more(count, -1.2 * 2_f64.powf(index as f64 / 2.0), total, sum);
    }
    if histogram.schema != CUSTOM_BUCKETS_SCHEMA {
        more(&mut histogram.zero_count, 0.0, total, sum);
    }
}

struct Selected<'s>(Vec<(&'s Labels, &'s SeriesSamples)>);

impl SeriesSource for Store {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let matches = |labels: &Labels| {
            let of = |name: &str| labels.get(name).unwrap_or("");
            selection.matchers.iter().all(|matcher| matcher.matches(of(matcher.name())))
        };
        Ok(Box::new(Selected(self.series.iter().filter(|(labels, _)| matches(labels)).collect())))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        self.0[index].0
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        out.clone_from(self.0[index].1);
        Ok(())
    }
}
