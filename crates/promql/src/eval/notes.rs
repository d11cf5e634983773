//! Warnings and infos, in Prometheus's words.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::Annotation;
use crate::number::shortest;
use crate::parser::line_and_column;

/// At most so many different texts of each kind are kept; one a metric could be many.
const MAX_NOTES: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Notes {
    texts: Mutex<[BTreeMap<String, u32>; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Warning = 0,
    Info = 1,
}

/// Something that the user should know about a part of the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Note<'a> {
    InvalidQuantile(f64),
    InvalidRatio { ratio: f64, capped: f64 },
    BadBucketLabel { label: &'a str, metric: &'a str },
    MixedFloatsHistograms { metric: &'a str },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNativeHistograms { metric: &'a str },
    HistogramNotCounter { metric: &'a str },
    HistogramNotGauge { metric: &'a str },
    MixedExponentialCustom { metric: &'a str },
    IncompatibleCustomBuckets { metric: &'a str },
    IncompatibleBucketLayout { operator: &'a str },
    PossibleNonCounter { metric: &'a str },
    ForcedMonotonicity { metric: &'a str },
    IncompatibleTypes { left: &'a str, operator: &'a str, right: &'a str },
    IgnoredInAggregation { aggregation: &'a str },
    IgnoredInMixedRange { metric: &'a str },
    QuantileIsNan { metric: &'a str },
    QuantileIsSkewed { metric: &'a str },
    FractionExcludesNan { metric: &'a str },
}

impl Note<'_> {
    fn text(self) -> (Kind, String) {
        use Kind::{Info, Warning};
        let quoted = |text: &str, metric: &str| format!("{text} {}", crate::quote(metric));
        match self {
            Self::InvalidQuantile(q) => {
                (Warning, format!("quantile value should be between 0 and 1, got {}", shortest(q)))
            }
            Self::InvalidRatio { ratio, capped } => (
                Warning,
                format!(
                    "ratio value should be between -1 and 1, got {}, capping to {}",
                    shortest(ratio),
                    shortest(capped)
                ),
            ),
            Self::BadBucketLabel { label, metric } => {
                let text = format!(
                    "bucket label \"le\" is missing or has a malformed value of {} for metric name",
                    crate::quote(label)
                );
                (Warning, quoted(&text, metric))
            }
            Self::MixedFloatsHistograms { metric } => {
                (Warning, quoted("encountered a mix of histograms and floats for metric name", metric))
            }
            Self::MixedFloatsHistogramsInAggregation => {
                (Warning, "encountered a mix of histograms and floats for aggregation".to_owned())
            }
            Self::MixedClassicNativeHistograms { metric } => (
                Warning,
                quoted("vector contains a mix of classic and native histograms for metric name", metric),
            ),
            Self::HistogramNotCounter { metric } => {
                (Warning, quoted("this native histogram metric is not a counter:", metric))
            }
            Self::HistogramNotGauge { metric } => {
                (Warning, quoted("this native histogram metric is not a gauge:", metric))
            }
            Self::MixedExponentialCustom { metric } => (
                Warning,
                quoted(
                    "vector contains a mix of histograms with exponential and custom buckets schemas for metric name",
                    metric,
                ),
            ),
            Self::IncompatibleCustomBuckets { metric } => (
                Warning,
                quoted("vector contains histograms with incompatible custom buckets for metric name", metric),
            ),
            Self::IncompatibleBucketLayout { operator } => {
                (Warning, format!("incompatible bucket layout encountered for binary operator {operator}"))
            }
            Self::PossibleNonCounter { metric } => (
                Info,
                quoted(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:",
                    metric,
                ),
            ),
            Self::ForcedMonotonicity { metric } => (
                Info,
                quoted(
                    "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name",
                    metric,
                ),
            ),
            Self::IncompatibleTypes { left, operator, right } => (
                Info,
                format!(
                    "incompatible sample types encountered for binary operator \"{operator}\": {left} {operator} {right}"
                ),
            ),
            Self::IgnoredInAggregation { aggregation } => {
                (Info, format!("ignored histogram in {aggregation} aggregation"))
            }
            Self::IgnoredInMixedRange { metric } => (
                Info,
                quoted(
                    "ignored histograms in a range containing both floats and histograms for metric name",
                    metric,
                ),
            ),
            Self::QuantileIsNan { metric } => (
                Info,
                quoted(
                    "input to histogram_quantile has NaN observations, result is NaN for metric name",
                    metric,
                ),
            ),
            Self::QuantileIsSkewed { metric } => (
                Info,
                quoted(
                    "input to histogram_quantile has NaN observations, result is skewed higher for metric name",
                    metric,
                ),
            ),
            Self::FractionExcludesNan { metric } => (
                Info,
                quoted(
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions for metric name",
                    metric,
                ),
            ),
        }
    }
}

impl Notes {
    /// Takes a note of the part at byte `position`.
    pub(crate) fn add(&self, note: Note<'_>, position: u32) {
        let (kind, text) = note.text();
        let prefix = if kind == Kind::Warning { "PromQL warning" } else { "PromQL info" };
        let mut texts = self.texts.lock();
        let known = &mut texts[kind as usize];
        if known.len() >= MAX_NOTES {
            return;
        }
        known
            .entry(format!("{prefix}: {text}"))
            .and_modify(|at| *at = (*at).min(position))
            .or_insert(position);
    }

    /// The warnings and the infos, with their places in the query.
    pub(crate) fn into_annotations(self, query: &str) -> (Vec<Annotation>, Vec<Annotation>) {
        let [warnings, infos] = self.texts.into_inner().map(|texts| {
            texts
                .into_iter()
                .map(|(message, at)| Annotation { message, position: line_and_column(query, at) })
                .collect()
        });
        (warnings, infos)
    }
}
