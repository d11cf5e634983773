//! From the tree to the plan.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry::{Labels, METRIC_NAME};

use super::duration::{resolve_ms, resolve_positive_ms};
use super::invariant::is_step_invariant;
use super::node::{
    Grid, InfoPlan, LabelFunction, PlanKind, PlanNode, RangeInputPlan, RangeSource, Reference, SelectionPlan,
};
use super::statistics::selector_without_buckets;
use super::thinning::Question;
use super::{EvalOptions, Window};
use crate::ast::{
    Aggregate, AggregateOp, At, Binary, DurationExpr, Modifiers, Node, NodeKind, Span, StringLiteral,
    Subquery, ValueType, VectorSelector,
};
use crate::eval::map::MapFunction;
use crate::eval::range::RangeFunction;
use crate::functions::Function;
use crate::matcher::compile_anchored;
use crate::parser::Problem;
use crate::{MatchOp, Matcher, PlanError, Selection};

/// The metric that `info` reads when its selector names none.
const DEFAULT_INFO_METRIC: &str = "target_info";
/// Only texts up to this length (bytes) are compared to find parts that are the same.
const MAX_SHARED_TEXT_BYTES: usize = 2_048;

type Result<T> = std::result::Result<T, PlanError>;

pub(super) struct Planner<'a> {
    options: &'a EvalOptions<'a>,
    window: Window,
    text: &'a str,
    selections: Vec<Selection>,
    known_selections: HashMap<(String, [i64; 4]), usize>,
    known_nodes: HashMap<(String, Grid), Arc<PlanNode>>,
    /// Where the selector begins that reads no buckets.
    without_buckets: Option<u32>,
    /// Steps of all nodes so far.
    points: u64,
}

impl<'a> Planner<'a> {
    pub(super) fn new(options: &'a EvalOptions<'a>, window: Window, text: &'a str) -> Self {
        Self {
            options,
            window,
            text,
            selections: Vec::new(),
            known_selections: HashMap::new(),
            known_nodes: HashMap::new(),
            without_buckets: None,
            points: 0,
        }
    }

    pub(super) fn points(&self) -> u64 {
        self.points
    }

    pub(super) fn into_selections(self) -> Vec<Selection> {
        self.selections
    }

    pub(super) fn root(&mut self, node: &Node, grid: Grid) -> Result<Arc<PlanNode>> {
        self.without_buckets = selector_without_buckets(node);
        let node = node.unwrap_parens();
        if node.value_type() == ValueType::Matrix {
            let source = self.range_source(node, grid, Question::Each)?;
            return Ok(Arc::new(PlanNode {
                kind: PlanKind::RawRange(source),
                grid,
                position: node.span.start,
            }));
        }
        self.node(node, grid)
    }

    fn problem(&self, span: Span, message: impl Into<String>) -> PlanError {
        self.locate(Problem::new(span, message))
    }

    fn locate(&self, problem: Problem) -> PlanError {
        PlanError::Expression(problem.locate(self.text))
    }

    /// The plan of a node; the same plan for a text that was planned at the same steps before.
    fn node(&mut self, node: &Node, grid: Grid) -> Result<Arc<PlanNode>> {
        let node = node.unwrap_parens();
        let literal = matches!(node.kind, NodeKind::Number(_) | NodeKind::String(_));
        let length = (node.span.end - node.span.start) as usize;
        let is_special =
            self.without_buckets.is_some_and(|at| (node.span.start..node.span.end).contains(&at));
        let key =
            (!literal && !is_special && length <= MAX_SHARED_TEXT_BYTES).then(|| (node.to_string(), grid));
        if let Some(known) = key.as_ref().and_then(|key| self.known_nodes.get(key)) {
            return Ok(Arc::clone(known));
        }
        let kind = if grid.count > 1 && !literal && is_step_invariant(node) {
            PlanKind::StepInvariant(self.node(node, grid.first())?)
        } else {
            self.kind(node, grid)?
        };
        self.points = self.points.saturating_add(grid.count as u64);
        let planned = Arc::new(PlanNode { kind, grid, position: node.span.start });
        if let Some(key) = key {
            self.known_nodes.insert(key, Arc::clone(&planned));
        }
        Ok(planned)
    }

