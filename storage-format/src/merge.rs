//! Many partitions of one tenant into one: what the first stage of compaction does most of its time.
//!
//! The usual input is one sample of each of many series, again and again, so labels cost more than samples. They are never
//! put together as text: pairs get numbers over all partitions, a series is a tuple of them, and the tuple is guessed from
//! the one before. Only distinct series are sorted and written out, once.
//!
//! Of samples with equal series and timestamp that of the later partition stays, whether floats or native histograms.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry::{Exemplar, Histogram, Metadata, MetricBatch, Series};

use crate::error::{EncodeError, FormatError};
use crate::footer::PartitionEntry;
use crate::frame::read_frame;
use crate::labels::LabelTable;
use crate::partition;

mod runs;
mod tables;

pub use runs::distinct_exemplars;
use runs::{FloatRun, Grouped, keep_last, merge_kinds};
use tables::SeriesTable;

/// What was merged: samples and exemplars of the result are those read less those replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeCounts {
    /// Float and histogram samples of all inputs.
    pub samples_read: u64,
    /// Samples that gave way to a later one of the same series and timestamp.
    pub samples_replaced: u64,
    /// Exemplars of all inputs.
    pub exemplars_read: u64,
    /// Exemplars that were there already.
    pub exemplars_dropped: u64,
}

/// However many samples are expected, not more are made room for beforehand.
const MAX_EXPECTED_SAMPLES: u64 = 1 << 22;

/// A histogram sample: (series, timestamp in ms, number of the input, histogram).
pub(crate) type HistogramRow = (u32, i64, u32, Arc<Histogram>);

/// Merges partitions of one tenant, given from the earliest to the latest.
///
/// Memory held: 20 bytes a float sample while adding, 36 while finishing; some 100 bytes a distinct series; distinct label
/// pairs as text; histograms and exemplars as they are.
#[derive(Default)]
pub struct PartitionMerger {
    table: SeriesTable,
    /// Float samples in order of arrival.
    series: Vec<u32>,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
    /// For each input the end of its float samples.
    input_ends: Vec<u32>,
    histograms: Vec<HistogramRow>,
    exemplars: Vec<(u32, Exemplar)>,
    extra_bytes: usize,
    metadata: BTreeMap<String, Metadata>,
}

impl std::fmt::Debug for PartitionMerger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionMerger")
            .field("inputs", &self.input_ends.len())
            .field("series", &self.table.len())
            .field("samples", &(self.values.len() + self.histograms.len()))
            .finish_non_exhaustive()
    }
}

impl PartitionMerger {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, with room for about so many samples: what footers say.
    #[must_use]
    pub fn with_capacity(samples: u64) -> Self {
        let samples = samples.min(MAX_EXPECTED_SAMPLES) as usize;
        Self {
            series: Vec::with_capacity(samples),
            timestamps_ms: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
            ..Self::default()
        }
    }

    /// Adds a partition that is later than all before; `bytes` are those of `entry.range`. After an error nothing of it is
    /// in the result, and others can be added.
    ///
    /// # Errors
    /// Any [`FormatError`]: the bytes are not those that the footer means, or damaged.
    pub fn push(&mut self, entry: &PartitionEntry, bytes: &[u8]) -> Result<(), FormatError> {
        entry.check_metrics(bytes)?;
        let table = &mut self.table;
        let (series, batch, _) = partition::decode_with(bytes, |reader, rows, budget| {
            let raw = read_frame(reader, "label table", budget)?;
            table.number_rows(&mut LabelTable::read(&raw, rows, budget)?, rows)
        })?;
        entry.check_content(series.len(), &batch)?;
        if u32::try_from(self.values.len() + batch.values.len()).is_err() {
            return Err(FormatError::Corrupt { what: "partitions", why: "more samples than a batch holds" });
        }
        let mut start = 0;
        for (series, &end) in series.iter().zip(&batch.float_ends) {
            self.series.extend(std::iter::repeat_n(*series, (end - start) as usize));
            start = end;
        }
        self.timestamps_ms.extend_from_slice(&batch.timestamps_ms);
        self.values.extend_from_slice(&batch.values);
        let input = self.input_ends.len() as u32;
        self.input_ends.push(self.values.len() as u32);
        for (index, at_ms, histogram) in batch.histograms {
            self.extra_bytes += histogram.memory_bytes();
            self.histograms.push((series[index as usize], at_ms, input, histogram));
        }
        for (index, exemplar) in batch.exemplars {
            self.extra_bytes += size_of::<(u32, Exemplar)>() + exemplar.labels.memory_bytes();
            self.exemplars.push((series[index as usize], exemplar));
        }
        for (name, of) in batch.metadata {
            self.extra_bytes += name.len() + of.help.len() + of.unit.len();
            self.metadata.insert(name, of);
        }
        Ok(())
    }

