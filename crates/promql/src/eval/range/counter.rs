//! `rate`, `increase`, `delta`, `irate`, `idelta`.

use std::sync::Arc;

use super::sliding::Sliding;
use super::window::Window;
use super::{Call, RangeFunction, histograms};
use crate::EvalError;
use crate::eval::column::{Column, Point, is_absent};
use crate::eval::kahan::Kahan;
use crate::eval::notes::Note;

/// Endings of names that counters have.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

pub(super) fn looks_unlike_a_counter(metric: &str) -> bool {
    !metric.is_empty() && !COUNTER_SUFFIXES.iter().any(|suffix| metric.ends_with(suffix))
}

/// So many resets are added up anew for each window.
const FEW_RESETS: usize = 16;

/// A window's first and last sample, for extrapolation.
pub(super) struct Sampled {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) count: usize,
    /// The first value and the increase, where the increase may not reach below 0.
    pub(super) counter: Option<(f64, f64)>,
}

impl Call<'_> {
    pub(super) fn is_counter(&self) -> bool {
        self.function != RangeFunction::Delta
    }

    fn range_seconds(&self) -> f64 {
        self.range_ms as f64 / 1_000.0
    }

    pub(super) fn rates(&self, out: &mut Column) -> Result<(), EvalError> {
        if self.is_delta_series && self.is_counter() {
            self.sums_of_deltas(out)?;
        } else {
            self.extrapolated(out)?;
        }
        if self.is_counter()
            && looks_unlike_a_counter(self.metric)
            && out.floats.iter().any(|value| !is_absent(*value))
        {
            self.note(Note::PossibleNonCounter { metric: self.metric });
        }
        Ok(())
    }

    fn extrapolated(&self, out: &mut Column) -> Result<(), EvalError> {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        // Where the counter went down, with the value before, which the result has to make up for.
        let mut resets: Vec<(usize, f64)> = Vec::new();
        if self.is_counter() {
            for (index, pair) in values.windows(2).enumerate() {
                if pair[1] < pair[0] {
                    resets.push((index + 1, pair[0]));
                }
            }
        }
        let mut lost = Sliding::new(|a: f64, b: f64| a + b);
        let (mut first_reset, mut resets_end) = (0, 0);
        let mut omitted = self.omissions(|row| row.count, |a, b| a + b);
        let mut omitted_resets = self.omissions(|row| row.lost, |a, b| a + b);
        let mut histogram_rates = histograms::Rates::new(self);
        for window in self.windows() {
            match self.one_kind(&window) {
                Some(true) if window.floats.len() > 1 => {
                    let (first, last) = (window.floats.start, window.floats.end - 1);
                    let mut increase = values[last] - values[first];
                    if !resets.is_empty() {
                        while resets_end < resets.len() && resets[resets_end].0 <= last {
                            resets_end += 1;
                        }
                        while first_reset < resets_end && resets[first_reset].0 <= first {
                            first_reset += 1;
                        }
                        let within = first_reset..resets_end;
                        if within.len() <= FEW_RESETS {
                            // In the order of time, as Prometheus adds them.
                            resets[within].iter().for_each(|(_, before)| increase += before);
                        } else if let Some(sum) = lost.fold(within, |index| resets[index].1) {
                            increase += sum;
                        }
                    }
                    if self.is_counter()
                        && let Some(lost) = omitted_resets.of(&window)
                    {
                        increase += lost;
                    }
                    let sampled = Sampled {
                        first_ms: times[first],
                        last_ms: times[last],
                        count: window.floats.len() + omitted.of(&window).unwrap_or(0) as usize,
                        counter: self.is_counter().then_some((values[first], increase)),
                    };
                    out.floats[window.step] = increase * self.factor(&window, &sampled);
                }
                Some(false) if window.histograms.len() > 1 => {
                    if let Some(histogram) = histogram_rates.rate(&window)? {
                        out.set_histogram(window.step, Arc::new(histogram));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// By what an increase between the first and last sample becomes one over the whole window (or a second of it).
    ///
    /// Samples that come regularly stand for the time around them, too: where the gap to an end of the window is not
    /// much longer than the gaps between samples, the increase is stretched up to there, else by half a gap; and never
    /// to before the counter was 0.
    pub(super) fn factor(&self, window: &Window, sampled: &Sampled) -> f64 {
        let seconds = |ms: i64| ms as f64 / 1_000.0;
        let mut to_start = seconds(sampled.first_ms - window.start_ms);
        let mut to_end = seconds(window.end_ms - sampled.last_ms);
        let interval = seconds(sampled.last_ms - sampled.first_ms);
        let average_gap = interval / (sampled.count - 1) as f64;
        let threshold = average_gap * 1.1;
        if to_start >= threshold {
            to_start = average_gap / 2.0;
        }
        if let Some((first, increase)) = sampled.counter
            && increase > 0.0
            && first >= 0.0
        {
            // Most counters are far from 0, which a product shows sooner than a quotient.
            if first * interval <= to_start * increase * 1.001 {
                to_start = to_start.min(interval * (first / increase));
            }
        }
        if to_end >= threshold {
            to_end = average_gap / 2.0;
        }
        let factor = (interval + to_start + to_end) / interval;
        if self.function == RangeFunction::Rate { factor / self.range_seconds() } else { factor }
    }

    /// Samples of a delta series are increases, so that the window's increase is their sum, exactly.
    fn sums_of_deltas(&self, out: &mut Column) -> Result<(), EvalError> {
        let mut histograms = histograms::Totals::new(self);
        let values = &self.samples.values;
        let per_second = self.function == RangeFunction::Rate;
        let mut sliding = Sliding::new(Kahan::merge);
        let mut omitted = self.omitted_sums();
        for window in self.windows() {
            match self.one_kind(&window) {
                Some(true) => {
                    let one = |index: usize| Kahan { sum: values[index], lost: 0.0 };
                    if let Some(sum) = sliding.fold(window.floats.clone(), one) {
                        let sum = omitted.of(&window).map_or(sum, |omitted| sum.merge(omitted));
                        let divisor = if per_second { self.range_seconds() } else { 1.0 };
                        out.floats[window.step] = sum.total() / divisor;
                    }
                }
                Some(false) => {
                    if let Some(mut sum) = histograms.sum(&window)? {
                        if per_second {
                            crate::histogram::divide(&mut sum, self.range_seconds());
                        }
                        out.set_histogram(window.step, Arc::new(sum));
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn instant_rates(&self, out: &mut Column) {
        for window in self.windows() {
            if window.floats.len() + window.histograms.len() < 2 {
                continue;
            }
            let mut latest: Vec<(i64, Point)> = Vec::with_capacity(4);
            let floats = window.floats.start.max(window.floats.end.saturating_sub(2))..window.floats.end;
            for index in floats {
                latest.push((self.samples.timestamps_ms[index], Point::Float(self.samples.values[index])));
            }
            let from = window.histograms.start.max(window.histograms.end.saturating_sub(2));
            for (at_ms, histogram) in &self.samples.histograms[from..window.histograms.end] {
                latest.push((*at_ms, Point::Histogram(Arc::clone(histogram))));
            }
            latest.sort_by_key(|(at_ms, _)| *at_ms);
            let (Some((last_ms, last)), Some((before_ms, before))) = (latest.pop(), latest.pop()) else {
                continue;
            };
            let interval_ms = last_ms - before_ms;
            if interval_ms == 0 {
                continue;
            }
            let divisor =
                if self.function == RangeFunction::Irate { interval_ms as f64 / 1_000.0 } else { 1.0 };
            match (before, last) {
                (Point::Float(before), Point::Float(last)) => {
                    let reset = self.function == RangeFunction::Irate && last < before;
                    let increase = if reset || self.is_delta_series { last } else { last - before };
                    out.floats[window.step] = increase / divisor;
                }
                (Point::Histogram(before), Point::Histogram(last)) => {
                    if let Some(mut increase) = histograms::instant_increase(self, &before, &last) {
                        if self.function == RangeFunction::Irate {
                            crate::histogram::divide(&mut increase, divisor);
                        }
                        out.set_histogram(window.step, Arc::new(increase));
                    }
                }
                _ => self.note(Note::MixedFloatsHistograms { metric: self.metric }),
            }
        }
    }
}
