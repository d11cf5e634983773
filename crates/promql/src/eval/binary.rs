//! Binary operations between scalars, between vectors and scalars, and sample by sample.

use std::sync::Arc;

use telemetry::{CounterResetHint, Histogram};

use super::column::{ABSENT, Column, Point, is_absent};
use super::context::Worker;
use super::notes::Note;
use super::operator::{Operator, VectorOperator, with_column};
use super::scalar::ScalarValues;
use super::series::SeriesId;
use crate::ast::BinaryOp;
use crate::plan::Grid;
use crate::{EvalError, histogram};

pub(super) mod matching;

/// The result between two numbers; comparisons answer 0 or 1.
#[inline]
pub(crate) fn of_scalars(op: BinaryOp, a: f64, b: f64) -> f64 {
    match compare(op, a, b) {
        Some(holds) => f64::from(u8::from(holds)),
        None => arithmetic(op, a, b),
    }
}

#[inline]
fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        // Comparisons and set operators never come here.
        _ => f64::NAN,
    }
}

#[inline]
fn compare(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        _ => return None,
    })
}

/// Whether results are no longer of the metric that came in.
pub(crate) fn changes_metric(op: BinaryOp) -> bool {
    !op.is_comparison() && !op.is_set()
}

/// Two columns, step by step; a comparison keeps the value of `keep` where it holds.
fn zip_floats(op: BinaryOp, return_bool: bool, a: &[f64], b: &[f64], keep: &[f64], out: &mut [f64]) {
    macro_rules! each {
        ($with:expr) => {
            for (((result, a), b), keep) in out.iter_mut().zip(a).zip(b).zip(keep) {
                *result = if is_absent(*a) || is_absent(*b) { ABSENT } else { $with(*a, *b, *keep) };
            }
        };
    }
    macro_rules! filter {
        ($holds:expr) => {
            if return_bool {
                each!(|a: f64, b: f64, _: f64| if $holds(&a, &b) { 1.0 } else { 0.0 })
            } else {
                each!(|a: f64, b: f64, keep: f64| if $holds(&a, &b) { keep } else { ABSENT })
            }
        };
    }
    match op {
        BinaryOp::Add => each!(|a: f64, b: f64, _| a + b),
        BinaryOp::Sub => each!(|a: f64, b: f64, _| a - b),
        BinaryOp::Mul => each!(|a: f64, b: f64, _| a * b),
        BinaryOp::Div => each!(|a: f64, b: f64, _| a / b),
        BinaryOp::Equal => filter!(f64::eq),
        BinaryOp::NotEqual => filter!(f64::ne),
        BinaryOp::Less => filter!(f64::lt),
        BinaryOp::LessEqual => filter!(f64::le),
        BinaryOp::Greater => filter!(f64::gt),
        BinaryOp::GreaterEqual => filter!(f64::ge),
        other => each!(|a: f64, b: f64, _| arithmetic(other, a, b)),
    }
}

