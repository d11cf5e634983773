//! Samples of selected series from fetched blocks.

use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use telemetry::{Exemplar, MetricBatch, Omitted, Series};

use super::directory::{Block, BlockKind};
use super::index::MetricsIndex;
use super::lists::{ListInfo, read_lists};
use crate::cursor::{Budget, Reader};
use crate::error::FormatError;
use crate::extras::read_exemplars;
use crate::frame::finish_block;
use crate::histograms::{HistogramRows, read_histograms};
use crate::omitted::read_omitted;
use crate::values::read_values;

/// A decoded block of values.
#[derive(Debug)]
pub(super) struct ValueBlock {
    pub(super) first: u32,
    pub(super) last: u32,
    skip: u32,
    ends: Vec<u32>,
    values: Vec<f64>,
}

impl ValueBlock {
    /// Memory held, in bytes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + size_of_val(self.ends.as_slice())
    }

    /// Values of series `series` in this block, and how many of them are in blocks before.
    pub(super) fn of(&self, series: u32) -> Option<(u32, &[f64])> {
        if series < self.first || series > self.last {
            return None;
        }
        let index = (series - self.first) as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let skip = if index == 0 { self.skip } else { 0 };
        Some((skip, &self.values[start as usize..self.ends[index] as usize]))
    }
}

impl MetricsIndex {
    /// Samples of `series` in `start_ms..=end_ms`, from blocks and their bytes: those that
    /// [`MetricsIndex::blocks_for`] named for a selection that includes this one. Series without samples there are left
    /// out. The batch keeps the invariants of [`MetricBatch`].
    ///
    /// # Errors
    /// Any [`FormatError`]; a missing block is one, too.
    pub fn read(
        &self,
        series: &RoaringBitmap,
        start_ms: i64,
        end_ms: i64,
        fetched: &[(&Block, &[u8])],
    ) -> Result<MetricBatch, FormatError> {
        let mut lists: HashMap<u32, Vec<i64>> = HashMap::new();
        let mut values: Vec<ValueBlock> = Vec::new();
        let mut histograms = HistogramRows::new();
        let mut exemplars = Vec::new();
        let mut in_order = fetched.to_vec();
        in_order.sort_by_key(|(block, _)| block.section.range.start);
        for (block, bytes) in in_order {
            block.section.check("data block", bytes)?;
            match block.kind {
                BlockKind::Times => {
                    let infos = self.lists_of(block);
                    lists.extend((block.first..).zip(read_lists(bytes, infos)?));
                }
                BlockKind::Values => values.push(self.read_value_block(block, bytes)?),
                BlockKind::Histograms => histograms.extend(read_histogram_block(block, bytes)?),
                BlockKind::Exemplars => exemplars.extend(read_exemplar_block(block, bytes)?),
                BlockKind::Omitted => {}
            }
        }
        let inside = |at_ms: i64| at_ms >= start_ms && at_ms <= end_ms;
        let mut batch = MetricBatch::default();
        let mut histograms = histograms.into_iter().peekable();
        let mut exemplars = exemplars.into_iter().peekable();
        for number in series {
            let before = (batch.values.len(), batch.histograms.len(), batch.exemplars.len());
            self.append_floats(number, start_ms, end_ms, &lists, &values, &mut batch)?;
            let index = batch.series.len() as u32;
            while let Some((of, at_ms, histogram)) = histograms.next_if(|row| row.0 <= number) {
                if of == number && inside(at_ms) {
                    batch.histograms.push((index, at_ms, histogram));
                }
            }
            while let Some((of, exemplar)) = exemplars.next_if(|row| row.0 <= number) {
                if of == number && inside(exemplar.timestamp_ms) {
                    batch.exemplars.push((index, exemplar));
                }
            }
            if before != (batch.values.len(), batch.histograms.len(), batch.exemplars.len()) {
                batch.series.push(Arc::new(Series::new(self.labels(number)?)));
                let end = u32::try_from(batch.values.len());
                batch.float_ends.push(end.map_err(|_| corrupt("more samples than a batch holds"))?);
            }
        }
        Ok(batch)
    }

    /// The lists whose timestamps are in `block`.
    pub(super) fn lists_of(&self, block: &Block) -> &[ListInfo] {
        self.lists.get(block.first as usize..=block.last as usize).unwrap_or_default()
    }

