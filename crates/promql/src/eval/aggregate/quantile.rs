//! `quantile`: needs all values of a step at once.

use super::{Aggregation, Fold, Groups};
use crate::EvalError;
use crate::eval::column::{ABSENT, Column, is_absent};
use crate::eval::context::{Evaluation, Worker};
use crate::eval::notes::Note;
use crate::eval::operator::{Operator, Table};
use crate::eval::range::quantile;
use crate::eval::series::SeriesId;

struct Values {
    /// The values of each step.
    steps: Vec<Vec<f64>>,
    position: u32,
}

impl Fold for Values {
    fn add(&mut self, column: &Column, _index: usize, _id: &SeriesId, worker: &mut Worker<'_>) {
        if column.histograms.iter().any(Option::is_some) {
            worker.evaluation.note(Note::IgnoredInAggregation { aggregation: "quantile" }, self.position);
        }
        for (values, value) in self.steps.iter_mut().zip(&column.floats) {
            if !is_absent(*value) {
                values.push(*value);
            }
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (values, more) in self.steps.iter_mut().zip(other.steps) {
            values.extend(more);
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.steps.len())
    }

    fn memory_bytes(&self) -> usize {
        self.steps.iter().map(|values| values.capacity() * 8 + 24).sum()
    }
}

impl<'e> Evaluation<'e> {
    pub(super) fn quantile_aggregation(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
        groups: Groups,
    ) -> Result<Operator<'e>, EvalError> {
        for &q in aggregation.distinct_params() {
            if !(0.0..=1.0).contains(&q) {
                self.note(Note::InvalidQuantile(q), aggregation.param_position);
            }
        }
        let steps = aggregation.grid.count;
        let make = || Values { steps: vec![Vec::new(); steps], position: aggregation.expr_position };
        let columns = self.fold_groups(inner, &groups, steps, make, |values: Values, _| {
            self.memory.hold(values.memory_bytes())?;
            let floats = values.steps.into_iter().enumerate().map(|(step, mut values)| {
                if values.is_empty() { ABSENT } else { quantile(aggregation.param_at(step), &mut values) }
            });
            Ok(Column { floats: floats.collect(), histograms: Vec::new() })
        })?;
        Ok(std::sync::Arc::new(Table { series: groups.ids, columns }))
    }
}
