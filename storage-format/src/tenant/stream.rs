//! Reads a whole tenant segment series by series, and of its blocks only those that the next series needs.
//!
//! It does no I/O: it says which bytes it needs next ([`SegmentStream::next_fetch`]) and is given them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use telemetry::{BatchCounts, Exemplar, Histogram, Labels, Metadata, Omitted};

use super::directory::{Block, BlockKind};
use super::footer::TenantFooter;
use super::index::MetricsIndex;
use super::lists::read_lists;
use super::read::{ValueBlock, read_exemplar_block, read_histogram_block, read_omitted_block};
use super::writer::SeriesSamples;
use crate::error::FormatError;
use crate::limits::{MAX_BLOCK_VALUES, MAX_HELD_TIMESTAMPS};

const WHAT: &str = "tenant segment";

fn corrupt(why: &'static str) -> FormatError {
    FormatError::Corrupt { what: WHAT, why }
}

/// What [`SegmentStream::advance`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStep {
    /// The next series is there.
    Series,
    /// Blocks are missing: fetch and supply what [`SegmentStream::next_fetch`] says, and try again.
    Blocks,
    /// There are no more series.
    End,
}

/// A block, and from which series on it is needed.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    series: u32,
    block: u32,
    /// The last series that needs it.
    last: u32,
}

/// Bytes that were supplied.
struct Piece<B> {
    range: Range<u64>,
    bytes: B,
    /// How many bytes of it belong to blocks that are still to be decoded.
    left: u64,
}

/// Timestamp lists, from number `first` on.
struct HeldLists {
    first: u32,
    lists: Vec<Vec<i64>>,
    timestamps: usize,
    /// The last series that needs one of them.
    last: u32,
}

/// Series by series through a tenant segment. `B` are bytes, such as `Vec<u8>` or `Bytes`.
///
/// Memory held: the index ([`MetricsIndex::memory_bytes`] and 12 bytes a block), what was supplied and not used up, one
/// decoded block of each kind, at most [`MAX_HELD_TIMESTAMPS`] timestamps in lists, and the samples of one series.
pub struct SegmentStream<B> {
    index: MetricsIndex,
    counts: BatchCounts,
    schedule: VecDeque<Scheduled>,
    pieces: Vec<Piece<B>>,
    lists: Vec<HeldLists>,
    values: VecDeque<ValueBlock>,
    pending_histograms: VecDeque<(u32, i64, Arc<Histogram>)>,
    pending_exemplars: VecDeque<(u32, Exemplar)>,
    pending_omitted: VecDeque<(u32, Omitted)>,
    /// The number of the series that comes next.
    next: u32,
    /// What was read so far.
    read: BatchCounts,
    labels: Labels,
    timestamps_ms: Vec<i64>,
    own_values: Vec<f64>,
    histograms: Vec<(i64, Arc<Histogram>)>,
    exemplars: Vec<Exemplar>,
    omitted: Vec<Omitted>,
}

impl<B> std::fmt::Debug for SegmentStream<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentStream")
            .field("counts", &self.counts)
            .field("next_series", &self.next)
            .finish_non_exhaustive()
    }
}

impl<B: AsRef<[u8]>> SegmentStream<B> {
    /// Reads the segment with this footer and index from its first series on.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when blocks are not in the order in which a writer writes them.
    pub fn new(footer: &TenantFooter, index: MetricsIndex) -> Result<Self, FormatError> {
        let schedule = schedule(&index)?;
        Ok(Self {
            index,
            counts: footer.counts,
            schedule,
            pieces: Vec::new(),
            lists: Vec::new(),
            values: VecDeque::new(),
            pending_histograms: VecDeque::new(),
            pending_exemplars: VecDeque::new(),
            pending_omitted: VecDeque::new(),
            next: 0,
            read: BatchCounts::default(),
            labels: Labels::empty(),
            timestamps_ms: Vec::new(),
            own_values: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            omitted: Vec::new(),
        })
    }

