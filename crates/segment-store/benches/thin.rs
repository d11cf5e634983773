//! Thinning a day, and what a sample of it takes afterwards.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test")]

use rand::{Rng, SeedableRng};
use segment_store::thin::Thinner;
use segment_store::{Clock, SystemClock};
use storage_format::TenantSegmentWriter;
use storage_format::tenant::SeriesSamples;
use telemetry::{Labels, TenantId};

/// A day at 15 s.
const SAMPLES: usize = 5_760;
const SERIES: usize = 200;
const STEP_MS: i64 = 15_000;
const FIVE_MINUTES_MS: i64 = 5 * 60_000;
const HOUR_MS: i64 = 60 * 60_000;

struct OfSeries {
    labels: Labels,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Shape {
    /// Goes up by whole numbers, begins anew twice a day.
    Counter,
    /// Goes up and down by hundredths.
    Gauge,
    /// Is 0 or 1, mostly 1.
    Up,
}

fn day(shape: Shape) -> Vec<OfSeries> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let one = |number: usize| {
        let pod = format!("pod-{number:04}");
        let labels = Labels::from_pairs([("__name__", "x"), ("cluster", "eu-1"), ("pod", &pod)]).unwrap();
        let offset_ms = rng.random_range(0..STEP_MS);
        let mut value = 0.0_f64;
        let values = (0..SAMPLES).map(|_| {
            value = match shape {
                Shape::Counter if rng.random_ratio(1, 2_880) => 0.0,
                Shape::Counter => value + f64::from(rng.random_range(0..200_u32)),
                Shape::Gauge => ((value + rng.random_range(-1.0..1.0)) * 100.0).round() / 100.0,
                Shape::Up => f64::from(u8::from(!rng.random_ratio(1, 2_000))),
            };
            value
        });
        let values = values.collect();
        let timestamps_ms = (0..SAMPLES as i64).map(|step| 1_795_305_600_000 + offset_ms + step * STEP_MS);
        OfSeries { labels, timestamps_ms: timestamps_ms.collect(), values }
    };
    (0..SERIES).map(one).collect()
}

/// Bytes of a segment of the day, thinned or not, and samples in it.
fn written(day: &[OfSeries], resolution_ms: Option<i64>) -> (u64, u64) {
    let mut writer = TenantSegmentWriter::new(TenantId::new("acme").unwrap()).unwrap();
    let mut thinner = Thinner::default();
    for of in day {
        let mut series = SeriesSamples {
            labels: &of.labels,
            timestamps_ms: &of.timestamps_ms,
            values: &of.values,
            histograms: &[],
            exemplars: &[],
            omitted: &[],
        };
        if let Some(resolution_ms) = resolution_ms {
            thinner.thin(resolution_ms, &of.timestamps_ms, &of.values, []);
            series.timestamps_ms = &thinner.timestamps_ms;
            series.values = &thinner.values;
            series.omitted = &thinner.omitted;
        }
        writer.push(series).unwrap();
    }
    let (_, summary) = writer.finish().unwrap();
    (summary.len_bytes, summary.counts.samples)
}

fn main() {
    let clock = SystemClock::default();
    let raw = (SAMPLES * SERIES) as f64;
    for (name, shape) in [("counter", Shape::Counter), ("gauge", Shape::Gauge), ("up", Shape::Up)] {
        let day = day(shape);
        for (what, resolution_ms) in [("raw", None), ("5 min", Some(FIVE_MINUTES_MS)), ("1 h", Some(HOUR_MS))]
        {
            let start = clock.monotonic();
            let (bytes, kept) = written(&day, resolution_ms);
            let took = clock.monotonic() - start;
            println!(
                "{name}, {what}: {:.3} bytes for each sample of the day, {:.1} % of its samples, {:.0} ns a sample",
                bytes as f64 / raw,
                kept as f64 / raw * 100.0,
                took.as_nanos() as f64 / raw
            );
        }
    }
}