/// The result between two samples of which at least one is a histogram, or why there is none.
pub(crate) fn of_points(
    op: BinaryOp,
    a: &Point,
    b: &Point,
    return_bool: bool,
) -> Result<Option<Point>, Note<'static>> {
    let incompatible = |left: &'static str, right: &'static str| {
        Err(Note::IncompatibleTypes { left, operator: op.as_str(), right })
    };
    let changed = |original: &Arc<Histogram>, change: &dyn Fn(&mut Histogram)| {
        let mut result = Histogram::clone(original);
        change(&mut result);
        histogram::compact(&mut result);
        Ok(Some(Point::Histogram(Arc::new(result))))
    };
    match (a, b) {
        (Point::Float(a), Point::Float(b)) => Ok(match compare(op, *a, *b) {
            Some(holds) if return_bool => Some(Point::Float(f64::from(u8::from(holds)))),
            Some(holds) => holds.then_some(Point::Float(*a)),
            None => Some(Point::Float(arithmetic(op, *a, *b))),
        }),
        (Point::Float(factor), Point::Histogram(h)) => match op {
            BinaryOp::Mul => changed(h, &|result| histogram::scale(result, *factor)),
            _ => incompatible("float", "histogram"),
        },
        (Point::Histogram(h), Point::Float(by)) => match op {
            BinaryOp::Mul => changed(h, &|result| histogram::scale(result, *by)),
            BinaryOp::Div => changed(h, &|result| histogram::divide(result, *by)),
            _ => incompatible("histogram", "float"),
        },
        (Point::Histogram(a), Point::Histogram(b)) => match op {
            BinaryOp::Add | BinaryOp::Sub => {
                let mut result = Histogram::clone(a);
                let combined = if op == BinaryOp::Add {
                    histogram::add(&mut result, b)
                } else {
                    histogram::subtract(&mut result, b)
                };
                combined.map_err(|_| Note::IncompatibleBucketLayout { operator: op.as_str() })?;
                if op == BinaryOp::Sub {
                    result.counter_reset_hint = CounterResetHint::Gauge;
                }
                histogram::compact(&mut result);
                Ok(Some(Point::Histogram(Arc::new(result))))
            }
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let holds = histogram::equal(a, b) == (op == BinaryOp::Equal);
                Ok(if return_bool {
                    Some(Point::Float(f64::from(u8::from(holds))))
                } else {
                    holds.then(|| Point::Histogram(Arc::clone(a)))
                })
            }
            _ => incompatible("histogram", "histogram"),
        },
    }
}

/// Two columns, step by step.
pub(super) fn zip_columns(
    op: BinaryOp,
    return_bool: bool,
    a: &Column,
    b: &Column,
    out: &mut Column,
    mut note: impl FnMut(Note<'static>),
) {
    zip_floats(op, return_bool, &a.floats, &b.floats, &a.floats, &mut out.floats);
    if a.histograms.is_empty() && b.histograms.is_empty() {
        return;
    }
    for step in 0..out.floats.len() {
        let (Some(left), Some(right)) = (a.get(step), b.get(step)) else { continue };
        if matches!((&left, &right), (Point::Float(_), Point::Float(_))) {
            continue;
        }
        match of_points(op, &left, &right, return_bool) {
            Ok(Some(point)) => out.set(step, point),
            Ok(None) => {}
            Err(problem) => note(problem),
        }
    }
}

pub(crate) struct VectorScalar<'e> {
    pub(super) op: BinaryOp,
    pub(super) inner: Operator<'e>,
    pub(super) ids: Vec<SeriesId>,
    /// As many as steps.
    pub(super) scalar: Vec<f64>,
    pub(super) scalar_left: bool,
    pub(super) return_bool: bool,
    pub(super) grid: Grid,
    pub(super) position: u32,
}

impl VectorScalar<'_> {
    pub(super) fn steps_of(values: &ScalarValues, grid: Grid) -> Vec<f64> {
        (0..grid.count).map(|step| values.at(step)).collect()
    }
}

impl VectorOperator for VectorScalar<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        with_column(&*self.inner, index, self.grid.count, worker, |worker, column| {
            let vector = &column.floats;
            let (a, b) = if self.scalar_left { (&self.scalar, vector) } else { (vector, &self.scalar) };
            zip_floats(self.op, self.return_bool, a, b, vector, &mut scratch.floats);
            for (step, histogram) in column.histograms.iter().enumerate() {
                let Some(histogram) = histogram else { continue };
                let vector = Point::Histogram(Arc::clone(histogram));
                let scalar = Point::Float(self.scalar[step]);
                let (a, b) = if self.scalar_left { (&scalar, &vector) } else { (&vector, &scalar) };
                match of_points(self.op, a, b, self.return_bool) {
                    Ok(Some(point)) => scratch.set(step, point),
                    Ok(None) => {}
                    Err(problem) => worker.evaluation.note(problem, self.position),
                }
            }
            Ok(())
        })?;
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.inner.cost() + self.grid.count
    }

    fn may_have_histograms(&self) -> bool {
        self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        // Of histograms, of which most operations with numbers make nothing.
        self.inner.may_have_histograms() || self.inner.may_note()
    }
}