    fn kind(&mut self, node: &Node, grid: Grid) -> Result<PlanKind> {
        match &node.kind {
            NodeKind::Number(number) => Ok(PlanKind::Number(number.value)),
            NodeKind::String(text) => Ok(PlanKind::Text(text.to_text())),
            NodeKind::Vector(selector) => self.selector(selector, node.span, grid, false),
            NodeKind::Matrix(_) | NodeKind::Subquery(_) => {
                Err(self.problem(node.span, "a range vector cannot stand here"))
            }
            NodeKind::Paren(inner) => self.kind(inner, grid),
            NodeKind::Unary { negative, expr } => {
                if !negative {
                    return self.kind(expr.unwrap_parens(), grid);
                }
                let inner = self.node(expr, grid)?;
                Ok(match expr.value_type() {
                    ValueType::Scalar => PlanKind::ScalarNegate(inner),
                    _ => PlanKind::Negate(inner),
                })
            }
            NodeKind::Binary(binary) => self.binary(binary, grid),
            NodeKind::Aggregate(aggregate) => self.aggregate(aggregate, node.span, grid),
            NodeKind::Call { function, args } => self.call(function, args, node.span, grid),
        }
    }

    fn selector(
        &mut self,
        selector: &VectorSelector,
        span: Span,
        grid: Grid,
        timestamps: bool,
    ) -> Result<PlanKind> {
        let mut reference = self.reference(&selector.modifiers)?;
        let mut lookback_ms = self.options.lookback_ms;
        if timestamps && reference.at_ms.is_some() {
            // Prometheus 3.5 reads for the offset, and then looks back from the time of `@` itself.
            lookback_ms = lookback_ms.saturating_sub(reference.offset_ms.saturating_abs());
            reference.offset_ms = reference.offset_ms.max(0);
        }
        // A sample that is exactly the look-back old does not count any more.
        let number = self.select(&selector.matchers, grid, reference, lookback_ms, None);
        let selection = self.selection(number, span);
        Ok(PlanKind::Selector { selection, reference, lookback_ms, timestamps })
    }

    fn selection(&self, number: usize, selector: Span) -> SelectionPlan {
        SelectionPlan { number, without_buckets: self.without_buckets == Some(selector.start) }
    }

    /// The number of the selection of what lies up to `window_ms` before the reference times of `grid`; of a range selector also
    /// its width and what is asked.
    fn select(
        &mut self,
        matchers: &[Matcher],
        grid: Grid,
        reference: Reference,
        window_ms: i64,
        range: Option<(i64, Question)>,
    ) -> usize {
        let (range_ms, question) = range.unwrap_or((0, Question::Kept));
        let reading = question.reading(grid, reference, range_ms);
        let first = reference.time_ms(grid.start_ms);
        let last = reference.time_ms(grid.last_ms());
        let start_ms = first.saturating_sub(window_ms).saturating_add(1);
        let step_ms = if grid.count > 1 { grid.step_ms } else { 0 };
        let times = [start_ms, last, step_ms, range_ms];
        let key = (format!("{matchers:?}"), times);
        if let Some(known) = self.known_selections.get(&key) {
            let selection = &mut self.selections[*known];
            selection.reading = selection.reading.and(reading);
            return *known;
        }
        let number = self.selections.len();
        self.selections.push(Selection {
            matchers: matchers.to_vec(),
            start_ms,
            end_ms: last,
            step_ms,
            range_ms,
            reading,
        });
        self.known_selections.insert(key, number);
        number
    }

    fn duration_ms(&self, duration: &DurationExpr, positive: bool) -> Result<i64> {
        if duration.is_calculated() && !self.options.experimental {
            return Err(self.problem(duration.span, "experimental duration expression is not enabled"));
        }
        let resolved = if positive { resolve_positive_ms(duration) } else { resolve_ms(duration) };
        resolved.map_err(|problem| self.locate(problem))
    }

    fn reference(&self, modifiers: &Modifiers) -> Result<Reference> {
        let offset_ms = match &modifiers.offset {
            Some(offset) => self.duration_ms(offset, false)?,
            None => 0,
        };
        let at_ms = modifiers.at.map(|at| match at {
            At::Timestamp(ms) => ms,
            At::Start => self.window.start_ms,
            At::End => self.window.end_ms,
        });
        Ok(Reference { at_ms, offset_ms })
    }

