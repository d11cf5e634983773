//! The messages of remote write 1.0 that the data set needs, native histograms included.
//!
//! Field numbers are those of Prometheus's `prompb/types.proto`.

/// `prometheus.WriteRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteRequest {
    /// The series.
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    /// Ascending by time.
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    /// Ascending by time.
    #[prost(message, repeated, tag = "4")]
    pub(super) histograms: Vec<Histogram>,
}

/// `prometheus.Label`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Label {
    /// The name.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `prometheus.Sample`
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

/// `prometheus.Histogram`, integer counts only.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Histogram {
    /// All observations.
    #[prost(uint64, optional, tag = "1")]
    pub(super) count_int: Option<u64>,
    /// Their sum.
    #[prost(double, tag = "3")]
    pub(super) sum: f64,
    /// Resolution; −53 for custom buckets.
    #[prost(sint32, tag = "4")]
    pub(super) schema: i32,
    /// Width of the zero bucket.
    #[prost(double, tag = "5")]
    pub(super) zero_threshold: f64,
    /// Observations in the zero bucket.
    #[prost(uint64, optional, tag = "6")]
    pub(super) zero_count_int: Option<u64>,
    /// Layout of the negative buckets.
    #[prost(message, repeated, tag = "8")]
    pub(super) negative_spans: Vec<BucketSpan>,
    /// Counts, each as the difference to the one before.
    #[prost(sint64, repeated, tag = "9")]
    pub(super) negative_deltas: Vec<i64>,
    /// Layout of the positive buckets.
    #[prost(message, repeated, tag = "11")]
    pub(super) positive_spans: Vec<BucketSpan>,
    /// Counts, each as the difference to the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub(super) positive_deltas: Vec<i64>,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "15")]
    pub(super) timestamp: i64,
    /// Upper bounds of custom buckets.
    #[prost(double, repeated, tag = "16")]
    pub(super) custom_values: Vec<f64>,
}

/// `prometheus.BucketSpan`
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct BucketSpan {
    /// Gap to the span before.
    #[prost(sint32, tag = "1")]
    pub(super) offset: i32,
    /// Buckets.
    #[prost(uint32, tag = "2")]
    pub(super) length: u32,
}
