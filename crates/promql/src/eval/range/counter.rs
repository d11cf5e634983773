//! `rate`, `increase`, `delta`, `irate`, `idelta`.

use std::sync::Arc;

use super::sliding::Sliding;
use super::spans::{Course, KeptSpans, Spans};
use super::{Call, RangeFunction, histograms};
use crate::eval::column::{Column, Point, is_absent};
use crate::eval::kahan::Kahan;
use crate::eval::notes::Note;
use crate::{EvalError, SeriesSamples};

/// Endings of names that counters have.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

pub(super) fn looks_unlike_a_counter(metric: &str) -> bool {
    !metric.is_empty() && !COUNTER_SUFFIXES.iter().any(|suffix| metric.ends_with(suffix))
}

/// So many resets are added up anew for each window.
const FEW_RESETS: usize = 16;

impl Call<'_> {
    pub(super) fn is_counter(&self) -> bool {
        self.function != RangeFunction::Delta
    }

    /// By what increases are divided: the seconds of a window where they become rates, else 1.
    pub(super) fn divisor(&self) -> f64 {
        if self.function == RangeFunction::Rate { self.range_ms as f64 / 1_000.0 } else { 1.0 }
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
        if !self.samples.histograms.is_empty() {
            self.histogram_rates(out)?;
        }
        let mut kept = self.worker.spans.take();
        self.float_rates(&mut kept, &mut out.floats);
        self.worker.spans.set(kept);
        Ok(())
    }

    fn histogram_rates(&self, out: &mut Column) -> Result<(), EvalError> {
        let mut rates = histograms::Rates::new(self);
        for window in self.windows() {
            if self.one_kind(&window) == Some(false)
                && window.histograms.len() > 1
                && let Some(histogram) = rates.rate(&window)?
            {
                out.set_histogram(window.step, Arc::new(histogram));
            }
        }
        Ok(())
    }

    fn float_rates(&self, kept: &mut KeptSpans, out: &mut [f64]) {
        let SeriesSamples { timestamps_ms, values, histograms, omitted } = self.samples;
        let course = Course {
            grid: self.grid,
            reference: self.reference,
            range_ms: self.range_ms,
            divisor: self.divisor(),
        };
        let mut own = Spans::default();
        let mut lost = Vec::new();
        let spans = if histograms.is_empty() && omitted.is_empty() {
            kept.of(course, timestamps_ms, |spans| spans.fill(course, self.samples, |_| 0))
        } else {
            let mut counts = self.omissions(|row| row.count, |a, b| a + b);
            let mut losses = self.omissions(|row| row.lost, |a, b| a + b);
            own.fill(course, self.samples, |window| {
                lost.push(losses.of(window));
                counts.of(window).unwrap_or(0)
            });
            &own
        };
        for (step, first, last) in spans.ends() {
            out[step] = values[last] - values[first];
        }
        if self.is_counter() {
            self.make_up_for_resets(spans, out);
            for ((step, ..), lost) in spans.ends().zip(lost) {
                if let Some(lost) = lost {
                    out[step] += lost;
                }
            }
        }
        spans.extrapolate(values, self.is_counter(), out);
    }

    /// Adds to the increases what a counter lost where it went down.
    fn make_up_for_resets(&self, spans: &Spans, increases: &mut [f64]) {
        let values = &self.samples.values;
        if !values.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0])) {
            return;
        }
        // Where the counter went down, with the value before.
        let pairs = values.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]);
        let resets: Vec<(usize, f64)> = pairs.map(|(index, pair)| (index + 1, pair[0])).collect();
        let mut lost = Sliding::new(|a: f64, b: f64| a + b);
        let (mut first_reset, mut resets_end) = (0, 0);
        for (step, first, last) in spans.ends() {
            while resets_end < resets.len() && resets[resets_end].0 <= last {
                resets_end += 1;
            }
            while first_reset < resets_end && resets[first_reset].0 <= first {
                first_reset += 1;
            }
            let within = first_reset..resets_end;
            if within.len() <= FEW_RESETS {
                // In the order of time, as Prometheus adds them.
                resets[within].iter().for_each(|(_, before)| increases[step] += before);
            } else if let Some(sum) = lost.fold(within, |index| resets[index].1) {
                increases[step] += sum;
            }
        }
    }

    /// Samples of a delta series are increases, so that the window's increase is their sum, exactly.
    fn sums_of_deltas(&self, out: &mut Column) -> Result<(), EvalError> {
        let mut histograms = histograms::Totals::new(self);
        let values = &self.samples.values;
        let mut sliding = Sliding::new(Kahan::merge);
        let mut omitted = self.omitted_sums();
        for window in self.windows() {
            match self.one_kind(&window) {
                Some(true) => {
                    let one = |index: usize| Kahan { sum: values[index], lost: 0.0 };
                    if let Some(sum) = sliding.fold(window.floats.clone(), one) {
                        let sum = omitted.of(&window).map_or(sum, |omitted| sum.merge(omitted));
                        out.floats[window.step] = sum.total() / self.divisor();
                    }
                }
                Some(false) => {
                    if let Some(mut sum) = histograms.sum(&window)? {
                        if self.function == RangeFunction::Rate {
                            crate::histogram::divide(&mut sum, self.divisor());
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
