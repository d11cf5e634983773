//! What was used: the hourly rows of the ledger.

use serde::{Deserialize, Serialize};

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Samples of time series.
    Metrics,
    /// Spans.
    Traces,
}

impl Signal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Metrics, Self::Traces];

    /// The name in invoices and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

/// What is counted and priced. Every meter is a sum over hours, so that no way of cutting up a month changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Samples committed, each once.
    Samples,
    /// Spans committed, each once.
    Spans,
    /// Their logical bytes: 16 for a sample, however well it is compressed.
    StoredBytes,
    /// Active series, summed over the hours in which they were: 730 for a series that was there all month.
    SeriesHours,
}

impl Meter {
    /// All meters, in the order of an invoice.
    pub const ALL: [Self; 4] = [Self::Samples, Self::Spans, Self::StoredBytes, Self::SeriesHours];

    /// What one of it is called, in the plural.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Spans => "spans",
            Self::StoredBytes => "bytes stored",
            Self::SeriesHours => "series-hours",
        }
    }
}

/// How much of each meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    /// Samples.
    pub samples: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Series that got a sample in this hour, each in one row of the hour only.
    pub active_series: u64,
}

impl Quantities {
    /// How much of one meter. An hour's active series are its series-hours.
    #[must_use]
    pub const fn of(&self, meter: Meter) -> u64 {
        match meter {
            Meter::Samples => self.samples,
            Meter::Spans => self.spans,
            Meter::StoredBytes => self.stored_bytes,
            Meter::SeriesHours => self.active_series,
        }
    }
}

/// By what a tenant's usage is divided further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The metric name.
    Metric,
    /// The id of the API key that wrote it. Never the key itself.
    ApiKey,
}

impl Dimension {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Metric, Self::ApiKey];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::ApiKey => "api_key",
        }
    }
}

/// How many samples or spans of a tenant ingest counted under one name in a month.
///
/// A statistic, while usage is exact: it counts what was acknowledged, a retry twice, and a process that crashes loses its last
/// minute. So it says nothing of amounts, only in which proportion the exact usage of the month is divided among names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The tenant's id.
    pub tenant: String,
    /// The signal.
    pub signal: Signal,
    /// What is named.
    pub dimension: Dimension,
    /// Its name; empty where it is not known.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// What a tenant used in an hour, or a part of that: rows of the same hour add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The tenant's id.
    pub tenant: String,
    /// The signal.
    pub signal: Signal,
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// How much.
    #[serde(flatten)]
    pub quantities: Quantities,
}
