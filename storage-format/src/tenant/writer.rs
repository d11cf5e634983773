//! Writes a tenant segment, series by series, in bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;
use telemetry::{BatchCounts, Exemplar, Histogram, Labels, Metadata, Omitted, TenantId};

use super::directory::{Block, BlockKind, put_directory};
use super::footer::{NameSection, TenantFooter};
use super::lists::{ListWriter, MAX_WAITING_TIMESTAMPS, put_lists};
use super::postings::put_postings;
use crate::cursor::{Budget, Reader};
use crate::error::{EncodeError, FormatError};
use crate::extras::{put_exemplars, put_metadata};
use crate::footer::Signal;
use crate::frame::BlockWriter;
use crate::histograms::{HistogramRows, put_histograms};
use crate::ints::Effort;
use crate::labels::{LabelWriter, RowReader};
use crate::limits::{
    BLOCK_EXEMPLARS, BLOCK_HISTOGRAM_BYTES, BLOCK_OMITTED, BLOCK_TIMESTAMPS, BLOCK_VALUES, MAX_BLOCK_VALUES,
};
use crate::omitted::put_omitted;
use crate::section::Section;
use crate::trailer::{SegmentKind, put_header, put_trailer};
use crate::values::put_values;

/// What things take in a finished segment, about, in bytes: values and timestamps.
const ESTIMATED_VALUE_BYTES: usize = 1;
/// Likewise: memory of histograms for one byte of theirs.
const ESTIMATED_HISTOGRAM_RATIO: usize = 8;
/// Likewise: an exemplar.
const ESTIMATED_EXEMPLAR_BYTES: usize = 48;
/// Likewise: a row of what was left out.
const ESTIMATED_OMITTED_BYTES: usize = 8;
/// Likewise: a series in the index, without the pairs that no series before had.
const ESTIMATED_SERIES_BYTES: usize = 8;
/// Likewise: bytes of text of new pairs for one byte of theirs, and the rest of such a pair, postings included.
const ESTIMATED_TEXT_RATIO: u64 = 3;
const ESTIMATED_PAIR_BYTES: u64 = 12;

/// All samples of one series within the segment.
#[derive(Clone, Copy, Debug)]
pub struct SeriesSamples<'a> {
    /// The series.
    pub labels: &'a Labels,
    /// Timestamps of float samples, ms, strictly ascending.
    pub timestamps_ms: &'a [i64],
    /// Values of float samples, as many as timestamps.
    pub values: &'a [f64],
    /// Native histograms by strictly ascending timestamp, ms.
    pub histograms: &'a [(i64, Arc<Histogram>)],
    /// Exemplars by ascending timestamp.
    pub exemplars: &'a [Exemplar],
    /// What was left out, if the series is thinned, by strictly ascending timestamp.
    pub omitted: &'a [Omitted],
}

/// What a finished tenant segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantSegmentSummary {
    /// How much is in it.
    pub counts: BatchCounts,
    /// The earliest timestamp in it, ms; `i64::MAX` when there is none.
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms; `i64::MIN` when there is none.
    pub max_time_ms: i64,
    /// Length of the object in bytes.
    pub len_bytes: u64,
    /// Where the index begins: from there to the end is what a reader needs first.
    pub index_start: u64,
}

/// Writes a tenant segment of metrics; series come in strictly ascending label order.
///
/// Memory held: one block of data, at most a million timestamps, the distinct label pairs, and some tens of bytes a
/// series; and what was written and not yet taken by [`TenantSegmentWriter::take_output`].
pub struct TenantSegmentWriter {
    tenant: TenantId,
    out: Vec<u8>,
    /// Where `out` begins in the object.
    offset: u64,
    block: BlockWriter,
    blocks: Vec<Block>,
    labels: LabelWriter<Arc<str>>,
    metric: Option<Arc<str>>,
    lists: ListWriter,
    values: ValueBuffer,
    histograms: HistogramRows,
    histogram_bytes: usize,
    exemplars: Vec<(u32, Exemplar)>,
    omitted: Vec<(u32, Omitted)>,
    metadata: BTreeMap<String, Metadata>,
    samples: u64,
    exemplar_count: u64,
    min_time_ms: i64,
    max_time_ms: i64,
}