    /// Samples added so far, before equal ones are merged.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.values.len() + self.histograms.len()
    }

    /// Memory that finishing will take at most, in bytes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.values.len() * 36 + self.table.memory_bytes() + self.extra_bytes
    }

    /// The merged samples.
    ///
    /// # Errors
    /// None that good label sets can cause: [`EncodeError::InvalidBatch`] is a mistake in here.
    pub fn finish(self) -> Result<(MetricBatch, MergeCounts), EncodeError> {
        let mut counts = MergeCounts {
            samples_read: self.samples() as u64,
            exemplars_read: self.exemplars.len() as u64,
            ..MergeCounts::default()
        };
        // Where each series' floats begin, in label order; a series may be there of a partition that was refused.
        let order = self.table.in_order();
        let mut next = vec![0_u32; self.table.len()];
        for series in &self.series {
            next[*series as usize] += 1;
        }
        let mut start = 0;
        for series in &order {
            start += std::mem::replace(&mut next[*series as usize], start);
        }
        let total = self.values.len();
        let mut floats = FloatRun { timestamps_ms: vec![0; total], values: vec![0.0; total] };
        // Which of a float and a histogram is later is asked only where there are histograms.
        let mut arrivals = vec![0; if self.histograms.is_empty() { 0 } else { total }];
        for (arrival, series) in self.series.iter().enumerate() {
            let place = &mut next[*series as usize];
            floats.timestamps_ms[*place as usize] = self.timestamps_ms[arrival];
            floats.values[*place as usize] = self.values[arrival];
            if let Some(slot) = arrivals.get_mut(*place as usize) {
                *slot = arrival as u32;
            }
            *place += 1;
        }
        let ends = next;
        let Self { table, input_ends, histograms, exemplars, metadata, .. } = self;
        let mut histograms = Grouped::new(histograms, &order, |row| row.0);
        let mut exemplars = Grouped::new(exemplars, &order, |row| row.0);

        let mut batch = MetricBatch { metadata, ..MetricBatch::default() };
        batch.series.reserve(order.len());
        batch.float_ends.reserve(order.len());
        let (mut start, mut kept) = (0, 0);
        let mut text = String::new();
        for series in order {
            let own = start..ends[series as usize] as usize;
            start = own.end;
            let own_histograms = histograms.take(series);
            let own_exemplars = exemplars.take(series);
            if own.is_empty() && own_histograms.is_empty() && own_exemplars.is_empty() {
                continue;
            }
            let index = batch.series.len() as u32;
            kept = if own_histograms.is_empty() {
                keep_last(&mut floats, own, kept)
            } else {
                let inputs =
                    own.clone().map(|place| input_ends.partition_point(|end| *end <= arrivals[place]) as u32);
                let inputs: Vec<u32> = inputs.collect();
                let (end, rows) = merge_kinds(&mut floats, own, &inputs, own_histograms, kept);
                batch.histograms.extend(rows.into_iter().map(|(at_ms, histogram)| (index, at_ms, histogram)));
                end
            };
            let own_exemplars = distinct_exemplars(own_exemplars.into_iter().map(|row| row.1).collect());
            batch.exemplars.extend(own_exemplars.into_iter().map(|exemplar| (index, exemplar)));
            let labels = table
                .labels(series, &mut text)
                .map_err(|_| EncodeError::InvalidBatch("a label set cannot be put together"))?;
            batch.series.push(Arc::new(Series::new(labels)));
            batch.float_ends.push(kept as u32);
        }
        floats.timestamps_ms.truncate(kept);
        floats.values.truncate(kept);
        (batch.timestamps_ms, batch.values) = (floats.timestamps_ms, floats.values);
        counts.samples_replaced = counts.samples_read - batch.counts().samples;
        counts.exemplars_dropped = counts.exemplars_read - batch.exemplars.len() as u64;
        Ok((batch, counts))
    }
}
