//! `topk` and `bottomk`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Aggregation, Fold, Groups};
use crate::EvalError;
use crate::ast::AggregateOp;
use crate::eval::column::{Column, is_absent};
use crate::eval::context::{Evaluation, Worker};
use crate::eval::notes::Note;
use crate::eval::operator::{Operator, Table};
use crate::eval::series::SeriesId;

/// A value and whose it is.
#[derive(Clone, Copy)]
struct Entry {
    value: f64,
    series: usize,
}

/// The best values so far, the worst of them on top. Which of equal values has to go first is for the heap's layout to
/// decide, which is therefore that of Go's `container/heap`, as Prometheus uses it.
#[derive(Clone, Default)]
struct Heap {
    entries: Vec<Entry>,
}

impl Heap {
    /// Whether `a` is worse than `b`; NaN is, even than NaN.
    fn is_worse(&self, a: usize, b: usize, top: bool) -> bool {
        let (a, b) = (self.entries[a].value, self.entries[b].value);
        a.is_nan() || if top { a < b } else { a > b }
    }

    fn push(&mut self, entry: Entry, top: bool) {
        self.entries.push(entry);
        let mut at = self.entries.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_worse(at, parent, top) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    /// Puts `entry` in the place of the worst, if it is better.
    fn offer(&mut self, entry: Entry, top: bool) {
        let Some(worst) = self.entries.first_mut() else { return };
        let is_better = if worst.value.is_nan() {
            !entry.value.is_nan()
        } else if top {
            entry.value > worst.value
        } else {
            entry.value < worst.value
        };
        if !is_better {
            return;
        }
        *worst = entry;
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.entries.len() {
                break;
            }
            if child + 1 < self.entries.len() && self.is_worse(child + 1, child, top) {
                child += 1;
            }
            if !self.is_worse(child, at, top) {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
    }

    fn into_best_first(mut self, top: bool) -> Vec<Entry> {
        self.entries.sort_by(|a, b| match (a.value.is_nan(), b.value.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if top => b.value.total_cmp(&a.value),
            (false, false) => a.value.total_cmp(&b.value),
        });
        self.entries
    }
}

struct Ranking<'a> {
    heaps: Vec<Heap>,
    /// How many stay, a step.
    limits: &'a [usize],
    /// Whether large values are good.
    top: bool,
    position: u32,
}

impl Ranking<'_> {
    fn offer(&mut self, step: usize, entry: Entry) {
        let heap = &mut self.heaps[step];
        if heap.entries.len() < self.limits[step] {
            heap.push(entry, self.top);
        } else {
            heap.offer(entry, self.top);
        }
    }
}

impl Fold for Ranking<'_> {
    fn add(&mut self, column: &Column, index: usize, _id: &SeriesId, worker: &mut Worker<'_>) {
        if column.histograms.iter().any(Option::is_some) {
            let aggregation = if self.top { "topk" } else { "bottomk" };
            worker.evaluation.note(Note::IgnoredInAggregation { aggregation }, self.position);
        }
        for (step, value) in column.floats.iter().enumerate() {
            if !is_absent(*value) {
                self.offer(step, Entry { value: *value, series: index });
            }
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (step, heap) in other.heaps.into_iter().enumerate() {
            let mut entries = heap.entries;
            entries.sort_unstable_by_key(|entry| entry.series);
            for entry in entries {
                self.offer(step, entry);
            }
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.heaps.len())
    }

    fn memory_bytes(&self) -> usize {
        self.heaps.iter().map(|heap| heap.entries.capacity() * size_of::<Entry>() + 24).sum()
    }
}

/// The number of elements that a parameter asks for, a step; `None` where it never asks for any.
pub(super) fn limits(
    aggregation: &Aggregation<'_>,
    available: usize,
) -> Result<Option<Vec<usize>>, EvalError> {
    let values = aggregation.distinct_params();
    let failed = |text: String| Err(EvalError::Execution(text));
    if !values.iter().any(|value| *value >= 1.0 || value.is_nan()) {
        return Ok(None);
    }
    if values.iter().any(|value| value.is_nan()) {
        return failed("Parameter value is NaN".to_owned());
    }
    for &value in values {
        let text = crate::number::shortest(value);
        if value <= i64::MIN as f64 {
            return failed(format!("Scalar value {text} underflows int64"));
        }
        if value >= i64::MAX as f64 {
            return failed(format!("Scalar value {text} overflows int64"));
        }
    }
    let limit = |step| {
        let wanted = aggregation.param_at(step);
        if wanted < 1.0 { 0 } else { (wanted as usize).min(available) }
    };
    Ok(Some((0..aggregation.grid.count).map(limit).collect()))
}

impl<'e> Evaluation<'e> {
    pub(super) fn ranked(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
        groups: &Groups,
    ) -> Result<Operator<'e>, EvalError> {
        let steps = aggregation.grid.count;
        let Some(limits) = limits(aggregation, inner.series().len())? else {
            self.read_for_notes(&**inner, steps, 0..inner.series().len())?;
            return self.table_of(inner, []);
        };
        let top = aggregation.op == AggregateOp::Topk;
        let make = || Ranking {
            heaps: vec![Heap::default(); steps],
            limits: &limits,
            top,
            position: aggregation.position,
        };
        let rankings = self.fold_groups(inner, groups, steps, make, |ranking: Ranking<'_>, _| {
            self.memory.hold(ranking.memory_bytes())?;
            Ok(ranking.heaps)
        })?;
        if steps == 1 {
            // The order of an instant query's result: group by group, the best first.
            let best_first = rankings.into_iter().flatten().flat_map(|heap| heap.into_best_first(top));
            let rows = best_first
                .map(|entry| (entry.series, Column { floats: vec![entry.value], histograms: Vec::new() }));
            return self.table_of(inner, rows);
        }
        let mut columns: BTreeMap<usize, Column> = BTreeMap::new();
        for heaps in rankings {
            for (step, heap) in heaps.into_iter().enumerate() {
                for entry in heap.entries {
                    let column = columns.entry(entry.series).or_insert_with(|| Column::absent(steps));
                    column.floats[step] = entry.value;
                }
            }
            self.memory.hold(columns.len() * steps * 8 / groups.ids.len().max(1))?;
        }
        let series = columns.keys().map(|index| inner.series()[*index].clone()).collect();
        Ok(Arc::new(Table::new(self, series, columns.into_values().collect())?))
    }
}
