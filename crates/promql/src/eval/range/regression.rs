//! Lines through samples (`deriv`, `predict_linear`).
//!
//! A long window that moves by small steps is put together from sums over parts of it. They are at least as exact as going
//! through the window; but what comes out must also be what Prometheus says, which goes through it. The two are the
//! same to many digits unless digits cancel each other out. So where they do, and in short windows, the window is gone
//! through, in Prometheus's order.
//!
//! Where all values are whole numbers, as those of most counters are, sums up to each sample are exact, and a window's are
//! the difference of two of them.

use std::ops::Range;

use super::sliding::Sliding;
use super::{Call, RangeFunction};
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::kahan::Kahan;

/// Windows of up to so many samples are gone through.
pub(super) const SHORT: usize = 32;
/// Windows of whole numbers of up to so many samples are gone through, too: there it costs no more.
const SHORT_WHOLE: usize = 16;
/// Whole numbers of up to this size are doubles without a gap between them.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Samples of a series, and milliseconds from the first to the last, up to which sums of whole numbers fit: of times a year has
/// 2³⁵, and Σty is below 2²⁰ × 2⁴⁰ × 2⁵³.
const MAX_WHOLE_SAMPLES: usize = 1 << 20;
const MAX_WHOLE_SPAN_MS: i64 = 1 << 40;
/// A result has lost too many digits when it is smaller than its terms by this factor.
const MAX_CANCELLATION: f64 = 1e4;

/// Whether `result`, to which terms of up to the size of `terms` add up, has most of their digits.
pub(super) fn keeps_digits(result: f64, terms: &[f64]) -> bool {
    // Not with NaN, of which no comparison holds.
    terms.iter().all(|term| term.abs() <= result.abs() * MAX_CANCELLATION)
}

/// Slope (per second) and the value at some time.
#[derive(Clone, Copy)]
struct Line {
    slope: f64,
    intercept: f64,
}

impl Call<'_> {
    /// `deriv` and `predict_linear`: simple linear regression by least squares.
    pub(super) fn regressions(&self, out: &mut Column) -> Result<(), EvalError> {
        let (values, times) = (&self.samples.values, &self.samples.timestamps_ms);
        let mut sliding = Sliding::new(Sums::merge);
        let whole = WholeSums::new(times, values);
        for window in self.windows() {
            if !self.floats_only(&window, 2) {
                continue;
            }
            let floats = window.floats.clone();
            let ahead = (self.function == RangeFunction::PredictLinear).then(|| self.param(0, window.step));
            let at_ms = match ahead {
                Some(_) => self.grid.time_ms(window.step),
                // Times relative to one nearby keep their digits.
                None => times[floats.start],
            };
            let result =
                |line: Line| ahead.map_or(line.slope, |seconds| line.slope * seconds + line.intercept);
            let quick = match &whole {
                Some(whole) if floats.len() > SHORT_WHOLE => whole.line(values, floats.clone(), at_ms),
                None if floats.len() > SHORT => sliding
                    .fold(floats.clone(), |index| Sums::of(times[index], values[index]))
                    .and_then(|sums| sums.line(at_ms)),
                _ => None,
            };
            let quick = quick.filter(|line| {
                ahead.is_none_or(|ahead| keeps_digits(result(*line), &[line.slope * ahead, line.intercept]))
            });
            let line = match quick {
                Some(line) => line,
                None => {
                    self.worker.rescan(floats.len())?;
                    line_through(&times[floats.clone()], &values[floats], at_ms)
                }
            };
            out.floats[window.step] = result(line);
        }
        Ok(())
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
        return constant_line(first);
    }
    let count = values.len() as f64;
    let (x, y) = (x_sum.plain_total(), y_sum.plain_total());
    let covariance = xy_sum.plain_total() - x * y / count;
    let variance = xx_sum.plain_total() - x * x / count;
    let slope = covariance / variance;
    Line { slope, intercept: y / count - slope * x / count }
}

fn constant_line(value: f64) -> Line {
    if value.is_infinite() {
        Line { slope: f64::NAN, intercept: f64::NAN }
    } else {
        Line { slope: 0.0, intercept: value }
    }
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

    /// The line, with its value at `at_ms`; none where digits cancel each other out.
    fn line(&self, at_ms: i64) -> Option<Line> {
        if self.constant {
            return Some(constant_line(self.first_value));
        }
        let (x_ms, xx_ms) = self.x_from(at_ms);
        let (x, xx) = (x_ms as f64 / 1e3, xx_ms as f64 / 1e6);
        line_of_sums(self.count as f64, (x, xx), self.y.plain_total(), self.xy_from(at_ms).plain_total())
    }
}

