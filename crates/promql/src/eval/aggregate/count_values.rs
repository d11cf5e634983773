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

/// How often a value is there, at those steps where it is.
type Counts = Vec<(u32, u32)>;

/// For each value's text where it is.
struct Values {
    counts: BTreeMap<String, Counts>,
    steps: usize,
    bytes: usize,
}

impl Values {
    fn add(&mut self, text: String, step: u32, count: u32) {
        let size = text.len();
        let counts = self.counts.entry(text).or_insert_with(|| {
            // With its share of the tree.
            self.bytes += size + 96;
            Counts::new()
        });
        match counts.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(at) => counts[at].1 += count,
            Err(at) => {
                counts.insert(at, (step, count));
                self.bytes += 16;
            }
        }
    }
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
            self.add(text, step as u32, 1);
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (text, counts) in other.counts {
            for (step, count) in counts {
                self.add(text.clone(), step, count);
            }
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.steps)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
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
        let make = || Values { counts: BTreeMap::new(), steps, bytes: 0 };
        let counted = self.fold_groups(inner, &groups, steps, make, |values: Values, _| {
            self.memory.hold(values.memory_bytes())?;
            Ok(values.counts)
        })?;
        let mut series = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        for (id, counts) in groups.ids.iter().zip(counted) {
            let first_of_group = columns.len();
            for (text, counts) in counts {
                self.memory.hold(steps * 8)?;
                let mut floats = vec![ABSENT; steps];
                for (step, count) in counts {
                    floats[step as usize] = f64::from(count);
                }
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
                self.memory.hold(labels.memory_bytes() + 32)?;
                self.count_pairs(columns.len() + 1)?;
                series.push(SeriesId::with_state(labels, id.name_state()));
                columns.push(Column { floats, histograms: Vec::new() });
            }
        }
        Ok(Arc::new(Table { series, columns }))
    }
}
