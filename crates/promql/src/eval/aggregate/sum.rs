//! `sum`, and what becomes of histograms in it and in `avg`.

use std::sync::Arc;

use telemetry::Histogram;

use super::Fold;
use crate::eval::column::{Column, is_absent};
use crate::eval::context::Worker;
use crate::eval::kahan::Kahan;
use crate::eval::notes::Note;
use crate::eval::series::SeriesId;
use crate::histogram::{self, Incompatible};

/// Sums or means of histograms, one a step; nothing is held while there is no histogram.
pub(super) struct HistogramSums {
    sums: Vec<HistogramSum>,
    means: bool,
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
    pub(super) fn sums() -> Self {
        Self { sums: Vec::new(), means: false }
    }

    pub(super) fn means() -> Self {
        Self { sums: Vec::new(), means: true }
    }

    pub(super) fn add(&mut self, column: &Column, id: &SeriesId, position: u32, worker: &Worker<'_>) {
        if column.histograms.is_empty() {
            return;
        }
        self.sums.resize(column.floats.len(), HistogramSum::None);
        for (sum, histogram) in self.sums.iter_mut().zip(&column.histograms) {
            if let Some(histogram) = histogram {
                sum.add(histogram, 1, self.means, |why| {
                    note_incompatible(why, id.metric_name(), position, worker)
                });
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
                    sum.add(&histogram, count, self.means, |why| {
                        note_incompatible(why, "", position, worker)
                    });
                }
            }
        }
    }

    /// Puts them in a column of what came of floats. Where there are both there is no result.
    pub(super) fn finish(self, column: &mut Column, position: u32, worker: &Worker<'_>) {
        for (step, sum) in self.sums.into_iter().enumerate() {
            if matches!(sum, HistogramSum::None) {
                continue;
            }
            if !is_absent(column.floats[step]) {
                worker.evaluation.note(Note::MixedFloatsHistogramsInAggregation, position);
                column.floats[step] = crate::eval::column::ABSENT;
                continue;
            }
            if let HistogramSum::Sum { mut histogram, .. } = sum {
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
    /// Takes in `others` histograms, of which `other` is the sum, or the mean.
    fn add(&mut self, other: &Histogram, others: u32, mean: bool, incompatible: impl FnOnce(Incompatible)) {
        match self {
            Self::None => *self = Self::Sum { histogram: Box::new(other.clone()), count: others },
            Self::Sum { histogram, count } => {
                let before = f64::from(*count);
                *count += others;
                let total = f64::from(*count);
                let added = match (mean, others) {
                    (false, _) => histogram::add(histogram, other),
                    (true, 1) => histogram::add_to_mean(histogram, other, total),
                    (true, _) => {
                        let mut share = other.clone();
                        histogram::scale(&mut share, f64::from(others) / total);
                        histogram::scale(histogram, before / total);
                        histogram::add(histogram, &share)
                    }
                };
                if let Err(why) = added {
                    incompatible(why);
                    *self = Self::Incompatible;
                }
            }
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
        Self { floats: vec![FloatSum::default(); steps], histograms: HistogramSums::sums(), position }
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
        self.histograms.finish(&mut column, self.position, worker);
        column
    }

    fn memory_bytes(&self) -> usize {
        self.floats.len() * size_of::<FloatSum>() + self.histograms.memory_bytes()
    }
}
