//! `topk` and `bottomk`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::{Aggregation, Fold, Groups};
use crate::EvalError;
use crate::ast::AggregateOp;
use crate::eval::column::{Column, is_absent};
use crate::eval::context::{Evaluation, Worker};
use crate::eval::notes::Note;
use crate::eval::operator::{Operator, Table};
use crate::eval::series::SeriesId;

/// A value in a heap whose top is the worst.
#[derive(Clone, Copy)]
struct Entry {
    value: f64,
    series: usize,
    /// Whether large values are good.
    top: bool,
}

impl Entry {
    /// Less is better; NaN is worst.
    fn by_value(&self, other: &Self) -> Ordering {
        match (self.value.is_nan(), other.value.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let order = self.value.partial_cmp(&other.value).unwrap_or(Ordering::Equal);
                if self.top { order.reverse() } else { order }
            }
        }
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.by_value(other).then(self.series.cmp(&other.series))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

struct Ranking<'a> {
    heaps: Vec<BinaryHeap<Entry>>,
    /// How many stay, a step.
    limits: &'a [usize],
    top: bool,
    position: u32,
}

impl Ranking<'_> {
    fn offer(&mut self, step: usize, entry: Entry) {
        let heap = &mut self.heaps[step];
        if heap.len() < self.limits[step] {
            heap.push(entry);
        } else if let Some(mut worst) = heap.peek_mut()
            && entry.by_value(&worst) == Ordering::Less
        {
            *worst = entry;
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
                self.offer(step, Entry { value: *value, series: index, top: self.top });
            }
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (step, heap) in other.heaps.into_iter().enumerate() {
            for entry in heap.into_sorted_vec() {
                self.offer(step, entry);
            }
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.heaps.len())
    }

    fn memory_bytes(&self) -> usize {
        self.heaps.iter().map(|heap| heap.capacity() * size_of::<Entry>() + 24).sum()
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
            heaps: vec![BinaryHeap::new(); steps],
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
            let best_first = rankings.into_iter().flatten().flat_map(BinaryHeap::into_sorted_vec);
            let rows = best_first
                .map(|entry| (entry.series, Column { floats: vec![entry.value], histograms: Vec::new() }));
            return self.table_of(inner, rows);
        }
        let mut columns: BTreeMap<usize, Column> = BTreeMap::new();
        for heaps in rankings {
            for (step, heap) in heaps.into_iter().enumerate() {
                for entry in heap {
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