    /// Decodes a block of values, whose checksum was checked.
    pub(super) fn read_value_block(&self, block: &Block, bytes: &[u8]) -> Result<ValueBlock, FormatError> {
        let mut budget = Budget::of(bytes.len());
        let parts = self.parts.get(block.first as usize..=block.last as usize);
        let parts = parts.ok_or(corrupt("a series that does not exist"))?;
        budget.charge("block of values", parts.len() as u64, size_of::<u32>())?;
        let mut end = 0_u64;
        let mut skip = block.skip;
        let mut ends = Vec::with_capacity(parts.len());
        for part in parts {
            let count = part.count.checked_sub(skip).ok_or(corrupt("a block beyond its series"))?;
            skip = 0;
            // The last series may go on in the next block.
            end = (end + u64::from(count)).min(block.count.into());
            ends.push(end as u32);
        }
        if end != u64::from(block.count) {
            return Err(corrupt("a block with more values than its series"));
        }
        let mut reader = Reader::new(bytes, "block of values");
        let values = read_values(&mut reader, &ends, &mut budget)?;
        finish_block(reader)?;
        Ok(ValueBlock { first: block.first, last: block.last, skip: block.skip, ends, values })
    }

    fn append_floats(
        &self,
        series: u32,
        start_ms: i64,
        end_ms: i64,
        lists: &HashMap<u32, Vec<i64>>,
        blocks: &[ValueBlock],
        batch: &mut MetricBatch,
    ) -> Result<(), FormatError> {
        let part = self.parts.get(series as usize).ok_or(corrupt("a series that does not exist"))?;
        let info = &self.lists[part.list as usize];
        if part.count == 0 || info.first_ms > end_ms || info.last_ms < start_ms {
            return Ok(());
        }
        let list = lists.get(&part.list).ok_or(corrupt("a block of timestamps was not fetched"))?;
        let own = list.get(part.skip as usize..(part.skip + part.count) as usize).unwrap_or_default();
        let from = own.partition_point(|at| *at < start_ms);
        let to = own.partition_point(|at| *at <= end_ms);
        if from >= to {
            return Ok(());
        }
        let mut next = from;
        let first = blocks.partition_point(|block| block.last < series);
        for block in &blocks[first..] {
            let Some((skip, values)) = block.of(series) else { break };
            let skip = skip as usize;
            if skip > next || next >= to {
                break;
            }
            if let Some(values) = values.get(next - skip..to.min(skip + values.len()) - skip) {
                batch.values.extend_from_slice(values);
                next += values.len();
            }
        }
        if next < to {
            return Err(corrupt("a block of values was not fetched"));
        }
        batch.timestamps_ms.extend_from_slice(&own[from..to]);
        Ok(())
    }
}

/// Decodes a block of native histograms, whose checksum was checked.
pub(super) fn read_histogram_block(block: &Block, bytes: &[u8]) -> Result<HistogramRows, FormatError> {
    let mut reader = Reader::new(bytes, "block of histograms");
    let mut budget = Budget::of(bytes.len());
    let rows = read_histograms(&mut reader, block.count as usize, block.last as usize + 1, &mut budget)?;
    finish_block(reader)?;
    Ok(rows)
}

/// Decodes a block of exemplars, whose checksum was checked.
pub(super) fn read_exemplar_block(block: &Block, bytes: &[u8]) -> Result<Vec<(u32, Exemplar)>, FormatError> {
    let mut reader = Reader::new(bytes, "block of exemplars");
    let mut budget = Budget::of(bytes.len());
    let rows = read_exemplars(&mut reader, block.count as usize, block.last as usize + 1, &mut budget)?;
    finish_block(reader)?;
    Ok(rows)
}

/// Decodes a block of what was left out, whose checksum was checked.
pub(super) fn read_omitted_block(block: &Block, bytes: &[u8]) -> Result<Vec<(u32, Omitted)>, FormatError> {
    let mut reader = Reader::new(bytes, "block of what was left out");
    let mut budget = Budget::of(bytes.len());
    let rows = read_omitted(&mut reader, block.count as usize, u64::from(block.last) + 1, &mut budget)?;
    finish_block(reader)?;
    Ok(rows)
}

fn corrupt(why: &'static str) -> FormatError {
    FormatError::Corrupt { what: "samples", why }
}
