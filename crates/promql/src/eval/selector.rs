//! Instant-vector selectors: at each step the latest sample that is not too old.

use std::sync::Arc;

use telemetry::is_stale_nan;

use super::column::Column;
use super::context::{Evaluation, Worker};
use super::operator::VectorOperator;
use super::series::SeriesId;
use crate::plan::{Grid, Reference, SelectionPlan};
use crate::{EvalError, SelectedSeries, SeriesSamples, histogram};

/// The series of a selection, counted.
pub(crate) struct Selected<'e> {
    pub(super) source: Box<dyn SelectedSeries + 'e>,
    pub(super) ids: Vec<SeriesId>,
    without_buckets: bool,
}

impl<'e> Selected<'e> {
    pub(super) fn new(evaluation: &Evaluation<'e>, plan: SelectionPlan) -> Result<Self, EvalError> {
        evaluation.check_cancelled()?;
        let source = evaluation.source.select(&evaluation.selections[plan.number])?;
        evaluation.count_series(source.len())?;
        let ids: Vec<SeriesId> =
            (0..source.len()).map(|index| SeriesId::new(source.labels(index).clone())).collect();
        evaluation.memory.hold(ids.len() * size_of::<SeriesId>())?;
        Ok(Self { source, ids, without_buckets: plan.without_buckets })
    }

    pub(super) fn read(
        &self,
        index: usize,
        worker: &mut Worker<'_>,
        samples: &mut SeriesSamples,
    ) -> Result<(), EvalError> {
        self.source.read(index, samples)?;
        worker.evaluation.count_samples(samples.len())?;
        if self.without_buckets {
            samples.histograms = histogram::without_buckets(&samples.histograms);
        }
        Ok(())
    }
}

pub(crate) struct InstantSelector<'e> {
    pub(super) selected: Selected<'e>,
    pub(super) grid: Grid,
    pub(super) reference: Reference,
    pub(super) lookback_ms: i64,
    /// Timestamps in seconds instead of values.
    pub(super) timestamps: bool,
}

impl VectorOperator for InstantSelector<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.selected.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        let mut samples = worker.take_samples();
        self.selected.read(index, worker, &mut samples)?;
        self.fill(&samples, scratch);
        if let Some(counts) = worker.evaluation.step_counts() {
            let present = (0..self.grid.count).filter(|step| scratch.is_present(*step));
            counts.add(self.grid, present.map(|step| (step, 1)));
        }
        worker.give_samples(samples);
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.grid.count * 2 + 16
    }

    fn may_have_histograms(&self) -> bool {
        !self.timestamps && self.selected.source.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        false
    }
}

impl InstantSelector<'_> {
    fn fill(&self, samples: &SeriesSamples, column: &mut Column) {
        let times = samples.timestamps_ms.as_slice();
        let histograms = samples.histograms.as_slice();
        let (mut floats_until, mut histograms_until) = (0, 0);
        for step in 0..self.grid.count {
            let at_ms = self.reference.time_ms(self.grid.time_ms(step));
            let oldest_ms = at_ms.saturating_sub(self.lookback_ms);
            while floats_until < times.len() && times[floats_until] <= at_ms {
                floats_until += 1;
            }
            while histograms_until < histograms.len() && histograms[histograms_until].0 <= at_ms {
                histograms_until += 1;
            }
            let float = floats_until.checked_sub(1).filter(|latest| times[*latest] > oldest_ms);
            let histogram =
                histograms_until.checked_sub(1).filter(|latest| histograms[*latest].0 > oldest_ms);
            // Of the two the later one counts, also when it says that the series has ended.
            match (float, histogram) {
                (Some(float), histogram)
                    if histogram.is_none_or(|histogram| histograms[histogram].0 < times[float]) =>
                {
                    let value = samples.values[float];
                    if !is_stale_nan(value) {
                        column.floats[step] =
                            if self.timestamps { times[float] as f64 / 1_000.0 } else { value };
                    }
                }
                (_, Some(histogram)) => {
                    let (at_ms, histogram) = &histograms[histogram];
                    if !histogram.is_stale() {
                        if self.timestamps {
                            column.floats[step] = *at_ms as f64 / 1_000.0;
                        } else {
                            column.set_histogram(step, Arc::clone(histogram));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
