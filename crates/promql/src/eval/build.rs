//! From the plan to operators.

use std::sync::Arc;

use super::aggregate::Aggregation;
use super::binary::matching::{Operation, matched};
use super::binary::{VectorScalar, changes_metric};
use super::context::Evaluation;
use super::histogram_function::Question;
use super::map::{Map, Negate};
use super::merge::{Overlap, merged};
use super::operator::Operator;
use super::range::{RangeFunction, RangeInput, RangeVector};
use super::relabel::{self, relabelled};
use super::scalar::Repeated;
use super::selector::{InstantSelector, Selected};
use super::series::SeriesId;
use super::sort::Reordered;
use crate::EvalError;
use crate::ast::AggregateOp;
use crate::plan::{Grid, PlanKind, PlanNode};

/// Whether the node has one number a step.
pub(crate) fn is_scalar(node: &PlanNode) -> bool {
    match &node.kind {
        PlanKind::Number(_)
        | PlanKind::Time
        | PlanKind::ScalarOf(_)
        | PlanKind::ScalarBinary { .. }
        | PlanKind::ScalarNegate(_) => true,
        PlanKind::StepInvariant(inner) => is_scalar(inner),
        _ => false,
    }
}

/// The type checker lets no such plan come about.
pub(crate) fn misplaced(node: &PlanNode) -> EvalError {
    EvalError::Execution(format!("the expression at byte {} cannot stand there", node.position))
}

