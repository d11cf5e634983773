//! Which labels make how many series: what a user looks at before the bill does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use telemetry::METRIC_NAME;

use crate::tail::TenantView;

/// A name and a number.
pub(crate) type Count = (String, u64);

/// The largest of each kind, in descending order. A series that several generations hold counts in the one with most.
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
    /// What the tail knows, at most `limit` of each kind.
    pub(crate) fn of(view: &TenantView, limit: usize) -> Self {
        let mut labels: HashMap<String, HashMap<String, u64>> = HashMap::new();
        view.for_each_pair(|name, value, series| {
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
            values.iter().map(move |(value, series)| (format!("{name}={value}"), *series))
        });
        let bytes = |values: &HashMap<String, u64>| values.keys().map(|value| value.len() as u64).sum();
        Self {
            series: view.series().into(),
            label_pairs: labels.values().map(|values| values.len() as u64).sum(),
            series_by_metric: top(metrics.map(|(name, series)| (name.clone(), *series)), limit),
            values_by_label: top(
                labels.iter().map(|(name, values)| (name.clone(), values.len() as u64)),
                limit,
            ),
            bytes_by_label: top(labels.iter().map(|(name, values)| (name.clone(), bytes(values))), limit),
            series_by_pair: top(pairs, limit),
        }
    }
}

/// The `limit` largest counts, equal ones by name.
fn top(counts: impl Iterator<Item = Count>, limit: usize) -> Vec<Count> {
    let mut all: Vec<Count> = counts.collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}
