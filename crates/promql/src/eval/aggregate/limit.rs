//! `limitk` and `limit_ratio`: some of the series, whatever their values.

use std::collections::BTreeMap;

use telemetry::Labels;
use xxhash_rust::xxh64::xxh64;

use super::{Aggregation, Fold, Groups, rank};
use crate::EvalError;
use crate::eval::column::Column;
use crate::eval::context::{Evaluation, Worker};
use crate::eval::notes::Note;
use crate::eval::operator::{Operator, with_column};
use crate::eval::series::SeriesId;

/// The first so many series that have a sample, a step.
struct First<'a> {
    taken: Vec<usize>,
    limits: &'a [usize],
    columns: BTreeMap<usize, Column>,
}

impl First<'_> {
    fn take(&mut self, column: &Column, index: usize) {
        let mut own: Option<Column> = None;
        for step in 0..self.taken.len() {
            if self.taken[step] < self.limits[step]
                && let Some(point) = column.get(step)
            {
                self.taken[step] += 1;
                own.get_or_insert_with(|| Column::absent(self.limits.len())).set(step, point);
            }
        }
        if let Some(own) = own {
            self.columns.insert(index, own);
        }
    }
}

impl Fold for First<'_> {
    fn add(&mut self, column: &Column, index: usize, _id: &SeriesId, _worker: &mut Worker<'_>) {
        self.take(column, index);
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (index, column) in other.columns {
            self.take(&column, index);
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column::absent(self.taken.len())
    }

    fn memory_bytes(&self) -> usize {
        self.columns.values().map(|column| column.memory_bytes() + 64).sum::<usize>() + self.taken.len() * 8
    }
}

impl<'e> Evaluation<'e> {
    pub(super) fn limited(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
        groups: &Groups,
    ) -> Result<Operator<'e>, EvalError> {
        let steps = aggregation.grid.count;
        let Some(limits) = rank::limits(aggregation, inner.series().len())? else {
            self.read_for_notes(&**inner, steps, 0..inner.series().len())?;
            return self.table_of(inner, []);
        };
        let make = || First { taken: vec![0; steps], limits: &limits, columns: BTreeMap::new() };
        let chosen = self.fold_groups(inner, groups, steps, make, |first: First<'_>, _| {
            self.memory.hold(first.memory_bytes())?;
            Ok(first.columns)
        })?;
        self.table_of(inner, chosen.into_iter().flatten())
    }

    /// A share of the series, chosen by the hashes of their labels: a negative ratio chooses what the positive one that
    /// complements it does not.
    pub(super) fn limited_by_ratio(
        &self,
        aggregation: &Aggregation<'_>,
        inner: &Operator<'e>,
    ) -> Result<Operator<'e>, EvalError> {
        let ratios = aggregation.distinct_params();
        let steps = aggregation.grid.count;
        if ratios.iter().all(|ratio| *ratio == 0.0) {
            self.read_for_notes(&**inner, steps, 0..inner.series().len())?;
            return self.table_of(inner, []);
        }
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(EvalError::Execution("Ratio value is NaN".to_owned()));
        }
        let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        for (ratio, capped, out_of_bounds) in [(highest, 1.0, highest > 1.0), (lowest, -1.0, lowest < -1.0)] {
            if out_of_bounds {
                self.note(Note::InvalidRatio { ratio, capped }, aggregation.param_position);
            }
        }
        let may_note = inner.may_note();
        let rows = self.parallel(inner.series().len(), inner.cost(), |worker, index| {
            let place = hash_place(&inner.series()[index].to_labels());
            let chosen = |step: usize| {
                let ratio = aggregation.param_at(step).clamp(-1.0, 1.0);
                ratio != 0.0 && if ratio > 0.0 { place < ratio } else { place >= 1.0 + ratio }
            };
            let is_chosen = (0..steps).any(chosen);
            if !is_chosen && !may_note {
                return Ok(None);
            }
            with_column(&**inner, index, steps, worker, |_, column| {
                if !is_chosen {
                    return Ok(None);
                }
                let mut own = Column::absent(steps);
                for step in (0..steps).filter(|step| chosen(*step)) {
                    if let Some(point) = column.get(step) {
                        own.set(step, point);
                    }
                }
                Ok(Some((index, own)))
            })
        })?;
        self.table_of(inner, rows.into_iter().flatten())
    }
}

/// Where in 0..1 the hash of a label set lies. Prometheus's hash, so that both choose the same series: xxh64 over names
/// and values, each after its length in one byte, or in three after 255.
fn hash_place(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(128);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(length) if length < 255 => bytes.push(length),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}
