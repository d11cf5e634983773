//! OTLP metrics: from OpenTelemetry's data model to series, as Prometheus 3.5 maps it.
//!
//! [`read_metrics`] walks an `ExportMetricsServiceRequest` and calls a [`MetricVisitor`] for each sample that its data
//! points become. Labels come as a [`SeriesKey`](crate::SeriesKey), so that a receiver decodes those of new series only.
//!
//! | in OTLP | becomes |
//! |---|---|
//! | gauge, sum | a float sample |
//! | histogram | classic series `_bucket`, `_sum`, `_count`; or, by option, a native histogram with custom buckets |
//! | exponential histogram | a native histogram |
//! | summary | a series a quantile, `_sum`, `_count` |
//! | delta temporality | the deltas as they are, with the label `__temporality__="delta"` |
//! | flag "no recorded value" | the staleness marker |
//! | resource | labels `job` and `instance`, promoted attributes, and `target_info` with the other attributes |
//! | scope | by option, labels `otel_scope_name`, `otel_scope_version`, … |
//!
//! What differs from Prometheus: delta temporality is taken; `target_info` has one sample, at the latest time of its
//! resource; the zero threshold of exponential histograms is kept; gauges keep their exemplars; a data point without a value, or
//! whose buckets and boundaries do not fit, is refused instead of read as something.
//!
//! JSON bodies are first rewritten as protobuf ([`json`]), so both formats mean the same by construction.
//!
//! Traces will have a walk of their own beside the one of metrics, over the same attributes and JSON rules.

mod attributes;
mod exemplars;
mod histograms;
pub mod json;
mod labels;
mod metrics;
mod names;
mod options;
mod point;
mod response;

pub use metrics::{CloudOrigin, MetricVisitor, PointTime, read_metrics};
pub use options::{MetricOptions, Promotion, TranslationStrategy};
pub use response::{Format, Outcome, RpcStatus};