    /// The next bytes to fetch: of at most `most_bytes` or one block; `None` when all are there, or when more than
    /// `held_bytes` wait already and the next block is among them.
    #[must_use]
    pub fn next_fetch(&self, most_bytes: u64, held_bytes: u64) -> Option<Range<u64>> {
        let missing = |range: &Range<u64>| !self.pieces.iter().any(|piece| contains(&piece.range, range));
        let held: u64 = self.pieces.iter().map(|piece| piece.left).sum();
        let blocks = self.index.blocks();
        let place = self
            .schedule
            .iter()
            .take(if held > held_bytes { 1 } else { usize::MAX })
            .find(|scheduled| missing(&blocks[scheduled.block as usize].section.range))?;
        let mut range = blocks[place.block as usize].section.range.clone();
        for block in &blocks[place.block as usize + 1..] {
            let end = block.section.range.end;
            if end - range.start > most_bytes || !missing(&block.section.range) {
                break;
            }
            range.end = end;
        }
        Some(range)
    }

    /// Takes the bytes of a range that [`SegmentStream::next_fetch`] named.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when they are not as many as the range has.
    pub fn supply(&mut self, range: Range<u64>, bytes: B) -> Result<(), FormatError> {
        if bytes.as_ref().len() as u64 != range.end - range.start {
            return Err(corrupt("cut short"));
        }
        let blocks = self.index.blocks();
        let left = self
            .schedule
            .iter()
            .map(|scheduled| &blocks[scheduled.block as usize].section.range)
            .filter(|block| contains(&range, block))
            .map(|block| block.end - block.start)
            .sum();
        self.pieces.push(Piece { range, bytes, left });
        Ok(())
    }

    /// Goes to the next series.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn advance(&mut self) -> Result<StreamStep, FormatError> {
        let series = self.next;
        if series >= self.index.series_count() {
            if self.read != self.counts {
                return Err(corrupt("not what the footer says"));
            }
            return Ok(StreamStep::End);
        }
        while let Some(&scheduled) = self.schedule.front().filter(|scheduled| scheduled.series <= series) {
            if !self.load(scheduled)? {
                return Ok(StreamStep::Blocks);
            }
            self.schedule.pop_front();
        }
        self.collect(series)?;
        self.labels = self.index.labels(series)?;
        self.next += 1;
        Ok(StreamStep::Series)
    }

    /// The series that [`SegmentStream::advance`] came to.
    #[must_use]
    pub fn series(&self) -> SeriesSamples<'_> {
        SeriesSamples {
            labels: &self.labels,
            timestamps_ms: &self.timestamps_ms,
            values: &self.own_values,
            histograms: &self.histograms,
            exemplars: &self.exemplars,
            omitted: &self.omitted,
        }
    }

    /// How much is in the segment.
    #[must_use]
    pub fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Metadata of metrics by name.
    #[must_use]
    pub fn metadata(&self) -> &std::collections::BTreeMap<String, Metadata> {
        self.index.metadata()
    }

    /// Decodes a block, if its bytes are there.
    fn load(&mut self, scheduled: Scheduled) -> Result<bool, FormatError> {
        let block = &self.index.blocks()[scheduled.block as usize];
        let range = &block.section.range;
        let Some(number) = self.pieces.iter().position(|piece| contains(&piece.range, range)) else {
            return Ok(false);
        };
        let piece = &mut self.pieces[number];
        let start = (range.start - piece.range.start) as usize;
        let bytes = &piece.bytes.as_ref()[start..start + (range.end - range.start) as usize];
        block.section.check("data block", bytes)?;
        match block.kind {
            BlockKind::Times => {
                self.lists.retain(|held| held.last >= scheduled.series);
                let held: usize = self.lists.iter().map(|held| held.timestamps).sum();
                if held > MAX_HELD_TIMESTAMPS {
                    return Err(corrupt("timestamps that are needed all over it"));
                }
                let infos = self.index.lists_of(block);
                let lists = read_lists(bytes, infos)?;
                let timestamps = lists.iter().map(Vec::len).sum();
                self.lists.push(HeldLists { first: block.first, lists, timestamps, last: scheduled.last });
            }
            BlockKind::Values => {
                if block.count as usize > MAX_BLOCK_VALUES {
                    return Err(corrupt("a block that is too long"));
                }
                let values = self.index.read_value_block(block, bytes)?;
                self.values.retain(|block| block.last >= scheduled.series);
                self.values.push_back(values);
            }
            BlockKind::Histograms => self.pending_histograms.extend(read_histogram_block(block, bytes)?),
            BlockKind::Exemplars => self.pending_exemplars.extend(read_exemplar_block(block, bytes)?),
            BlockKind::Omitted => self.pending_omitted.extend(read_omitted_block(block, bytes)?),
        }
        piece.left -= range.end - range.start;
        if piece.left == 0 {
            self.pieces.swap_remove(number);
        }
        Ok(true)
    }

    /// Puts the samples of `series` together from decoded blocks.
    fn collect(&mut self, series: u32) -> Result<(), FormatError> {
        self.timestamps_ms.clear();
        self.own_values.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.omitted.clear();
        let part = self.index.parts[series as usize];
        if part.count > 0 {
            let list = self.lists.iter().find_map(|held| {
                held.lists.get(part.list.checked_sub(held.first)? as usize).filter(|list| !list.is_empty())
            });
            let own =
                list.and_then(|list| list.get(part.skip as usize..part.skip as usize + part.count as usize));
            self.timestamps_ms.extend_from_slice(own.ok_or(corrupt("timestamps that are not there"))?);
            while self.values.front().is_some_and(|block| block.last < series) {
                self.values.pop_front();
            }
            for block in &self.values {
                let Some((skip, values)) = block.of(series) else { break };
                if skip as usize != self.own_values.len() {
                    return Err(corrupt("values out of order"));
                }
                self.own_values.extend_from_slice(values);
            }
            if self.own_values.len() != self.timestamps_ms.len() {
                return Err(corrupt("values that are not there"));
            }
        }
        while let Some((of, ..)) = self.pending_histograms.front().filter(|row| row.0 <= series) {
            if *of < series {
                return Err(corrupt("native histograms out of order"));
            }
            self.histograms
                .extend(self.pending_histograms.pop_front().map(|(_, at, histogram)| (at, histogram)));
        }
        while let Some((of, _)) = self.pending_exemplars.front().filter(|row| row.0 <= series) {
            if *of < series {
                return Err(corrupt("exemplars out of order"));
            }
            self.exemplars.extend(self.pending_exemplars.pop_front().map(|(_, exemplar)| exemplar));
        }
        while let Some((of, _)) = self.pending_omitted.front().filter(|row| row.0 <= series) {
            if *of < series {
                return Err(corrupt("what was left out is out of order"));
            }
            self.omitted.extend(self.pending_omitted.pop_front().map(|(_, row)| row));
        }
        self.check()
    }

    /// Checks what is not checked block by block, and counts.
    fn check(&mut self) -> Result<(), FormatError> {
        if !self.histograms.is_sorted_by(|a, b| a.0 < b.0)
            || !self.exemplars.is_sorted_by_key(|exemplar| exemplar.timestamp_ms)
            || !self.omitted.is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms)
        {
            return Err(corrupt("timestamps that do not ascend"));
        }
        if self.histograms.iter().any(|(at_ms, _)| self.timestamps_ms.binary_search(at_ms).is_ok()) {
            return Err(corrupt("a float and a histogram at the same time"));
        }
        let samples = (self.own_values.len() + self.histograms.len()) as u64;
        if samples == 0 && self.exemplars.is_empty() {
            return Err(corrupt("a series without samples and exemplars"));
        }
        self.read.series += 1;
        self.read.samples += samples;
        self.read.exemplars += self.exemplars.len() as u64;
        Ok(())
    }
}

