//! Which labels make how many series: what a user looks at before the bill does.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use telemetry::METRIC_NAME;

use crate::source::TenantSource;

/// A name and a number.
pub(crate) type Count = (String, u64);

/// The largest of each kind, in descending order. A series that several places hold counts in the one with most.
#[derive(Debug, Default)]
pub(crate) struct Cardinality {
    pub(crate) series: u64,
    /// Distinct label pairs.
    pub(crate) label_pairs: u64,
    pub(crate) series_by_metric: Vec<Count>,
    pub(crate) values_by_label: Vec<Count>,
    /// Bytes of the texts of distinct values.
    pub(crate) bytes_by_label: Vec<Count>,
    /// `name=value`.
    pub(crate) series_by_pair: Vec<Count>,
}

impl Cardinality {
    /// What the tail and the newest data at rest know, at most `limit` of each kind.
    pub(crate) fn of(source: &TenantSource, limit: usize) -> Self {
        let mut labels: HashMap<String, HashMap<String, u64>> = HashMap::new();
        source.for_each_pair(|name, value, series| {
            let values = match labels.get_mut(name) {
                Some(values) => values,
                None => labels.entry(name.to_owned()).or_default(),
            };
            match values.entry(value.to_owned()) {
                Entry::Occupied(mut entry) => {
                    let most = series.max(*entry.get());
                    entry.insert(most);
                }
                Entry::Vacant(entry) => _ = entry.insert(series),
            }
        });
        let metrics = labels.get(METRIC_NAME).into_iter().flatten();
        let pairs = labels.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, series)| ((name.as_str(), value.as_str()), *series))
        });
        let named = |counts: Vec<(&str, u64)>| {
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let bytes = |values: &HashMap<String, u64>| values.keys().map(|value| value.len() as u64).sum();
        Self {
            series: source.most_series(),
            label_pairs: labels.values().map(|values| values.len() as u64).sum(),
            series_by_metric: named(top(metrics.map(|(name, series)| (name.as_str(), *series)), limit)),
            values_by_label: named(top(
                labels.iter().map(|(name, values)| (name.as_str(), values.len() as u64)),
                limit,
            )),
            bytes_by_label: named(top(
                labels.iter().map(|(name, values)| (name.as_str(), bytes(values))),
                limit,
            )),
            series_by_pair: top(pairs, limit)
                .into_iter()
                .map(|((name, value), series)| (format!("{name}={value}"), series))
                .collect(),
        }
    }
}

/// The `limit` largest counts, equal ones by name. Holds no more than these.
fn top<N: Ord>(counts: impl Iterator<Item = (N, u64)>, limit: usize) -> Vec<(N, u64)> {
    // The worst of those that stay is on top.
    let mut best: BinaryHeap<(Reverse<u64>, N)> = BinaryHeap::new();
    for (name, count) in counts {
        let entry = (Reverse(count), name);
        if best.len() < limit {
            best.push(entry);
        } else if let Some(mut worst) = best.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }
    best.into_sorted_vec().into_iter().map(|(Reverse(count), name)| (name, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_counts_stay_and_equal_ones_by_name() {
        let counts = [("b", 2), ("d", 1), ("a", 2), ("c", 7), ("e", 1)];
        assert_eq!(top(counts.into_iter(), 4), [("c", 7), ("a", 2), ("b", 2), ("d", 1)]);
        assert_eq!(top(counts.into_iter(), 0), []);
        assert_eq!(top(counts.into_iter(), 9).len(), 5);
    }
}