/// Values that wait for their block to be full.
#[derive(Default)]
struct ValueBuffer {
    values: Vec<f64>,
    /// End of each series in `values`; the first series is number `first`.
    ends: Vec<u32>,
    /// For each metric that is complete the end of its series in `ends`.
    metric_ends: Vec<u32>,
    first: u32,
    skip: u32,
    min_time_ms: i64,
    max_time_ms: i64,
}

impl std::fmt::Debug for TenantSegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantSegmentWriter")
            .field("tenant", &self.tenant)
            .field("series", &self.labels.rows())
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

impl TenantSegmentWriter {
    /// A writer of a segment of `tenant`.
    ///
    /// # Errors
    /// [`EncodeError::Compression`] when there is no memory for a compressor.
    pub fn new(tenant: TenantId) -> Result<Self, EncodeError> {
        let mut out = Vec::new();
        put_header(&mut out);
        Ok(Self {
            tenant,
            out,
            offset: 0,
            block: BlockWriter::new()?,
            blocks: Vec::new(),
            labels: LabelWriter::default(),
            metric: None,
            lists: ListWriter::default(),
            values: ValueBuffer::default(),
            histograms: Vec::new(),
            histogram_bytes: 0,
            exemplars: Vec::new(),
            omitted: Vec::new(),
            metadata: BTreeMap::new(),
            samples: 0,
            exemplar_count: 0,
            min_time_ms: i64::MAX,
            max_time_ms: i64::MIN,
        })
    }

    /// Adds the next series with all its samples. After an error the writer is of no more use.
    ///
    /// # Errors
    /// [`EncodeError::InvalidBatch`] when series or timestamps do not ascend, or columns do not fit together.
    pub fn push(&mut self, series: SeriesSamples<'_>) -> Result<(), EncodeError> {
        check(&series)?;
        let id = self.labels.rows();
        if id == u32::MAX {
            return Err(EncodeError::TooLarge { what: "series", size: 1 << 32, limit: u32::MAX.into() });
        }
        self.labels.push(series.labels)?;
        let metric = series.labels.metric_name();
        let new_metric = id == 0 || metric != self.metric.as_deref();
        if new_metric {
            self.metric = metric.map(Arc::from);
        }
        self.lists.push(series.timestamps_ms);
        self.push_values(id, new_metric, &series)?;
        for (at_ms, histogram) in series.histograms {
            self.histogram_bytes += histogram.memory_bytes();
            self.histograms.push((id, *at_ms, Arc::clone(histogram)));
            self.cover(*at_ms, *at_ms);
            if self.histogram_bytes >= BLOCK_HISTOGRAM_BYTES {
                self.flush_histograms()?;
            }
        }
        for exemplar in series.exemplars {
            self.exemplars.push((id, exemplar.clone()));
            self.cover(exemplar.timestamp_ms, exemplar.timestamp_ms);
            if self.exemplars.len() >= BLOCK_EXEMPLARS {
                self.flush_exemplars()?;
            }
        }
        self.omitted.extend(series.omitted.iter().map(|row| (id, *row)));
        if self.omitted.len() >= BLOCK_OMITTED {
            self.flush_omitted()?;
        }
        self.samples += (series.values.len() + series.histograms.len()) as u64;
        self.exemplar_count += series.exemplars.len() as u64;
        if self.lists.waiting_timestamps() >= MAX_WAITING_TIMESTAMPS {
            self.flush_lists()?;
        }
        Ok(())
    }