    fn range_source(&mut self, node: &Node, grid: Grid, question: Question) -> Result<RangeSource> {
        let node = node.unwrap_parens();
        match &node.kind {
            NodeKind::Matrix(matrix) => {
                let range_ms = self.duration_ms(&matrix.range, true)?;
                let reference = self.reference(&matrix.selector.modifiers)?;
                let range = Some((range_ms, question));
                let number = self.select(&matrix.selector.matchers, grid, reference, range_ms, range);
                let input = RangeInputPlan::Selection(self.selection(number, node.span));
                Ok(RangeSource { input, range_ms, reference, position: node.span.start })
            }
            NodeKind::Subquery(subquery) => self.subquery(subquery, node.span, grid),
            _ => Err(self.problem(node.span, "a range vector is needed here")),
        }
    }

    fn subquery(&mut self, subquery: &Subquery, span: Span, grid: Grid) -> Result<RangeSource> {
        let range_ms = self.duration_ms(&subquery.range, true)?;
        let step_ms = match &subquery.step {
            Some(step) => self.duration_ms(step, true)?,
            None => self.options.default_subquery_step_ms.max(1),
        };
        let reference = self.reference(&subquery.modifiers)?;
        let before = reference.time_ms(grid.start_ms).saturating_sub(range_ms);
        // The first multiple of the step after the window's open start. Division cuts towards zero, as in Prometheus.
        let mut start_ms = step_ms.saturating_mul(before / step_ms);
        if start_ms <= before {
            start_ms = start_ms.saturating_add(step_ms);
        }
        // With `@`, too, the steps of the subquery go on for as long as those of the query, although none looks there.
        let end_ms = reference.time_ms(grid.start_ms).saturating_add(grid.last_ms() - grid.start_ms);
        let inner_grid = Grid::between(start_ms, end_ms, step_ms, self.options.limits.max_steps)?;
        let inner = self.node(&subquery.expr, inner_grid)?;
        Ok(RangeSource { input: RangeInputPlan::Subquery(inner), range_ms, reference, position: span.start })
    }

    fn binary(&mut self, binary: &Binary, grid: Grid) -> Result<PlanKind> {
        let lhs = self.node(&binary.lhs, grid)?;
        let rhs = self.node(&binary.rhs, grid)?;
        let (op, return_bool) = (binary.op, binary.return_bool);
        let scalar = |node: &Node| node.value_type() == ValueType::Scalar;
        Ok(match (scalar(&binary.lhs), scalar(&binary.rhs), &binary.matching) {
            (true, true, _) => PlanKind::ScalarBinary { op, lhs, rhs },
            (true, false, _) => {
                PlanKind::VectorScalar { op, vector: rhs, scalar: lhs, scalar_left: true, return_bool }
            }
            (false, true, _) => {
                PlanKind::VectorScalar { op, vector: lhs, scalar: rhs, scalar_left: false, return_bool }
            }
            (false, false, Some(matching)) => {
                PlanKind::Binary { op, lhs, rhs, matching: matching.clone(), return_bool }
            }
            (false, false, None) => {
                return Err(self.problem(binary.lhs.span, "two vectors need a matching"));
            }
        })
    }

    fn aggregate(&mut self, aggregate: &Aggregate, span: Span, grid: Grid) -> Result<PlanKind> {
        let op = aggregate.op;
        if op.is_experimental() && !self.options.experimental {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            return Err(self.problem(span, message));
        }
        if op == AggregateOp::CountValues
            && let Some(NodeKind::String(label)) =
                aggregate.param.as_ref().map(|param| &param.unwrap_parens().kind)
            && label.as_str().is_none_or(str::is_empty)
        {
            return Err(PlanError::Request(format!("invalid label name {label}")));
        }
        let param = match &aggregate.param {
            Some(param) => Some(self.node(param, grid)?),
            None => None,
        };
        let mut grouping = aggregate.grouping.clone();
        grouping.sort_unstable();
        grouping.dedup();
        let expr = self.node(&aggregate.expr, grid)?;
        let param_position = aggregate.param.as_ref().map_or(0, start_of);
        // Here parentheses count, unlike around arguments of functions.
        let positions = [aggregate.expr.span.start, param_position];
        Ok(PlanKind::Aggregate { op, expr, param, grouping, without: aggregate.without, positions })
    }