/// The line by Σx and Σx², Σy, Σxy; none where digits cancel each other out.
fn line_of_sums(count: f64, (x, xx): (f64, f64), y: f64, xy: f64) -> Option<Line> {
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    let intercept = y / count - slope * x / count;
    let exact = keeps_digits(covariance, &[xy])
        && keeps_digits(variance, &[xx])
        && keeps_digits(intercept, &[y / count]);
    exact.then_some(Line { slope, intercept })
}

/// Exact sums over a series of whole numbers, from its beginning.
struct WholeSums {
    first_ms: i64,
    /// Before each sample, and after the last.
    before: Vec<Whole>,
    /// For each sample the first of those before it that have its value without another one between.
    same_since: Vec<u32>,
}

/// Sums over samples; times t are in ms since the first sample of the series.
#[derive(Clone, Copy, Default)]
struct Whole {
    t: i64,
    tt: i128,
    y: i128,
    ty: i128,
}

impl WholeSums {
    /// None where a value is not a whole number, or sums could become too large.
    fn new(times: &[i64], values: &[f64]) -> Option<Self> {
        let (first_ms, last_ms) = (*times.first()?, *times.last()?);
        let fits = times.len() <= MAX_WHOLE_SAMPLES && last_ms.checked_sub(first_ms)? <= MAX_WHOLE_SPAN_MS;
        if !fits || !values.iter().all(|value| value.trunc() == *value && value.abs() <= MAX_WHOLE) {
            return None;
        }
        let mut sums = Whole::default();
        let mut before = Vec::with_capacity(times.len() + 1);
        before.push(sums);
        let mut same_since: Vec<u32> = Vec::with_capacity(times.len());
        for (index, (time, value)) in times.iter().zip(values).enumerate() {
            let (t, y) = (time - first_ms, *value as i64);
            sums.t += t;
            sums.tt += i128::from(t) * i128::from(t);
            sums.y += i128::from(y);
            sums.ty += i128::from(t) * i128::from(y);
            before.push(sums);
            let same = index > 0 && values[index - 1] == *value;
            same_since.push(if same { same_since[index - 1] } else { index as u32 });
        }
        Some(Self { first_ms, before, same_since })
    }

    /// The line through the window of `values`, the ones the sums are of, with its value at `at_ms`; none where digits cancel
    /// each other out.
    fn line(&self, values: &[f64], window: Range<usize>, at_ms: i64) -> Option<Line> {
        if self.same_since[window.end - 1] as usize <= window.start {
            return Some(constant_line(values[window.start]));
        }
        let (from, to) = (&self.before[window.start], &self.before[window.end]);
        let count = window.len() as i64;
        let shift = self.first_ms.checked_sub(at_ms).filter(|shift| shift.abs() <= MAX_WHOLE_SPAN_MS)?;
        let (t, tt) = (to.t - from.t, to.tt - from.tt);
        let (y, ty) = (to.y - from.y, to.ty - from.ty);
        let wide = i128::from(shift);
        let x = (t + count * shift) as f64 / 1e3;
        let xx = (tt + wide * i128::from(2 * t + count * shift)) as f64 / 1e6;
        let xy = (ty + wide * y) as f64 / 1e3;
        line_of_sums(count as f64, (x, xx), y as f64, xy)
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
        let sums = WholeSums::new(&times, &values).unwrap();
        let line = sums.line(&values, 40..90, times[40]).unwrap();
        assert_eq!((line.slope, line.intercept), (2.0, values[40]));
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
                    prop_assert!(
                        (line.intercept - expected.intercept).abs() <= expected.intercept.abs() * 1e-9,
                        "{} {}", line.intercept, expected.intercept
                    );
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
            let sums = WholeSums::new(&times, &values).unwrap();
            for end in 2..=times.len() {
                let window = end.saturating_sub(width)..end;
                let at_ms = times[window.start] + ahead_ms;
                let expected = line_through(&times[window.clone()], &values[window.clone()], at_ms);
                if let Some(line) = sums.line(&values, window, at_ms) {
                    prop_assert!((line.slope - expected.slope).abs() <= expected.slope.abs() * 1e-9);
                    prop_assert!(
                        (line.intercept - expected.intercept).abs() <= expected.intercept.abs() * 1e-9,
                        "{} {}", line.intercept, expected.intercept
                    );
                }
            }
        }

        #[test]
        fn other_numbers_have_no_whole_sums(
            value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.5), Just(1e17)],
            at in 0..3_usize,
        ) {
            let mut values = vec![1.0, 2.0, 3.0];
            values[at] = value;
            prop_assert!(WholeSums::new(&[1_000, 2_000, 3_000], &values).is_none());
        }
    }
}
