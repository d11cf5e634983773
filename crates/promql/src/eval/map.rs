//! Functions of one series, sample by sample.

use std::sync::Arc;

use telemetry::Histogram;

use super::column::{ABSENT, Column, is_absent};
use super::context::Worker;
use super::operator::{Operator, VectorOperator, with_column};
use super::scalar::ScalarValues;
use super::series::SeriesId;
use crate::plan::Grid;
use crate::{EvalError, histogram};

mod calendar;

/// A function of a float, possibly with scalar parameters, or of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapFunction {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Deg,
    Exp,
    Floor,
    HistogramAvg,
    HistogramCount,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Hour,
    /// Leaves values as they are (for `timestamp` of a selector, which has the timestamps already).
    Identity,
    Ln,
    Log10,
    Log2,
    Minute,
    Month,
    Rad,
    Round,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    Timestamp,
    Year,
}

impl MapFunction {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "acos" => Self::Acos,
            "acosh" => Self::Acosh,
            "asin" => Self::Asin,
            "asinh" => Self::Asinh,
            "atan" => Self::Atan,
            "atanh" => Self::Atanh,
            "ceil" => Self::Ceil,
            "clamp" => Self::Clamp,
            "clamp_max" => Self::ClampMax,
            "clamp_min" => Self::ClampMin,
            "cos" => Self::Cos,
            "cosh" => Self::Cosh,
            "day_of_month" => Self::DayOfMonth,
            "day_of_week" => Self::DayOfWeek,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "deg" => Self::Deg,
            "exp" => Self::Exp,
            "floor" => Self::Floor,
            "histogram_avg" => Self::HistogramAvg,
            "histogram_count" => Self::HistogramCount,
            "histogram_stddev" => Self::HistogramStddev,
            "histogram_stdvar" => Self::HistogramStdvar,
            "histogram_sum" => Self::HistogramSum,
            "hour" => Self::Hour,
            "ln" => Self::Ln,
            "log10" => Self::Log10,
            "log2" => Self::Log2,
            "minute" => Self::Minute,
            "month" => Self::Month,
            "rad" => Self::Rad,
            "round" => Self::Round,
            "sgn" => Self::Sgn,
            "sin" => Self::Sin,
            "sinh" => Self::Sinh,
            "sqrt" => Self::Sqrt,
            "tan" => Self::Tan,
            "tanh" => Self::Tanh,
            "timestamp" => Self::Timestamp,
            "year" => Self::Year,
            _ => return None,
        })
    }

    fn of_histogram(self, h: &Histogram) -> Option<f64> {
        Some(match self {
            Self::HistogramAvg => h.sum / h.count,
            Self::HistogramCount => h.count,
            Self::HistogramStddev => histogram::variance(h).sqrt(),
            Self::HistogramStdvar => histogram::variance(h),
            Self::HistogramSum => h.sum,
            _ => return None,
        })
    }
}

pub(crate) struct Map<'e> {
    pub(super) function: MapFunction,
    pub(super) inner: Operator<'e>,
    pub(super) ids: Vec<SeriesId>,
    pub(super) params: Vec<ScalarValues>,
    pub(super) grid: Grid,
}

impl VectorOperator for Map<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        with_column(&*self.inner, index, self.grid.count, worker, |_, column| {
            self.fill(column, scratch);
            Ok(())
        })?;
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.inner.cost() + self.grid.count
    }

    fn may_have_histograms(&self) -> bool {
        self.function == MapFunction::Identity && self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.inner.may_note()
    }
}

/// Applies `function` to each float.
#[inline]
fn floats(column: &Column, out: &mut Column, function: impl Fn(f64) -> f64) {
    for (result, value) in out.floats.iter_mut().zip(&column.floats) {
        *result = if is_absent(*value) { ABSENT } else { function(*value) };
    }
}

