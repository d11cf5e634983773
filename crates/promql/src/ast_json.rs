//! The tree as JSON, in the form of Prometheus's `/api/v1/parse_query`.

use serde_json::{Value, json};

use crate::ast::{
    At, DurationExpr, DurationKind, Modifiers, Node, NodeKind, ValueType, VectorMatching, VectorSelector,
};
use crate::number;

pub(crate) fn node(tree: &Node) -> Value {
    match &tree.kind {
        NodeKind::Number(literal) => json!({"type": "numberLiteral", "val": number::plain(literal.value)}),
        NodeKind::String(text) => json!({"type": "stringLiteral", "val": text.to_text()}),
        NodeKind::Vector(selector) => with_times(
            json!({"type": "vectorSelector", "name": name(selector), "matchers": matchers(selector)}),
            &selector.modifiers,
        ),
        NodeKind::Matrix(matrix) => with_times(
            json!({
                "type": "matrixSelector",
                "name": name(&matrix.selector),
                "matchers": matchers(&matrix.selector),
                "range": milliseconds(&matrix.range),
            }),
            &matrix.selector.modifiers,
        ),
        NodeKind::Subquery(subquery) => with_times(
            json!({
                "type": "subquery",
                "expr": node(&subquery.expr),
                "range": milliseconds(&subquery.range),
                "step": subquery.step.as_ref().map_or(json!(0), milliseconds),
            }),
            &subquery.modifiers,
        ),
        NodeKind::Call { function, args } => json!({
            "type": "call",
            "func": {
                "name": function.name,
                "argTypes": function.args.iter().map(|arg| arg.as_str()).collect::<Vec<_>>(),
                "variadic": function.variadic,
                "returnType": function.returns.as_str(),
            },
            "args": args.iter().map(node).collect::<Vec<_>>(),
        }),
        NodeKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.as_str(),
            "expr": node(&aggregate.expr),
            "param": aggregate.param.as_ref().map(node),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        NodeKind::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.as_str(),
            "lhs": node(&binary.lhs),
            "rhs": node(&binary.rhs),
            // Only vectors match.
            "matching": binary.matching.as_ref().filter(|_| between_vectors(binary)).map(matching),
            "bool": binary.return_bool,
        }),
        NodeKind::Unary { negative, expr } => {
            json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": node(expr)})
        }
        NodeKind::Paren(inner) => json!({"type": "parenExpr", "expr": node(inner)}),
    }
}

fn between_vectors(binary: &crate::ast::Binary) -> bool {
    binary.lhs.value_type() == ValueType::Vector && binary.rhs.value_type() == ValueType::Vector
}

fn name(selector: &VectorSelector) -> &str {
    selector.name.as_deref().unwrap_or("")
}

fn matchers(selector: &VectorSelector) -> Value {
    let matcher = |matcher: &crate::Matcher| json!({"name": matcher.name(), "value": matcher.value(), "type": matcher.op().as_str()});
    selector.matchers.iter().map(matcher).collect()
}

fn matching(matching: &VectorMatching) -> Value {
    json!({
        "card": matching.cardinality.as_str(),
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
    })
}

/// Milliseconds of a literal; the text of anything that has to be calculated.
fn milliseconds(duration: &DurationExpr) -> Value {
    match &duration.kind {
        DurationKind::Literal(seconds) => json!((seconds * 1_000.0).round() as i64),
        DurationKind::Negated(inner) => match inner.kind {
            DurationKind::Literal(seconds) => json!(-(seconds * 1_000.0).round() as i64),
            _ => json!(crate::printer::duration(duration)),
        },
        _ => json!(crate::printer::duration(duration)),
    }
}

fn with_times(mut tree: Value, modifiers: &Modifiers) -> Value {
    let (timestamp, start_or_end) = match modifiers.at {
        Some(At::Timestamp(ms)) => (json!(ms), Value::Null),
        Some(At::Start) => (Value::Null, json!("start")),
        Some(At::End) => (Value::Null, json!("end")),
        None => (Value::Null, Value::Null),
    };
    tree["offset"] = modifiers.offset.as_ref().map_or(json!(0), milliseconds);
    tree["timestamp"] = timestamp;
    tree["startOrEnd"] = start_or_end;
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_the_form_of_prometheus() {
        let json =
            crate::parse_query_json("sum by (a) (rate(x{y!=\"z\"}[5m] @ 10 offset -1s)) > bool 2").unwrap();
        let expected = json!({
            "type": "binaryExpr",
            "op": ">",
            "lhs": {
                "type": "aggregation",
                "op": "sum",
                "expr": {
                    "type": "call",
                    "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
                    "args": [{
                        "type": "matrixSelector",
                        "name": "x",
                        "matchers": [
                            {"name": "y", "value": "z", "type": "!="},
                            {"name": "__name__", "value": "x", "type": "="},
                        ],
                        "range": 300_000,
                        "offset": -1_000,
                        "timestamp": 10_000,
                        "startOrEnd": null,
                    }],
                },
                "param": null,
                "grouping": ["a"],
                "without": false,
            },
            "rhs": {"type": "numberLiteral", "val": "2"},
            "matching": null,
            "bool": true,
        });
        assert_eq!(json, expected);
    }
}
