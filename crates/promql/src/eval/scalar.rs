//! Scalars: one number a step.

use std::sync::Arc;

use super::column::{Column, is_absent};
use super::context::{Evaluation, Worker};
use super::operator::{Table, VectorOperator, with_column};
use super::series::SeriesId;
use super::{binary, build};
use crate::EvalError;
use crate::plan::{Grid, PlanKind, PlanNode};
use telemetry::Labels;

/// The values of a scalar expression.
#[derive(Clone, Debug)]
pub(crate) enum ScalarValues {
    Constant(f64),
    Steps(Vec<f64>),
}

impl ScalarValues {
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    /// The values of `steps` steps; one where it is the same at all.
    pub(crate) fn distinct(&self, steps: usize) -> &[f64] {
        match self {
            Self::Constant(value) => std::slice::from_ref(value),
            Self::Steps(values) => &values[..steps.min(values.len())],
        }
    }

    fn zip(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(with(*a, *b)),
            (Self::Steps(a), Self::Constant(b)) => Self::Steps(a.iter().map(|a| with(*a, *b)).collect()),
            (Self::Constant(a), Self::Steps(b)) => Self::Steps(b.iter().map(|b| with(*a, *b)).collect()),
            (Self::Steps(a), Self::Steps(b)) => {
                Self::Steps(a.iter().zip(b).map(|(a, b)| with(*a, *b)).collect())
            }
        }
    }
}

impl<'e> Evaluation<'e> {
    pub(super) fn scalar(&self, node: &Arc<PlanNode>) -> Result<ScalarValues, EvalError> {
        let grid = node.grid;
        let counted = |values: Vec<f64>| -> Result<ScalarValues, EvalError> {
            self.memory.hold(values.len() * 8)?;
            Ok(ScalarValues::Steps(values))
        };
        match &node.kind {
            PlanKind::Number(value) => Ok(ScalarValues::Constant(*value)),
            PlanKind::Time => {
                counted((0..grid.count).map(|step| grid.time_ms(step) as f64 / 1_000.0).collect())
            }
            PlanKind::StepInvariant(inner) => Ok(ScalarValues::Constant(self.scalar(inner)?.at(0))),
            PlanKind::ScalarNegate(inner) => {
                let zero = ScalarValues::Constant(0.0);
                Ok(self.scalar(inner)?.zip(&zero, |value, _| -value))
            }
            PlanKind::ScalarBinary { op, lhs, rhs } => {
                let (lhs, rhs) = (self.scalar(lhs)?, self.scalar(rhs)?);
                Ok(lhs.zip(&rhs, |a, b| binary::of_scalars(*op, a, b)))
            }
            PlanKind::ScalarOf(inner) => counted(self.only_values(inner, grid)?),
            _ => Err(build::misplaced(node)),
        }
    }

    /// At each step the value of the only float, else NaN.
    fn only_values(&self, node: &Arc<PlanNode>, grid: Grid) -> Result<Vec<f64>, EvalError> {
        let vector = self.vector(node)?;
        let mut values = vec![f64::NAN; grid.count];
        let mut found = vec![0_u8; grid.count];
        let mut worker = Worker::new(self);
        for index in 0..vector.series().len() {
            self.check_cancelled()?;
            with_column(&*vector, index, grid.count, &mut worker, |_, column| {
                for (step, value) in column.floats.iter().enumerate() {
                    if !is_absent(*value) {
                        found[step] = found[step].saturating_add(1);
                        values[step] = if found[step] == 1 { *value } else { f64::NAN };
                    }
                }
                Ok(())
            })?;
        }
        Ok(values)
    }

    /// A vector of one series without labels.
    pub(super) fn vector_of_scalar(&self, node: &Arc<PlanNode>, grid: Grid) -> Result<Table, EvalError> {
        let values = self.scalar(node)?;
        let floats = (0..grid.count).map(|step| values.at(step)).collect();
        let column = Column { floats, histograms: Vec::new() };
        Table::new(self, vec![SeriesId::new(Labels::empty())], vec![column])
    }
}

/// A vector whose inner one has a single step, repeated.
pub(crate) struct Repeated<'e> {
    pub(super) inner: super::Operator<'e>,
    pub(super) steps: usize,
}

impl VectorOperator for Repeated<'_> {
    fn series(&self) -> &[SeriesId] {
        self.inner.series()
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        with_column(&*self.inner, index, 1, worker, |_, column| {
            match column.get(0) {
                Some(super::Point::Float(value)) => scratch.floats.fill(value),
                Some(super::Point::Histogram(histogram)) => {
                    scratch.histograms.resize(self.steps, Some(histogram));
                }
                None => {}
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
