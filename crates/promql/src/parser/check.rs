//! The type checker: what may stand where, in Prometheus's order and words.

use telemetry::METRIC_NAME;

use super::{Problem, Result};
use crate::ast::{
    Aggregate, AggregateOp, Binary, Cardinality, Node, NodeKind, Span, ValueType, VectorSelector,
};
use crate::functions::Function;

/// Checks `node` and all below it. `any_matchers` lets a selector without a non-empty matcher pass.
pub(super) fn check(node: &Node, any_matchers: bool) -> Result<ValueType> {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => {}
        NodeKind::Vector(selector) => selector_is_specific(selector, node.span, any_matchers)?,
        NodeKind::Matrix(matrix) => selector_is_specific(&matrix.selector, matrix.selector_span, false)?,
        NodeKind::Paren(inner) => {
            check(inner, false)?;
        }
        NodeKind::Unary { expr, .. } => {
            let found = check(expr, false)?;
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                return Err(Problem::new(
                    node.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        crate::quote(found.documented())
                    ),
                ));
            }
        }
        NodeKind::Subquery(subquery) => {
            let found = check(&subquery.expr, false)?;
            if found != ValueType::Vector {
                let message =
                    format!("subquery is only allowed on instant vector, got {} instead", found.as_str());
                return Err(Problem::new(node.span, message));
            }
        }
        NodeKind::Aggregate(aggregate) => check_aggregate(aggregate)?,
        NodeKind::Call { function, args } => check_call(function, args, node.span)?,
        NodeKind::Binary(binary) => check_binary(binary, node.span)?,
    }
    Ok(node.value_type())
}

fn expect(node: &Node, wanted: ValueType, context: &str) -> Result<()> {
    let found = check(node, false)?;
    if found == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {context}, got {}", wanted.documented(), found.documented());
    Err(Problem::new(node.span, message))
}

fn selector_is_specific(selector: &VectorSelector, span: Span, any_matchers: bool) -> Result<()> {
    if let Some(name) = &selector.name {
        let others = &selector.matchers[..selector.matchers.len() - 1];
        if let Some(other) = others.iter().find(|matcher| matcher.name() == METRIC_NAME) {
            let message = format!(
                "metric name must not be set twice: {} or {}",
                crate::quote(name),
                crate::quote(other.value())
            );
            return Err(Problem::new(span, message));
        }
        return Ok(());
    }
    if !any_matchers && selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
        return Err(Problem::new(span, "vector selector must contain at least one non-empty matcher"));
    }
    Ok(())
}

fn check_aggregate(aggregate: &Aggregate) -> Result<()> {
    expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
    if let Some(param) = &aggregate.param {
        let wanted =
            if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        expect(param, wanted, "aggregation parameter")?;
    }
    Ok(())
}

fn check_call(function: &'static Function, args: &[Node], span: Span) -> Result<()> {
    let name = crate::quote(function.name);
    let (types, count) = (function.args.len(), args.len());
    if function.variadic == 0 {
        if types != count {
            let message = format!("expected {types} argument(s) in call to {name}, got {count}");
            return Err(Problem::new(span, message));
        }
    } else {
        let least = types - 1;
        if least > count {
            let message = format!("expected at least {least} argument(s) in call to {name}, got {count}");
            return Err(Problem::new(span, message));
        }
        let most = least + usize::try_from(function.variadic).unwrap_or(usize::MAX - least);
        if count > most {
            let message = format!("expected at most {most} argument(s) in call to {name}, got {count}");
            return Err(Problem::new(span, message));
        }
    }
    let is_info = function.name == "info";
    if is_info && let Some(selector) = args.get(1) {
        let found = selector.value_type();
        if found != ValueType::Vector {
            let message = format!(
                "expected type instant vector in call to function \"info\", got {}",
                found.documented()
            );
            return Err(Problem::new(span, message));
        }
        match &selector.kind {
            NodeKind::Vector(vector) if vector.name.is_some() => {
                let message = "expected label selectors only, got vector selector instead";
                return Err(Problem::new(selector.span, message));
            }
            NodeKind::Vector(_) => {}
            _ => return Err(Problem::new(selector.span, "expected label selectors only")),
        }
    }
    for (index, arg) in args.iter().enumerate() {
        let wanted = function.args[index.min(types - 1)];
        let found = check(arg, is_info && index == 1)?;
        if found != wanted {
            let message = format!(
                "expected type {} in call to function {name}, got {}",
                wanted.documented(),
                found.documented()
            );
            return Err(Problem::new(arg.span, message));
        }
    }
    Ok(())
}

fn check_binary(binary: &Binary, span: Span) -> Result<()> {
    let left = check(&binary.lhs, false)?;
    let right = check(&binary.rhs, false)?;
    let op_span = Span { start: binary.lhs.span.end, end: binary.rhs.span.start };
    // The operator and its modifiers stand after the blanks behind the left operand; one is usual.
    let op_span = Span { start: (op_span.start + 1).min(op_span.end), end: op_span.end };
    if binary.return_bool && !binary.op.is_comparison() {
        return Err(Problem::new(op_span, "bool modifier can only be used on comparison operators"));
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if binary.op.is_comparison() && !binary.return_bool && scalars {
        return Err(Problem::new(op_span, "comparisons between scalars must use BOOL modifier"));
    }
    let Some(matching) = &binary.matching else { return Ok(()) };
    if matching.on
        && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        let message = format!("label {} must not occur in ON and GROUP clause at once", crate::quote(label));
        return Err(Problem::new(op_span, message));
    }
    for (node, found) in [(&binary.lhs, left), (&binary.rhs, right)] {
        if !matches!(found, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Problem::new(node.span, message));
        }
    }
    if left == ValueType::Vector && right == ValueType::Vector {
        if binary.op.is_set() && matching.cardinality != Cardinality::ManyToMany {
            let message = format!("no grouping allowed for {} operation", crate::quote(binary.op.as_str()));
            return Err(Problem::new(span, message));
        }
        return Ok(());
    }
    if !matching.labels.is_empty() {
        return Err(Problem::new(span, "vector matching only allowed between instant vectors"));
    }
    if binary.op.is_set() {
        let message = format!(
            "set operator {} not allowed in binary scalar expression",
            crate::quote(binary.op.as_str())
        );
        return Err(Problem::new(span, message));
    }
    Ok(())
}
