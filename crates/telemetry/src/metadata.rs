//! What a metric family says about itself.

/// The type of a metric family, as Prometheus and OpenMetrics name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown,
    /// Only goes up, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, or a native histogram.
    Histogram,
    /// A histogram of a momentary state.
    GaugeHistogram,
    /// Quantiles computed by the client.
    Summary,
    /// Labels that do not change.
    Info,
    /// An enumeration as booleans.
    StateSet,
}

impl MetricType {
    /// Every type, in the order of their persisted numbers.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The name in Prometheus's HTTP API and exposition format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// The number under which the type is persisted. It is also that of remote write's `MetricMetadata.MetricType`
    /// and never changes.
    #[must_use]
    pub const fn to_persisted(self) -> u8 {
        self as u8
    }

    /// The type with this persisted number, or `None` where there is none.
    #[must_use]
    pub fn from_persisted(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Type, help and unit of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The metric's type.
    pub metric_type: MetricType,
    /// A sentence for people.
    pub help: String,
    /// The unit, such as `seconds`; empty when not said.
    pub unit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persisted_numbers_round_trip() {
        for metric_type in MetricType::ALL {
            assert_eq!(MetricType::from_persisted(metric_type.to_persisted()), Some(metric_type));
        }
        assert_eq!(MetricType::from_persisted(8), None);
    }
}