    fn call(&mut self, function: &Function, args: &[Node], span: Span, grid: Grid) -> Result<PlanKind> {
        if function.experimental && !self.options.experimental {
            let message = format!("function {} is not enabled", crate::quote(function.name));
            return Err(self.problem(span, message));
        }
        if let Some(range_function) = RangeFunction::from_name(function.name) {
            return self.range_call(range_function, args, grid);
        }
        if let Some(map_function) = MapFunction::from_name(function.name) {
            return self.map_call(map_function, args, span, grid);
        }
        let literal = |index: usize| match args.get(index).map(|arg| &arg.unwrap_parens().kind) {
            Some(NodeKind::String(text)) => Some(text),
            _ => None,
        };
        let text = |index: usize| literal(index).map(StringLiteral::to_text).unwrap_or_default();
        let label = |index: usize, what: &str| match literal(index).map(|text| (text.as_str(), text)) {
            Some((Some(name), _)) if !name.is_empty() => Ok(name.to_owned()),
            Some((_, name)) => Err(PlanError::Request(format!("invalid {what}: {name}"))),
            None => Ok(String::new()),
        };
        let arg = |planner: &mut Self, index: usize| planner.node(&args[index], grid);
        Ok(match function.name {
            "time" => PlanKind::Time,
            "pi" => PlanKind::Number(std::f64::consts::PI),
            "scalar" => PlanKind::ScalarOf(arg(self, 0)?),
            "vector" => PlanKind::VectorOf(arg(self, 0)?),
            "absent" => PlanKind::Absent { labels: labels_of_absent(&args[0]), arg: arg(self, 0)? },
            "absent_over_time" => PlanKind::AbsentOverTime {
                labels: labels_of_absent(&args[0]),
                source: self.range_source(&args[0], grid, Question::Kept)?,
            },
            "histogram_quantile" => PlanKind::HistogramQuantile {
                quantile: arg(self, 0)?,
                arg: arg(self, 1)?,
                positions: (start_of(&args[0]), start_of(&args[1])),
            },
            "histogram_fraction" => PlanKind::HistogramFraction {
                lower: arg(self, 0)?,
                upper: arg(self, 1)?,
                arg: arg(self, 2)?,
                positions: (start_of(&args[0]), start_of(&args[2])),
            },
            "sort" => PlanKind::Sort { arg: arg(self, 0)?, descending: false },
            "sort_desc" => PlanKind::Sort { arg: arg(self, 0)?, descending: true },
            "sort_by_label" | "sort_by_label_desc" => PlanKind::SortByLabel {
                arg: arg(self, 0)?,
                labels: (1..args.len()).map(text).collect(),
                descending: function.name.ends_with("_desc"),
            },
            "label_replace" => {
                let regex = compile_anchored(&text(4)).map_err(|_| {
                    let message = format!("invalid regular expression in label_replace(): {}", text(4));
                    PlanError::Request(message)
                })?;
                let destination = label(1, "destination label name in label_replace()")?;
                let function =
                    LabelFunction::Replace { destination, replacement: text(2), source: text(3), regex };
                PlanKind::Relabel { function, arg: arg(self, 0)? }
            }
            "label_join" => {
                let destination = label(1, "destination label name in label_join()")?;
                let sources = (3..args.len())
                    .map(|index| label(index, "source label name in label_join()"))
                    .collect::<Result<Vec<String>>>()?;
                let function = LabelFunction::Join { destination, separator: text(2), sources };
                PlanKind::Relabel { function, arg: arg(self, 0)? }
            }
            "info" => self.info(args, grid)?,
            other => {
                return Err(self.problem(span, format!("function {} has no evaluation", crate::quote(other))));
            }
        })
    }

