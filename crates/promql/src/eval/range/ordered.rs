//! Functions for which the order of samples matters: by value (quantiles) or in time (changes, resets).

use super::window::Window;
use super::{Call, RangeFunction};
use crate::eval::column::{Column, Point};
use crate::eval::notes::Note;
use crate::histogram;

/// NaN before all numbers.
fn order(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// The quantile `q` of values, which are put in order; between two values, a weighted average.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(|a, b| order(*a, *b));
    quantile_of_sorted(q, values)
}

fn quantile_of_sorted(q: f64, values: &[f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor();
    let upper = (lower as usize + 1).min(values.len() - 1);
    let weight = rank - lower;
    values[lower as usize] * (1.0 - weight) + values[upper] * weight
}

impl Call<'_> {
    pub(super) fn quantiles(&self, out: &mut Column) {
        let values = &self.samples.values;
        // The window's values in order; those that leave and those that come are found by halving.
        let mut sorted: Vec<f64> = Vec::new();
        let mut covered = 0..0;
        for window in self.windows() {
            if !self.floats_only(&window, 1) {
                continue;
            }
            let q = self.param(0, window.step);
            if !(0.0..=1.0).contains(&q) {
                self.note(Note::InvalidQuantile(q));
            }
            let floats = window.floats;
            if floats.start >= covered.end {
                sorted.clear();
                sorted.extend_from_slice(&values[floats.clone()]);
                sorted.sort_unstable_by(|a, b| order(*a, *b));
            } else {
                let place =
                    |sorted: &[f64], value: f64| sorted.partition_point(|at| order(*at, value).is_lt());
                for value in &values[covered.start..floats.start] {
                    sorted.remove(place(&sorted, *value));
                }
                for value in &values[covered.end..floats.end] {
                    sorted.insert(place(&sorted, *value), *value);
                }
            }
            covered = floats;
            out.floats[window.step] = quantile_of_sorted(q, &sorted);
        }
    }

    pub(super) fn median_deviations(&self, out: &mut Column) {
        let mut buffer: Vec<f64> = Vec::new();
        for window in self.windows() {
            if !self.floats_only(&window, 1) {
                continue;
            }
            buffer.clear();
            buffer.extend_from_slice(&self.samples.values[window.floats]);
            let median = quantile(0.5, &mut buffer);
            for value in &mut buffer {
                *value = (*value - median).abs();
            }
            out.floats[window.step] = quantile(0.5, &mut buffer);
        }
    }

    /// Counts changes or resets.
    pub(super) fn transitions(&self, out: &mut Column) {
        let changes = self.function == RangeFunction::Changes;
        let float_counts = |before: f64, now: f64| {
            if changes { now != before && !(now.is_nan() && before.is_nan()) } else { now < before }
        };
        if self.samples.histograms.is_empty() {
            // How many there are up to each sample; those of a window are a difference.
            let values = &self.samples.values;
            let mut until: Vec<u32> = Vec::with_capacity(values.len());
            let mut total = 0;
            for (index, value) in values.iter().enumerate() {
                total += u32::from(index > 0 && float_counts(values[index - 1], *value));
                until.push(total);
            }
            for window in self.windows() {
                let count = until[window.floats.end - 1] - until[window.floats.start];
                out.floats[window.step] = f64::from(count);
            }
            return;
        }
        for window in self.windows() {
            let points = self.points(&window);
            let counted = points.windows(2).filter(|pair| match (&pair[0], &pair[1]) {
                (Point::Float(before), Point::Float(now)) => float_counts(*before, *now),
                (Point::Histogram(before), Point::Histogram(now)) if changes => {
                    !histogram::equal(now, before)
                }
                (Point::Histogram(before), Point::Histogram(now)) => histogram::is_reset(now, before),
                _ => true,
            });
            out.floats[window.step] = counted.count() as f64;
        }
    }

    /// Floats and histograms of a window in the order of time.
    fn points(&self, window: &Window) -> Vec<Point> {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        let floats = window.floats.clone().map(|index| (times[index], Point::Float(values[index])));
        let histograms = self.samples.histograms[window.histograms.clone()]
            .iter()
            .map(|(at_ms, histogram)| (*at_ms, Point::Histogram(histogram.clone())));
        let mut points: Vec<(i64, Point)> = floats.chain(histograms).collect();
        points.sort_by_key(|(at_ms, _)| *at_ms);
        points.into_iter().map(|(_, point)| point).collect()
    }
}
