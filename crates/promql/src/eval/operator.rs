//! What an operator is, and the simplest ones.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::column::Column;
use super::context::{Evaluation, Worker};
use super::series::SeriesId;
use crate::EvalError;
use crate::plan::PlanNode;

/// A vector: series that are known, with columns that are computed when they are read.
pub(crate) trait VectorOperator: Send + Sync {
    /// The series, in the order of an instant query's result. Some may turn out to have no samples.
    fn series(&self) -> &[SeriesId];

    /// The column of series `index`, in `scratch` (empty, of the right length) or wherever it lies already.
    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError>;

    /// Roughly what reading one series costs, in steps and samples looked at.
    fn cost(&self) -> usize;

    /// Whether a column may have histograms.
    fn may_have_histograms(&self) -> bool;

    /// Whether reading a column may note something, or fail because of what is read.
    fn may_note(&self) -> bool;

    /// Whether columns lie there already, so that reading one again costs nothing.
    fn is_stored(&self) -> bool {
        false
    }
}

pub(crate) type Operator<'e> = Arc<dyn VectorOperator + 'e>;

/// Operators of nodes that occur several times in the plan, by the node's address.
#[derive(Default)]
pub(crate) struct SharedNodes<'e> {
    known: Mutex<HashMap<usize, Operator<'e>>>,
}

impl<'e> SharedNodes<'e> {
    pub(super) fn get(&self, node: &Arc<PlanNode>) -> Option<Operator<'e>> {
        self.known.lock().get(&(Arc::as_ptr(node) as usize)).cloned()
    }

    pub(super) fn put(&self, node: &Arc<PlanNode>, operator: &Operator<'e>) {
        self.known.lock().insert(Arc::as_ptr(node) as usize, Arc::clone(operator));
    }
}

/// Columns that are there.
pub(crate) struct Table {
    pub(super) series: Vec<SeriesId>,
    pub(super) columns: Vec<Column>,
}

impl Table {
    /// A table whose memory is counted.
    pub(super) fn new(
        evaluation: &Evaluation<'_>,
        series: Vec<SeriesId>,
        columns: Vec<Column>,
    ) -> Result<Self, EvalError> {
        let bytes: usize = columns.iter().map(Column::memory_bytes).sum();
        let labels: usize = series.iter().map(|id| id.raw_labels().memory_bytes() + 32).sum();
        evaluation.memory.hold(bytes + labels)?;
        Ok(Self { series, columns })
    }
}

impl VectorOperator for Table {
    fn series(&self) -> &[SeriesId] {
        &self.series
    }

    fn read<'a>(
        &'a self,
        index: usize,
        _worker: &mut Worker<'_>,
        _scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        Ok(&self.columns[index])
    }

    fn cost(&self) -> usize {
        self.columns.first().map_or(1, |column| column.floats.len())
    }

    fn may_have_histograms(&self) -> bool {
        self.columns.iter().any(|column| !column.histograms.is_empty())
    }

    fn may_note(&self) -> bool {
        false
    }

    fn is_stored(&self) -> bool {
        true
    }
}

impl Evaluation<'_> {
    /// Reads series that the result does not need, for what there is to note of them: in Prometheus operands are
    /// evaluated whole.
    pub(super) fn read_for_notes(
        &self,
        operator: &dyn VectorOperator,
        steps: usize,
        unread: impl Iterator<Item = usize>,
    ) -> Result<(), EvalError> {
        if !operator.may_note() {
            return Ok(());
        }
        let unread: Vec<usize> = unread.collect();
        self.parallel(unread.len(), operator.cost(), |worker, at| {
            with_column(operator, unread[at], steps, worker, |_, _| Ok(()))
        })?;
        Ok(())
    }
}

/// Reads a column of `operator` and hands it to `then`.
pub(crate) fn with_column<T>(
    operator: &dyn VectorOperator,
    index: usize,
    steps: usize,
    worker: &mut Worker<'_>,
    then: impl FnOnce(&mut Worker<'_>, &Column) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let mut scratch = worker.take_column(steps);
    let column = operator.read(index, worker, &mut scratch)?;
    let result = then(worker, column);
    worker.give_column(scratch);
    result
}
