//! Functions over ranges: one pass over a series' samples, the window sliding along.

use std::sync::Arc;

use telemetry::{CounterResetHint, Histogram};

use super::column::{Column, is_absent};
use super::context::{Evaluation, Worker};
use super::operator::{Operator, VectorOperator, with_column};
use super::scalar::ScalarValues;
use super::selector::Selected;
use super::series::{SeriesId, TEMPORALITY};
use crate::output::{MatrixSeries, Value};
use crate::plan::{Grid, RangeInputPlan, RangeSource, Reference};
use crate::{EvalError, SeriesSamples};

mod counter;
mod floats;
mod histograms;
mod omitted;
mod order;
mod ordered;
mod regression;
mod sliding;
mod smoothing;
mod spans;
mod window;

pub(crate) use floats::Moments;
pub(crate) use order::quantile;
pub(crate) use spans::KeptSpans;
use window::Windows;

/// A function of the samples in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    AvgOverTime,
    Changes,
    CountOverTime,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    Idelta,
    Increase,
    Irate,
    LastOverTime,
    MadOverTime,
    MaxOverTime,
    MinOverTime,
    PredictLinear,
    PresentOverTime,
    QuantileOverTime,
    Rate,
    Resets,
    StddevOverTime,
    StdvarOverTime,
    SumOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
}

impl RangeFunction {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "avg_over_time" => Self::AvgOverTime,
            "changes" => Self::Changes,
            "count_over_time" => Self::CountOverTime,
            "delta" => Self::Delta,
            "deriv" => Self::Deriv,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            "idelta" => Self::Idelta,
            "increase" => Self::Increase,
            "irate" => Self::Irate,
            "last_over_time" => Self::LastOverTime,
            "mad_over_time" => Self::MadOverTime,
            "max_over_time" => Self::MaxOverTime,
            "min_over_time" => Self::MinOverTime,
            "predict_linear" => Self::PredictLinear,
            "present_over_time" => Self::PresentOverTime,
            "quantile_over_time" => Self::QuantileOverTime,
            "rate" => Self::Rate,
            "resets" => Self::Resets,
            "stddev_over_time" => Self::StddevOverTime,
            "stdvar_over_time" => Self::StdvarOverTime,
            "sum_over_time" => Self::SumOverTime,
            "ts_of_last_over_time" => Self::TsOfLastOverTime,
            "ts_of_max_over_time" => Self::TsOfMaxOverTime,
            "ts_of_min_over_time" => Self::TsOfMinOverTime,
            _ => return None,
        })
    }
}

/// Where the samples come from.
pub(crate) enum RangeInput<'e> {
    Selected(Selected<'e>),
    Subquery { inner: Operator<'e>, grid: Grid },
}

impl<'e> RangeInput<'e> {
    pub(super) fn new(evaluation: &Evaluation<'e>, source: &RangeSource) -> Result<Self, EvalError> {
        match &source.input {
            RangeInputPlan::Selection(selection) => Selected::new(evaluation, *selection).map(Self::Selected),
            RangeInputPlan::Subquery(node) => {
                Ok(Self::Subquery { inner: evaluation.vector(node)?, grid: node.grid })
            }
        }
    }

    pub(super) fn ids(&self) -> &[SeriesId] {
        match self {
            Self::Selected(selected) => &selected.ids,
            Self::Subquery { inner, .. } => inner.series(),
        }
    }

    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Selected(_) => 256,
            Self::Subquery { inner, grid } => inner.cost() + grid.count,
        }
    }

    fn may_have_histograms(&self) -> bool {
        match self {
            Self::Selected(selected) => selected.source.may_have_histograms(),
            Self::Subquery { inner, .. } => inner.may_have_histograms(),
        }
    }

    fn may_note(&self) -> bool {
        match self {
            Self::Selected(_) => false,
            Self::Subquery { inner, .. } => inner.may_note(),
        }
    }

    /// The samples of a series, without staleness markers.
    pub(super) fn read(
        &self,
        index: usize,
        worker: &mut Worker<'_>,
        samples: &mut SeriesSamples,
    ) -> Result<(), EvalError> {
        match self {
            Self::Selected(selected) => {
                selected.read(index, worker, samples)?;
                drop_stale(samples);
                Ok(())
            }
            Self::Subquery { inner, grid } => {
                with_column(&**inner, index, grid.count, worker, |_, column| {
                    append_column(column, grid, samples);
                    Ok(())
                })
            }
        }
    }
}

