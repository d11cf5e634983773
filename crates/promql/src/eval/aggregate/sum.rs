//! `sum`, and sums of histograms for `avg`, too.

use std::sync::Arc;

use telemetry::Histogram;

use super::Fold;
use crate::eval::column::{Column, is_absent};
use crate::eval::context::Worker;
use crate::eval::kahan::Kahan;
use crate::eval::notes::Note;
use crate::eval::series::SeriesId;
use crate::histogram::{self, Incompatible};

/// Sums of histograms, one a step; nothing is held while there is no histogram.
#[derive(Default)]
pub(super) struct HistogramSums {
    sums: Vec<HistogramSum>,
}

#[derive(Clone, Default)]
enum HistogramSum {
    #[default]
    None,
    Sum {
        histogram: Box<Histogram>,
        count: u32,
    },
    /// Histograms that cannot be added.
    Incompatible,
}

impl HistogramSums {
    pub(super) fn add(&mut self, column: &Column, id: &SeriesId, position: u32, worker: &Worker<'_>) {
        if column.histograms.is_empty() {
            return;
        }
        self.sums.resize(column.floats.len(), HistogramSum::None);
        for (sum, histogram) in self.sums.iter_mut().zip(&column.histograms) {
            if let Some(histogram) = histogram {
                sum.add(histogram, 1, |why| note_incompatible(why, id.metric_name(), position, worker));
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self, position: u32, worker: &Worker<'_>) {
        if self.sums.is_empty() {
            *self = other;
            return;
        }
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            match more {
                HistogramSum::None => {}
                HistogramSum::Incompatible => *sum = HistogramSum::Incompatible,
                HistogramSum::Sum { histogram, count } => {
                    sum.add(&histogram, count, |why| note_incompatible(why, "", position, worker));
                }
            }
        }
    }

    /// Puts the sums, changed by `with` (which gets the number of histograms), in a column of sums of floats. Where
    /// there are both there is no result.
    pub(super) fn finish(
        self,
        column: &mut Column,
        with: impl Fn(&mut Histogram, f64),
        position: u32,
        worker: &Worker<'_>,
    ) {
        for (step, sum) in self.sums.into_iter().enumerate() {
            if matches!(sum, HistogramSum::None) {
                continue;
            }
            if !is_absent(column.floats[step]) {
                worker.evaluation.note(Note::MixedFloatsHistogramsInAggregation, position);
                column.floats[step] = crate::eval::column::ABSENT;
                continue;
            }
            if let HistogramSum::Sum { mut histogram, count } = sum {
                with(&mut histogram, f64::from(count));
                histogram::compact(&mut histogram);
                column.set_histogram(step, Arc::new(*histogram));
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let held = |sum: &HistogramSum| match sum {
            HistogramSum::Sum { histogram, .. } => histogram.memory_bytes(),
            _ => 0,
        };
        self.sums.iter().map(|sum| held(sum) + size_of::<HistogramSum>()).sum()
    }
}

impl HistogramSum {
    fn add(&mut self, other: &Histogram, others: u32, incompatible: impl FnOnce(Incompatible)) {
        match self {
            Self::None => *self = Self::Sum { histogram: Box::new(other.clone()), count: others },
            Self::Sum { histogram, count } => match histogram::add(histogram, other) {
                Ok(()) => *count += others,
                Err(why) => {
                    incompatible(why);
                    *self = Self::Incompatible;
                }
            },
            Self::Incompatible => {}
        }
    }
}

fn note_incompatible(why: Incompatible, metric: &str, position: u32, worker: &Worker<'_>) {
    let note = match why {
        Incompatible::Schema => Note::MixedExponentialCustom { metric },
        Incompatible::Bounds => Note::IncompatibleCustomBuckets { metric },
    };
    worker.evaluation.note(note, position);
}

#[derive(Clone, Copy, Default)]
struct FloatSum {
    sum: Kahan,
    seen: bool,
}

pub(super) struct Sum {
    floats: Vec<FloatSum>,
    histograms: HistogramSums,
    position: u32,
}

impl Sum {
    pub(super) fn new(steps: usize, position: u32) -> Self {
        Self { floats: vec![FloatSum::default(); steps], histograms: HistogramSums::default(), position }
    }
}

impl Fold for Sum {
    fn add(&mut self, column: &Column, _index: usize, id: &SeriesId, worker: &mut Worker<'_>) {
        for (sum, value) in self.floats.iter_mut().zip(&column.floats) {
            if !is_absent(*value) {
                sum.sum.add(*value);
                sum.seen = true;
            }
        }
        self.histograms.add(column, id, self.position, worker);
    }

    fn merge(&mut self, other: Self, worker: &mut Worker<'_>) {
        for (sum, more) in self.floats.iter_mut().zip(other.floats) {
            if more.seen {
                sum.sum = sum.sum.merge(more.sum);
                sum.seen = true;
            }
        }
        self.histograms.merge(other.histograms, self.position, worker);
    }

    fn finish(self, worker: &mut Worker<'_>) -> Column {
        let mut column = Column::absent(self.floats.len());
        for (result, sum) in column.floats.iter_mut().zip(&self.floats) {
            if sum.seen {
                *result = sum.sum.plain_total();
            }
        }
        self.histograms.finish(&mut column, |_, _| {}, self.position, worker);
        column
    }

    fn memory_bytes(&self) -> usize {
        self.floats.len() * size_of::<FloatSum>() + self.histograms.memory_bytes()
    }
}
