//! `histogram_quantile` and `histogram_fraction`, over classic and native histograms alike.
//!
//! Floats are buckets, whose bounds are in `le`. A native histogram is one whatever its labels: `le` is a label like any
//! other to it.

use std::sync::Arc;

use super::column::{Column, is_absent};
use super::context::{Evaluation, Worker};
use super::key_map::{KeyMap, write_pairs};
use super::notes::Note;
use super::operator::{Operator, VectorOperator};
use super::scalar::ScalarValues;
use super::series::{NameState, SeriesId, is_reserved, labels_of};
use crate::histogram::NanObservations;
use crate::plan::Grid;
use crate::{EvalError, histogram};

mod classic;

use classic::Bucket;

const BUCKET_LABEL: &str = "le";

/// What is asked of each histogram.
pub(crate) enum Question {
    Quantile(ScalarValues),
    Fraction { lower: ScalarValues, upper: ScalarValues },
}

/// One histogram: the bucket series of a classic one, or a series of native ones, or, by mistake, both.
#[derive(Default)]
struct Member {
    /// Bucket series by ascending upper bound.
    buckets: Vec<(f64, usize)>,
    native: Option<usize>,
    /// Series whose `le` cannot be read.
    unreadable: Vec<usize>,
}

pub(crate) struct HistogramFunction<'e> {
    question: Question,
    inner: Operator<'e>,
    members: Vec<Member>,
    ids: Vec<SeriesId>,
    grid: Grid,
    /// Where the scalar and where the vector argument stand.
    scalar_position: u32,
    vector_position: u32,
    delayed: bool,
}

