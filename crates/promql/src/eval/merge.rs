//! Series whose labels became equal: one series where they take turns, an error where they meet.

use std::collections::HashMap;

use super::column::Column;
use super::context::{Evaluation, Worker};
use super::key_map::{KeyMap, write_pairs};
use super::operator::{Operator, VectorOperator, with_column};
use super::series::{NameState, SeriesId, is_reserved};
use crate::EvalError;
use crate::plan::Grid;

/// When two series with equal labels are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// When both have a sample at the same step.
    PerStep,
    /// When both have any sample.
    Whole,
}

pub(crate) fn same_labels() -> EvalError {
    EvalError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// `inner` with the identities `ids`, equal ones merged.
pub(crate) fn merged<'e>(
    evaluation: &Evaluation<'e>,
    inner: Operator<'e>,
    ids: Vec<SeriesId>,
    grid: Grid,
    overlap: Overlap,
) -> Result<Operator<'e>, EvalError> {
    evaluation.memory.hold(ids.len() * size_of::<SeriesId>())?;
    if dropped_labels_are_alike(&ids) {
        return Ok(std::sync::Arc::new(Renamed { inner, ids }));
    }
    let mut keys = KeyMap::default();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let (number, new) = keys.number(|key| write_pairs(id.pairs(), key));
        if new {
            members.push(Vec::with_capacity(1));
        }
        members[number].push(index);
    }
    if members.len() == ids.len() {
        return Ok(std::sync::Arc::new(Renamed { inner, ids }));
    }
    let mut own = HashMap::new();
    let mut worker = Worker::new(evaluation);
    for (number, group) in members.iter().enumerate().filter(|(_, group)| group.len() > 1) {
        evaluation.check_cancelled()?;
        let mut sum = Column::absent(grid.count);
        let mut filled = 0;
        for &index in group {
            with_column(&*inner, index, grid.count, &mut worker, |_, column| {
                if column.is_empty() {
                    return Ok(());
                }
                filled += 1;
                if filled > 1 && overlap == Overlap::Whole {
                    return Err(same_labels());
                }
                add_column(&mut sum, column)
            })?;
        }
        evaluation.memory.hold(sum.memory_bytes())?;
        own.insert(number, sum);
    }
    let first: Vec<usize> = members.iter().map(|group| group[0]).collect();
    let series = first.iter().map(|index| ids[*index].clone()).collect();
    Ok(std::sync::Arc::new(Merged { inner, series, first, own }))
}

/// Puts the samples of `column` where `sum` has none.
pub(crate) fn add_column(sum: &mut Column, column: &Column) -> Result<(), EvalError> {
    for step in 0..sum.floats.len() {
        if let Some(point) = column.get(step) {
            if sum.is_present(step) {
                return Err(same_labels());
            }
            sum.set(step, point);
        }
    }
    Ok(())
}

/// Whether dropping labels cannot have made two of different series equal, seen without comparing label sets: all have
/// the same labels to drop. What was not dropped was different before.
fn dropped_labels_are_alike(ids: &[SeriesId]) -> bool {
    let Some(first) = ids.first() else { return true };
    let reserved = |id: &SeriesId| -> Vec<(String, String)> {
        let pairs = id.raw_labels().iter().take_while(|(name, _)| *name <= "__unit__");
        pairs.filter(|(name, _)| is_reserved(name)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    };
    let expected = reserved(first);
    ids.iter().all(|id| {
        id.name_state() == NameState::Dropped
            && id
                .raw_labels()
                .iter()
                .take_while(|(name, _)| *name <= "__unit__")
                .filter(|(name, _)| is_reserved(name))
                .eq(expected.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    })
}

/// An operator under other identities.
pub(crate) struct Renamed<'e> {
    pub(super) inner: Operator<'e>,
    pub(super) ids: Vec<SeriesId>,
}

impl VectorOperator for Renamed<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        self.inner.read(index, worker, scratch)
    }

    fn cost(&self) -> usize {
        self.inner.cost()
    }

    fn may_have_histograms(&self) -> bool {
        self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.inner.may_note()
    }

    fn is_stored(&self) -> bool {
        self.inner.is_stored()
    }
}

struct Merged<'e> {
    inner: Operator<'e>,
    series: Vec<SeriesId>,
    /// For each series the first of the inner ones.
    first: Vec<usize>,
    own: HashMap<usize, Column>,
}

impl VectorOperator for Merged<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.series
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        match self.own.get(&index) {
            Some(column) => Ok(column),
            None => self.inner.read(self.first[index], worker, scratch),
        }
    }

    fn cost(&self) -> usize {
        self.inner.cost()
    }

    fn may_have_histograms(&self) -> bool {
        self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.inner.may_note()
    }
}