fn drop_stale(samples: &mut SeriesSamples) {
    if samples.values.iter().any(|value| is_absent(*value)) {
        let mut keep = samples.values.iter().map(|value| !is_absent(*value));
        samples.timestamps_ms.retain(|_| keep.next().unwrap_or(true));
        samples.values.retain(|value| !is_absent(*value));
    }
    if samples.histograms.iter().any(|(_, histogram)| histogram.is_stale()) {
        samples.histograms.retain(|(_, histogram)| !histogram.is_stale());
    }
}

fn append_column(column: &Column, grid: &Grid, samples: &mut SeriesSamples) {
    for (step, value) in column.floats.iter().enumerate() {
        if !is_absent(*value) {
            samples.timestamps_ms.push(grid.time_ms(step));
            samples.values.push(*value);
        }
    }
    for (step, histogram) in column.histograms.iter().enumerate() {
        let Some(histogram) = histogram else { continue };
        // The steps of a subquery miss samples or repeat them, so what hints say of the sample before is not true here.
        let hint = histogram.counter_reset_hint;
        let histogram = match hint {
            CounterResetHint::CounterReset | CounterResetHint::NotCounterReset => Arc::new(Histogram {
                counter_reset_hint: CounterResetHint::Unknown,
                ..Histogram::clone(histogram)
            }),
            _ => Arc::clone(histogram),
        };
        samples.histograms.push((grid.time_ms(step), histogram));
    }
}

/// A function over the ranges of a vector's series.
pub(crate) struct RangeVector<'e> {
    pub(super) function: RangeFunction,
    pub(super) input: RangeInput<'e>,
    pub(super) ids: Vec<SeriesId>,
    pub(super) params: Vec<ScalarValues>,
    pub(super) grid: Grid,
    pub(super) range_ms: i64,
    pub(super) reference: Reference,
    /// Where the first argument of the call stands.
    pub(super) position: u32,
}

/// What a function gets: the samples of one series and how the window moves over them.
struct Call<'a> {
    function: RangeFunction,
    samples: &'a SeriesSamples,
    params: &'a [ScalarValues],
    grid: Grid,
    range_ms: i64,
    reference: Reference,
    metric: &'a str,
    is_delta_series: bool,
    position: u32,
    worker: &'a Worker<'a>,
}

impl<'a> Call<'a> {
    fn windows(&self) -> Windows<'a> {
        Windows::new(self.samples, self.grid, self.reference, self.range_ms)
    }

    fn param(&self, index: usize, step: usize) -> f64 {
        self.params.get(index).map_or(f64::NAN, |values| values.at(step))
    }

    fn note(&self, note: super::notes::Note<'_>) {
        self.worker.evaluation.note(note, self.position);
    }

    fn evaluate(&self, out: &mut Column) -> Result<(), EvalError> {
        use RangeFunction as F;
        match self.function {
            F::Rate | F::Increase | F::Delta => return self.rates(out),
            F::Irate | F::Idelta => self.instant_rates(out),
            F::SumOverTime => return self.sums(out),
            F::AvgOverTime => return self.averages(out),
            F::MinOverTime | F::MaxOverTime => self.extremes(out),
            F::TsOfMinOverTime | F::TsOfMaxOverTime => self.times_of_extremes(out),
            F::StddevOverTime | F::StdvarOverTime => return self.variances(out),
            F::CountOverTime | F::PresentOverTime => self.counts(out),
            F::LastOverTime | F::TsOfLastOverTime => self.lasts(out),
            F::Changes | F::Resets => self.transitions(out),
            F::QuantileOverTime => self.quantiles(out),
            F::MadOverTime => self.median_deviations(out),
            F::Deriv | F::PredictLinear => return self.regressions(out),
            F::DoubleExponentialSmoothing => return self.smoothed(out),
        }
        Ok(())
    }
}