impl<'e> HistogramFunction<'e> {
    pub(super) fn new(
        evaluation: &Evaluation<'e>,
        question: Question,
        inner: Operator<'e>,
        grid: Grid,
        positions: (u32, u32),
    ) -> Self {
        let delayed = evaluation.delayed_name_removal;
        let mut keys = KeyMap::default();
        let mut members: Vec<Member> = Vec::new();
        let mut ids: Vec<SeriesId> = Vec::new();
        let mut add = |members: &mut Vec<Member>, id: &SeriesId, without_le: bool| {
            let pairs = || id.pairs().filter(move |(name, _)| !(without_le && *name == BUCKET_LABEL));
            let (number, new) = keys.number(|key| write_pairs(pairs(), key));
            if new {
                members.push(Member::default());
                // A classic histogram's name goes at once, as in Prometheus; a native one's may wait for the end.
                let delays = delayed && !without_le;
                let labels = labels_of(pairs().filter(|(name, _)| delays || !is_reserved(name)));
                let state = if delays { NameState::Delayed } else { NameState::Kept };
                ids.push(SeriesId::with_state(labels, state));
            }
            number
        };
        let natives = inner.may_have_histograms();
        for (index, id) in inner.series().iter().enumerate() {
            let Some(text) = id.get(BUCKET_LABEL) else {
                let number = add(&mut members, id, false);
                members[number].native = Some(index);
                members[number].unreadable.push(index);
                continue;
            };
            let number = add(&mut members, id, true);
            match classic::parse_bound(text) {
                Some(bound) => members[number].buckets.push((bound, index)),
                None => members[number].unreadable.push(index),
            }
            if natives {
                let number = add(&mut members, id, false);
                members[number].native = Some(index);
            }
        }
        for member in &mut members {
            member.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        Self {
            question,
            inner,
            members,
            ids,
            grid,
            scalar_position: positions.0,
            vector_position: positions.1,
            delayed,
        }
    }

    /// The name with which notes speak of a series; without delayed removal it is gone by then.
    fn metric_name(&self, series: Option<usize>) -> &str {
        match series {
            Some(series) if self.delayed => self.inner.series()[series].metric_name(),
            _ => "",
        }
    }

    fn of_native(&self, worker: &Worker<'_>, h: &telemetry::Histogram, step: usize, metric: &str) -> f64 {
        match &self.question {
            Question::Quantile(quantile) => {
                let (value, nan) = histogram::quantile(quantile.at(step), h);
                match nan {
                    NanObservations::None => {}
                    NanObservations::ResultIsNan => {
                        worker.evaluation.note(Note::QuantileIsNan { metric }, self.scalar_position);
                    }
                    NanObservations::SkewedHigher => {
                        worker.evaluation.note(Note::QuantileIsSkewed { metric }, self.scalar_position);
                    }
                }
                value
            }
            Question::Fraction { lower, upper } => {
                let (value, has_nan) = histogram::fraction(lower.at(step), upper.at(step), h);
                if has_nan {
                    worker.evaluation.note(Note::FractionExcludesNan { metric }, self.scalar_position);
                }
                value
            }
        }
    }

    fn of_buckets(&self, worker: &Worker<'_>, buckets: &mut Vec<Bucket>, step: usize, metric: &str) -> f64 {
        match &self.question {
            Question::Quantile(quantile) => {
                let (value, forced) = classic::quantile(quantile.at(step), buckets);
                if forced {
                    worker.evaluation.note(Note::ForcedMonotonicity { metric }, self.vector_position);
                }
                value
            }
            Question::Fraction { lower, upper } => classic::fraction(lower.at(step), upper.at(step), buckets),
        }
    }

    fn fill(
        &self,
        member: &Member,
        columns: &[&Column],
        native: Option<&Column>,
        worker: &Worker<'_>,
        out: &mut Column,
    ) {
        let mut buckets: Vec<Bucket> = Vec::with_capacity(columns.len());
        let bucket_metric = self.metric_name(member.buckets.first().map(|(_, series)| *series));
        let native_metric = self.metric_name(member.native);
        for step in 0..self.grid.count {
            buckets.clear();
            for ((upper_bound, _), column) in member.buckets.iter().zip(columns) {
                let count = column.floats[step];
                if !is_absent(count) {
                    buckets.push(Bucket { upper_bound: *upper_bound, count });
                }
            }
            let histogram = native.and_then(|column| column.histogram(step));
            match (buckets.is_empty(), histogram) {
                (false, Some(_)) => {
                    let metric = member.native.map_or("", |series| self.inner.series()[series].metric_name());
                    let note = Note::MixedClassicNativeHistograms { metric };
                    worker.evaluation.note(note, self.vector_position);
                }
                (true, Some(histogram)) => {
                    out.floats[step] = self.of_native(worker, histogram, step, native_metric);
                }
                (false, None) => {
                    out.floats[step] = self.of_buckets(worker, &mut buckets, step, bucket_metric);
                }
                (true, None) => {}
            }
        }
    }
}

impl VectorOperator for HistogramFunction<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        let member = &self.members[index];
        let steps = self.grid.count;
        let mut scratches: Vec<Column> = Vec::with_capacity(member.buckets.len());
        scratches.resize_with(member.buckets.len(), || worker.take_column(steps));
        let mut columns: Vec<&Column> = Vec::with_capacity(member.buckets.len());
        for ((_, series), scratch) in member.buckets.iter().zip(&mut scratches) {
            columns.push(self.inner.read(*series, worker, scratch)?);
        }
        let mut native_scratch = worker.take_column(steps);
        let native = match member.native {
            Some(series) => Some(self.inner.read(series, worker, &mut native_scratch)?),
            None => None,
        };
        self.fill(member, &columns, native, worker, scratch);
        for &series in &member.unreadable {
            let mut other_scratch = worker.take_column(steps);
            let column = match native {
                Some(column) if member.native == Some(series) => column,
                _ => self.inner.read(series, worker, &mut other_scratch)?,
            };
            if column.floats.iter().any(|value| !is_absent(*value)) {
                let label = self.inner.series()[series].get(BUCKET_LABEL).unwrap_or("");
                let metric = self.inner.series()[series].metric_name();
                worker.evaluation.note(Note::BadBucketLabel { label, metric }, self.vector_position);
            }
            worker.give_column(other_scratch);
        }
        worker.give_column(native_scratch);
        for column in scratches {
            worker.give_column(column);
        }
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        let widest = self.members.first().map_or(1, |member| member.buckets.len().max(1));
        (self.inner.cost() + self.grid.count * 2) * widest
    }

    fn may_have_histograms(&self) -> bool {
        false
    }

    fn may_note(&self) -> bool {
        true
    }
}

impl<'e> Evaluation<'e> {
    /// Notes quantiles that are none, at steps where there is anything to compute.
    pub(super) fn check_quantiles(&self, quantiles: &ScalarValues, steps: usize, position: u32) {
        for &quantile in quantiles.distinct(steps) {
            if !(0.0..=1.0).contains(&quantile) {
                self.note(Note::InvalidQuantile(quantile), position);
            }
        }
    }

    pub(super) fn histogram_function(
        &self,
        question: Question,
        inner: Operator<'e>,
        grid: Grid,
        positions: (u32, u32),
    ) -> Operator<'e> {
        Arc::new(HistogramFunction::new(self, question, inner, grid, positions))
    }
}
