//! The directory of data blocks.

use crate::cursor::{Budget, Reader, put_signed, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, finish_block, read_frame};
use crate::section::Section;
use crate::trailer::HEADER_BYTES;

const WHAT: &str = "block directory";

/// What a data block holds. The numbers are persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKind {
    /// Values of float samples.
    Values = 1,
    /// Timestamps, as lists that series share.
    Times = 2,
    /// Native histograms with their timestamps.
    Histograms = 3,
    /// Exemplars.
    Exemplars = 4,
    /// What thinned series left out.
    Omitted = 5,
}

impl BlockKind {
    /// What it holds, in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Times => "timestamps",
            Self::Histograms => "histograms",
            Self::Exemplars => "exemplars",
            Self::Omitted => "omitted",
        }
    }
}

/// A data block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub kind: BlockKind,
    /// Where its bytes are in the object, and their checksum.
    pub section: Section,
    /// The number of the first series in it; for timestamps of the first list.
    pub first: u32,
    /// The number of the last series (or list) in it.
    pub last: u32,
    /// How many values of the first series are in blocks before this one.
    pub skip: u32,
    /// How many values, timestamps, histograms, exemplars or rows of what was left out it holds.
    pub count: u32,
    /// The earliest timestamp in it, ms.
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms.
    pub max_time_ms: i64,
}

impl Block {
    /// Whether a sample of the block can lie in `start_ms..=end_ms`.
    #[must_use]
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_time_ms <= end_ms && self.max_time_ms >= start_ms
    }
}

/// A block takes so many bytes of the directory at least.
const LEAST_BLOCK_BYTES: usize = 16;

/// Writes the directory. The blocks follow each other in the object, from the header on.
pub(crate) fn put_directory(blocks: &[Block], out: &mut BlockWriter) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    for block in blocks {
        raw.push(block.kind as u8);
        block.section.put(&mut raw);
        put_varint(&mut raw, block.first.into());
        put_varint(&mut raw, (block.last - block.first).into());
        put_varint(&mut raw, block.skip.into());
        put_varint(&mut raw, block.count.into());
        put_signed(&mut raw, block.min_time_ms);
        put_signed(&mut raw, block.max_time_ms.wrapping_sub(block.min_time_ms));
    }
    out.memory += size_of_val(blocks) as u64;
    out.put_frame(&raw)
}

/// Reads the directory of `count` blocks, which end at `end` of the object.
pub(crate) fn read_directory(bytes: &[u8], count: u64, end: u64) -> Result<Vec<Block>, FormatError> {
    let mut budget = Budget::of(bytes.len());
    budget.charge(WHAT, count, size_of::<Block>())?;
    let mut outer = Reader::new(bytes, WHAT);
    let raw = read_frame(&mut outer, WHAT, &mut budget)?;
    finish_block(outer)?;
    let mut reader = Reader::new(&raw, WHAT);
    if count > (raw.len() / LEAST_BLOCK_BYTES) as u64 {
        return Err(reader.corrupt("a count beyond its size"));
    }
    let mut offset = HEADER_BYTES as u64;
    let mut blocks = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let kind = match reader.u8()? {
            1 => BlockKind::Values,
            2 => BlockKind::Times,
            3 => BlockKind::Histograms,
            4 => BlockKind::Exemplars,
            5 => BlockKind::Omitted,
            _ => return Err(reader.corrupt("a kind of block that does not exist")),
        };
        let section = Section::read(&mut reader, &mut offset, end)?;
        let number = |reader: &mut Reader<'_>| {
            u32::try_from(reader.varint()?).map_err(|_| reader.corrupt("a number out of range"))
        };
        let first = number(&mut reader)?;
        let span = number(&mut reader)?;
        let last = first.checked_add(span).ok_or(reader.corrupt("a number out of range"))?;
        let (skip, count) = (number(&mut reader)?, number(&mut reader)?);
        let min_time_ms = reader.signed()?;
        let max_time_ms = min_time_ms.wrapping_add(reader.signed()?);
        if max_time_ms < min_time_ms {
            return Err(reader.corrupt("an impossible time range"));
        }
        blocks.push(Block { kind, section, first, last, skip, count, min_time_ms, max_time_ms });
    }
    if offset != end {
        return Err(reader.corrupt("bytes that no block owns"));
    }
    reader.finish()?;
    Ok(blocks)
}