    /// Adds what metrics say about themselves; a metric's last word stays.
    pub fn push_metadata(&mut self, metadata: &BTreeMap<String, Metadata>) {
        self.metadata.extend(metadata.iter().map(|(name, of)| (name.clone(), of.clone())));
    }

    /// How long the object would be, in bytes, about, if it were finished now: rather more than less.
    #[must_use]
    pub fn estimated_len(&self) -> u64 {
        let waiting = self.values.values.len() * ESTIMATED_VALUE_BYTES
            + self.lists.waiting_timestamps() * ESTIMATED_VALUE_BYTES
            + self.histogram_bytes / ESTIMATED_HISTOGRAM_RATIO
            + self.exemplars.len() * ESTIMATED_EXEMPLAR_BYTES
            + self.omitted.len() * ESTIMATED_OMITTED_BYTES
            + self.labels.rows() as usize * ESTIMATED_SERIES_BYTES;
        let pairs =
            self.labels.pair_bytes() / ESTIMATED_TEXT_RATIO + self.labels.entries() * ESTIMATED_PAIR_BYTES;
        self.offset + self.out.len() as u64 + waiting as u64 + pairs
    }

    /// How many series there are so far.
    #[must_use]
    pub fn series_count(&self) -> u32 {
        self.labels.rows()
    }

