//! Which selector reads of native histograms only counts and sums, as in Prometheus 3.5.
//!
//! Prometheus spares itself the buckets where `histogram_count`, `histogram_sum` or `histogram_avg` is around a selector.
//! That shows: without buckets, gauge histograms have resets elsewhere, and histograms with custom buckets look like
//! others. The rules are Prometheus's, which looks at the first selector only, and not at the outermost call.

use crate::ast::{Node, NodeKind};

/// Where the selector begins whose buckets are left out, if there is one.
pub(super) fn selector_without_buckets(root: &Node) -> Option<u32> {
    children(root).into_iter().find_map(|child| first_selector(child, false))?
}

/// The first selector, with its place where `without_buckets` or what is closest around it says that it has none.
fn first_selector(node: &Node, without_buckets: bool) -> Option<Option<u32>> {
    let without_buckets = match &node.kind {
        NodeKind::Vector(_) | NodeKind::Matrix(_) => {
            return Some(without_buckets.then_some(node.span.start));
        }
        NodeKind::Call { function, .. } => match function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile" | "histogram_fraction" => false,
            _ => without_buckets,
        },
        _ => without_buckets,
    };
    children(node).into_iter().find_map(|child| first_selector(child, without_buckets))
}

/// A node's parts in the order in which Prometheus looks at them.
fn children(node: &Node) -> Vec<&Node> {
    match &node.kind {
        NodeKind::Aggregate(aggregate) => std::iter::once(&aggregate.expr).chain(&aggregate.param).collect(),
        _ => node.children(),
    }
}
