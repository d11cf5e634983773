//! Thinned series answer as all samples do, wherever a plan says that they may; and a spike is never lost.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use promql::{
    EvalOptions, QueryOutput, Reading, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError,
    Value, Window,
};
use proptest::collection::vec;
use proptest::prelude::*;
use segment_store::thin::Thinner;
use telemetry::{Histogram, Labels, stale_nan};

const MINUTE_MS: i64 = 60_000;
const FIVE_MINUTES_MS: i64 = 5 * MINUTE_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How much time a series covers.
const SPAN_MS: i64 = 10 * HOUR_MS;

/// A part of time and what is kept of it.
#[derive(Clone, Copy, Debug)]
struct Part {
    end_ms: i64,
    resolution_ms: Option<i64>,
}

/// One series, of which parts may be thinned.
struct Source {
    labels: Labels,
    all: SeriesSamples,
    /// Ascending.
    parts: Vec<Part>,
    read: AtomicUsize,
}

impl Source {
    fn new(metric: &str, all: SeriesSamples, parts: &[Part]) -> Self {
        let temporality = if metric.starts_with("delta") { "delta" } else { "" };
        let labels = Labels::from_pairs([("__name__", metric), ("__temporality__", temporality)]).unwrap();
        Self { labels, all, parts: parts.to_vec(), read: AtomicUsize::new(0) }
    }

    fn whole(&self) -> Self {
        Self::new(self.labels.metric_name().unwrap(), self.all.clone(), &[])
    }

    fn samples(&self, reading: Reading) -> SeriesSamples {
        let mut samples = SeriesSamples::default();
        let mut start_ms = i64::MIN;
        let rest = Part { end_ms: i64::MAX, resolution_ms: None };
        for part in self.parts.iter().chain([&rest]) {
            let from = self.all.timestamps_ms.partition_point(|at| *at < start_ms);
            let to = self.all.timestamps_ms.partition_point(|at| *at < part.end_ms).max(from);
            let (times, values) = (&self.all.timestamps_ms[from..to], &self.all.values[from..to]);
            let inside = |at: &i64| (start_ms..part.end_ms).contains(at);
            let histograms: Vec<_> =
                self.all.histograms.iter().filter(|(at, _)| inside(at)).cloned().collect();
            start_ms = start_ms.max(part.end_ms);
            match part.resolution_ms.filter(|resolution_ms| reading.allows(*resolution_ms)) {
                Some(resolution_ms) => {
                    let mut thinner = Thinner::default();
                    thinner.thin(resolution_ms, times, values, histograms.iter().map(|(at, _)| *at));
                    samples.timestamps_ms.extend(&thinner.timestamps_ms);
                    samples.values.extend(&thinner.values);
                    if let Reading::Thinned { with_omitted: true, .. } = reading {
                        samples.omitted.extend(&thinner.omitted);
                    }
                }
                None => {
                    samples.timestamps_ms.extend(times);
                    samples.values.extend(values);
                }
            }
            samples.histograms.extend(histograms);
        }
        samples
    }
}

struct Selected<'s>(&'s Source, Reading);

impl SeriesSource for Source {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected(self, selection.reading)))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        1
    }

    fn labels(&self, _index: usize) -> &Labels {
        &self.0.labels
    }

    fn read(&self, _index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        *out = self.0.samples(self.1);
        self.0.read.fetch_add(out.len(), Ordering::Relaxed);
        Ok(())
    }
}

fn evaluate(source: &Source, query: &str, window: Window) -> QueryOutput {
    let options = EvalOptions { experimental: true, ..EvalOptions::default() };
    let plan = promql::plan(&promql::parse(query).unwrap(), window, &options).unwrap();
    promql::evaluate(&plan, source, &options).unwrap()
}

fn readings(query: &str, window: Window) -> Vec<Reading> {
    let options = EvalOptions { experimental: true, ..EvalOptions::default() };
    let plan = promql::plan(&promql::parse(query).unwrap(), window, &options).unwrap();
    plan.selections().iter().map(|selection| selection.reading).collect()
}

