//! Lines through samples (`deriv`, `predict_linear`).
//!
//! A long window that moves by small steps is put together from sums over parts of it. They are at least as exact as going
//! through the window; but what comes out must also be what Prometheus says, which goes through it. The two are the
//! same to many digits unless digits cancel each other out. So where they do, and in short windows, the window is gone
//! through, in Prometheus's order.
//!
//! Where all values are whole numbers, as those of most counters are, sums are exact, and samples that leave the window can be
//! taken out of them again: that costs less than going through three samples.

use std::ops::Range;

use super::sliding::Sliding;
use super::{Call, RangeFunction};
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::kahan::Kahan;

/// Windows of up to so many samples are gone through.
pub(super) const SHORT: usize = 32;
/// Whole numbers of up to this size are doubles without a gap between them.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Sums of whole numbers up to here are taken.
const MAX_WHOLE_SUM: f64 = (1_u64 << 62) as f64;
/// A result has lost too many digits when it is smaller than its terms by this factor.
const MAX_CANCELLATION: f64 = 1e4;
/// The same where our own sums are exact: then only Prometheus loses digits, and it keeps nine of them up to here. A counter grows by
/// a small part of its value within a window, so this is where most are.
const MAX_WHOLE_CANCELLATION: f64 = 1e6;

/// Whether `result`, to which terms of up to the size of `terms` add up, has most of their digits.
pub(super) fn keeps_digits(result: f64, terms: &[f64]) -> bool {
    cancels_at_most(MAX_CANCELLATION, result, terms)
}

/// Whether no term is larger than `result` by more than a factor.
fn cancels_at_most(factor: f64, result: f64, terms: &[f64]) -> bool {
    // Not with NaN, of which no comparison holds.
    terms.iter().all(|term| term.abs() <= result.abs() * factor)
}

/// A line through samples.
#[derive(Clone, Copy)]
struct Line {
    /// Per second.
    slope: f64,
    /// Number of samples.
    count: f64,
    /// Sums of times, in seconds relative to some time, and of values.
    x: f64,
    y: f64,
}

impl Line {
    /// The line of samples that all have this value.
    fn constant(value: f64) -> Self {
        let slope = if value.is_infinite() { f64::NAN } else { 0.0 };
        Self { slope, count: 1.0, x: 0.0, y: value }
    }

    /// The value so many seconds after the time that times are relative to.
    fn ahead(&self, seconds: f64) -> f64 {
        self.slope * seconds + (self.y / self.count - self.slope * self.x / self.count)
    }

    /// Whether the value ahead has most digits of what it is made of.
    fn keeps_digits_ahead(&self, seconds: f64) -> bool {
        let terms = [self.slope * seconds, self.y / self.count, self.slope * self.x / self.count];
        keeps_digits(self.ahead(seconds), &terms)
    }
}

impl Call<'_> {
    /// `deriv` and `predict_linear`: simple linear regression by least squares.
    pub(super) fn regressions(&self, out: &mut Column) -> Result<(), EvalError> {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        let mut sliding = Sliding::new(Sums::merge);
        let predicts = self.function == RangeFunction::PredictLinear;
        let mut whole = WholeWindow::new(times, values, self.farthest_ms(predicts));
        for window in self.windows() {
            if !self.floats_only(&window, 2) {
                continue;
            }
            let floats = window.floats.clone();
            let ahead = predicts.then(|| self.param(0, window.step));
            let at_ms = match ahead {
                Some(_) => self.grid.time_ms(window.step),
                // Times relative to one nearby keep their digits.
                None => times[floats.start],
            };
            let quick = match &mut whole {
                Some(whole) if floats.len() <= whole.max_samples => whole.line(floats.clone(), at_ms),
                _ if floats.len() > SHORT => sliding
                    .fold(floats.clone(), |index| Sums::of(times[index], values[index]))
                    .and_then(|sums| sums.line(at_ms)),
                _ => None,
            };
            let quick = quick.filter(|line| ahead.is_none_or(|ahead| line.keeps_digits_ahead(ahead)));
            let line = match quick {
                Some(line) => line,
                None => {
                    self.worker.rescan(floats.len())?;
                    line_through(&times[floats.clone()], &values[floats], at_ms)
                }
            };
            out.floats[window.step] = ahead.map_or(line.slope, |seconds| line.ahead(seconds));
        }
        Ok(())
    }

    /// How far at most a sample is from the time that times are relative to.
    fn farthest_ms(&self, predicts: bool) -> f64 {
        let range_ms = self.range_ms as f64;
        if !predicts {
            return range_ms;
        }
        // From one step to the next the distance is the same or, with `@`, grows by the same.
        let distance_ms = |step_ms: i64| (step_ms as f64 - self.reference.time_ms(step_ms) as f64).abs();
        range_ms + distance_ms(self.grid.start_ms).max(distance_ms(self.grid.last_ms()))
    }
}

