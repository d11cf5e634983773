//! Sums, averages, extremes, variances and counts.

use std::sync::Arc;

use telemetry::{Histogram, Omitted};

use super::sliding::Sliding;
use super::window::Window;
use super::{Call, RangeFunction, histograms};
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::kahan::Kahan;
use crate::eval::notes::Note;

/// A deviation that is smaller than the mean by this factor has lost too many digits. Prometheus's error is about 2⁻⁵² by it.
const CLOSE_TOGETHER: f64 = 1e-6;

impl Call<'_> {
    /// Notes what a function does that has no use for histograms, and says whether there are floats for it.
    pub(super) fn floats_only(&self, window: &Window, needed: usize) -> bool {
        let found = window.floats.len();
        if found > 0 && !window.histograms.is_empty() {
            self.note(Note::IgnoredInMixedRange { metric: self.metric });
        }
        found >= needed
    }

    /// Whether the window has floats only (`Some(true)`), histograms only (`Some(false)`), or, noted, both.
    pub(super) fn one_kind(&self, window: &Window) -> Option<bool> {
        match (window.floats.is_empty(), window.histograms.is_empty()) {
            (false, false) => {
                self.note(Note::MixedFloatsHistograms { metric: self.metric });
                None
            }
            (floats_empty, _) => Some(!floats_empty),
        }
    }

    pub(super) fn sums(&self, out: &mut Column) -> Result<(), EvalError> {
        let values = &self.samples.values;
        let mut histograms = histograms::Totals::new(self);
        let mut sliding = Sliding::new(Kahan::merge);
        let mut omitted = self.omitted_sums();
        for window in self.windows() {
            match self.one_kind(&window) {
                Some(true) => {
                    let one = |index: usize| Kahan { sum: values[index], lost: 0.0 };
                    if let Some(sum) = sliding.fold(window.floats.clone(), one) {
                        let sum = omitted.of(&window).map_or(sum, |omitted| sum.merge(omitted));
                        out.floats[window.step] = sum.total();
                    }
                }
                Some(false) => self.set_histogram(out, window.step, histograms.sum(&window)?),
                None => {}
            }
        }
        Ok(())
    }

    fn set_histogram(&self, out: &mut Column, step: usize, histogram: Option<Histogram>) {
        if let Some(histogram) = histogram {
            out.set_histogram(step, Arc::new(histogram));
        }
    }

    pub(super) fn averages(&self, out: &mut Column) -> Result<(), EvalError> {
        let values = &self.samples.values;
        let mut histograms = histograms::Totals::new(self);
        let mut sliding = Sliding::new(Kahan::merge);
        let mut omitted = self.omitted_sums();
        let mut omitted_counts = self.omissions(|row| row.count, |a, b| a + b);
        for window in self.windows() {
            match self.one_kind(&window) {
                Some(true) => {
                    let one = |index: usize| Kahan { sum: values[index], lost: 0.0 };
                    let Some(mut sum) = sliding.fold(window.floats.clone(), one) else { continue };
                    let mut count = window.floats.len() as f64;
                    if let (Some(of), Some(number)) = (omitted.of(&window), omitted_counts.of(&window)) {
                        sum = sum.merge(of);
                        count += number as f64;
                    }
                    out.floats[window.step] = if sum.sum.is_infinite() {
                        self.worker.rescan(window.floats.len())?;
                        match omitted.rows() {
                            [] => incremental_mean(&values[window.floats]),
                            omitted => mean_of_shares(&values[window.floats], omitted, count),
                        }
                    } else {
                        sum.sum / count + sum.lost / count
                    };
                }
                Some(false) => self.set_histogram(out, window.step, histograms.mean(&window)?),
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn extremes(&self, out: &mut Column) {
        let values = &self.samples.values;
        let max = self.function == RangeFunction::MaxOverTime;
        // NaN gives way to any number.
        let better = move |old: f64, new: f64| {
            let wins = if max { new > old } else { new < old };
            if wins || old.is_nan() { new } else { old }
        };
        let mut sliding = Sliding::new(better);
        for window in self.windows() {
            if self.floats_only(&window, 1)
                && let Some(extreme) = sliding.fold(window.floats, |index| values[index])
            {
                out.floats[window.step] = extreme;
            }
        }
    }

    pub(super) fn times_of_extremes(&self, out: &mut Column) {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        let max = self.function == RangeFunction::TsOfMaxOverTime;
        // Of equal extremes the last one counts.
        let better = move |old: (f64, i64), new: (f64, i64)| {
            let wins = if max { new.0 >= old.0 } else { new.0 <= old.0 };
            if wins || old.0.is_nan() { new } else { old }
        };
        let mut sliding = Sliding::new(better);
        for window in self.windows() {
            if self.floats_only(&window, 1)
                && let Some((_, at_ms)) = sliding.fold(window.floats, |index| (values[index], times[index]))
            {
                out.floats[window.step] = at_ms as f64 / 1_000.0;
            }
        }
    }

    /// `stddev_over_time` and `stdvar_over_time`. What comes out must also be what Prometheus says, which goes through the
    /// window and loses digits where values are large and close to each other. There the window is gone through here, too.
    pub(super) fn variances(&self, out: &mut Column) -> Result<(), EvalError> {
        let values = &self.samples.values;
        let root = self.function == RangeFunction::StddevOverTime;
        // Variances do not depend on where 0 is; near the values, differences keep their digits.
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let origin = finite.min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        let mut sliding = Sliding::new(Moments::merge);
        for window in self.windows() {
            if !self.floats_only(&window, 1) {
                continue;
            }
            let floats = window.floats.clone();
            let quick = sliding.fold(floats.clone(), |index| Moments::of(values[index] - origin));
            let variance = match quick {
                Some(moments) if !moments.is_close_together(origin) => moments.variance(),
                _ => {
                    self.worker.rescan(floats.len())?;
                    variance_through(&values[floats])
                }
            };
            out.floats[window.step] = if root { variance.sqrt() } else { variance };
        }
        Ok(())
    }

    pub(super) fn counts(&self, out: &mut Column) {
        let present = self.function == RangeFunction::PresentOverTime;
        let mut omitted = self.omissions(|row| row.count, |a, b| a + b);
        for window in self.windows() {
            let kept = (window.floats.len() + window.histograms.len()) as u64;
            let count = kept + omitted.of(&window).unwrap_or(0);
            out.floats[window.step] = if present { 1.0 } else { count as f64 };
        }
    }

    pub(super) fn lasts(&self, out: &mut Column) {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        let timestamps = self.function == RangeFunction::TsOfLastOverTime;
        for window in self.windows() {
            let float = window.floats.clone().last().map(|index| (times[index], values[index]));
            let histogram = window.histograms.clone().last().map(|index| &self.samples.histograms[index]);
            match (float, histogram) {
                (Some((at_ms, value)), histogram) if histogram.is_none_or(|(other, _)| *other < at_ms) => {
                    out.floats[window.step] = if timestamps { at_ms as f64 / 1_000.0 } else { value };
                }
                (_, Some((at_ms, _))) if timestamps => out.floats[window.step] = *at_ms as f64 / 1_000.0,
                (_, Some((_, histogram))) => out.set_histogram(window.step, Arc::clone(histogram)),
                _ => {}
            }
        }
    }
}

/// The mean of values whose sum is too large.
pub(super) fn incremental_mean(values: &[f64]) -> f64 {
    let mut mean = Kahan::default();
    let mut count = 0.0;
    let mut plain = Kahan::default();
    let mut incremental = false;
    for &value in values {
        count += 1.0;
        if !incremental {
            let mut next = plain;
            next.add(value);
            if !next.sum.is_infinite() {
                plain = next;
                continue;
            }
            incremental = true;
            if count > 1.0 {
                mean = Kahan { sum: plain.sum / (count - 1.0), lost: plain.lost / (count - 1.0) };
            } else {
                mean = Kahan { sum: value, lost: 0.0 };
                continue;
            }
        }
        let share = (count - 1.0) / count;
        mean = Kahan { sum: mean.sum * share, lost: mean.lost * share };
        mean.add(value / count);
    }
    if incremental { mean.plain_total() } else { plain.sum / count + plain.lost / count }
}

/// The mean of values and of what was left out between them, whose sum is too large.
fn mean_of_shares(values: &[f64], omitted: &[Omitted], count: f64) -> f64 {
    let mut mean = Kahan::default();
    values.iter().for_each(|value| mean.add(value / count));
    omitted.iter().for_each(|row| mean.add(row.sum / count));
    mean.total()
}

/// The variance as Prometheus adds it up.
fn variance_through(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        let delta = value - mean.plain_total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.plain_total()));
    }
    squares.plain_total() / count
}

/// Count, mean and squared deviations, which can be merged (Chan et al., "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn of(value: f64) -> Self {
        // The deviation of an infinite value from itself is not 0.
        Self { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    pub(crate) fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * (other.count / count),
            squares: self.squares + other.squares + delta * delta * (self.count * other.count / count),
        }
    }

    /// Takes in one value (Welford's algorithm).
    pub(crate) fn push(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    pub(crate) fn variance(self) -> f64 {
        self.squares / self.count
    }

    /// Whether values differ by so little of their distance from 0 that digits of their differences are lost to it. They are
    /// `origin` more than those taken in.
    fn is_close_together(self, origin: f64) -> bool {
        let small = (self.mean + origin) * CLOSE_TOGETHER;
        // Of equal values nothing is lost.
        self.squares != 0.0 && self.variance() < small * small
    }
}
