//! The data model: what a metric is, once it has been checked.
//!
//! Everything here is plain data: no I/O, no clock, no randomness. The wire codecs produce it, segments store it, PromQL
//! reads it.
//!
//! | module | what |
//! |---|---|
//! | [`labels`] | a series' identity: sorted, validated label pairs in one allocation |
//! | [`sample`] | timestamps, float values, the staleness marker |
//! | [`histogram`] | native histograms: exponential and custom buckets |
//! | [`exemplar`] | a single observation with its own labels (usually a trace id) |
//! | [`omitted`] | what samples would add that a thinned series does not have |
//! | [`metadata`] | type, help and unit of a metric family |
//! | [`series`] | a label set with its hash and its cached place in the storage order |
//! | [`batch`] | what one request holds ([`MetricRows`]) and what one partition holds ([`MetricBatch`]) |
//! | [`tenant`] | tenant ids, which are part of every key |

pub mod batch;
pub mod exemplar;
pub mod histogram;
pub mod labels;
pub mod metadata;
pub mod omitted;
pub mod sample;
pub mod series;
pub mod tenant;

pub use batch::{BatchCounts, ExemplarRow, FloatRow, HistogramRow, MetricBatch, MetricRows, order_by_labels};
pub use exemplar::Exemplar;
pub use histogram::{CounterResetHint, Histogram, Span};
pub use labels::{LabelError, Labels, LabelsBuilder, METRIC_NAME};
pub use metadata::{Metadata, MetricType};
pub use omitted::Omitted;
pub use sample::{STALE_NAN_BITS, is_stale_nan, stale_nan};
pub use series::Series;
pub use tenant::{TenantId, TenantIdError};
