//! Runs the commands of a script.

use promql::Window;
use promql::ast::{At, Node, NodeKind};

use crate::answer::{Answer, Sample, Value};
use crate::compare;
use crate::engine::Engine;
use crate::known_failures::KnownFailures;
use crate::script::{Command, Eval, EvalWindow, Expected, ExpectedResult};

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

pub(crate) fn run(
    file: &str,
    commands: &[Command],
    engine: &mut dyn Engine,
    known: &KnownFailures,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut lines = Vec::new();
    for command in commands {
        let (line, result) = match command {
            Command::Clear => {
                engine.clear();
                continue;
            }
            Command::Load { line, series } => {
                (*line, engine.load(series).map_err(|problem| format!("load: {problem}")))
            }
            Command::Eval(eval) => {
                outcome.totals.cases += 1;
                (eval.line, check(eval, engine).map_err(|problem| format!("{}: {problem}", eval.expr)))
            }
        };
        lines.push(line);
        match (result, known.contains(file, line)) {
            (Err(_), true) => outcome.totals.known_failures += 1,
            (Err(problem), false) => outcome.problems.push(format!("{file}:{line}: {problem}")),
            (Ok(()), true) => {
                outcome.problems.push(format!("{file}:{line}: passes, but is listed as a known failure"));
            }
            (Ok(()), false) => {}
        }
    }
    for line in known.lines_of(file) {
        if !lines.contains(&line) {
            outcome.problems.push(format!("{file}:{line} is listed as a known failure but is no case"));
        }
    }
    outcome
}

fn check(eval: &Eval, engine: &mut dyn Engine) -> Result<(), String> {
    match eval.window {
        EvalWindow::Range { start_ms, end_ms, step_ms } => {
            let answer = engine.query(&eval.expr, Window { start_ms, end_ms, step_ms });
            check_outcome(eval, answer).map(|_| ())
        }
        EvalWindow::Instant { at_ms } => {
            check_instant(eval, &eval.expr, at_ms, engine)?;
            for (expr, at_ms) in with_at_modifiers(&eval.expr, at_ms) {
                check_instant(eval, &expr, at_ms, engine)
                    .map_err(|problem| format!("as {expr} at {at_ms} ms: {problem}"))?;
            }
            Ok(())
        }
    }
}

/// Checks the result itself; returns it where there is one.
fn check_outcome(eval: &Eval, answer: Result<Answer, String>) -> Result<Option<Answer>, String> {
    let answer = match answer {
        Err(error) if eval.fail => {
            return match &eval.failure {
                Some(expected) if !expected.matches(&error) => {
                    Err(format!("expected error {expected}, got {error}"))
                }
                _ => Ok(None),
            };
        }
        Err(error) => return Err(error),
        Ok(answer) if eval.fail => return Err(format!("expected an error, got {:?}", answer.value)),
        Ok(answer) => answer,
    };
    check_annotations(eval, &answer)?;
    compare::check(eval, &answer.value)?;
    Ok(Some(answer))
}

fn check_annotations(eval: &Eval, answer: &Answer) -> Result<(), String> {
    let kinds: [(&[String], &[Expected], bool, bool); 2] = [
        (&answer.warnings, &eval.warnings, eval.warn, eval.no_warn),
        (&answer.infos, &eval.infos, eval.info, eval.no_info),
    ];
    for (texts, expected, some, none) in kinds {
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
fn check_instant(eval: &Eval, expr: &str, at_ms: i64, engine: &mut dyn Engine) -> Result<(), String> {
    let Some(answer) = check_outcome(eval, engine.query(expr, Window::instant(at_ms)))? else {
        return Ok(());
    };
    if eval.range_vector.is_some() || matches!(eval.result, ExpectedResult::String(_)) {
        return Ok(());
    }
    let window = Window { start_ms: at_ms - 60_000, end_ms: at_ms + 60_000, step_ms: 60_000 };
    let range = engine.query(expr, window).map_err(|error| format!("as a range query: {error}"))?;
    if eval.ordered {
        return Ok(());
    }
    let Value::Matrix(matrix) = range.value else { return Err("a range query without a matrix".to_owned()) };
    let mut vector = Vec::new();
    for series in matrix {
        let now = series.points.into_iter().filter(|(time, _)| *time == at_ms);
        vector.extend(now.map(|(_, sample)| (series.labels.clone(), sample)));
    }
    let value = match (&answer.value, vector.first()) {
        (Value::Scalar(_), Some((_, Sample::Float(value)))) => Value::Scalar(*value),
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

#[cfg(test)]
mod tests {
    use promql::SeriesSamples;
    use telemetry::Labels;

    use super::*;
    use crate::script;

    /// Answers 1 to whatever is asked, and takes no samples.
    struct One;

    impl Engine for One {
        fn clear(&mut self) {}

        fn load(&mut self, _series: &[(Labels, SeriesSamples)]) -> Result<(), String> {
            Err("no room".to_owned())
        }

        fn query(&mut self, _expr: &str, window: Window) -> Result<Answer, String> {
            let value = if window.is_instant() { Value::Scalar(1.0) } else { Value::Matrix(Vec::new()) };
            Ok(Answer { value, warnings: vec!["mind the gap".to_owned()], infos: Vec::new() })
        }
    }

    const SCRIPT: &str = "
load 5m
  metric 1 2 3

eval instant at 0 1
  expect ordered
  expect warn msg: mind the gap
  1

eval instant at 0 2
  2

eval instant at 0 3
  expect no_warn
  expect ordered
  1

eval instant at 0 4
  expect fail

eval range from 0 to 5m step 5m 5
";

    fn outcome(known_failures: &str) -> Outcome {
        run("a.test", &script::parse(SCRIPT).unwrap(), &mut One, &KnownFailures::parse(known_failures))
    }

    #[test]
    fn what_differs_is_a_problem() {
        let outcome = outcome("");
        assert_eq!(outcome.totals.cases, 5);
        let starts = outcome.problems.iter().map(|problem| problem.split(", got").next().unwrap());
        assert_eq!(
            starts.collect::<Vec<_>>(),
            [
                "a.test:2: load: no room",
                "a.test:10: 2: expected scalar 2",
                "a.test:13: 3: unexpected annotations [\"mind the gap\"]",
                "a.test:18: 4: expected an error",
            ]
        );
    }

    #[test]
    fn the_list_of_known_failures_holds_what_fails_and_nothing_else() {
        let rest = "a.test:10: x\na.test:13: x\na.test:18: x";
        let complete = outcome(&format!("# why\na.test:2: full\n{rest}"));
        assert!(complete.problems.is_empty(), "{:?}", complete.problems);
        assert_eq!(complete.totals.known_failures, 4);
        let wrong = outcome(&format!("a.test:2: full\na.test:5: x\na.test:6: x\n{rest}"));
        assert_eq!(
            wrong.problems,
            [
                "a.test:5: passes, but is listed as a known failure",
                "a.test:6 is listed as a known failure but is no case"
            ]
        );
    }
}
