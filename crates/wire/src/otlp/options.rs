//! How OpenTelemetry's names and resources are mapped.

use std::collections::BTreeSet;

/// How metric and label names are translated. The names are those of Prometheus's setting `translation_strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TranslationStrategy {
    /// Characters that classic Prometheus names cannot have become `_`; units and types become suffixes.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Names keep their characters; units and types become suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl TranslationStrategy {
    pub(super) fn escapes(self) -> bool {
        self == Self::UnderscoreEscapingWithSuffixes
    }

    pub(super) fn adds_suffixes(self) -> bool {
        self != Self::NoTranslation
    }
}

/// Which resource attributes become labels of every series of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// Those named.
    Only(BTreeSet<String>),
    /// All but those named.
    AllExcept(BTreeSet<String>),
}

impl Default for Promotion {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Promotion {
    pub(super) fn promotes(&self, attribute: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(attribute),
            Self::AllExcept(names) => !names.contains(attribute),
        }
    }
}

/// How metrics are mapped. The default is what Prometheus does by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricOptions {
    /// How names are translated.
    pub translation: TranslationStrategy,
    /// Which resource attributes become labels.
    pub promotion: Promotion,
    /// Whether name, version, schema URL and attributes of the instrumentation scope become labels `otel_scope_…`.
    pub scope_labels: bool,
    /// Whether explicit histograms become native histograms with custom buckets instead of classic series.
    pub custom_bucket_histograms: bool,
}