/// The line through the samples, as Prometheus adds it up.
fn line_through(times: &[i64], values: &[f64], at_ms: i64) -> Line {
    let first = values[0];
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    let mut constant = true;
    for (time, value) in times.iter().zip(values) {
        constant &= *value == first;
        let x = (time - at_ms) as f64 / 1_000.0;
        x_sum.add(x);
        y_sum.add(*value);
        xy_sum.add(x * value);
        xx_sum.add(x * x);
    }
    if constant {
        return Line::constant(first);
    }
    let count = values.len() as f64;
    let (x, y) = (x_sum.plain_total(), y_sum.plain_total());
    let covariance = xy_sum.plain_total() - x * y / count;
    let variance = xx_sum.plain_total() - x * x / count;
    Line { slope: covariance / variance, count, x, y }
}

/// What a line needs of some samples. Times x are relative to the first of them.
#[derive(Clone, Copy)]
struct Sums {
    first_ms: i64,
    first_value: f64,
    /// Whether all values are the first one.
    constant: bool,
    count: i64,
    /// Σx and Σx², in ms, exact.
    x_ms: i128,
    xx_ms: i128,
    /// Σy and Σxy, x in seconds.
    y: Kahan,
    xy: Kahan,
}

impl Sums {
    fn of(time_ms: i64, value: f64) -> Self {
        Self {
            first_ms: time_ms,
            first_value: value,
            constant: true,
            count: 1,
            x_ms: 0,
            xx_ms: 0,
            y: Kahan { sum: value, lost: 0.0 },
            xy: Kahan::default(),
        }
    }

    /// With later samples.
    fn merge(self, later: Self) -> Self {
        let later_xy = later.xy_from(self.first_ms);
        let (later_x, later_xx) = later.x_from(self.first_ms);
        Self {
            constant: self.constant && later.constant && self.first_value == later.first_value,
            count: self.count + later.count,
            x_ms: self.x_ms + later_x,
            xx_ms: self.xx_ms + later_xx,
            y: self.y.merge(later.y),
            xy: self.xy.merge(later_xy),
            ..self
        }
    }

    /// Σx and Σx² relative to another time.
    fn x_from(&self, from_ms: i64) -> (i128, i128) {
        let shift = i128::from(self.first_ms) - i128::from(from_ms);
        let count = i128::from(self.count);
        (self.x_ms + count * shift, self.xx_ms + 2 * shift * self.x_ms + count * shift * shift)
    }

    /// Σxy relative to another time.
    fn xy_from(&self, from_ms: i64) -> Kahan {
        let shift = (self.first_ms - from_ms) as f64 / 1_000.0;
        let product = shift * self.y.sum;
        let lost = shift.mul_add(self.y.sum, -product) + shift * self.y.lost;
        self.xy.merge(Kahan { sum: product, lost })
    }

    /// The line, times relative to `at_ms`; none where digits cancel each other out.
    fn line(&self, at_ms: i64) -> Option<Line> {
        if self.constant {
            return Some(Line::constant(self.first_value));
        }
        let (x_ms, xx_ms) = self.x_from(at_ms);
        let (x, xx) = (x_ms as f64 / 1e3, xx_ms as f64 / 1e6);
        let (y, xy) = (self.y.plain_total(), self.xy_from(at_ms).plain_total());
        let count = self.count as f64;
        let covariance = xy - x * y / count;
        let variance = xx - x * x / count;
        let exact = keeps_digits(covariance, &[xy]) && keeps_digits(variance, &[xx]);
        exact.then_some(Line { slope: covariance / variance, count, x, y })
    }
}

