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
        for window in self.windows() {
            if !self.floats_only(&window, 2) {
                continue;
            }
            let floats = window.floats.clone();
            let values = &self.samples.values[floats.clone()];
            let times = &times[floats];
            out.floats[window.step] = if self.function == RangeFunction::Deriv {
                // Times relative to one nearby keep their digits.
                regression(times, values, times[0]).0
            } else {
                let (slope, intercept) = regression(times, values, self.grid.time_ms(window.step));
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

/// Slope (per second) and value at `at_ms` of the line through the samples.
fn regression(times: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
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
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = values.len() as f64;
    let (x, y) = (x_sum.plain_total(), y_sum.plain_total());
    let covariance = xy_sum.plain_total() - x * y / count;
    let variance = xx_sum.plain_total() - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}
