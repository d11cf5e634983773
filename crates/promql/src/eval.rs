//! The evaluator: series stream through a tree of operators, each series as a column of steps.
//!
//! Building the tree ([`build`]) selects series and knows all labels before any sample is read: groups of aggregations,
//! partners of binary operations and the labels of results are settled there. Then each result series is read by its
//! number, by any thread, and what lies beneath reads what it needs for that one series. Only operators that have to
//! see many series for one result (aggregations, the "one" side of a match, …) hold columns, which are counted.

use std::sync::Arc;

use telemetry::Labels;

use crate::output::{MatrixSeries, QueryOutput, Sample, ScalarSample, Value, VectorSample};
use crate::plan::{PlanKind, PlanNode};
use crate::{EvalError, EvalOptions, Plan, SeriesSource};

mod absent;
mod aggregate;
mod binary;
mod build;
mod column;
mod context;
mod histogram_function;
mod info;
pub(crate) mod kahan;
mod key_map;
pub(crate) mod map;
mod memory;
mod merge;
mod notes;
mod operator;
pub(crate) mod range;
mod relabel;
mod scalar;
mod selector;
mod series;
mod set;
mod sort;
mod step_counts;

use column::Point;
use context::Evaluation;
use operator::Operator;

pub(crate) fn evaluate(
    plan: &Plan,
    source: &dyn SeriesSource,
    options: &EvalOptions<'_>,
) -> Result<QueryOutput, EvalError> {
    let evaluation = Evaluation::new(plan, source, options);
    let value = evaluation.value(plan)?;
    Ok(evaluation.into_output(plan, value))
}

impl<'e> Evaluation<'e> {
    fn value(&self, plan: &Plan) -> Result<Value, EvalError> {
        let root = &plan.root;
        let instant = plan.window.is_instant();
        let at_ms = plan.window.start_ms;
        if let PlanKind::Text(text) = &root.kind {
            return Ok(Value::String { timestamp_ms: at_ms, text: text.clone() });
        }
        if let PlanKind::RawRange(source) = &root.kind {
            return self.raw_range(source, root.grid);
        }
        if build::is_scalar(root) {
            let values = self.scalar(root)?;
            if instant {
                return Ok(Value::Scalar(ScalarSample { timestamp_ms: at_ms, value: values.at(0) }));
            }
            let floats =
                (0..root.grid.count).map(|step| (root.grid.time_ms(step), values.at(step))).collect();
            let series = MatrixSeries { labels: Labels::empty(), floats, histograms: Vec::new() };
            return Ok(Value::Matrix(vec![series]));
        }
        let operator = self.vector(root)?;
        let operator = self.without_delayed_names(operator, root)?;
        if instant { self.instant_vector(&operator, at_ms) } else { self.matrix(&operator, root) }
    }

    /// Removes the names whose removal was put off to the end.
    fn without_delayed_names(
        &self,
        operator: Operator<'e>,
        root: &PlanNode,
    ) -> Result<Operator<'e>, EvalError> {
        if !self.delayed_name_removal {
            return Ok(operator);
        }
        let hidden = operator.series().iter().map(|id| id.with_delay_over()).collect();
        merge::merged(self, operator, hidden, root.grid, merge::Overlap::PerStep)
    }

    fn instant_vector(&self, operator: &Operator<'e>, at_ms: i64) -> Result<Value, EvalError> {
        let rows = self.parallel(operator.series().len(), operator.cost(), |worker, index| {
            let mut scratch = worker.take_column(1);
            let point = operator.read(index, worker, &mut scratch)?.get(0);
            worker.give_column(scratch);
            let Some(point) = point else { return Ok(None) };
            let labels = operator.series()[index].to_labels();
            self.memory.hold(labels.memory_bytes() + size_of::<VectorSample>())?;
            let sample = match point {
                Point::Float(value) => Sample::Float(value),
                Point::Histogram(histogram) => Sample::Histogram(histogram),
            };
            Ok(Some(VectorSample { labels, timestamp_ms: at_ms, sample }))
        })?;
        Ok(Value::Vector(rows.into_iter().flatten().collect()))
    }

    fn matrix(&self, operator: &Operator<'e>, root: &PlanNode) -> Result<Value, EvalError> {
        let grid = root.grid;
        let rows = self.parallel(operator.series().len(), operator.cost(), |worker, index| {
            let mut scratch = worker.take_column(grid.count);
            let column = operator.read(index, worker, &mut scratch)?;
            let mut series = MatrixSeries::default();
            let present = column.floats.iter().filter(|value| !column::is_absent(**value)).count();
            series.floats.reserve_exact(present);
            for (step, &value) in column.floats.iter().enumerate() {
                if !column::is_absent(value) {
                    series.floats.push((grid.time_ms(step), value));
                }
            }
            for (step, histogram) in column.histograms.iter().enumerate() {
                if let Some(histogram) = histogram {
                    series.histograms.push((grid.time_ms(step), Arc::clone(histogram)));
                }
            }
            worker.give_column(scratch);
            if series.floats.is_empty() && series.histograms.is_empty() {
                return Ok(None);
            }
            series.labels = operator.series()[index].to_labels();
            let histograms: usize = series.histograms.iter().map(|(_, h)| h.memory_bytes() + 24).sum();
            self.memory.hold(series.labels.memory_bytes() + series.floats.len() * 16 + histograms + 64)?;
            Ok(Some(series))
        })?;
        let mut matrix: Vec<MatrixSeries> = rows.into_iter().flatten().collect();
        matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Value::Matrix(matrix))
    }
}