/// Exact sums over a window of whole numbers that slides along. They wrap around on the way, which does not matter where
/// those that a line needs fit.
struct WholeWindow<'a> {
    times: &'a [i64],
    values: &'a [f64],
    /// Windows of up to so many samples have sums that fit.
    max_samples: usize,
    window: Range<usize>,
    /// The first sample of the window's last ones that have the same value.
    same_since: usize,
    /// Sums of times t in ms, and of values y, both relative to the first sample of all.
    t: i64,
    tt: i64,
    y: i64,
    ty: i64,
}

impl<'a> WholeWindow<'a> {
    /// None where a value is not a whole number. Samples are at most `farthest_ms` from the time a line is relative to.
    fn new(times: &'a [i64], values: &'a [f64], farthest_ms: f64) -> Option<Self> {
        let first = *values.first()?;
        let (mut whole, mut least, mut most) = (true, first, first);
        for value in values {
            whole &= (*value as i64) as f64 == *value;
            least = least.min(*value);
            most = most.max(*value);
        }
        if !whole || least < -MAX_WHOLE || most > MAX_WHOLE {
            return None;
        }
        let largest_term = farthest_ms.max(1.0) * farthest_ms.max(most - first).max(first - least).max(1.0);
        let max_samples = (MAX_WHOLE_SUM / largest_term) as usize;
        Some(Self { times, values, max_samples, window: 0..0, same_since: 0, t: 0, tt: 0, y: 0, ty: 0 })
    }

    /// Time and value of a sample relative to the first.
    #[inline]
    fn sample(&self, index: usize) -> (i64, i64) {
        (self.times[index].wrapping_sub(self.times[0]), self.values[index] as i64 - self.values[0] as i64)
    }

    /// Moves the window on; both its ends must not be before where they are.
    #[inline]
    fn slide(&mut self, window: Range<usize>) {
        for index in self.window.end..window.end {
            if index == 0 || self.values[index] != self.values[index - 1] {
                self.same_since = index;
            }
            let (t, y) = self.sample(index);
            self.t = self.t.wrapping_add(t);
            self.tt = self.tt.wrapping_add(t.wrapping_mul(t));
            self.y = self.y.wrapping_add(y);
            self.ty = self.ty.wrapping_add(t.wrapping_mul(y));
        }
        for index in self.window.start..window.start {
            let (t, y) = self.sample(index);
            self.t = self.t.wrapping_sub(t);
            self.tt = self.tt.wrapping_sub(t.wrapping_mul(t));
            self.y = self.y.wrapping_sub(y);
            self.ty = self.ty.wrapping_sub(t.wrapping_mul(y));
        }
        self.window = window;
    }