    /// How many bytes wait to be taken.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out.len()
    }

    /// Takes what was written since the last call: the next bytes of the object.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        self.offset += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Writes what waits, the index and the footer; returns the last bytes of the object.
    ///
    /// # Errors
    /// [`EncodeError`] as for [`TenantSegmentWriter::push`].
    pub fn finish(mut self) -> Result<(Vec<u8>, TenantSegmentSummary), EncodeError> {
        self.flush_values()?;
        self.flush_histograms()?;
        self.flush_exemplars()?;
        self.flush_omitted()?;
        self.flush_lists()?;
        let counts = BatchCounts {
            series: self.labels.rows().into(),
            samples: self.samples,
            exemplars: self.exemplar_count,
        };
        let mut raw_rows = Vec::new();
        let memory = self.labels.put_rows(&mut raw_rows);
        self.block.memory += memory + self.labels.row_ids() * size_of::<u32>() as u64;
        self.block.put_frame(&raw_rows)?;
        let rows = self.section();
        self.lists.put(&mut self.block)?;
        let series = self.section();
        put_directory(&self.blocks, &mut self.block)?;
        let directory = self.section();
        put_metadata(&self.metadata, &mut self.block)?;
        let metadata = self.section();
        let mut postings = self.postings(&raw_rows)?;
        let mut names = Vec::new();
        let described: Vec<(String, usize)> =
            self.labels.names().map(|(name, values)| (name.to_owned(), values)).collect();
        for (number, (name, values)) in described.into_iter().enumerate() {
            let mut raw = Vec::new();
            self.block.memory += self.labels.put_dictionary(number, &mut raw);
            self.block.put_frame(&raw)?;
            let dictionary = self.section();
            put_postings(&mut postings[number], &mut self.block)?;
            // Its memory is needed no longer.
            postings[number] = Vec::new();
            names.push(NameSection { name, values: values as u64, dictionary, postings: self.section() });
        }
        let footer = TenantFooter {
            tenant: self.tenant.clone(),
            signal: Signal::Metrics,
            counts,
            min_time_ms: self.min_time_ms,
            max_time_ms: self.max_time_ms,
            blocks: self.blocks.len() as u64,
            rows,
            series,
            directory,
            metadata,
            metadata_count: self.metadata.len() as u64,
            names,
        };
        let footer_start = self.out.len();
        footer.put(&mut self.out);
        put_trailer(&mut self.out, footer_start, SegmentKind::Tenant);
        let summary = TenantSegmentSummary {
            counts,
            min_time_ms: self.min_time_ms,
            max_time_ms: self.max_time_ms,
            len_bytes: self.offset + self.out.len() as u64,
            index_start: footer.rows.range.start,
        };
        Ok((self.out, summary))
    }

    /// For each name and value the series that have it.
    fn postings(&self, raw_rows: &[u8]) -> Result<Vec<Vec<RoaringBitmap>>, EncodeError> {
        let unreadable = |_: FormatError| EncodeError::InvalidBatch("its label table cannot be read back");
        let rows = self.labels.rows();
        let mut budget = Budget::unlimited();
        let mut reader =
            RowReader::new(&mut Reader::new(raw_rows, "label table"), rows as usize, &mut budget)
                .map_err(unreadable)?;
        let mut postings: Vec<Vec<RoaringBitmap>> =
            reader.distinct.iter().map(|count| vec![RoaringBitmap::new(); *count]).collect();
        for series in 0..rows {
            let row = reader.next().map_err(unreadable)?;
            for &name in row.names {
                postings[name as usize][row.current[name as usize] as usize].insert(series);
            }
        }
        Ok(postings)
    }

    fn section(&mut self) -> Section {
        Section::append(&mut self.block, self.offset, &mut self.out)
    }

    fn cover(&mut self, first_ms: i64, last_ms: i64) {
        self.min_time_ms = self.min_time_ms.min(first_ms);
        self.max_time_ms = self.max_time_ms.max(last_ms);
    }

    fn push_values(
        &mut self,
        id: u32,
        new_metric: bool,
        series: &SeriesSamples<'_>,
    ) -> Result<(), EncodeError> {
        if let (Some(first), Some(last)) = (series.timestamps_ms.first(), series.timestamps_ms.last()) {
            self.cover(*first, *last);
        }
        let mut done = 0;
        loop {
            let buffer = &mut self.values;
            if buffer.ends.is_empty() {
                *buffer = ValueBuffer {
                    first: id,
                    skip: done as u32,
                    min_time_ms: i64::MAX,
                    max_time_ms: i64::MIN,
                    ..ValueBuffer::default()
                };
            } else if new_metric && done == 0 {
                buffer.metric_ends.push(buffer.ends.len() as u32);
            }
            let take = (series.values.len() - done).min(MAX_BLOCK_VALUES - buffer.values.len());
            let part = done..done + take;
            buffer.values.extend_from_slice(&series.values[part.clone()]);
            buffer.ends.push(buffer.values.len() as u32);
            if let [first, ..] = series.timestamps_ms[part.clone()] {
                buffer.min_time_ms = buffer.min_time_ms.min(first);
                buffer.max_time_ms = buffer.max_time_ms.max(series.timestamps_ms[part.end - 1]);
            }
            done += take;
            let full = buffer.values.len() >= BLOCK_VALUES;
            if full {
                self.flush_values()?;
            }
            if done == series.values.len() {
                return Ok(());
            }
        }
    }

    fn add_block(&mut self, block: Block) {
        let section = self.section();
        self.blocks.push(Block { section, ..block });
    }

    fn flush_values(&mut self) -> Result<(), EncodeError> {
        let mut buffer = std::mem::take(&mut self.values);
        if buffer.values.is_empty() {
            return Ok(());
        }
        buffer.metric_ends.push(buffer.ends.len() as u32);
        self.block.memory += (buffer.ends.len() * size_of::<u32>()) as u64;
        put_values(&buffer.values, &buffer.ends, &buffer.metric_ends, Effort::Compacted, &mut self.block)?;
        self.add_block(Block {
            kind: BlockKind::Values,
            section: Section::empty(),
            first: buffer.first,
            last: buffer.first + (buffer.ends.len() as u32 - 1),
            skip: buffer.skip,
            count: buffer.values.len() as u32,
            min_time_ms: buffer.min_time_ms,
            max_time_ms: buffer.max_time_ms,
        });
        Ok(())
    }

    fn flush_histograms(&mut self) -> Result<(), EncodeError> {
        let rows = std::mem::take(&mut self.histograms);
        self.histogram_bytes = 0;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        put_histograms(&rows, &mut self.block)?;
        self.add_block(Block {
            kind: BlockKind::Histograms,
            section: Section::empty(),
            first: first.0,
            last: last.0,
            skip: 0,
            count: rows.len() as u32,
            min_time_ms: rows.iter().map(|row| row.1).min().unwrap_or_default(),
            max_time_ms: rows.iter().map(|row| row.1).max().unwrap_or_default(),
        });
        Ok(())
    }

    fn flush_exemplars(&mut self) -> Result<(), EncodeError> {
        let rows = std::mem::take(&mut self.exemplars);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        put_exemplars(&rows, &mut self.block)?;
        self.add_block(Block {
            kind: BlockKind::Exemplars,
            section: Section::empty(),
            first: first.0,
            last: last.0,
            skip: 0,
            count: rows.len() as u32,
            min_time_ms: rows.iter().map(|row| row.1.timestamp_ms).min().unwrap_or_default(),
            max_time_ms: rows.iter().map(|row| row.1.timestamp_ms).max().unwrap_or_default(),
        });
        Ok(())
    }

    fn flush_omitted(&mut self) -> Result<(), EncodeError> {
        let rows = std::mem::take(&mut self.omitted);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        put_omitted(&rows, &mut self.block)?;
        self.add_block(Block {
            kind: BlockKind::Omitted,
            section: Section::empty(),
            first: first.0,
            last: last.0,
            skip: 0,
            count: rows.len() as u32,
            min_time_ms: rows.iter().map(|row| row.1.timestamp_ms).min().unwrap_or_default(),
            max_time_ms: rows.iter().map(|row| row.1.timestamp_ms).max().unwrap_or_default(),
        });
        Ok(())
    }

    /// Writes the timestamp lists that wait, in blocks of about [`BLOCK_TIMESTAMPS`].
    fn flush_lists(&mut self) -> Result<(), EncodeError> {
        let (mut first, lists) = self.lists.take_waiting();
        let mut rest = lists.as_slice();
        while !rest.is_empty() {
            let mut timestamps = 0;
            let in_block = rest
                .iter()
                .position(|list| {
                    timestamps += list.len();
                    timestamps >= BLOCK_TIMESTAMPS
                })
                .map_or(rest.len(), |last| last + 1);
            let (now, later) = rest.split_at(in_block);
            let count = put_lists(now, &mut self.block)?;
            let all = || now.iter().flatten();
            self.add_block(Block {
                kind: BlockKind::Times,
                section: Section::empty(),
                first,
                last: first + (in_block as u32 - 1),
                skip: 0,
                count,
                min_time_ms: all().min().copied().unwrap_or_default(),
                max_time_ms: all().max().copied().unwrap_or_default(),
            });
            first += in_block as u32;
            rest = later;
        }
        Ok(())
    }
}

fn check(series: &SeriesSamples<'_>) -> Result<(), EncodeError> {
    let bad = |why| Err(EncodeError::InvalidBatch(why));
    if series.timestamps_ms.len() != series.values.len() || u32::try_from(series.values.len()).is_err() {
        return bad("a series' timestamps and values do not fit together");
    }
    if series.timestamps_ms.windows(2).any(|pair| pair[0] >= pair[1])
        || series.histograms.windows(2).any(|pair| pair[0].0 >= pair[1].0)
        || series.exemplars.windows(2).any(|pair| pair[0].timestamp_ms > pair[1].timestamp_ms)
        || series.omitted.windows(2).any(|pair| pair[0].timestamp_ms >= pair[1].timestamp_ms)
    {
        return bad("timestamps of a series do not ascend");
    }
    if series.values.is_empty() && series.histograms.is_empty() && series.exemplars.is_empty() {
        return bad("a series without samples and exemplars");
    }
    if series.histograms.iter().any(|(at, _)| series.timestamps_ms.binary_search(at).is_ok()) {
        return bad("a float and a histogram at the same time");
    }
    Ok(())
}
