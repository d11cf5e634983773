//! Aggregations, folded while series stream in.
//!
//! Groups are made from labels. Then tasks, each a part of one group, read their series one after the other and fold
//! them step by step. How groups are cut into tasks depends on the data alone, and parts are merged in order, so that
//! the number of threads does not show in the result.

use std::ops::Range;
use std::sync::Arc;

use super::column::Column;
use super::context::{Evaluation, Worker};
use super::key_map::{KeyMap, write_pairs};
use super::operator::{Operator, Table, with_column};
use super::scalar::ScalarValues;
use super::series::{LabelSubset, NameState, SeriesId, labels_of};
use crate::EvalError;
use crate::ast::AggregateOp;
use crate::plan::Grid;

mod average;
mod count_values;
mod fold;
mod limit;
mod quantile;
mod rank;
mod sum;

use fold::Fold;

/// A task has at least so many series…
const MIN_TASK_SERIES: usize = 512;
/// … and all groups together are cut into few parts, since each part holds a column.
const MAX_PARTS: usize = 64;

/// A fold takes in so many points before its memory is counted again.
const POINTS_UNCOUNTED: usize = 1 << 16;

/// An aggregation without what it aggregates.
pub(crate) struct Aggregation<'a> {
    pub(crate) op: AggregateOp,
    pub(crate) grouping: &'a [String],
    pub(crate) without: bool,
    pub(crate) param: Option<ScalarValues>,
    pub(crate) grid: Grid,
    /// Where the aggregated expression, the parameter and the whole stand.
    pub(crate) expr_position: u32,
    pub(crate) param_position: u32,
    pub(crate) position: u32,
}

/// Which series belong together.
pub(crate) struct Groups {
    /// The series of each group, ascending.
    members: Vec<Vec<usize>>,
    ids: Vec<SeriesId>,
}

impl Aggregation<'_> {
    fn subset(&self) -> LabelSubset<'_> {
        LabelSubset { names: self.grouping, only: !self.without }
    }

    fn groups(&self, series: &[SeriesId]) -> Groups {
        let subset = self.subset();
        let mut keys = KeyMap::default();
        let mut groups = Groups { members: Vec::new(), ids: Vec::new() };
        if !self.without && self.grouping.is_empty() && !series.is_empty() {
            let delayed = series.iter().any(|id| id.name_state() == NameState::Delayed);
            let state = if delayed { NameState::Delayed } else { NameState::Kept };
            groups.ids.push(SeriesId::with_state(telemetry::Labels::empty(), state));
            groups.members.push((0..series.len()).collect());
            return groups;
        }
        for (index, id) in series.iter().enumerate() {
            let (number, new) = keys.number(|key| write_pairs(subset.pairs(id), key));
            let state =
                if id.name_state() == NameState::Delayed { NameState::Delayed } else { NameState::Kept };
            if new {
                groups.members.push(Vec::new());
                groups.ids.push(SeriesId::with_state(labels_of(subset.pairs(id)), state));
            } else if state == NameState::Delayed {
                let labels = groups.ids[number].raw_labels().clone();
                groups.ids[number] = SeriesId::with_state(labels, state);
            }
            groups.members[number].push(index);
        }
        groups
    }

    fn param_at(&self, step: usize) -> f64 {
        self.param.as_ref().map_or(f64::NAN, |values| values.at(step))
    }

    fn distinct_params(&self) -> &[f64] {
        self.param.as_ref().map_or(&[], |values| values.distinct(self.grid.count))
    }
}

impl Groups {
    /// Parts of groups, in order: the group and which of its members.
    fn parts(&self) -> Vec<(usize, Range<usize>)> {
        let total: usize = self.members.iter().map(Vec::len).sum();
        let size = MIN_TASK_SERIES.max(total.div_ceil(MAX_PARTS));
        let mut parts = Vec::with_capacity(self.members.len());
        for (group, members) in self.members.iter().enumerate() {
            let count = members.len().div_ceil(size).max(1);
            for part in 0..count {
                let at = |part: usize| members.len() * part / count;
                parts.push((group, at(part)..at(part + 1)));
            }
        }
        parts
    }
}

/// A part that waits for others of its group, or all of a group, done.
enum Outcome<F, T> {
    Part(F),
    Whole(T),
}