    /// The line through a window, times relative to `at_ms`; none where digits cancel each other out.
    #[inline]
    fn line(&mut self, window: Range<usize>, at_ms: i64) -> Option<Line> {
        self.slide(window);
        let first = self.values[0];
        if self.same_since <= self.window.start {
            return Some(Line::constant(self.values[self.window.start]));
        }
        let samples = self.window.len() as i64;
        let at = at_ms.wrapping_sub(self.times[0]);
        let shift = samples.wrapping_mul(at);
        let x = self.t.wrapping_sub(shift);
        // Σ(t - a)² = Σt² - a(Σt + Σ(t - a))
        let xx = self.tt.wrapping_sub(at.wrapping_mul(self.t.wrapping_add(x)));
        let xy = self.ty.wrapping_sub(at.wrapping_mul(self.y));
        let (count, x, xx, y, xy) = (samples as f64, x as f64, xx as f64, self.y as f64, xy as f64);
        let covariance = count * xy - x * y;
        let variance = count * xx - x * x;
        // Those of the values themselves are what Prometheus works with.
        let terms = [count * xy, count * (xy + x * first)];
        let exact = cancels_at_most(MAX_WHOLE_CANCELLATION, covariance, &terms)
            && keeps_digits(variance, &[count * xx]);
        exact.then(|| Line { slope: covariance * 1e3 / variance, count, x: x / 1e3, y: y + count * first })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_needs_no_second_look() {
        let times: Vec<i64> = (0..100).map(|step| 1_700_000_000_000 + 15_000 * step).collect();
        let values: Vec<f64> = (0..100).map(|step| 30.0 * f64::from(step)).collect();
        let mut whole = WholeWindow::new(&times, &values, 1e6).unwrap();
        let line = whole.line(40..90, times[40]).unwrap();
        assert_eq!((line.slope, line.ahead(0.0)), (2.0, values[40]));
    }

    proptest! {
        /// What sums of parts give is what going through the window gives, or nothing.
        #[test]
        fn lines_of_parts_are_those_of_the_window(
            steps in prop::collection::vec((1..120_000_i64, -1e3..1e3_f64), 3..200),
            level in prop_oneof![Just(0.0), Just(1e6), Just(-1e13)],
            ahead_ms in -10_000_000..10_000_000_i64,
            width in 2..80_usize,
        ) {
            let mut at_ms = 1_700_000_000_000;
            let times: Vec<i64> = steps.iter().map(|(gap, _)| { at_ms += gap; at_ms }).collect();
            let values: Vec<f64> = steps.iter().map(|(_, value)| level + value).collect();
            let mut sliding = Sliding::new(Sums::merge);
            for end in 2..=times.len() {
                let window = end.saturating_sub(width)..end;
                let sums = sliding.fold(window.clone(), |index| Sums::of(times[index], values[index])).unwrap();
                let at_ms = times[window.start] + ahead_ms;
                let expected = line_through(&times[window.clone()], &values[window.clone()], at_ms);
                if let Some(line) = sums.line(at_ms) {
                    prop_assert!((line.slope - expected.slope).abs() <= expected.slope.abs() * 1e-9);
                    if line.keeps_digits_ahead(1e3) {
                        let (ours, theirs) = (line.ahead(1e3), expected.ahead(1e3));
                        prop_assert!((ours - theirs).abs() <= theirs.abs() * 1e-9, "{ours} {theirs}");
                    }
                }
            }
        }

        /// What sums of whole numbers give is what going through the window gives, or nothing.
        #[test]
        fn lines_of_whole_numbers_are_those_of_the_window(
            steps in prop::collection::vec((1..120_000_i64, 0..4_i64), 3..200),
            level in prop_oneof![Just(0), Just(-1_000_000), Just(1_i64 << 52)],
            ahead_ms in -10_000_000..10_000_000_i64,
            width in 2..80_usize,
        ) {
            let (mut at_ms, mut level) = (1_700_000_000_000, level);
            let times: Vec<i64> = steps.iter().map(|(gap, _)| { at_ms += gap; at_ms }).collect();
            let values: Vec<f64> = steps.iter().map(|(_, step)| { level += step / 2; level as f64 }).collect();
            let mut whole = WholeWindow::new(&times, &values, 2e7).unwrap();
            for end in 2..=times.len() {
                let window = end.saturating_sub(width)..end;
                let at_ms = times[window.start] + ahead_ms;
                let expected = line_through(&times[window.clone()], &values[window.clone()], at_ms);
                prop_assert!(window.len() <= whole.max_samples);
                if let Some(line) = whole.line(window, at_ms) {
                    prop_assert!((line.slope - expected.slope).abs() <= expected.slope.abs() * 1e-9);
                    if line.keeps_digits_ahead(1e3) {
                        let (ours, theirs) = (line.ahead(1e3), expected.ahead(1e3));
                        prop_assert!((ours - theirs).abs() <= theirs.abs() * 1e-9, "{ours} {theirs}");
                    }
                }
            }
        }

        #[test]
        fn other_numbers_make_no_whole_window(
            value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.5), Just(1e17)],
            at in 0..3_usize,
        ) {
            let mut values = vec![1.0, 2.0, 3.0];
            values[at] = value;
            prop_assert!(WholeWindow::new(&[1_000, 2_000, 3_000], &values, 1e4).is_none());
        }
    }
}
