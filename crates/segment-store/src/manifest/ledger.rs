//! The billing ledger: what was committed, after de-duplication, by hour of the samples' timestamps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An hour: hours since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub i64);

impl Hour {
    /// Its length in milliseconds.
    pub const MS: i64 = 3_600_000;

    /// The hour of a timestamp in milliseconds since the Unix epoch.
    #[must_use]
    pub fn of(timestamp_ms: i64) -> Self {
        Self(timestamp_ms.div_euclid(Self::MS))
    }

    /// When it begins, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn start_ms(self) -> i64 {
        self.0.saturating_mul(Self::MS)
    }
}

/// What a tenant stored of one hour. Each sample is in it once, however often it was sent, merged or tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HourUsage {
    /// Float samples.
    pub samples: u64,
    /// Native-histogram samples.
    pub histogram_samples: u64,
    /// Series with at least one sample.
    pub active_series: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Logical size: 16 bytes a float sample, 8 bytes a number of a native histogram (timestamp included). Does not depend on how
    /// well they compress.
    pub bytes: u64,
}

impl HourUsage {
    /// Adds what `more` counts.
    pub fn add(&mut self, more: &Self) {
        let Self { samples, histogram_samples, active_series, exemplars, bytes } = more;
        for (sum, more) in [
            (&mut self.samples, samples),
            (&mut self.histogram_samples, histogram_samples),
            (&mut self.active_series, active_series),
            (&mut self.exemplars, exemplars),
            (&mut self.bytes, bytes),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }

    /// Float and native-histogram samples together.
    #[must_use]
    pub fn all_samples(&self) -> u64 {
        self.samples.saturating_add(self.histogram_samples)
    }
}

/// Usage by hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    /// By hour; hours without usage are not in it.
    pub hours: BTreeMap<Hour, HourUsage>,
}

impl Ledger {
    /// Adds what `more` counts, hour by hour.
    pub fn add(&mut self, more: &Self) {
        for (hour, usage) in &more.hours {
            self.hours.entry(*hour).or_default().add(usage);
        }
    }

    /// All hours together. An active series counts once an hour.
    #[must_use]
    pub fn total(&self) -> HourUsage {
        self.hours.values().fold(HourUsage::default(), |mut sum, usage| {
            sum.add(usage);
            sum
        })
    }
}
