//! What a query reads of one tenant segment: series that were selected, blocks that were fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use promql::{Matcher, Reading, SeriesSamples};
use roaring::RoaringBitmap;
use storage_format::FormatError;
use storage_format::tenant::BlockKind;
use telemetry::{Exemplar, Series};

use super::blocks::{Decoded, DecodedCache};
use super::choice::Service;
use super::open::OpenSegment;
use crate::limits::BRIEF_SERIES;

/// A segment with all that a query needs of it.
#[derive(Debug)]
pub(crate) struct SegmentPart {
    segment: Arc<OpenSegment>,
    /// By ascending number.
    blocks: Vec<(u32, HeldBlock)>,
    /// What was selected to know which blocks to fetch.
    selections: Vec<(Vec<Matcher>, RoaringBitmap)>,
    decoded: DecodedCache,
    /// Whether something in it turned out to be damaged.
    is_damaged: AtomicBool,
    /// Which selections it answers; all where nothing is said.
    service: Option<Service>,
}

/// A block that the query holds: decoded, because it was so already, or its bytes, which are decoded when the first series
/// in it is read. What is decoded then is held by the cache alone, so that a query that reads much holds little.
#[derive(Debug)]
pub(super) enum HeldBlock {
    Decoded(Arc<Decoded>),
    Bytes(Bytes),
}

fn corrupt(why: &'static str) -> FormatError {
    FormatError::Corrupt { what: "tenant segment", why }
}

impl SegmentPart {
    pub(super) fn new(
        segment: Arc<OpenSegment>,
        mut blocks: Vec<(u32, HeldBlock)>,
        selections: Vec<(Vec<Matcher>, RoaringBitmap)>,
        decoded: DecodedCache,
    ) -> Self {
        blocks.sort_unstable_by_key(|(number, _)| *number);
        Self { segment, blocks, selections, decoded, is_damaged: AtomicBool::new(false), service: None }
    }

    pub(super) fn serving(self, service: Option<Service>) -> Self {
        Self { service, ..self }
    }

    /// Whether it answers who reads so.
    pub(crate) fn answers(&self, reading: Reading) -> bool {
        self.service.as_ref().is_none_or(|service| service.answers(reading))
    }

    pub(crate) fn segment(&self) -> &OpenSegment {
        &self.segment
    }

    /// How many samples the series have at most that were selected, whatever the time; `None` where that takes long to tell, or
    /// something has to be decoded to read them.
    pub(crate) fn samples_at_most(&self) -> Option<u64> {
        let is_decoded = |(_, held): &(u32, HeldBlock)| matches!(held, HeldBlock::Decoded(_));
        let series: u64 = self.selections.iter().map(|(_, selected)| selected.len()).sum();
        if series > BRIEF_SERIES as u64 || !self.blocks.iter().all(is_decoded) {
            return None;
        }
        let samples = |number| {
            let histograms = self.segment.blocks_of(BlockKind::Histograms, number).next().is_some();
            let floats = self.segment.index().times_of(number).map_or(0, |times| u64::from(times.count));
            (!histograms).then_some(floats)
        };
        self.selections.iter().flat_map(|(_, selected)| selected).map(samples).sum()
    }

    /// The key of the object, if something in it turned out to be damaged.
    pub(crate) fn damaged(&self) -> Option<&Arc<str>> {
        self.is_damaged.load(Ordering::Relaxed).then(|| self.segment.key())
    }

    /// What was read, or nothing where it is damaged, which is noted.
    fn unless_damaged<T>(&self, read: Result<T, FormatError>) -> Option<T> {
        read.inspect_err(|error| {
            if !self.is_damaged.swap(true, Ordering::Relaxed) {
                let (segment, error) = (self.segment.key(), error as &dyn std::error::Error);
                tracing::error!(%segment, error, "a part of a segment cannot be read; queries lack it");
            }
        })
        .ok()
    }