    fn range_call(&mut self, function: RangeFunction, args: &[Node], grid: Grid) -> Result<PlanKind> {
        let mut source = None;
        let mut params = Vec::new();
        for arg in args {
            if arg.value_type() == ValueType::Matrix {
                source = Some(self.range_source(arg, grid, Question::of(function))?);
            } else {
                params.push(self.node(arg, grid)?);
            }
        }
        // Prometheus forgets where a subquery stands when it becomes a range.
        let first_arg = match args.first().map(Node::unwrap_parens) {
            Some(Node { kind: NodeKind::Subquery(_), .. }) | None => 0,
            Some(arg) => arg.span.start,
        };
        match source {
            Some(source) => Ok(PlanKind::Range { function, source, params, first_arg }),
            None => Err(self.problem(Span::default(), "a range vector is needed here")),
        }
    }

    fn map_call(&mut self, function: MapFunction, args: &[Node], span: Span, grid: Grid) -> Result<PlanKind> {
        let Some(first) = args.first() else {
            // Functions of dates are about the step's own time when they have no argument.
            let time = Arc::new(PlanNode { kind: PlanKind::Time, grid, position: span.start });
            let arg = Arc::new(PlanNode { kind: PlanKind::VectorOf(time), grid, position: span.start });
            return Ok(PlanKind::Map { function, arg, params: Vec::new() });
        };
        if function == MapFunction::Timestamp
            && let NodeKind::Vector(selector) = &first.unwrap_parens().kind
        {
            let kind = self.selector(selector, first.unwrap_parens().span, grid, true)?;
            let arg = Arc::new(PlanNode { kind, grid, position: first.span.start });
            return Ok(PlanKind::Map { function: MapFunction::Identity, arg, params: Vec::new() });
        }
        let arg = self.node(first, grid)?;
        let params = args[1..].iter().map(|param| self.node(param, grid)).collect::<Result<_>>()?;
        Ok(PlanKind::Map { function, arg, params })
    }

    fn info(&mut self, args: &[Node], grid: Grid) -> Result<PlanKind> {
        let arg = self.node(&args[0], grid)?;
        let mut matchers = Vec::new();
        if let Some(NodeKind::Vector(selector)) = args.get(1).map(|arg| &arg.unwrap_parens().kind) {
            matchers.clone_from(&selector.matchers);
        }
        let (mut name_matchers, data_matchers): (Vec<Matcher>, Vec<Matcher>) =
            matchers.into_iter().partition(|matcher| matcher.name() == METRIC_NAME);
        let mut selected = name_matchers.clone();
        if selected.is_empty() {
            selected.push(Matcher::equal(METRIC_NAME, DEFAULT_INFO_METRIC));
            if args.len() == 1 {
                name_matchers.clone_from(&selected);
            }
        }
        selected.extend(data_matchers.iter().cloned());
        let lookback_ms = self.options.lookback_ms;
        let reference = Reference { at_ms: None, offset_ms: 0 };
        let number = self.select(&selected, grid, reference, lookback_ms, None);
        let selection = SelectionPlan { number, without_buckets: false };
        Ok(PlanKind::Info(InfoPlan { arg, selection, lookback_ms, data_matchers, name_matchers }))
    }
}

/// Where a node stands in the text, parentheses around it left out.
fn start_of(node: &Node) -> u32 {
    node.unwrap_parens().span.start
}

/// The labels of what `absent` answers: those that the selector fixes to one value.
fn labels_of_absent(arg: &Node) -> Labels {
    let matchers = match &arg.unwrap_parens().kind {
        NodeKind::Vector(selector) => &selector.matchers,
        NodeKind::Matrix(matrix) => &matrix.selector.matchers,
        _ => return Labels::empty(),
    };
    // A label whose first `=` comes last keeps that value; any matcher after the first `=` makes it unknown.
    struct Fixed<'a> {
        name: &'a str,
        value: Option<&'a str>,
        had_equal: bool,
    }
    let mut fixed: Vec<Fixed<'_>> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        let at = fixed.iter().position(|label| label.name == matcher.name()).unwrap_or_else(|| {
            fixed.push(Fixed { name: matcher.name(), value: None, had_equal: false });
            fixed.len() - 1
        });
        let label = &mut fixed[at];
        let first_equal = matcher.op() == MatchOp::Equal && !label.had_equal;
        label.value = first_equal.then(|| matcher.value());
        label.had_equal |= first_equal;
    }
    let pairs = fixed.into_iter().filter_map(|label| Some((label.name, label.value?)));
    Labels::from_pairs(pairs).unwrap_or_default()
}
