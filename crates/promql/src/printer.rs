//! The tree back to text, in Prometheus's canonical form; what is printed parses to the same tree.

use std::fmt::Write as _;

use telemetry::METRIC_NAME;
use telemetry::labels::is_bare_name;

use crate::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationKind, Modifiers, Node, NodeKind, NumberLiteral,
    Subquery, VectorSelector,
};
use crate::number;

/// Lines longer than this are split by [`pretty`].
const MAX_LINE_CHARACTERS: usize = 100;

/// The query on one line.
pub(crate) fn one_line(node: &Node) -> String {
    let mut out = String::new();
    print(node, &mut out);
    out
}

/// A duration as it is printed.
pub(crate) fn duration(duration: &DurationExpr) -> String {
    let mut out = String::new();
    print_duration(duration, &mut out);
    out
}

/// The query, over several lines where it is long.
pub(crate) fn pretty(node: &Node) -> String {
    let mut out = String::new();
    pretty_into(node, 0, &mut out);
    out
}

fn print(node: &Node, out: &mut String) {
    match &node.kind {
        NodeKind::Number(literal) => out.push_str(&number_text(*literal)),
        NodeKind::String(text) => out.push_str(&text.to_string()),
        NodeKind::Vector(selector) => {
            print_selector(selector, out);
            print_modifiers(&selector.modifiers, out);
        }
        NodeKind::Matrix(matrix) => {
            print_selector(&matrix.selector, out);
            out.push('[');
            print_duration(&matrix.range, out);
            out.push(']');
            print_modifiers(&matrix.selector.modifiers, out);
        }
        NodeKind::Subquery(subquery) => {
            print(&subquery.expr, out);
            print_subquery_suffix(subquery, out);
        }
        NodeKind::Call { function, args } => {
            out.push_str(function.name);
            out.push('(');
            print_separated(args, out);
            out.push(')');
        }
        NodeKind::Aggregate(aggregate) => {
            print_aggregate_head(aggregate, out);
            out.push('(');
            if let Some(param) = &aggregate.param {
                print(param, out);
                out.push_str(", ");
            }
            print(&aggregate.expr, out);
            out.push(')');
        }
        NodeKind::Binary(binary) => {
            print(&binary.lhs, out);
            out.push(' ');
            print_operator(binary, out);
            out.push(' ');
            print(&binary.rhs, out);
        }
        NodeKind::Unary { negative, expr } => {
            out.push(if *negative { '-' } else { '+' });
            print(expr, out);
        }
        NodeKind::Paren(inner) => {
            out.push('(');
            print(inner, out);
            out.push(')');
        }
    }
}

fn number_text(literal: NumberLiteral) -> String {
    if literal.is_duration {
        return number::duration_ms((literal.value * 1_000.0).round() as i64);
    }
    number::shortest(literal.value)
}

fn print_separated(nodes: &[Node], out: &mut String) {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        print(node, out);
    }
}

fn print_selector(selector: &VectorSelector, out: &mut String) {
    let mut matchers: &[_] = &selector.matchers;
    if let Some(name) = &selector.name {
        out.push_str(name);
        matchers = &matchers[..matchers.len() - 1];
        if matchers.is_empty() {
            return;
        }
    }
    let mut texts: Vec<String> = matchers
        .iter()
        .map(|matcher| {
            let quoted_name = selector.name.is_none()
                && matcher.name() == METRIC_NAME
                && matcher.op() == crate::MatchOp::Equal
                && !is_bare_name(matcher.value(), true)
                && !matcher.value().is_empty();
            if quoted_name { crate::quote(matcher.value()) } else { matcher.to_string() }
        })
        .collect();
    texts.sort();
    let _ = write!(out, "{{{}}}", texts.join(","));
}