impl VectorOperator for RangeVector<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        let mut samples = worker.take_samples();
        self.input.read(index, worker, &mut samples)?;
        if !samples.is_empty() {
            let id = &self.input.ids()[index];
            let call = Call {
                function: self.function,
                samples: &samples,
                params: &self.params,
                grid: self.grid,
                range_ms: self.range_ms,
                reference: self.reference,
                metric: id.metric_name(),
                is_delta_series: id.get(TEMPORALITY.0) == Some(TEMPORALITY.1),
                position: self.position,
                worker,
            };
            call.evaluate(scratch)?;
            if let Some(counts) = call.worker.evaluation.step_counts() {
                counts.add(self.grid, call.windows().map(|window| (window.step, window.len())));
            }
        }
        worker.give_samples(samples);
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.input.cost() + self.grid.count * 2
    }

    fn may_have_histograms(&self) -> bool {
        self.input.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        let of_floats = match self.function {
            RangeFunction::Rate | RangeFunction::Increase => {
                self.input.ids().iter().any(|id| counter::looks_unlike_a_counter(id.metric_name()))
            }
            // Parameters may be outside their range.
            RangeFunction::QuantileOverTime | RangeFunction::DoubleExponentialSmoothing => true,
            _ => false,
        };
        of_floats || self.input.may_note() || self.input.may_have_histograms()
    }
}

impl<'e> Evaluation<'e> {
    /// Whether each series has a sample in the window, as 1.
    pub(super) fn presence(&self, source: &RangeSource, grid: Grid) -> Result<Operator<'e>, EvalError> {
        let input = RangeInput::new(self, source)?;
        let ids = input.ids().to_vec();
        Ok(Arc::new(RangeVector {
            function: RangeFunction::PresentOverTime,
            input,
            ids,
            params: Vec::new(),
            grid,
            range_ms: source.range_ms,
            reference: source.reference,
            position: source.position,
        }))
    }

    /// The samples of a range themselves.
    pub(super) fn raw_range(&self, source: &RangeSource, grid: Grid) -> Result<Value, EvalError> {
        let input = RangeInput::new(self, source)?;
        let rows = self.parallel(input.ids().len(), input.cost(), |worker, index| {
            let mut samples = worker.take_samples();
            input.read(index, worker, &mut samples)?;
            let mut windows = Windows::new(&samples, grid, source.reference, source.range_ms);
            let window = windows.next_window();
            let mut series = MatrixSeries::default();
            if let Some(window) = window {
                if let Some(counts) = worker.evaluation.step_counts() {
                    counts.add(grid, [(window.step, window.len())]);
                }
                let floats = window.floats.clone();
                series.floats = samples.timestamps_ms[floats.clone()]
                    .iter()
                    .copied()
                    .zip(samples.values[floats].iter().copied())
                    .collect();
                series.histograms = samples.histograms[window.histograms.clone()].to_vec();
            }
            worker.give_samples(samples);
            if series.floats.is_empty() && series.histograms.is_empty() {
                return Ok(None);
            }
            series.labels = input.ids()[index].with_delay_over().to_labels();
            self.memory.hold(series.floats.len() * 16 + series.histograms.len() * 24 + 64)?;
            Ok(Some(series))
        })?;
        let mut matrix: Vec<MatrixSeries> = rows.into_iter().flatten().collect();
        matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Value::Matrix(matrix))
    }
}