/// The samples of the answer, which is one series; of native histograms the time alone.
fn points(output: &QueryOutput) -> Vec<(i64, Option<f64>)> {
    match &output.value {
        Value::Matrix(matrix) => matrix
            .iter()
            .flat_map(|series| {
                let floats = series.floats.iter().map(|(at, value)| (*at, Some(*value)));
                floats.chain(series.histograms.iter().map(|(at, _)| (*at, None)))
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Counter,
    Gauge,
    Constant,
    /// Few different numbers, and NaN.
    Few,
    Odd,
}

/// Values such as series have: counters with resets, gauges, constants, and all that floats can be.
fn value(shape: Shape, before: f64, number: u32) -> f64 {
    let step = f64::from(number % 1_000);
    match shape {
        Shape::Counter if number.is_multiple_of(97) => step / 10.0,
        Shape::Counter => before + step,
        Shape::Gauge => before + (step - 500.0) / 8.0,
        Shape::Constant => 7.25,
        Shape::Few if number.is_multiple_of(12) => f64::NAN,
        Shape::Few => f64::from(number % 5),
        Shape::Odd => match number % 12 {
            0 | 1 => f64::NAN,
            2 => f64::INFINITY,
            3 => f64::NEG_INFINITY,
            4 | 5 => stale_nan(),
            6 => -0.5,
            _ => step - 400.0,
        },
    }
}

fn series() -> impl Strategy<Value = SeriesSamples> {
    let shapes = [Shape::Counter, Shape::Gauge, Shape::Constant, Shape::Few, Shape::Odd];
    let shape = proptest::sample::select(shapes.to_vec());
    let gap_ms = prop_oneof![Just(15_000_i64), Just(MINUTE_MS), 1..600_000_i64, Just(FIVE_MINUTES_MS)];
    let numbers = vec((any::<u32>(), 0..400_u32), 1..700);
    (shape, gap_ms, any::<bool>(), numbers, -HOUR_MS..HOUR_MS, 0..40_u32).prop_map(
        |(shape, gap_ms, regular, numbers, start_ms, histogram_every)| {
            let mut samples = SeriesSamples::default();
            let mut at_ms = if regular { start_ms.div_euclid(gap_ms) * gap_ms } else { start_ms };
            let mut before = 0.0;
            for (number, chance) in numbers {
                // A few are missing, some come late, targets go away.
                at_ms += match chance {
                    0 => 40 * gap_ms,
                    1..=9 => 2 * gap_ms,
                    _ if regular => gap_ms,
                    _ => 1 + i64::from(number) % (2 * gap_ms),
                };
                if at_ms > SPAN_MS {
                    break;
                }
                if histogram_every > 32 && chance.is_multiple_of(histogram_every) {
                    let histogram = Histogram { count: f64::from(number), ..Histogram::default() };
                    samples.histograms.push((at_ms, Arc::new(histogram)));
                    continue;
                }
                let stale = chance == 0 || chance == 100;
                let next = value(shape, before, number);
                before = if next.is_finite() { next } else { before };
                samples.timestamps_ms.push(at_ms);
                samples.values.push(if stale { stale_nan() } else { next });
            }
            samples
        },
    )
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let resolution = prop_oneof![Just(None), Just(Some(FIVE_MINUTES_MS)), Just(Some(HOUR_MS))];
    vec((0..SPAN_MS, resolution), 1..4).prop_map(|mut parts| {
        parts.sort_unstable();
        // What comes last covers what is left.
        let last = parts.len() - 1;
        parts[last].0 = i64::MAX;
        parts.into_iter().map(|(end_ms, resolution_ms)| Part { end_ms, resolution_ms }).collect()
    })
}

const FUNCTIONS: [&str; 17] = [
    "",
    "absent_over_time",
    "avg_over_time",
    "count_over_time",
    "delta",
    "increase",
    "last_over_time",
    "max_over_time",
    "min_over_time",
    "present_over_time",
    "rate",
    "resets",
    "sum_over_time",
    "timestamp",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn thinned_series_answer_as_all_samples_do(
        all in series(),
        parts in parts(),
        metric in prop_oneof![Just("x_total"), Just("delta_total")],
        function in proptest::sample::select(FUNCTIONS.to_vec()),
        edges_ms in prop_oneof![Just(FIVE_MINUTES_MS), Just(HOUR_MS)],
        (start, step, steps) in (-6..100_i64, 1..4_i64, 1..60_i64),
        (range, offset) in (1..5_i64, -2..3_i64),
    ) {
        let end_ms = (start + step * steps) * edges_ms;
        let window = Window { start_ms: start * edges_ms, end_ms, step_ms: step * edges_ms };
        let seconds = |count: i64| count * edges_ms / 1_000;
        let offset = if offset == 0 { String::new() } else { format!(" offset {}s", seconds(offset)) };
        let query = match function {
            "" => format!("{metric}{offset}"),
            "timestamp" => format!("timestamp({metric}{offset})"),
            function => format!("{function}({metric}[{}s]{offset})", seconds(range)),
        };
        let reading = readings(&query, window);
        prop_assert!(reading.iter().all(|reading| reading.allows(edges_ms)), "{query}: {reading:?}");

        let thinned = Source::new(metric, all, &parts);
        let whole = thinned.whole();
        let (got, expected) = (evaluate(&thinned, &query, window), evaluate(&whole, &query, window));
        prop_assert_eq!(&got.warnings, &expected.warnings);
        prop_assert_eq!(&got.infos, &expected.infos);
        let (got, expected) = (points(&got), points(&expected));
        prop_assert_eq!(got.len(), expected.len(), "{}", query);
        let finite = whole.all.values.iter().filter(|value| value.is_finite());
        let largest = finite.fold(1.0_f64, |most, value| most.max(value.abs()));
        for (got, expected) in got.iter().zip(&expected) {
            prop_assert_eq!(got.0, expected.0);
            let (Some(a), Some(b)) = (got.1, expected.1) else {
                prop_assert_eq!(got.1, expected.1, "{}", query);
                continue;
            };
            // Sums depend on the order in which they are taken; everything else is the same to the bit.
            let tolerance = match function {
                "avg_over_time" | "increase" | "rate" | "sum_over_time" => largest * 1e-10,
                _ => 0.0,
            };
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance;
            prop_assert!(same, "{query} at {}: {a} instead of {b}", got.0);
        }
        prop_assert!(thinned.read.load(Ordering::Relaxed) <= whole.read.load(Ordering::Relaxed));
    }

    /// Of any step and range: what does not fit stretches is answered from all samples.
    #[test]
    fn a_spike_is_never_lost(
        samples in 200..2_400_usize,
        spike in any::<proptest::sample::Index>(),
        start_ms in -HOUR_MS..SPAN_MS,
        (step_ms, steps, range_ms) in (1..2 * HOUR_MS, 1..200_i64, 1..3 * HOUR_MS),
        aligned in any::<bool>(),
        resolution_ms in prop_oneof![Just(FIVE_MINUTES_MS), Just(HOUR_MS)],
    ) {
        let round = |ms: i64| if aligned { ms.div_euclid(HOUR_MS) * HOUR_MS } else { ms };
        let (start_ms, step_ms, range_ms) = (round(start_ms), round(step_ms).max(MINUTE_MS), round(range_ms).max(MINUTE_MS));
        let mut all = SeriesSamples::default();
        for index in 0..samples {
            all.timestamps_ms.push(index as i64 * 15_000);
            all.values.push((index % 7) as f64);
        }
        let spike = spike.index(samples);
        all.values[spike] = 1e6;
        let spike_ms = all.timestamps_ms[spike];
        let source = Source::new("x", all, &[Part { end_ms: i64::MAX, resolution_ms: Some(resolution_ms) }]);
        let window = Window { start_ms, end_ms: start_ms + step_ms * steps, step_ms };
        let answer = evaluate(&source, &format!("max_over_time(x[{range_ms}ms])"), window);
        let seen: Vec<i64> =
            points(&answer).iter().filter(|(_, value)| *value == Some(1e6)).map(|(at, _)| *at).collect();
        let expected: Vec<i64> = (0..=steps)
            .map(|step| start_ms + step * step_ms)
            .filter(|at| spike_ms <= *at && spike_ms > at - range_ms)
            .collect();
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn what_does_not_fit_stretches_is_answered_from_all_samples() {
    let from = |start_ms: i64, step_ms: i64| Window { start_ms, end_ms: start_ms + 50 * step_ms, step_ms };
    let hourly = from(100 * HOUR_MS, HOUR_MS);
    let edges_ms = |query: &str, window| match readings(query, window)[..] {
        [Reading::All] => None,
        [Reading::Thinned { edges_ms, .. }] => Some(edges_ms),
        ref other => panic!("{query}: {other:?}"),
    };
    assert_eq!(edges_ms("rate(x[1h])", hourly), Some(HOUR_MS));
    assert_eq!(edges_ms("rate(x[5m])", hourly), Some(FIVE_MINUTES_MS));
    assert_eq!(edges_ms("sum by (a) (x)", hourly), Some(HOUR_MS));
    assert_eq!(edges_ms("x offset 10m", hourly), Some(10 * MINUTE_MS));
    assert_eq!(edges_ms("max_over_time(x[2h] @ 7200)", from(7, 13)), Some(2 * HOUR_MS));
    assert_eq!(edges_ms("max_over_time(rate(x[5m])[1d:10m])", from(7, 13)), Some(FIVE_MINUTES_MS));
    // Two questions about the same samples are answered from one reading.
    assert_eq!(edges_ms("max_over_time(x[1h]) - min_over_time(x[1h])", hourly), Some(HOUR_MS));
    assert_eq!(edges_ms("max_over_time(x[1h]) - quantile_over_time(0.5, x[1h])", hourly), None);
    let allows =
        |query: &str, window| readings(query, window).iter().all(|reading| reading.allows(FIVE_MINUTES_MS));
    assert!(!allows("rate(x[1h])", from(100 * HOUR_MS + 1, HOUR_MS)));
    assert!(!allows("rate(x[1h])", from(100 * HOUR_MS, 7 * MINUTE_MS)));
    assert!(!allows("rate(x[4m])", hourly));
    assert!(!allows("rate(x[1h] offset 3m)", hourly));
    assert!(!allows("x", Window::instant(100 * HOUR_MS + 1)));
    assert!(allows("x", Window::instant(100 * HOUR_MS)));
    let each = [
        "changes(x[1h])",
        "deriv(x[1h])",
        "double_exponential_smoothing(x[1h], 0.5, 0.5)",
        "idelta(x[1h])",
        "irate(x[1h])",
        "mad_over_time(x[1h])",
        "predict_linear(x[1h], 5)",
        "quantile_over_time(0.5, x[1h])",
        "stddev_over_time(x[1h])",
        "stdvar_over_time(x[1h])",
    ];
    for query in each {
        assert_eq!(edges_ms(query, hourly), None, "{query}");
    }
    assert_eq!(readings("x[1h]", Window::instant(100 * HOUR_MS)), vec![Reading::All]);
}