fn print_modifiers(modifiers: &Modifiers, out: &mut String) {
    match modifiers.at {
        Some(At::Timestamp(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.unsigned_abs();
            let _ = write!(out, " @ {sign}{}.{:03}", ms / 1_000, ms % 1_000);
        }
        Some(At::Start) => out.push_str(" @ start()"),
        Some(At::End) => out.push_str(" @ end()"),
        None => {}
    }
    if let Some(offset) = &modifiers.offset {
        out.push_str(" offset ");
        print_duration(offset, out);
    }
}

fn print_duration(duration: &DurationExpr, out: &mut String) {
    match &duration.kind {
        DurationKind::Literal(seconds) => {
            let ms = seconds * 1_000.0;
            if ms.fract() == 0.0 {
                out.push_str(&number::duration_ms(ms as i64));
            } else {
                out.push_str(&number::shortest(*seconds));
            }
        }
        DurationKind::Negated(inner) => {
            out.push('-');
            print_duration(inner, out);
        }
        DurationKind::Binary { op, lhs, rhs } => {
            print_duration(lhs, out);
            let _ = write!(out, " {} ", op.as_str());
            print_duration(rhs, out);
        }
        DurationKind::Paren(inner) => {
            out.push('(');
            print_duration(inner, out);
            out.push(')');
        }
    }
}

fn print_subquery_suffix(subquery: &Subquery, out: &mut String) {
    out.push('[');
    print_duration(&subquery.range, out);
    out.push(':');
    if let Some(step) = &subquery.step {
        print_duration(step, out);
    }
    out.push(']');
    print_modifiers(&subquery.modifiers, out);
}

fn joined_labels(labels: &[String]) -> String {
    let texts: Vec<String> = labels
        .iter()
        .map(|label| if is_bare_name(label, false) { label.clone() } else { crate::quote(label) })
        .collect();
    texts.join(", ")
}

fn print_aggregate_head(aggregate: &Aggregate, out: &mut String) {
    out.push_str(aggregate.op.as_str());
    if aggregate.without {
        let _ = write!(out, " without ({}) ", joined_labels(&aggregate.grouping));
    } else if !aggregate.grouping.is_empty() {
        let _ = write!(out, " by ({}) ", joined_labels(&aggregate.grouping));
    }
}

fn print_operator(binary: &Binary, out: &mut String) {
    out.push_str(binary.op.as_str());
    if binary.return_bool {
        out.push_str(" bool");
    }
    let Some(matching) = &binary.matching else { return };
    let grouped = matches!(matching.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
    if matching.labels.is_empty() && !matching.on && !grouped {
        return;
    }
    let kind = if matching.on { "on" } else { "ignoring" };
    let _ = write!(out, " {kind} ({})", joined_labels(&matching.labels));
    if grouped {
        let side = if matching.cardinality == Cardinality::ManyToOne { "left" } else { "right" };
        let _ = write!(out, " group_{side} ({})", joined_labels(&matching.include));
    }
}

fn indent(level: usize, out: &mut String) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn pretty_into(node: &Node, level: usize, out: &mut String) {
    let line = one_line(node);
    if line.chars().count() <= MAX_LINE_CHARACTERS {
        indent(level, out);
        out.push_str(&line);
        return;
    }
    match &node.kind {
        NodeKind::Aggregate(aggregate) => {
            indent(level, out);
            print_aggregate_head(aggregate, out);
            out.push_str("(\n");
            if let Some(param) = &aggregate.param {
                pretty_into(param, level + 1, out);
                out.push_str(",\n");
            }
            pretty_into(&aggregate.expr, level + 1, out);
            close(level, out);
        }
        NodeKind::Call { function, args } => {
            indent(level, out);
            out.push_str(function.name);
            out.push_str("(\n");
            for (index, arg) in args.iter().enumerate() {
                if index > 0 {
                    out.push_str(",\n");
                }
                pretty_into(arg, level + 1, out);
            }
            close(level, out);
        }
        NodeKind::Paren(inner) => {
            indent(level, out);
            out.push_str("(\n");
            pretty_into(inner, level + 1, out);
            close(level, out);
        }
        NodeKind::Binary(binary) => {
            pretty_into(&binary.lhs, level + 1, out);
            out.push('\n');
            indent(level, out);
            print_operator(binary, out);
            out.push('\n');
            pretty_into(&binary.rhs, level + 1, out);
        }
        NodeKind::Subquery(subquery) => {
            pretty_into(&subquery.expr, level, out);
            print_subquery_suffix(subquery, out);
        }
        NodeKind::Unary { negative, expr } => {
            let mut inner = String::new();
            pretty_into(expr, level, &mut inner);
            indent(level, out);
            out.push(if *negative { '-' } else { '+' });
            out.push_str(inner.trim_start());
        }
        _ => {
            indent(level, out);
            out.push_str(&line);
        }
    }
}

fn close(level: usize, out: &mut String) {
    out.push('\n');
    indent(level, out);
    out.push(')');
}
