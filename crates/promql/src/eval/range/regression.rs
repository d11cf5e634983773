//! Lines through samples, and exponential smoothing.

use super::{Call, RangeFunction};
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::kahan::Kahan;
use crate::number::fixed;

impl Call<'_> {
    /// `deriv` and `predict_linear`: simple linear regression by least squares.
    pub(super) fn regressions(&self, out: &mut Column) {
        let times = &self.samples.timestamps_ms;
        let values = &self.samples.values;
        // The last sample so far that differs from the one before it, and up to where that was looked for.
        let (mut changed, mut seen) = (0, 1);
        for window in self.windows() {
            if !self.floats_only(&window, 2) {
                continue;
            }
            let floats = window.floats.clone();
            while seen < floats.end {
                if values[seen] != values[seen - 1] {
                    changed = seen;
                }
                seen += 1;
            }
            let first = values[floats.start];
            let at_ms = if self.function == RangeFunction::Deriv {
                // Times relative to one nearby keep their digits.
                times[floats.start]
            } else {
                self.grid.time_ms(window.step)
            };
            let (slope, intercept) = if changed <= floats.start && !first.is_nan() {
                if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) }
            } else {
                regression(&times[floats.clone()], &values[floats], at_ms)
            };
            out.floats[window.step] = if self.function == RangeFunction::Deriv {
                slope
            } else {
                slope * self.param(0, window.step) + intercept
            };
        }
    }

    pub(super) fn smoothed(&self, out: &mut Column) -> Result<(), EvalError> {
        for window in self.windows() {
            let (smoothing, trend) = (self.param(0, window.step), self.param(1, window.step));
            for (what, factor, short) in [("smoothing", smoothing, "sf"), ("trend", trend, "tf")] {
                if factor <= 0.0 || factor >= 1.0 {
                    return Err(EvalError::Execution(format!(
                        "invalid {what} factor. Expected: 0 < {short} < 1, got: {}",
                        fixed(factor)
                    )));
                }
            }
            if !self.floats_only(&window, 2) {
                continue;
            }
            let values = &self.samples.values[window.floats];
            let (mut before, mut level) = (0.0, values[0]);
            let mut slope = values[1] - values[0];
            for (index, value) in values.iter().enumerate().skip(1) {
                if index > 1 {
                    slope = trend * (level - before) + (1.0 - trend) * slope;
                }
                let next = smoothing * value + (1.0 - smoothing) * (level + slope);
                (before, level) = (level, next);
            }
            out.floats[window.step] = level;
        }
        Ok(())
    }
}

/// Slope (per second) and value at `at_ms` of the line through the samples, whose values are not all equal.
fn regression(times: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
    // Sums of x, y, xy and xx.
    let mut sums = [Kahan::default(); 4];
    for (time, &y) in times.iter().zip(values) {
        let x = (time - at_ms) as f64 / 1_000.0;
        for (sum, value) in sums.iter_mut().zip([x, y, x * y, x * x]) {
            sum.add(value);
        }
    }
    let count = values.len() as f64;
    let [x, y, xy, xx] = sums.map(Kahan::plain_total);
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}