    /// The series that all `matchers` hold for, by number.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let known = self.selections.iter().find(|(of, _)| of == matchers);
        let selected = || self.unless_damaged(self.segment.select(matchers)).unwrap_or_default();
        known.map_or_else(selected, |(_, selected)| selected.clone())
    }

    pub(crate) fn series(&self, series: u32) -> Option<Arc<Series>> {
        self.unless_damaged(self.segment.series(series))
    }

    /// Puts the samples of series `series` in the time range (ms, both inclusive) in `out`, which comes empty.
    pub(crate) fn read(&self, series: u32, time_range_ms: (i64, i64), out: &mut SeriesSamples) {
        if self.unless_damaged(self.read_floats(series, time_range_ms, out)).is_none() {
            // Timestamps without values are no samples.
            out.clear();
        }
        self.unless_damaged(self.read_histograms(series, time_range_ms, out));
        self.unless_damaged(self.read_omitted(series, time_range_ms, out));
    }

    /// What was left out, if that was fetched.
    fn read_omitted(
        &self,
        series: u32,
        (start_ms, end_ms): (i64, i64),
        out: &mut SeriesSamples,
    ) -> Result<(), FormatError> {
        for (number, _) in self.segment.blocks_of(BlockKind::Omitted, series) {
            if self.blocks.binary_search_by_key(&number, |(number, _)| *number).is_err() {
                continue;
            }
            let decoded = self.block(number)?;
            let Decoded::Omitted(rows) = &*decoded else { return Err(corrupt("another kind of block")) };
            let from = rows.partition_point(|row| row.0 < series);
            let own = rows[from..].iter().take_while(|row| row.0 == series).map(|(_, row)| *row);
            out.omitted.extend(own.filter(|row| (start_ms..=end_ms).contains(&row.timestamp_ms)));
        }
        Ok(())
    }

    fn block(&self, number: u32) -> Result<Arc<Decoded>, FormatError> {
        let place = self.blocks.binary_search_by_key(&number, |(number, _)| *number);
        let held = place.map_err(|_| corrupt("a block that is not where the index says"))?;
        match &self.blocks[held].1 {
            HeldBlock::Decoded(decoded) => Ok(Arc::clone(decoded)),
            HeldBlock::Bytes(bytes) => {
                if let Some(decoded) = self.decoded.block(self.segment.number(), number) {
                    return Ok(decoded);
                }
                let index = self.segment.index();
                let block = index.blocks().get(number as usize).ok_or(corrupt("no such block"))?;
                let decoded = Arc::new(Decoded::decode(index, block, bytes)?);
                self.decoded.keep_block(self.segment.number(), number, &decoded);
                Ok(decoded)
            }
        }
    }

    fn read_floats(
        &self,
        series: u32,
        (start_ms, end_ms): (i64, i64),
        out: &mut SeriesSamples,
    ) -> Result<(), FormatError> {
        let index = self.segment.index();
        let Some(times) = index.times_of(series) else { return Ok(()) };
        if times.list_range_ms.0 > end_ms || times.list_range_ms.1 < start_ms {
            return Ok(());
        }
        let (number, block) = self
            .segment
            .blocks_of(BlockKind::Times, times.list)
            .next()
            .ok_or(corrupt("timestamps without a block"))?;
        let lists = self.block(number)?;
        let Decoded::Times(lists) = &*lists else { return Err(corrupt("another kind of block")) };
        let list = times.list.checked_sub(block.first).and_then(|place| lists.get(place as usize));
        let own = times.of(list.ok_or(corrupt("timestamps that are not there"))?);
        let from = own.partition_point(|at| *at < start_ms);
        let to = own.partition_point(|at| *at <= end_ms);
        if from >= to {
            return Ok(());
        }
        let mut blocks = self.segment.blocks_of(BlockKind::Values, series).peekable();
        let mut next = from;
        while let Some((number, block)) = blocks.next() {
            // The series' values in this block are those from `skip` to where the next block goes on.
            let skip = if block.first == series { block.skip as usize } else { 0 };
            let end = match blocks.peek() {
                Some((_, after)) if after.first == series => after.skip as usize,
                _ => usize::MAX,
            };
            if end <= next {
                continue;
            }
            if skip >= to {
                break;
            }
            let decoded = self.block(number)?;
            let Decoded::Values(values) = &*decoded else { return Err(corrupt("another kind of block")) };
            let (skip, values) = values.of(series).ok_or(corrupt("values that are not there"))?;
            let skip = skip as usize;
            let part = next.checked_sub(skip).and_then(|place| {
                let until = to.min(skip + values.len());
                values.get(place..until.checked_sub(skip)?)
            });
            let part = part.ok_or(corrupt("values out of order"))?;
            out.values.extend_from_slice(part);
            next += part.len();
        }
        if next < to {
            return Err(corrupt("values that are not there"));
        }
        out.timestamps_ms.extend_from_slice(&own[from..to]);
        Ok(())
    }

    fn read_histograms(
        &self,
        series: u32,
        (start_ms, end_ms): (i64, i64),
        out: &mut SeriesSamples,
    ) -> Result<(), FormatError> {
        for (number, block) in self.segment.blocks_of(BlockKind::Histograms, series) {
            if !block.overlaps(start_ms, end_ms) {
                continue;
            }
            let decoded = self.block(number)?;
            let Decoded::Histograms(rows) = &*decoded else { return Err(corrupt("another kind of block")) };
            let from = rows.partition_point(|row| row.0 < series);
            let own = rows[from..].iter().take_while(|row| row.0 == series);
            let within = own.filter(|row| (start_ms..=end_ms).contains(&row.1));
            out.histograms.extend(within.map(|(_, at_ms, histogram)| (*at_ms, Arc::clone(histogram))));
        }
        Ok(())
    }

    /// The exemplars of series `series` in the time range, ascending by time.
    pub(crate) fn exemplars(&self, series: u32, time_range_ms: (i64, i64)) -> Vec<Exemplar> {
        self.unless_damaged(self.read_exemplars(series, time_range_ms)).unwrap_or_default()
    }

    fn read_exemplars(
        &self,
        series: u32,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Vec<Exemplar>, FormatError> {
        let mut found = Vec::new();
        for (number, block) in self.segment.blocks_of(BlockKind::Exemplars, series) {
            if !block.overlaps(start_ms, end_ms) {
                continue;
            }
            let decoded = self.block(number)?;
            let Decoded::Exemplars(rows) = &*decoded else { return Err(corrupt("another kind of block")) };
            let from = rows.partition_point(|row| row.0 < series);
            let own = rows[from..].iter().take_while(|row| row.0 == series).map(|(_, exemplar)| exemplar);
            found.extend(own.filter(|each| (start_ms..=end_ms).contains(&each.timestamp_ms)).cloned());
        }
        Ok(found)
    }
}
