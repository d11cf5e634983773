//! `count_values`: a series for each value.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry::METRIC_NAME;

use super::{Aggregation, Fold};
use crate::EvalError;
use crate::eval::column::{ABSENT, Column, Point};
use crate::eval::context::{Evaluation, Worker};
use crate::eval::operator::{Operator, Table};
use crate::eval::series::{SeriesId, labels_of};
use crate::{histogram, number};

/// For each value's text how often it is there, a step.
struct Values {
    counts: BTreeMap<String, Vec<u32>>,
    steps: usize,
}

impl Fold for Values {
    fn add(&mut self, column: &Column, _index: usize, _id: &SeriesId, _worker: &mut Worker<'_>) {
        let mut last: Option<(u64, String)> = None;
        for step in 0..self.steps {
            let text = match column.get(step) {
                Some(Point::Float(value)) => match last.take() {
                    // Series often stay at a value.
                    Some((bits, text)) if bits == value.to_bits() => {
                        last = Some((bits, text.clone()));
                        text
                    }
                    _ => {
                        let text = number::plain(value);
                        last = Some((value.to_bits(), text.clone()));
                        text
                    }
                },
                Some(Point::Histogram(histogram)) => histogram::to_text(&histogram),
                None => continue,
            };
            self.counts.entry(text).or_insert_with(|| vec![0; self.steps])[step] += 1;
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (text, counts) in other.counts {
            let mine = self.counts.entry(text).or_insert_with(|| vec![0; self.steps]);
            for (count, more) in mine.iter_mut().zip(counts) {
                *count += more;
            }
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.steps)
    }

    fn memory_bytes(&self) -> usize {
        self.counts.keys().map(|text| text.len() + self.steps * 4 + 96).sum()
    }
}

impl<'e> Evaluation<'e> {
    pub(in crate::eval) fn count_values(
        &self,
        aggregation: &Aggregation<'_>,
        label: &str,
        inner: &Operator<'e>,
    ) -> Result<Operator<'e>, EvalError> {
        // The label of the values stands for any of that name that the series have.
        let named_without = aggregation.without && aggregation.grouping.iter().any(|name| name == label);
        let mut grouping = aggregation.grouping.to_vec();
        if aggregation.without {
            grouping.push(label.to_owned());
        } else {
            grouping.retain(|name| name != label);
        }
        let by_rest = Aggregation { grouping: &grouping, param: None, ..*aggregation };
        let groups = by_rest.groups(inner.series());
        let steps = aggregation.grid.count;
        let make = || Values { counts: BTreeMap::new(), steps };
        let counted = self.fold_groups(inner, &groups, steps, make, |values: Values, _| {
            self.memory.hold(values.memory_bytes())?;
            Ok(values.counts)
        })?;
        let mut series = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        for (id, counts) in groups.ids.iter().zip(counted) {
            let first_of_group = columns.len();
            for (text, counts) in counts {
                let value = |count: u32| if count == 0 { ABSENT } else { f64::from(count) };
                let floats: Vec<f64> = counts.into_iter().map(value).collect();
                if named_without && columns.len() > first_of_group {
                    // The label goes again, so that all values of a group are one series.
                    let sum = &mut columns[first_of_group].floats;
                    for (total, more) in sum.iter_mut().zip(&floats) {
                        *total = match (total.is_nan(), more.is_nan()) {
                            (_, true) => *total,
                            (true, false) => *more,
                            (false, false) => *total + more,
                        };
                    }
                    continue;
                }
                let pairs = id.pairs().filter(|(name, _)| *name != METRIC_NAME || !aggregation.without);
                let labels = if named_without {
                    labels_of(pairs)
                } else {
                    labels_of(pairs.chain([(label, text.as_str())]))
                };
                series.push(SeriesId::with_state(labels, id.name_state()));
                columns.push(Column { floats, histograms: Vec::new() });
            }
            self.count_pairs(columns.len())?;
        }
        Ok(Arc::new(Table::new(self, series, columns)?))
    }
}