impl<'e> Evaluation<'e> {
    /// The operator of a node; nodes that occur several times have one.
    pub(super) fn vector(&self, node: &Arc<PlanNode>) -> Result<Operator<'e>, EvalError> {
        let is_shared = Arc::strong_count(node) > 1;
        if is_shared && let Some(known) = self.shared.get(node) {
            return Ok(known);
        }
        self.check_cancelled()?;
        let operator = self.build(node)?;
        if is_shared {
            self.shared.put(node, &operator);
        }
        Ok(operator)
    }

    fn build(&self, node: &Arc<PlanNode>) -> Result<Operator<'e>, EvalError> {
        let grid = node.grid;
        let steps = grid.count;
        match &node.kind {
            PlanKind::Number(_)
            | PlanKind::Time
            | PlanKind::ScalarOf(_)
            | PlanKind::ScalarBinary { .. }
            | PlanKind::ScalarNegate(_)
            | PlanKind::Text(_)
            | PlanKind::RawRange(_) => Err(misplaced(node)),
            PlanKind::StepInvariant(inner) => Ok(Arc::new(Repeated { inner: self.vector(inner)?, steps })),
            PlanKind::Selector { selection, reference, lookback_ms, timestamps } => {
                Ok(Arc::new(InstantSelector {
                    selected: Selected::new(self, *selection)?,
                    grid,
                    reference: *reference,
                    lookback_ms: *lookback_ms,
                    timestamps: *timestamps,
                }))
            }
            PlanKind::VectorOf(scalar) => Ok(Arc::new(self.vector_of_scalar(scalar, grid)?)),
            PlanKind::Map { function, arg, params } => {
                let inner = self.vector(arg)?;
                let params = params.iter().map(|param| self.scalar(param)).collect::<Result<_, _>>()?;
                let ids = self.without_names(&inner)?;
                let map = Arc::new(Map { function: *function, inner, ids, params, grid });
                self.checked(map, grid, Overlap::PerStep)
            }
            PlanKind::Negate(inner) => {
                let inner = self.vector(inner)?;
                let ids = self.without_names(&inner)?;
                self.checked(Arc::new(Negate { inner, ids, steps }), grid, Overlap::Whole)
            }
            PlanKind::VectorScalar { op, vector, scalar, scalar_left, return_bool } => {
                let inner = self.vector(vector)?;
                let scalar = VectorScalar::steps_of(&self.scalar(scalar)?, grid);
                self.memory.hold(scalar.len() * 8)?;
                let drops = changes_metric(*op) || *return_bool;
                let ids =
                    if drops { self.without_names(&inner)? } else { self.counted(inner.series().to_vec())? };
                let operator: Operator<'e> = Arc::new(VectorScalar {
                    op: *op,
                    inner,
                    ids,
                    scalar,
                    scalar_left: *scalar_left,
                    return_bool: *return_bool,
                    grid,
                    position: node.position,
                });
                if drops { self.checked(operator, grid, Overlap::PerStep) } else { Ok(operator) }
            }
            PlanKind::Binary { op, lhs, rhs, matching, return_bool } => {
                let (lhs, rhs) = (self.vector(lhs)?, self.vector(rhs)?);
                if op.is_set() {
                    return self.set_operation(*op, lhs, rhs, matching, grid);
                }
                let operation = Operation {
                    op: *op,
                    matching: matching.clone(),
                    return_bool: *return_bool,
                    grid,
                    position: node.position,
                };
                matched(self, lhs, rhs, operation)
            }
            PlanKind::Aggregate { op, expr, param, grouping, without, positions } => {
                let mut aggregation = Aggregation {
                    op: *op,
                    grouping,
                    without: *without,
                    param: None,
                    grid,
                    expr_position: positions[0],
                    param_position: positions[1],
                    position: node.position,
                };
                if *op == AggregateOp::CountValues {
                    let label = match param.as_ref().map(|param| &param.kind) {
                        Some(PlanKind::Text(label)) => label.as_str(),
                        _ => "",
                    };
                    return self.count_values(&aggregation, label, &self.vector(expr)?);
                }
                if let Some(param) = param {
                    aggregation.param = Some(self.scalar(param)?);
                }
                self.aggregate(&aggregation, &self.vector(expr)?)
            }
            PlanKind::Range { function, source, params, first_arg } => {
                let input = RangeInput::new(self, source)?;
                let params = params.iter().map(|param| self.scalar(param)).collect::<Result<_, _>>()?;
                let keeps_name = *function == RangeFunction::LastOverTime;
                let ids: Vec<SeriesId> = if keeps_name {
                    input.ids().to_vec()
                } else {
                    input.ids().iter().map(|id| id.without_name(self.delayed_name_removal)).collect()
                };
                let ids = self.counted(ids)?;
                let operator: Operator<'e> = Arc::new(RangeVector {
                    function: *function,
                    input,
                    ids,
                    params,
                    grid,
                    range_ms: source.range_ms,
                    reference: source.reference,
                    position: *first_arg,
                });
                if keeps_name { Ok(operator) } else { self.checked(operator, grid, Overlap::Whole) }
            }
            PlanKind::AbsentOverTime { source, labels } => {
                let presence = self.presence(source, grid)?;
                self.absent(&*presence, labels, steps)
            }
            PlanKind::Absent { arg, labels } => self.absent(&*self.vector(arg)?, labels, steps),
            PlanKind::HistogramQuantile { quantile, arg, positions } => {
                let quantiles = self.scalar(quantile)?;
                self.check_quantiles(&quantiles, steps, positions.0);
                let inner = self.vector(arg)?;
                let operator =
                    self.histogram_function(Question::Quantile(quantiles), inner, grid, *positions);
                self.checked(operator, grid, Overlap::PerStep)
            }
            PlanKind::HistogramFraction { lower, upper, arg, positions } => {
                let question = Question::Fraction { lower: self.scalar(lower)?, upper: self.scalar(upper)? };
                let inner = self.vector(arg)?;
                let operator = self.histogram_function(question, inner, grid, *positions);
                self.checked(operator, grid, Overlap::PerStep)
            }
            PlanKind::Relabel { function, arg } => {
                let inner = self.vector(arg)?;
                let mut ids: Vec<SeriesId> = Vec::with_capacity(inner.series().len());
                for (index, id) in inner.series().iter().enumerate() {
                    if index % 64 == 0 {
                        self.check_cancelled()?;
                    }
                    self.memory.check(relabel::most_bytes(function, id))?;
                    let id = relabelled(function, id);
                    self.memory.hold(id.raw_labels().memory_bytes())?;
                    ids.push(id);
                }
                merged(self, inner, ids, grid, Overlap::Whole)
            }
            PlanKind::Sort { arg, descending } => self.sorted(&self.vector(arg)?, *descending, grid),
            PlanKind::SortByLabel { arg, labels, descending } => {
                Ok(Arc::new(Reordered::by_labels(self.vector(arg)?, labels, *descending)))
            }
            PlanKind::Info(plan) => self.info(plan, grid),
        }
    }

    fn without_names(&self, inner: &Operator<'e>) -> Result<Vec<SeriesId>, EvalError> {
        self.counted(inner.series().iter().map(|id| id.without_name(self.delayed_name_removal)).collect())
    }

    /// Counts the memory of identities, whose labels are shared.
    fn counted(&self, ids: Vec<SeriesId>) -> Result<Vec<SeriesId>, EvalError> {
        self.memory.hold(ids.len() * size_of::<SeriesId>())?;
        Ok(ids)
    }

    /// The operator, with series merged whose labels became equal.
    fn checked(
        &self,
        operator: Operator<'e>,
        grid: Grid,
        overlap: Overlap,
    ) -> Result<Operator<'e>, EvalError> {
        if self.delayed_name_removal {
            return Ok(operator);
        }
        let ids = operator.series().to_vec();
        merged(self, operator, ids, grid, overlap)
    }
}
