//! `and`, `or` and `unless`: which steps of a series stay depends on whether its match group has anything there.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::column::{ABSENT, Column};
use super::context::{Evaluation, Worker};
use super::key_map::{KeyMap, write_pairs};
use super::merge::{Overlap, merged};
use super::operator::{Operator, VectorOperator, with_column};
use super::series::{LabelSubset, NameState, SeriesId};
use crate::EvalError;
use crate::ast::{BinaryOp, VectorMatching};
use crate::plan::Grid;

/// One bit a step.
#[derive(Clone, Debug)]
struct Steps(Vec<u64>);

impl Steps {
    fn none(steps: usize) -> Self {
        Self(vec![0; steps.div_ceil(64)])
    }

    fn insert(&mut self, step: usize) {
        self.0[step / 64] |= 1 << (step % 64);
    }

    fn contains(&self, step: usize) -> bool {
        self.0[step / 64] & (1 << (step % 64)) != 0
    }
}

/// A vector of which only some steps stay.
struct Masked<'e> {
    inner: Operator<'e>,
    ids: Vec<SeriesId>,
    /// Of each of `ids`, the inner series and its mask.
    sources: Vec<(usize, Option<Arc<Steps>>)>,
    /// Whether the steps of the mask stay, or all others.
    keep: bool,
    steps: usize,
}

impl VectorOperator for Masked<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        let (source, mask) = &self.sources[index];
        let Some(mask) = mask else { return self.inner.read(*source, worker, scratch) };
        with_column(&*self.inner, *source, self.steps, worker, |_, column| {
            scratch.copy_from(column);
            Ok(())
        })?;
        for step in 0..self.steps {
            if mask.contains(step) != self.keep {
                scratch.floats[step] = ABSENT;
                if let Some(histogram) = scratch.histograms.get_mut(step) {
                    *histogram = None;
                }
            }
        }
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

/// One vector after another.
struct Chained<'e> {
    first: Operator<'e>,
    second: Operator<'e>,
    ids: Vec<SeriesId>,
}

impl VectorOperator for Chained<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        match index.checked_sub(self.first.series().len()) {
            None => self.first.read(index, worker, scratch),
            Some(index) => self.second.read(index, worker, scratch),
        }
    }

    fn cost(&self) -> usize {
        self.first.cost().max(self.second.cost())
    }

    fn may_have_histograms(&self) -> bool {
        self.first.may_have_histograms() || self.second.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.first.may_note() || self.second.may_note()
    }
}

impl<'e> Evaluation<'e> {
    pub(super) fn set_operation(
        &self,
        op: BinaryOp,
        lhs: Operator<'e>,
        rhs: Operator<'e>,
        matching: &VectorMatching,
        grid: Grid,
    ) -> Result<Operator<'e>, EvalError> {
        let mut names = matching.labels.clone();
        names.sort_unstable();
        let subset = LabelSubset { names: &names, only: matching.on };
        let steps = grid.count;
        if op == BinaryOp::Or {
            let (sources, ids) = self.masks(&lhs, &rhs, &subset, steps, true)?;
            let second: Operator<'e> = Arc::new(Masked { inner: rhs, ids, sources, keep: false, steps });
            let ids = lhs.series().iter().chain(second.series()).map(materialised).collect();
            let chained: Operator<'e> = Arc::new(Chained { first: lhs, second, ids });
            let ids = chained.series().to_vec();
            return merged(self, chained, ids, grid, Overlap::PerStep);
        }
        let keep = op == BinaryOp::And;
        // `and` leaves nothing of series without a partner, `unless` all.
        let (sources, ids) = self.masks(&rhs, &lhs, &subset, steps, !keep)?;
        Ok(Arc::new(Masked { inner: lhs, ids, sources, keep, steps }))
    }

    /// For each series of `of` the steps at which `by` has a sample with the same signature. Series for which there is
    /// no such sample at any step have no mask with `keep_unmatched`, and are left out otherwise.
    #[expect(clippy::type_complexity, reason = "two columns of one table")]
    fn masks(
        &self,
        by: &Operator<'e>,
        of: &Operator<'e>,
        subset: &LabelSubset<'_>,
        steps: usize,
        keep_unmatched: bool,
    ) -> Result<(Vec<(usize, Option<Arc<Steps>>)>, Vec<SeriesId>), EvalError> {
        let mut signatures = KeyMap::default();
        let numbers: Vec<usize> = of
            .series()
            .iter()
            .map(|id| signatures.number(|key| write_pairs(subset.pairs(id), key)).0)
            .collect();
        let relevant: Vec<(usize, usize)> = by
            .series()
            .iter()
            .enumerate()
            .filter_map(|(index, id)| {
                Some((index, signatures.find(|key| write_pairs(subset.pairs(id), key))?))
            })
            .collect();
        let mut is_relevant = vec![false; by.series().len()];
        relevant.iter().for_each(|(index, _)| is_relevant[*index] = true);
        self.read_for_notes(&**by, steps, (0..is_relevant.len()).filter(|index| !is_relevant[*index]))?;
        let mut groups: HashMap<usize, Mutex<Steps>> = HashMap::new();
        for (_, number) in &relevant {
            if !groups.contains_key(number) {
                self.memory.hold(steps.div_ceil(8) + 64)?;
                groups.insert(*number, Mutex::new(Steps::none(steps)));
            }
        }
        self.parallel(relevant.len(), by.cost(), |worker, at| {
            let (index, number) = relevant[at];
            with_column(&**by, index, steps, worker, |_, column| {
                if let Some(group) = groups.get(&number) {
                    let mut present = group.lock();
                    (0..steps).filter(|step| column.is_present(*step)).for_each(|step| present.insert(step));
                }
                Ok(())
            })
        })?;
        let groups: HashMap<usize, Arc<Steps>> =
            groups.into_iter().map(|(number, steps)| (number, Arc::new(steps.into_inner()))).collect();
        if !keep_unmatched {
            let left_out = |index: &usize| !groups.contains_key(&numbers[*index]);
            self.read_for_notes(&**of, steps, (0..numbers.len()).filter(left_out))?;
        }
        let mut sources = Vec::with_capacity(numbers.len());
        let mut ids = Vec::with_capacity(numbers.len());
        for (index, number) in numbers.into_iter().enumerate() {
            let mask = groups.get(&number).cloned();
            if mask.is_some() || keep_unmatched {
                sources.push((index, mask));
                ids.push(of.series()[index].clone());
            }
        }
        Ok((sources, ids))
    }
}

/// The identity with its labels as they are now, so that equal series of both sides are equal to the bit.
fn materialised(id: &SeriesId) -> SeriesId {
    match id.name_state() {
        NameState::Dropped => SeriesId::new(id.to_labels()),
        _ => id.clone(),
    }
}
