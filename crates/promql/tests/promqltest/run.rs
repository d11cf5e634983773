//! Runs the commands of a script.

use std::num::NonZeroUsize;

use promql::ast::{At, Node, NodeKind};
use promql::{EvalOptions, QueryOutput, Sample, ScalarSample, Value, VectorSample, Window};

use crate::compare;
use crate::known_failures::KnownFailures;
use crate::script::{Command, Eval, EvalWindow, Expected, ExpectedResult};
use crate::store::Store;

#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) cases: usize,
    pub(crate) known_failures: usize,
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    pub(crate) problems: Vec<String>,
}

pub(crate) fn run(file: &str, commands: &[Command], known: &KnownFailures) -> Outcome {
    let mut store = Store::default();
    let mut outcome = Outcome::default();
    let mut lines = Vec::new();
    for command in commands {
        match command {
            Command::Clear => store.clear(),
            Command::Load { step_ms, with_nhcb, series } => store.load(*step_ms, *with_nhcb, series),
            Command::Eval(eval) => {
                outcome.totals.cases += 1;
                lines.push(eval.line);
                let listed = known.contains(file, eval.line);
                match check(eval, &store) {
                    Err(_) if listed => outcome.totals.known_failures += 1,
                    Err(problem) => {
                        outcome.problems.push(format!("{file}:{}: {}: {problem}", eval.line, eval.expr))
                    }
                    Ok(()) if listed => outcome
                        .problems
                        .push(format!("{file}:{}: passes, but is listed in known_failures.txt", eval.line)),
                    Ok(()) => {}
                }
            }
        }
    }
    for line in known.lines_of(file) {
        if !lines.contains(&line) {
            outcome.problems.push(format!("{file}:{line} is listed in known_failures.txt but is no case"));
        }
    }
    outcome
}

/// The settings of Prometheus's own test engine.
fn options() -> EvalOptions<'static> {
    EvalOptions {
        experimental: true,
        delayed_name_removal: true,
        default_subquery_step_ms: 60_000,
        threads: NonZeroUsize::new(2).unwrap(),
        ..EvalOptions::default()
    }
}

fn query(expr: &str, window: Window, store: &Store) -> Result<QueryOutput, String> {
    let expr = promql::parse(expr).map_err(|error| error.to_string())?;
    let plan = promql::plan(&expr, window, &options()).map_err(|error| error.to_string())?;
    promql::evaluate(&plan, store, &options()).map_err(|error| error.to_string())
}

fn check(eval: &Eval, store: &Store) -> Result<(), String> {
    match eval.window {
        EvalWindow::Range { start_ms, end_ms, step_ms } => {
            let output = query(&eval.expr, Window { start_ms, end_ms, step_ms }, store);
            check_outcome(eval, output).map(|_| ())
        }
        EvalWindow::Instant { at_ms } => {
            check_instant(eval, &eval.expr, at_ms, store)?;
            for (expr, at_ms) in with_at_modifiers(&eval.expr, at_ms) {
                check_instant(eval, &expr, at_ms, store)
                    .map_err(|problem| format!("as {expr} at {at_ms} ms: {problem}"))?;
            }
            Ok(())
        }
    }
}

/// Checks the result itself; returns it where there is one.
fn check_outcome(eval: &Eval, output: Result<QueryOutput, String>) -> Result<Option<QueryOutput>, String> {
    let output = match output {
        Err(error) if eval.fail => {
            return match &eval.failure {
                Some(expected) if !expected.matches(&error) => {
                    Err(format!("expected error {expected}, got {error}"))
                }
                _ => Ok(None),
            };
        }
        Err(error) => return Err(error),
        Ok(output) if eval.fail => return Err(format!("expected an error, got {:?}", output.value)),
        Ok(output) => output,
    };
    check_annotations(eval, &output)?;
    compare::check(eval, &output.value)?;
    Ok(Some(output))
}

