//! `double_exponential_smoothing`: Holt's linear method.
//!
//! Level and slope after a sample are linear in those before it and in its value. So what samples one after the other do
//! is a power of one matrix and a sum, and long windows can be put together from parts. As with regressions, a window is
//! gone through as in Prometheus where it is short or where digits cancel each other out.

use super::Call;
use super::regression::{SHORT, keeps_digits};
use super::sliding::Sliding;
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::scalar::ScalarValues;
use crate::number::fixed;

/// Level and slope.
#[derive(Clone, Copy)]
struct State {
    level: f64,
    slope: f64,
}

/// What samples one after the other do to a state.
#[derive(Clone, Copy)]
struct Effect {
    samples: usize,
    /// What they make of a state of zeros.
    of_zero: State,
    /// The largest of their values.
    largest: f64,
}

/// The factors, and what follows from them alone.
struct Method {
    smoothing: f64,
    trend: f64,
    /// What so many samples of zeros do to a level (the first two) and to a slope.
    powers: Vec<[f64; 4]>,
}

impl Method {
    fn new(smoothing: f64, trend: f64, longest: usize) -> Self {
        let kept = 1.0 - smoothing;
        let one = [kept, -trend * smoothing, kept, 1.0 - trend * smoothing];
        let mut powers = vec![[1.0, 0.0, 0.0, 1.0]];
        for _ in 0..longest {
            let [a, b, c, d] = powers[powers.len() - 1];
            powers.push([
                one[0] * a + one[2] * b,
                one[1] * a + one[3] * b,
                one[0] * c + one[2] * d,
                one[1] * c + one[3] * d,
            ]);
        }
        Self { smoothing, trend, powers }
    }

    /// The state after the first two values: the second one does not change the slope from the first to it.
    fn start(&self, first: f64, second: f64) -> State {
        let slope = second - first;
        let level = self.smoothing * second + (1.0 - self.smoothing) * (first + slope);
        State { level, slope: self.trend * (level - first) + (1.0 - self.trend) * slope }
    }

    fn of(&self, value: f64) -> Effect {
        let level = self.smoothing * value;
        Effect { samples: 1, of_zero: State { level, slope: self.trend * level }, largest: value.abs() }
    }

    fn after(&self, state: State, effect: Effect) -> State {
        let [a, b, c, d] = self.powers[effect.samples];
        State {
            level: a * state.level + c * state.slope + effect.of_zero.level,
            slope: b * state.level + d * state.slope + effect.of_zero.slope,
        }
    }

    fn merge(&self, first: Effect, then: Effect) -> Effect {
        Effect {
            samples: first.samples + then.samples,
            of_zero: self.after(first.of_zero, then),
            largest: first.largest.max(then.largest),
        }
    }
}

impl Call<'_> {
    pub(super) fn smoothed(&self, out: &mut Column) -> Result<(), EvalError> {
        let values = &self.samples.values;
        let constant = |index: usize| match self.params.get(index) {
            Some(ScalarValues::Constant(value)) => Some(*value),
            _ => None,
        };
        let is_long = values.len() > SHORT && self.windows().any(|window| window.floats.len() > SHORT);
        let method = match (constant(0), constant(1)) {
            (Some(smoothing), Some(trend)) if is_long => Some(Method::new(smoothing, trend, values.len())),
            _ => None,
        };
        let mut sliding = method.as_ref().map(|method| Sliding::new(|first, then| method.merge(first, then)));
        // Of equal values the last digit must not waver, or a rate of it takes it for a reset. Windows of as many of them have the
        // same level.
        let same_since = if method.is_some() { runs(values) } else { Vec::new() };
        let mut constant_before = None;
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
            let floats = window.floats.clone();
            let is_constant = method.is_some() && same_since[floats.end - 1] <= floats.start;
            let of_constant = (values[floats.start].to_bits(), floats.len());
            if let Some((of, level)) = constant_before
                && is_constant
                && of == of_constant
            {
                out.floats[window.step] = level;
                continue;
            }
            let quick = match (&method, &mut sliding) {
                _ if is_constant => None,
                (Some(method), Some(sliding)) if floats.len() > SHORT => {
                    let (first, second) = (values[floats.start], values[floats.start + 1]);
                    let effect = sliding.fold(floats.start + 2..floats.end, |index| method.of(values[index]));
                    effect.and_then(|effect| {
                        let level = method.after(method.start(first, second), effect).level;
                        keeps_digits(level, &[first, second, effect.largest]).then_some(level)
                    })
                }
                _ => None,
            };
            let level = match quick {
                Some(level) => level,
                None => {
                    self.worker.rescan(floats.len())?;
                    smooth(&values[floats], smoothing, trend)
                }
            };
            constant_before = is_constant.then_some((of_constant, level));
            out.floats[window.step] = level;
        }
        Ok(())
    }
}

/// For each value the first of those up to it that are equal to it, none other between.
fn runs(values: &[f64]) -> Vec<usize> {
    let mut since = 0;
    let mut runs = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        if *value != values[since] {
            since = index;
        }
        runs.push(since);
    }
    runs
}

/// The level after at least two values.
fn smooth(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let (mut before, mut level) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    level
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_begin_where_values_change() {
        assert_eq!(runs(&[1.0, 1.0, 2.0, 2.0, 2.0, 1.0]), [0, 0, 2, 2, 2, 5]);
        assert_eq!(runs(&[f64::NAN, f64::NAN]), [0, 1]);
    }

    proptest! {
        /// Parts put together have the effect of all their samples one after the other.
        #[test]
        fn effects_of_parts_add_up_to_that_of_the_window(
            values in prop::collection::vec(-1e6..1e6_f64, 3..120),
            smoothing in 0.01..0.99_f64,
            trend in 0.01..0.99_f64,
            width in 3..60_usize,
        ) {
            let method = Method::new(smoothing, trend, values.len());
            let mut sliding = Sliding::new(|first, then| method.merge(first, then));
            for end in 3..=values.len() {
                let window = end.saturating_sub(width)..end;
                let effect =
                    sliding.fold(window.start + 2..end, |index| method.of(values[index])).unwrap();
                let level = method.after(method.start(values[window.start], values[window.start + 1]), effect).level;
                let expected = smooth(&values[window], smoothing, trend);
                prop_assert!((level - expected).abs() <= effect.largest * 1e-11 + 1e-6, "{level} {expected}");
            }
        }
    }
}