impl Map<'_> {
    fn param(&self, index: usize, step: usize) -> f64 {
        self.params.get(index).map_or(f64::NAN, |values| values.at(step))
    }

    fn clamp(&self, column: &Column, out: &mut Column, bounds: impl Fn(usize) -> (f64, f64)) {
        for (step, value) in column.floats.iter().enumerate() {
            let (min, max) = bounds(step);
            if is_absent(*value) || max < min {
                continue;
            }
            out.floats[step] = go_max(min, go_min(max, *value));
        }
    }

    fn fill(&self, column: &Column, out: &mut Column) {
        use MapFunction as F;
        match self.function {
            F::Abs => floats(column, out, f64::abs),
            F::Acos => floats(column, out, f64::acos),
            F::Acosh => floats(column, out, f64::acosh),
            F::Asin => floats(column, out, f64::asin),
            F::Asinh => floats(column, out, f64::asinh),
            F::Atan => floats(column, out, f64::atan),
            F::Atanh => floats(column, out, f64::atanh),
            F::Ceil => floats(column, out, f64::ceil),
            F::Clamp => self.clamp(column, out, |step| (self.param(0, step), self.param(1, step))),
            F::ClampMax => self.clamp(column, out, |step| (f64::NEG_INFINITY, self.param(0, step))),
            F::ClampMin => self.clamp(column, out, |step| (self.param(0, step), f64::INFINITY)),
            F::Cos => floats(column, out, f64::cos),
            F::Cosh => floats(column, out, f64::cosh),
            F::DayOfMonth => floats(column, out, |t| calendar::Date::at(t).day),
            F::DayOfWeek => floats(column, out, calendar::day_of_week),
            F::DayOfYear => floats(column, out, |t| calendar::Date::at(t).day_of_year()),
            F::DaysInMonth => floats(column, out, |t| calendar::Date::at(t).days_in_month()),
            F::Deg => floats(column, out, |value| value * 180.0 / std::f64::consts::PI),
            F::Exp => floats(column, out, f64::exp),
            F::Floor => floats(column, out, f64::floor),
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramStddev
            | F::HistogramStdvar
            | F::HistogramSum => {
                for (step, histogram) in column.histograms.iter().enumerate() {
                    if let Some(value) = histogram.as_ref().and_then(|h| self.function.of_histogram(h)) {
                        out.floats[step] = value;
                    }
                }
            }
            F::Hour => floats(column, out, calendar::hour),
            F::Identity => out.copy_from(column),
            F::Ln => floats(column, out, f64::ln),
            F::Log10 => floats(column, out, f64::log10),
            F::Log2 => floats(column, out, f64::log2),
            F::Minute => floats(column, out, calendar::minute),
            F::Month => floats(column, out, |t| calendar::Date::at(t).month),
            F::Rad => floats(column, out, |value| value * std::f64::consts::PI / 180.0),
            F::Round => {
                for (step, value) in column.floats.iter().enumerate() {
                    if !is_absent(*value) {
                        let nearest = if self.params.is_empty() { 1.0 } else { self.param(0, step) };
                        let inverse = 1.0 / nearest;
                        out.floats[step] = (value * inverse + 0.5).floor() / inverse;
                    }
                }
            }
            F::Sgn => floats(column, out, |value| {
                if value < 0.0 {
                    -1.0
                } else if value > 0.0 {
                    1.0
                } else {
                    value
                }
            }),
            F::Sin => floats(column, out, f64::sin),
            F::Sinh => floats(column, out, f64::sinh),
            F::Sqrt => floats(column, out, f64::sqrt),
            F::Tan => floats(column, out, f64::tan),
            F::Tanh => floats(column, out, f64::tanh),
            F::Timestamp => {
                for step in 0..self.grid.count {
                    if column.is_present(step) {
                        out.floats[step] = self.grid.time_ms(step) as f64 / 1_000.0;
                    }
                }
            }
            F::Year => floats(column, out, |t| calendar::Date::at(t).year),
        }
    }
}

/// As Go's `math.Max`: infinity before NaN before numbers.
fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// As Go's `math.Min`.
fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

/// `-vector`.
pub(crate) struct Negate<'e> {
    pub(super) inner: Operator<'e>,
    pub(super) ids: Vec<SeriesId>,
    pub(super) steps: usize,
}

impl VectorOperator for Negate<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        with_column(&*self.inner, index, self.steps, worker, |_, column| {
            floats(column, scratch, |value| -value);
            for (step, original) in column.histograms.iter().enumerate() {
                if let Some(original) = original {
                    let mut negated = Histogram::clone(original);
                    histogram::scale(&mut negated, -1.0);
                    scratch.set_histogram(step, Arc::new(negated));
                }
            }
            Ok(())
        })?;
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.inner.cost() + self.steps
    }

    fn may_have_histograms(&self) -> bool {
        self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.inner.may_note()
    }
}
