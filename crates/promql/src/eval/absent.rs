//! `absent` and `absent_over_time`: steps at which nothing has a sample.

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
        let present = self.parallel(inner.series().len(), inner.cost(), |worker, index| {
            with_column(inner, index, steps, worker, |_, column| {
                Ok((0..steps).filter(|step| column.is_present(*step)).collect::<Vec<usize>>())
            })
        })?;
        let mut floats = vec![1.0; steps];
        for step in present.into_iter().flatten() {
            floats[step] = ABSENT;
        }
        let column = Column { floats, histograms: Vec::new() };
        Ok(std::sync::Arc::new(Table::new(self, vec![SeriesId::new(labels.clone())], vec![column])?))
    }
}