fn contains(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Blocks in the order in which series need them.
fn schedule(index: &MetricsIndex) -> Result<VecDeque<Scheduled>, FormatError> {
    let blocks = index.blocks();
    let mut block_of_list = vec![0_u32; index.lists.len()];
    let mut last_of_kind = [0_u32; BlockKind::Omitted as usize + 1];
    let mut scheduled: Vec<Scheduled> = Vec::with_capacity(blocks.len());
    for (number, block) in (0_u32..).zip(blocks) {
        let Block { kind, first, last, .. } = *block;
        if kind == BlockKind::Times {
            block_of_list[first as usize..=last as usize].fill(number);
            scheduled.push(Scheduled { series: u32::MAX, block: number, last: 0 });
            continue;
        }
        let before = &mut last_of_kind[kind as usize];
        if first < *before {
            return Err(corrupt("blocks that do not ascend"));
        }
        *before = last;
        scheduled.push(Scheduled { series: first, block: number, last });
    }
    for (series, part) in (0_u32..).zip(&index.parts).filter(|(_, part)| part.count > 0) {
        let of_list = &mut scheduled[block_of_list[part.list as usize] as usize];
        of_list.series = of_list.series.min(series);
        of_list.last = series;
    }
    scheduled.retain(|scheduled| scheduled.series != u32::MAX);
    // Stable: blocks that begin with the same series stay in the order of their bytes.
    scheduled.sort_by_key(|scheduled| scheduled.series);
    Ok(scheduled.into())
}
