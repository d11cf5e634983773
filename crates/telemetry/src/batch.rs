//! Batches: what one request holds, and what one partition of a segment holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Exemplar, Histogram, Metadata, Series};

/// One float sample of one series.
#[derive(Clone, Debug)]
pub struct FloatRow {
    /// The series.
    pub series: Arc<Series>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; the staleness marker is a value like any other here.
    pub value: f64,
}

/// One native-histogram sample of one series.
#[derive(Clone, Debug)]
pub struct HistogramRow {
    /// The series.
    pub series: Arc<Series>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The histogram.
    pub histogram: Arc<Histogram>,
}

/// One exemplar of one series.
#[derive(Clone, Debug)]
pub struct ExemplarRow {
    /// The series.
    pub series: Arc<Series>,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// Checked samples of one tenant in order of arrival: what one request holds.
#[derive(Clone, Debug, Default)]
pub struct MetricRows {
    /// Float samples.
    pub floats: Vec<FloatRow>,
    /// Native-histogram samples.
    pub histograms: Vec<HistogramRow>,
    /// Exemplars.
    pub exemplars: Vec<ExemplarRow>,
    /// Metric family name → what it says about itself.
    pub metadata: BTreeMap<String, Metadata>,
}

impl MetricRows {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
    }

    /// A rough figure of memory held, in bytes, labels excluded (they are shared): what group commit bounds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let histograms: usize = self.histograms.iter().map(|row| row.histogram.memory_bytes()).sum();
        let exemplars: usize = self.exemplars.iter().map(|row| row.exemplar.labels.memory_bytes()).sum();
        let metadata: usize =
            self.metadata.iter().map(|(name, m)| name.len() + m.help.len() + m.unit.len() + 96).sum();
        self.floats.len() * size_of::<FloatRow>()
            + self.histograms.len() * size_of::<HistogramRow>()
            + self.exemplars.len() * size_of::<ExemplarRow>()
            + histograms
            + exemplars
            + metadata
    }
}

/// Samples of one tenant in storage order: what one partition of a segment holds.
///
/// Invariants, which [`MetricBatch::from_rows`] establishes and every producer keeps:
/// - `series` is in strictly ascending label order; each has at least one sample or exemplar;
/// - per series, timestamps strictly ascend within floats and within histograms, and no timestamp is in both;
/// - per series, exemplars ascend by timestamp, and no two are equal.
#[derive(Clone, Debug, Default)]
pub struct MetricBatch {
    /// The series, in strictly ascending label order.
    pub series: Vec<Arc<Series>>,
    /// For each series the end of its run in `timestamps_ms` and `values`; runs follow each other.
    pub float_ends: Vec<u32>,
    /// Timestamps of the float samples, run by run.
    pub timestamps_ms: Vec<i64>,
    /// Values of the float samples, run by run.
    pub values: Vec<f64>,
    /// Native-histogram samples as (index into `series`, timestamp, histogram), in ascending order.
    pub histograms: Vec<(u32, i64, Arc<Histogram>)>,
    /// Exemplars as (index into `series`, exemplar), ascending by index and timestamp.
    pub exemplars: Vec<(u32, Exemplar)>,
    /// Metric family name → what it says about itself.
    pub metadata: BTreeMap<String, Metadata>,
}

/// How much a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Distinct series.
    pub series: u64,
    /// Float samples and native-histogram samples.
    pub samples: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl MetricBatch {
    /// Puts the rows of one or more requests, given in order of arrival, in storage order.
    ///
    /// Of samples with equal series and timestamp the last one stays. At most `u32::MAX` rows together.
    #[must_use]
    pub fn from_rows(requests: Vec<MetricRows>) -> Self {
        Sorter::new(requests).sort()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// The float samples of series `index` as timestamps (ms) and values of equal length.
    #[must_use]
    pub fn floats_of(&self, index: usize) -> (&[i64], &[f64]) {
        let start = if index == 0 { 0 } else { self.float_ends[index - 1] as usize };
        let end = self.float_ends[index] as usize;
        (&self.timestamps_ms[start..end], &self.values[start..end])
    }

    /// How much the batch holds.
    #[must_use]
    pub fn counts(&self) -> BatchCounts {
        BatchCounts {
            series: self.series.len() as u64,
            samples: (self.values.len() + self.histograms.len()) as u64,
            exemplars: self.exemplars.len() as u64,
        }
    }

    /// Earliest and latest timestamp (ms) of samples and exemplars; `None` when there is none.
    #[must_use]
    pub fn time_range_ms(&self) -> Option<(i64, i64)> {
        let floats = self.timestamps_ms.iter().copied();
        let histograms = self.histograms.iter().map(|(_, timestamp_ms, _)| *timestamp_ms);
        let exemplars = self.exemplars.iter().map(|(_, exemplar)| exemplar.timestamp_ms);
        floats.chain(histograms).chain(exemplars).fold(None, |range, at| match range {
            None => Some((at, at)),
            Some((earliest, latest)) => Some((at.min(earliest), at.max(latest))),
        })
    }
}

mod sort;
use sort::Sorter;
pub use sort::order_by_labels;

#[cfg(test)]
mod tests;