fn check_annotations(eval: &Eval, output: &QueryOutput) -> Result<(), String> {
    let kinds: [(&[promql::Annotation], &[Expected], bool, bool); 2] = [
        (&output.warnings, &eval.warnings, eval.warn, eval.no_warn),
        (&output.infos, &eval.infos, eval.info, eval.no_info),
    ];
    for (found, expected, some, none) in kinds {
        let texts: Vec<&str> = found.iter().map(|annotation| annotation.message.as_str()).collect();
        if some && texts.is_empty() {
            return Err("an annotation is missing".to_owned());
        }
        if none && !texts.is_empty() {
            return Err(format!("unexpected annotations {texts:?}"));
        }
        if expected.is_empty() {
            continue;
        }
        if let Some(missing) = expected.iter().find(|e| !texts.iter().any(|text| e.matches(text))) {
            return Err(format!("annotation {missing} is missing, there are {texts:?}"));
        }
        if let Some(extra) = texts.iter().find(|text| !expected.iter().any(|e| e.matches(text))) {
            return Err(format!("unexpected annotation {extra}"));
        }
    }
    Ok(())
}

/// Checks an instant query, and then the middle of a range query around it.
fn check_instant(eval: &Eval, expr: &str, at_ms: i64, store: &Store) -> Result<(), String> {
    let Some(output) = check_outcome(eval, query(expr, Window::instant(at_ms), store))? else {
        return Ok(());
    };
    if eval.range_vector.is_some() || matches!(eval.result, ExpectedResult::String(_)) {
        return Ok(());
    }
    let window = Window { start_ms: at_ms - 60_000, end_ms: at_ms + 60_000, step_ms: 60_000 };
    let range = query(expr, window, store).map_err(|error| format!("as a range query: {error}"))?;
    if eval.ordered {
        return Ok(());
    }
    let Value::Matrix(matrix) = range.value else { return Err("a range query without a matrix".to_owned()) };
    let mut vector = Vec::new();
    for series in matrix {
        let float =
            series.floats.iter().find(|(time, _)| *time == at_ms).map(|(_, value)| Sample::Float(*value));
        let histogram = series.histograms.iter().find(|(time, _)| *time == at_ms);
        let histogram = histogram.map(|(_, histogram)| Sample::Histogram(histogram.clone()));
        for sample in float.into_iter().chain(histogram) {
            vector.push(VectorSample { labels: series.labels.clone(), timestamp_ms: at_ms, sample });
        }
    }
    let value = match (&output.value, vector.first().map(|sample| &sample.sample)) {
        (Value::Scalar(_), Some(Sample::Float(value))) => {
            Value::Scalar(ScalarSample { timestamp_ms: at_ms, value: *value })
        }
        _ => Value::Vector(vector),
    };
    compare::check(eval, &value).map_err(|problem| format!("as a range query: {problem}"))
}

/// The query with its time pinned by `@`, to be evaluated at other times with the same result.
fn with_at_modifiers(expr: &str, at_ms: i64) -> Vec<(String, i64)> {
    let Ok(parsed) = promql::parse(expr) else { return Vec::new() };
    if depends_on_time(parsed.root()) {
        return Vec::new();
    }
    let mut root = parsed.root().clone();
    pin(&mut root, at_ms);
    let text = root.to_string();
    let times =
        if at_ms == 0 { vec![-1_000, 0, 1_000] } else { vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] };
    times.into_iter().map(|time| (text.clone(), time)).collect()
}

fn depends_on_time(node: &Node) -> bool {
    const TIME_DEPENDENT: [&str; 11] = [
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "hour",
        "minute",
        "month",
        "predict_linear",
        "time",
        "timestamp",
        "year",
    ];
    let here =
        matches!(&node.kind, NodeKind::Call { function, .. } if TIME_DEPENDENT.contains(&function.name));
    here || node.children().into_iter().any(depends_on_time)
}

/// Pins selectors and subqueries that have no `@`; what is inside a subquery follows it.
fn pin(node: &mut Node, at_ms: i64) {
    let at = Some(At::Timestamp(at_ms));
    match &mut node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => {}
        NodeKind::Vector(selector) => selector.modifiers.at = selector.modifiers.at.or(at),
        NodeKind::Matrix(matrix) => matrix.selector.modifiers.at = matrix.selector.modifiers.at.or(at),
        NodeKind::Subquery(subquery) => subquery.modifiers.at = subquery.modifiers.at.or(at),
        NodeKind::Call { args, .. } => args.iter_mut().for_each(|arg| pin(arg, at_ms)),
        NodeKind::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                pin(param, at_ms);
            }
            pin(&mut aggregate.expr, at_ms);
        }
        NodeKind::Binary(binary) => {
            pin(&mut binary.lhs, at_ms);
            pin(&mut binary.rhs, at_ms);
        }
        NodeKind::Unary { expr, .. } | NodeKind::Paren(expr) => pin(expr, at_ms),
    }
}
