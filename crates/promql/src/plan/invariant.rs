//! Which parts of a query have the same value at every step, so that they are evaluated once.

use crate::ast::{Node, NodeKind};

/// Functions whose value depends on the step even where their arguments do not.
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

pub(super) fn is_step_invariant(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => true,
        NodeKind::Vector(selector) => selector.modifiers.at.is_some(),
        NodeKind::Matrix(matrix) => matrix.selector.modifiers.at.is_some(),
        NodeKind::Subquery(subquery) => subquery.modifiers.at.is_some(),
        NodeKind::Call { function, args } => {
            !TIME_DEPENDENT.contains(&function.name) && args.iter().all(is_step_invariant)
        }
        NodeKind::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
        NodeKind::Binary(binary) => is_step_invariant(&binary.lhs) && is_step_invariant(&binary.rhs),
        NodeKind::Unary { expr, .. } | NodeKind::Paren(expr) => is_step_invariant(expr),
    }
}
