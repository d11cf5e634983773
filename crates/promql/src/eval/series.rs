//! A series' identity on its way through the operators.

use telemetry::{Labels, METRIC_NAME};

/// Labels that say what a metric is rather than what it is about: results of arithmetic do not have them. The last one
/// marks series whose samples are deltas.
pub(crate) const RESERVED: [&str; 4] = [METRIC_NAME, "__temporality__", "__type__", "__unit__"];

/// The label of delta series, and its value.
pub(crate) const TEMPORALITY: (&str, &str) = ("__temporality__", "delta");

pub(crate) fn is_reserved(name: &str) -> bool {
    // All start so, and few other labels do.
    name.starts_with("__") && RESERVED.contains(&name)
}

/// What is to become of the reserved labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameState {
    /// They stay.
    Kept,
    /// They are gone; the label set still holds them, so that dropping them costs nothing.
    Dropped,
    /// They go at the end of the query.
    Delayed,
}

#[derive(Clone, Debug)]
pub(crate) struct SeriesId {
    labels: Labels,
    name: NameState,
}

impl SeriesId {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, name: NameState::Kept }
    }

    pub(crate) fn with_state(labels: Labels, name: NameState) -> Self {
        Self { labels, name }
    }

    pub(crate) fn name_state(&self) -> NameState {
        self.name
    }

    /// The labels, with those that were dropped.
    pub(crate) fn raw_labels(&self) -> &Labels {
        &self.labels
    }

    /// The identity after an operation that drops the name, now or, with `delayed`, at the end.
    pub(crate) fn without_name(&self, delayed: bool) -> Self {
        let name = match (self.name, delayed) {
            (NameState::Dropped, _) | (_, false) => NameState::Dropped,
            (_, true) => NameState::Delayed,
        };
        Self { labels: self.labels.clone(), name }
    }

    /// The identity when what was delayed is done.
    pub(crate) fn with_delay_over(&self) -> Self {
        let name = if self.name == NameState::Delayed { NameState::Dropped } else { self.name };
        Self { labels: self.labels.clone(), name }
    }

    /// The pairs that the series has.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let dropped = self.name == NameState::Dropped;
        self.labels.iter().filter(move |(name, _)| !(dropped && is_reserved(name)))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        if self.name == NameState::Dropped && is_reserved(name) {
            return None;
        }
        self.labels.get(name)
    }

    /// The name with which messages speak of the series; empty once it was dropped.
    pub(crate) fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// The label set as it is now.
    pub(crate) fn to_labels(&self) -> Labels {
        if self.name != NameState::Dropped || !self.labels.iter().any(|(name, _)| is_reserved(name)) {
            return self.labels.clone();
        }
        labels_of(self.pairs())
    }
}

/// A label set of pairs that come from label sets, so that no name is there twice.
pub(crate) fn labels_of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    Labels::from_pairs(pairs).unwrap_or_default()
}

/// Which labels take part in a grouping or a match.
#[derive(Clone, Debug)]
pub(crate) struct LabelSubset<'a> {
    /// Sorted.
    pub(crate) names: &'a [String],
    /// The named ones; otherwise all but the named ones and the metric's name.
    pub(crate) only: bool,
}

impl LabelSubset<'_> {
    pub(crate) fn contains(&self, name: &str) -> bool {
        let named = self.names.iter().any(|candidate| candidate == name);
        if self.only { named } else { !named && name != METRIC_NAME }
    }

    pub(crate) fn pairs<'s>(&'s self, id: &'s SeriesId) -> impl Iterator<Item = (&'s str, &'s str)> {
        // Names ascend: behind the last that takes part none does.
        let last = self.names.last().filter(|_| self.only);
        let is_before_end = move |(name, _): &(&str, &str)| last.is_none_or(|last| *name <= last.as_str());
        id.pairs().take_while(is_before_end).filter(|(name, _)| self.contains(name))
    }
}
