//! `absent` and `absent_over_time`: steps at which nothing has a sample.

use std::sync::atomic::{AtomicBool, Ordering};

use telemetry::Labels;

use super::column::{ABSENT, Column};
use super::context::Evaluation;
use super::operator::{Operator, Table, VectorOperator, with_column};
use super::series::SeriesId;
use crate::EvalError;

impl<'e> Evaluation<'e> {
    /// At each step 1 where no series of `inner` has a sample.
    pub(super) fn absent(
        &self,
        inner: &dyn VectorOperator,
        labels: &Labels,
        steps: usize,
    ) -> Result<Operator<'e>, EvalError> {
        let mut present: Vec<AtomicBool> = Vec::new();
        present.resize_with(steps, AtomicBool::default);
        self.parallel(inner.series().len(), inner.cost(), |worker, index| {
            with_column(inner, index, steps, worker, |_, column| {
                for (step, present) in present.iter().enumerate() {
                    if column.is_present(step) {
                        present.store(true, Ordering::Relaxed);
                    }
                }
                Ok(())
            })
        })?;
        let value = |present: AtomicBool| if present.into_inner() { ABSENT } else { 1.0 };
        let floats = present.into_iter().map(value).collect();
        let column = Column { floats, histograms: Vec::new() };
        Ok(std::sync::Arc::new(Table::new(self, vec![SeriesId::new(labels.clone())], vec![column])?))
    }
}
