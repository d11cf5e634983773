//! From an expression and a window to what will be selected and computed.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::ast::ValueType;
use crate::{Expr, Limits, PlanError, Selection, stack};

/// The times at which a query is evaluated: `start_ms`, `start_ms + step_ms`, … up to `end_ms`, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// First step (ms since the Unix epoch).
    pub start_ms: i64,
    /// No step is later (ms).
    pub end_ms: i64,
    /// Distance of steps (ms); 0 makes it an instant query, with `start_ms` equal to `end_ms`.
    pub step_ms: i64,
}

impl Window {
    /// An instant query.
    #[must_use]
    pub const fn instant(at_ms: i64) -> Self {
        Self { start_ms: at_ms, end_ms: at_ms, step_ms: 0 }
    }

    /// Whether it is an instant query.
    #[must_use]
    pub const fn is_instant(&self) -> bool {
        self.step_ms == 0
    }
}

/// How to evaluate.
pub struct EvalOptions<'a> {
    /// How far an instant selector looks back (ms). Default: 5 minutes.
    pub lookback_ms: i64,
    /// Step (ms) of subqueries that name none; Prometheus uses its evaluation interval. Default: 1 minute.
    pub default_subquery_step_ms: i64,
    /// Bounds.
    pub limits: Limits,
    /// Whether experimental functions, aggregations and duration expressions are allowed. Default: no.
    pub experimental: bool,
    /// Whether `__name__` is removed at the end only. Default: no, as in Prometheus 3.5.
    pub delayed_name_removal: bool,
    /// Whether to count the samples of each step, for [`crate::QueryOutput::samples_per_step`]. Default: no.
    pub count_per_step: bool,
    /// At most so many threads work on the query, the caller's included. Default: 1.
    pub threads: NonZeroUsize,
    /// Asked now and then, from any of the threads; once it says yes, evaluation ends with [`crate::EvalError::Cancelled`].
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Default for EvalOptions<'_> {
    fn default() -> Self {
        Self {
            lookback_ms: 5 * 60 * 1_000,
            default_subquery_step_ms: 60 * 1_000,
            limits: Limits::default(),
            experimental: false,
            delayed_name_removal: false,
            count_per_step: false,
            threads: NonZeroUsize::MIN,
            cancelled: &|| false,
        }
    }
}

impl std::fmt::Debug for EvalOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvalOptions")
            .field("lookback_ms", &self.lookback_ms)
            .field("default_subquery_step_ms", &self.default_subquery_step_ms)
            .field("limits", &self.limits)
            .field("experimental", &self.experimental)
            .field("delayed_name_removal", &self.delayed_name_removal)
            .field("count_per_step", &self.count_per_step)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A query that is ready to be evaluated, any number of times.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) root: Arc<PlanNode>,
    pub(crate) window: Window,
    pub(crate) text: Arc<str>,
    pub(crate) depth: usize,
    selections: Vec<Selection>,
    points: u64,
}

impl Plan {
    /// Everything that evaluation will select, each selection once.
    #[must_use]
    pub fn selections(&self) -> &[Selection] {
        &self.selections
    }

    /// Steps of all parts of the expression together, those of subqueries included: what evaluation goes through however few
    /// series are selected.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points
    }
}

/// Makes a plan: resolves durations and `@`, finds all selections, checks what can be checked without data.
///
/// # Errors
/// [`PlanError`]; the request has to change.
pub fn plan(expr: &Expr, window: Window, options: &EvalOptions<'_>) -> Result<Plan, PlanError> {
    let grid = Grid::of_window(&window, options.limits.max_steps)?;
    let value_type = expr.value_type();
    if !window.is_instant() && !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
        return Err(PlanError::Request(format!(
            "invalid expression type {} for range query, must be Scalar or instant Vector",
            crate::quote(value_type.documented())
        )));
    }
    let depth = expr.depth();
    let planned = stack::with_room(depth, || {
        let mut planner = Planner::new(options, window, expr.text());
        let root = planner.root(expr.root(), grid)?;
        let points = planner.points();
        Ok((root, planner.into_selections(), points))
    });
    let no_thread =
        |_| Err(PlanError::Request("there is no thread for so deep an expression now".to_owned()));
    let (root, selections, points) = planned.unwrap_or_else(no_thread)?;
    Ok(Plan { root, window, text: expr.text().into(), depth, selections, points })
}

mod duration;
mod invariant;
mod node;
mod planner;
mod statistics;
mod thinning;

pub(crate) use node::{
    Grid, InfoPlan, LabelFunction, PlanKind, PlanNode, RangeInputPlan, RangeSource, Reference, SelectionPlan,
};
use planner::Planner;
