//! Exemplars: single observations kept beside the aggregate, usually to point at a trace.

use crate::Labels;

/// The longest exemplar label set, counted in characters of names and values together, as OpenMetrics has it.
pub const MAX_EXEMPLAR_LABEL_CHARS: usize = 128;

/// One observation of a series, with labels of its own.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// Labels of the observation itself (`trace_id`, `span_id`), not of the series.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl PartialEq for Exemplar {
    /// Values are compared by their bits, so that NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.timestamp_ms == other.timestamp_ms
            && self.value.to_bits() == other.value.to_bits()
    }
}
