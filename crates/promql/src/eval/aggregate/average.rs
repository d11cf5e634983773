//! `avg`: a sum and a count, or, once the sum is too large for a float, a mean that is carried along.

use super::Fold;
use super::sum::HistogramSums;
use crate::eval::column::{Column, is_absent};
use crate::eval::context::Worker;
use crate::eval::kahan::Kahan;
use crate::eval::series::SeriesId;

#[derive(Clone, Copy, Default)]
struct Mean {
    /// The sum, or, with `carried`, the mean.
    value: Kahan,
    count: u32,
    carried: bool,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let count = f64::from(self.count);
        if !self.carried {
            let mut sum = self.value;
            sum.add(value);
            if !sum.sum.is_infinite() || self.count == 1 {
                self.value = sum;
                return;
            }
            self.carry(count - 1.0);
        }
        let share = (count - 1.0) / count;
        self.value = Kahan { sum: self.value.sum * share, lost: self.value.lost * share };
        self.value.add(value / count);
    }

    /// Turns the sum of `count` values into their mean.
    fn carry(&mut self, count: f64) {
        if !self.carried {
            self.value = Kahan { sum: self.value.sum / count, lost: self.value.lost / count };
            self.carried = true;
        }
    }

    fn merge(&mut self, mut other: Self) {
        if other.count == 0 {
            return;
        }
        let (mine, theirs) = (f64::from(self.count), f64::from(other.count));
        if !self.carried && !other.carried {
            let sum = self.value.merge(other.value);
            if !sum.sum.is_infinite() || self.count == 0 {
                self.value = sum;
                self.count += other.count;
                return;
            }
        }
        if self.count > 0 {
            self.carry(mine);
        }
        other.carry(theirs);
        let total = mine + theirs;
        let scaled = |mean: Kahan, by: f64| Kahan { sum: mean.sum * by, lost: mean.lost * by };
        self.value = scaled(self.value, mine / total).merge(scaled(other.value, theirs / total));
        self.carried = true;
        self.count += other.count;
    }

    fn finish(self) -> f64 {
        let count = f64::from(self.count);
        if self.carried { self.value.plain_total() } else { self.value.sum / count + self.value.lost / count }
    }
}

pub(super) struct Average {
    means: Vec<Mean>,
    histograms: HistogramSums,
    position: u32,
}

impl Average {
    pub(super) fn new(steps: usize, position: u32) -> Self {
        Self { means: vec![Mean::default(); steps], histograms: HistogramSums::means(), position }
    }
}

impl Fold for Average {
    fn add(&mut self, column: &Column, _index: usize, id: &SeriesId, worker: &mut Worker<'_>) {
        for (mean, value) in self.means.iter_mut().zip(&column.floats) {
            if !is_absent(*value) {
                mean.add(*value);
            }
        }
        self.histograms.add(column, id, self.position, worker);
    }

    fn merge(&mut self, other: Self, worker: &mut Worker<'_>) {
        for (mean, more) in self.means.iter_mut().zip(other.means) {
            mean.merge(more);
        }
        self.histograms.merge(other.histograms, self.position, worker);
    }

    fn finish(self, worker: &mut Worker<'_>) -> Column {
        let mut column = Column::absent(self.means.len());
        for (result, mean) in column.floats.iter_mut().zip(&self.means) {
            if mean.count > 0 {
                *result = mean.finish();
            }
        }
        self.histograms.finish(&mut column, self.position, worker);
        column
    }

    fn memory_bytes(&self) -> usize {
        self.means.len() * size_of::<Mean>() + self.histograms.memory_bytes()
    }
}
