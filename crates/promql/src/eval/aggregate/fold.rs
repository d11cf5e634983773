//! What a fold is, and the simple ones.

use crate::eval::column::{ABSENT, Column, is_absent};
use crate::eval::context::Worker;
use crate::eval::notes::Note;
use crate::eval::range::Moments;
use crate::eval::series::SeriesId;

/// Takes in the series of a group, step by step.
pub(super) trait Fold: Send {
    /// Takes in a series; those of a group come in ascending order of `index`.
    fn add(&mut self, column: &Column, index: usize, id: &SeriesId, worker: &mut Worker<'_>);
    /// Takes in what another fold took in, of series that come later.
    fn merge(&mut self, other: Self, worker: &mut Worker<'_>);
    /// The group's column.
    fn finish(self, worker: &mut Worker<'_>) -> Column;
    /// Memory held, roughly, in bytes.
    fn memory_bytes(&self) -> usize;
}

fn note_ignored(column: &Column, aggregation: &'static str, position: u32, worker: &Worker<'_>) {
    if column.histograms.iter().any(Option::is_some) {
        worker.evaluation.note(Note::IgnoredInAggregation { aggregation }, position);
    }
}

/// `min` and `max`: NaN gives way to any number.
pub(super) struct Extreme {
    values: Vec<f64>,
    max: bool,
    position: u32,
}

impl Extreme {
    pub(super) fn new(steps: usize, max: bool, position: u32) -> Self {
        Self { values: vec![ABSENT; steps], max, position }
    }

    fn take(&mut self, values: &[f64]) {
        for (best, value) in self.values.iter_mut().zip(values) {
            let wins = if self.max { *value > *best } else { *value < *best };
            // What is absent is a NaN, too.
            if !is_absent(*value) && (wins || best.is_nan()) {
                *best = *value;
            }
        }
    }
}

impl Fold for Extreme {
    fn add(&mut self, column: &Column, _index: usize, _id: &SeriesId, worker: &mut Worker<'_>) {
        note_ignored(column, if self.max { "max" } else { "min" }, self.position, worker);
        self.take(&column.floats);
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        self.take(&other.values);
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        Column { floats: self.values, histograms: Vec::new() }
    }

    fn memory_bytes(&self) -> usize {
        self.values.len() * 8
    }
}

/// `count` and `group`.
pub(super) struct Count {
    counts: Vec<u32>,
    group: bool,
}

impl Count {
    pub(super) fn new(steps: usize, group: bool) -> Self {
        Self { counts: vec![0; steps], group }
    }
}

impl Fold for Count {
    fn add(&mut self, column: &Column, _index: usize, _id: &SeriesId, _worker: &mut Worker<'_>) {
        for (count, value) in self.counts.iter_mut().zip(&column.floats) {
            *count += u32::from(!is_absent(*value));
        }
        for (count, histogram) in self.counts.iter_mut().zip(&column.histograms) {
            *count += u32::from(histogram.is_some());
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        let value = |count: u32| match count {
            0 => ABSENT,
            _ if self.group => 1.0,
            count => f64::from(count),
        };
        Column { floats: self.counts.iter().map(|count| value(*count)).collect(), histograms: Vec::new() }
    }

    fn memory_bytes(&self) -> usize {
        self.counts.len() * 4
    }
}

/// `stddev` and `stdvar`, of the population.
pub(super) struct Variance {
    moments: Vec<Option<Moments>>,
    root: bool,
    position: u32,
}

impl Variance {
    pub(super) fn new(steps: usize, root: bool, position: u32) -> Self {
        Self { moments: vec![None; steps], root, position }
    }

    fn take(mine: &mut Option<Moments>, other: Moments) {
        *mine = Some(match *mine {
            Some(moments) => moments.merge(other),
            None => other,
        });
    }
}

impl Fold for Variance {
    fn add(&mut self, column: &Column, _index: usize, _id: &SeriesId, worker: &mut Worker<'_>) {
        note_ignored(column, if self.root { "stddev" } else { "stdvar" }, self.position, worker);
        for (moments, value) in self.moments.iter_mut().zip(&column.floats) {
            if !is_absent(*value) {
                match moments {
                    Some(moments) => moments.push(*value),
                    None => *moments = Some(Moments::of(*value)),
                }
            }
        }
    }

    fn merge(&mut self, other: Self, _worker: &mut Worker<'_>) {
        for (moments, more) in self.moments.iter_mut().zip(other.moments) {
            if let Some(more) = more {
                Self::take(moments, more);
            }
        }
    }

    fn finish(self, _worker: &mut Worker<'_>) -> Column {
        let root = self.root;
        let value = |moments: Option<Moments>| match moments {
            Some(moments) if root => moments.variance().sqrt(),
            Some(moments) => moments.variance(),
            None => ABSENT,
        };
        Column { floats: self.moments.into_iter().map(value).collect(), histograms: Vec::new() }
    }

    fn memory_bytes(&self) -> usize {
        self.moments.len() * size_of::<Option<Moments>>()
    }
}
