//! Functions of the values' order, and of what changes from one to the next.

use super::order::Ranked;
use super::{Call, RangeFunction};
use crate::eval::column::{Column, Point};
use crate::eval::notes::Note;
use crate::histogram;

impl Call<'_> {
    pub(super) fn quantiles(&self, out: &mut Column) {
        let mut ranked = Ranked::new(&self.samples.values);
        for window in self.windows() {
            if !self.floats_only(&window, 1) {
                continue;
            }
            let q = self.param(0, window.step);
            if !(0.0..=1.0).contains(&q) {
                self.note(Note::InvalidQuantile(q));
            }
            ranked.slide(window.floats);
            out.floats[window.step] = ranked.quantile(q);
        }
    }

    pub(super) fn median_deviations(&self, out: &mut Column) {
        let mut ranked = Ranked::new(&self.samples.values);
        for window in self.windows() {
            if self.floats_only(&window, 1) {
                ranked.slide(window.floats);
                out.floats[window.step] = ranked.median_deviation();
            }
        }
    }

    /// Counts changes or resets: how many there are up to each sample is known, those of a window are a difference.
    pub(super) fn transitions(&self, out: &mut Column) {
        let changes = self.function == RangeFunction::Changes;
        let floats = |before: f64, now: f64| {
            if changes { now != before && !(now.is_nan() && before.is_nan()) } else { now < before }
        };
        let is_transition = |before: &Point, now: &Point| match (before, now) {
            (Point::Float(before), Point::Float(now)) => floats(*before, *now),
            (Point::Histogram(before), Point::Histogram(now)) if changes => !histogram::equal(now, before),
            (Point::Histogram(before), Point::Histogram(now)) => histogram::is_reset(now, before),
            _ => true,
        };
        let mut until: Vec<u32> = Vec::with_capacity(self.samples.len());
        let mut total = 0;
        if self.samples.histograms.is_empty() {
            let values = &self.samples.values;
            for (index, value) in values.iter().enumerate() {
                total += u32::from(index > 0 && floats(values[index - 1], *value));
                until.push(total);
            }
        } else {
            let points = self.points();
            for (index, point) in points.iter().enumerate() {
                total += u32::from(index > 0 && is_transition(&points[index - 1], point));
                until.push(total);
            }
        }
        let mut omitted = self.omissions(|row| row.resets, |a, b| a + b);
        for window in self.windows() {
            let first = window.floats.start + window.histograms.start;
            let last = window.floats.end + window.histograms.end - 1;
            let omitted = if changes { 0 } else { omitted.of(&window).unwrap_or(0) };
            out.floats[window.step] = f64::from(until[last] - until[first]) + omitted as f64;
        }
    }

    /// Floats and histograms in the order of time.
    fn points(&self) -> Vec<Point> {
        let samples = self.samples;
        let floats = samples
            .timestamps_ms
            .iter()
            .zip(&samples.values)
            .map(|(at_ms, value)| (*at_ms, Point::Float(*value)));
        let histograms =
            samples.histograms.iter().map(|(at_ms, histogram)| (*at_ms, Point::Histogram(histogram.clone())));
        let mut points: Vec<(i64, Point)> = floats.chain(histograms).collect();
        points.sort_by_key(|(at_ms, _)| *at_ms);
        points.into_iter().map(|(_, point)| point).collect()
    }
}