impl<'e> Evaluation<'e> {
    pub(super) fn aggregate(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
    ) -> Result<Operator<'e>, EvalError> {
        let steps = aggregation.grid.count;
        let groups = || aggregation.groups(inner.series());
        let position = aggregation.expr_position;
        match aggregation.op {
            AggregateOp::Sum => self.folded(aggregation, inner, groups(), || sum::Sum::new(steps, position)),
            AggregateOp::Avg => {
                self.folded(aggregation, inner, groups(), || average::Average::new(steps, position))
            }
            AggregateOp::Min | AggregateOp::Max => {
                let max = aggregation.op == AggregateOp::Max;
                self.folded(aggregation, inner, groups(), || fold::Extreme::new(steps, max, position))
            }
            AggregateOp::Count => {
                self.folded(aggregation, inner, groups(), || fold::Count::new(steps, false))
            }
            AggregateOp::Group => self.folded(aggregation, inner, groups(), || fold::Count::new(steps, true)),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                let root = aggregation.op == AggregateOp::Stddev;
                self.folded(aggregation, inner, groups(), || fold::Variance::new(steps, root, position))
            }
            AggregateOp::Quantile => self.quantile_aggregation(aggregation, inner, groups()),
            AggregateOp::Topk | AggregateOp::Bottomk => self.ranked(aggregation, inner, &groups()),
            AggregateOp::Limitk => self.limited(aggregation, inner, &groups()),
            AggregateOp::LimitRatio => self.limited_by_ratio(aggregation, inner),
            AggregateOp::CountValues => {
                Err(EvalError::Execution("count_values needs a label name".to_owned()))
            }
        }
    }

    /// One column a group.
    fn folded<F: Fold>(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
        groups: Groups,
        make: impl Fn() -> F + Sync,
    ) -> Result<Operator<'e>, EvalError> {
        let grid = aggregation.grid;
        let columns = self.fold_groups(inner, &groups, grid.count, make, |fold: F, worker| {
            let column = fold.finish(worker);
            self.memory.hold(column.memory_bytes())?;
            Ok(column)
        })?;
        self.count_pairs(groups.ids.len())?;
        Ok(Arc::new(Table { series: groups.ids, columns }))
    }

    /// Folds each group and makes something of the fold.
    fn fold_groups<F: Fold, T: Send>(
        &self,
        inner: &Operator<'e>,
        groups: &Groups,
        steps: usize,
        make: impl Fn() -> F + Sync,
        finish: impl Fn(F, &mut Worker<'_>) -> Result<T, EvalError> + Sync,
    ) -> Result<Vec<T>, EvalError> {
        let parts = groups.parts();
        let series = inner.series();
        let per_part = series.len() / parts.len().max(1) + 1;
        let often = (POINTS_UNCOUNTED / steps.max(1)).clamp(1, 64);
        let outcomes = self.parallel(parts.len(), inner.cost() * per_part, |worker, number| {
            let (group, range) = &parts[number];
            let members = &groups.members[*group];
            let mut fold = make();
            let mut held = 0;
            for (read, &index) in members[range.clone()].iter().enumerate() {
                with_column(&**inner, index, steps, worker, |worker, column| {
                    fold.add(column, index, &series[index], worker);
                    Ok(())
                })?;
                if read % often == often - 1 {
                    self.check_cancelled()?;
                    let bytes = fold.memory_bytes();
                    self.memory.hold(bytes.saturating_sub(held))?;
                    held = held.max(bytes);
                }
            }
            if range.len() == members.len() {
                let whole = finish(fold, worker).map(Outcome::Whole);
                self.memory.give_back(held);
                return whole;
            }
            self.memory.hold(fold.memory_bytes().saturating_sub(held))?;
            Ok(Outcome::Part(fold))
        })?;
        let mut worker = Worker::new(self);
        let mut results = Vec::with_capacity(groups.members.len());
        let mut open: Option<(usize, F)> = None;
        for ((group, _), outcome) in parts.iter().zip(outcomes) {
            match (outcome, open.take()) {
                (Outcome::Whole(result), before) => {
                    if let Some((_, fold)) = before {
                        results.push(finish(fold, &mut worker)?);
                    }
                    results.push(result);
                }
                (Outcome::Part(part), Some((same, mut fold))) if same == *group => {
                    fold.merge(part, &mut worker);
                    open = Some((same, fold));
                }
                (Outcome::Part(part), before) => {
                    if let Some((_, fold)) = before {
                        results.push(finish(fold, &mut worker)?);
                    }
                    open = Some((*group, part));
                }
            }
        }
        if let Some((_, fold)) = open {
            results.push(finish(fold, &mut worker)?);
        }
        Ok(results)
    }

    /// A table of some of the series of `inner`.
    fn table_of(
        &self,
        inner: &Operator<'e>,
        columns: impl IntoIterator<Item = (usize, Column)>,
    ) -> Result<Operator<'e>, EvalError> {
        let (indexes, columns): (Vec<usize>, Vec<Column>) = columns.into_iter().unzip();
        let series = indexes.into_iter().map(|index| inner.series()[index].clone()).collect();
        Ok(Arc::new(Table::new(self, series, columns)?))
    }
}
