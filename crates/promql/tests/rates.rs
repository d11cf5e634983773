//! `rate`, `increase` and `delta` are found for all windows and for series with equal timestamps together. They are, to the bit,
//! what Prometheus's way gives, which goes window by window.

use promql::{
    EvalOptions, MatrixSeries, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError, Value,
    Window,
};
use proptest::prelude::*;
use telemetry::Labels;

/// Series in label order: labels, timestamps (ms), values.
#[derive(Debug)]
struct Data(Vec<(Labels, Vec<i64>, Vec<f64>)>);

impl SeriesSource for Data {
    fn select(&self, _: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected(self)))
    }
}

struct Selected<'d>(&'d Data);

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.0.0.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        &self.0.0[index].0
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        out.timestamps_ms.extend_from_slice(&self.0.0[index].1);
        out.values.extend_from_slice(&self.0.0[index].2);
        Ok(())
    }
}

/// As `extrapolatedRate` in Prometheus 3.5 does it for floats.
fn extrapolated(function: &str, range_ms: i64, end_ms: i64, times: &[i64], values: &[f64]) -> Option<f64> {
    let start_ms = end_ms - range_ms;
    let within: Vec<usize> =
        (0..times.len()).filter(|index| times[*index] > start_ms && times[*index] <= end_ms).collect();
    let (&first, &last) = (within.first()?, within.last()?);
    if first == last {
        return None;
    }
    let is_counter = function != "delta";
    let mut result = values[last] - values[first];
    if is_counter {
        for index in first + 1..=last {
            if values[index] < values[index - 1] {
                result += values[index - 1];
            }
        }
    }
    let mut to_start = (times[first] - start_ms) as f64 / 1_000.0;
    let mut to_end = (end_ms - times[last]) as f64 / 1_000.0;
    let interval = (times[last] - times[first]) as f64 / 1_000.0;
    let average = interval / (within.len() - 1) as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if is_counter && result > 0.0 && values[first] >= 0.0 {
        let to_zero = interval * (values[first] / result);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (interval + to_start + to_end) / interval;
    if function == "rate" {
        factor /= range_ms as f64 / 1_000.0;
    }
    Some(result * factor)
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0..1_000_u32).prop_map(f64::from),
        8 => 0.0..1e6,
        2 => -10.0..10.0,
        1 => Just(0.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -0.0, f64::MAX]),
    ]
}

/// Values that mostly grow, as counters do.
fn values() -> impl Strategy<Value = Vec<f64>> {
    (any::<bool>(), prop::collection::vec(value(), 120)).prop_map(|(grows, mut values)| {
        if grows {
            (1..values.len()).for_each(|index| values[index] += values[index - 1]);
        }
        values
    })
}

/// Scrapes at distances around `gap`, of which some fail.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let gap = prop_oneof![4 => 990..1_010_i64, 1 => 1..8_000_i64, 1 => Just(1_000_i64)];
    prop::collection::vec(gap, 0..120).prop_map(|gaps| {
        let mut at_ms = 0;
        let added = gaps.into_iter().map(|gap| {
            at_ms += gap;
            at_ms
        });
        added.collect()
    })
}

proptest! {
    #[test]
    fn rates_are_those_of_each_window_alone(
        targets in prop::collection::vec(times(), 1..4),
        series in prop::collection::vec((0..4_usize, values()), 1..8),
        function in prop::sample::select(vec!["rate", "increase", "delta"]),
        // Of few resets: the sum of many depends on the order, in which Prometheus differs.
        range_ms in prop_oneof![Just(5_000_i64), 1..15_000_i64],
        step_ms in prop_oneof![Just(1_000_i64), 1_000..9_000_i64],
        start_ms in -2_000..60_000_i64,
    ) {
        let series = series.into_iter().enumerate().map(|(number, (target, mut values))| {
            let times = targets[target % targets.len()].clone();
            values.truncate(times.len());
            let number = number.to_string();
            let labels = Labels::from_pairs([("__name__", "m_total"), ("n", number.as_str())]).unwrap();
            (labels, times, values)
        });
        let data = Data(series.collect());
        let window = Window { start_ms, end_ms: start_ms + 90_000, step_ms };
        let options = EvalOptions::default();
        let expr = promql::parse(&format!("{function}(m_total[{range_ms}ms])")).unwrap();
        let plan = promql::plan(&expr, window, &options).unwrap();
        let Value::Matrix(found) = promql::evaluate(&plan, &data, &options).unwrap().value else {
            panic!("a range query gives a matrix");
        };
        let mut found: std::collections::VecDeque<MatrixSeries> = found.into();
        for (labels, times, values) in &data.0 {
            let steps = (start_ms..=window.end_ms).step_by(step_ms as usize);
            let expected: Vec<(i64, f64)> = steps
                .filter_map(|at| Some((at, extrapolated(function, range_ms, at, times, values)?)))
                .collect();
            if expected.is_empty() {
                continue;
            }
            let series = found.pop_front().unwrap();
            prop_assert_eq!(series.labels.get("n"), labels.get("n"));
            prop_assert_eq!(series.floats.len(), expected.len());
            for (found, expected) in series.floats.iter().zip(&expected) {
                let same = found.1.to_bits() == expected.1.to_bits() || (found.1.is_nan() && expected.1.is_nan());
                prop_assert!(found.0 == expected.0 && same, "{found:?}, expected {expected:?}");
            }
        }
        prop_assert!(found.is_empty());
    }
}
