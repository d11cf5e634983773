//! Timestamps: once for each scrape, not for each series.
//!
//! Series that were scraped together have equal timestamps. So the distinct timestamp lists of a block are stored once,
//! and each series says which one is its own. One sample a series from a few targets, a scrape group's hour, and series
//! that share nothing are the same case with different numbers.

use hashbrown::HashMap;

use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, read_frame};
use crate::ids::{IdReader, IdWriter};
use crate::ints::{Effort, put_ints, read_ints};

const WHAT: &str = "timestamps";

/// What a decoder holds for each list and each series, in bytes.
const LIST_BYTES: usize = 32;

/// Collects the timestamps of series.
#[derive(Default)]
pub(crate) struct TimeWriter<'a> {
    lists: Vec<&'a [i64]>,
    by_hash: HashMap<u64, u32>,
    ids: IdWriter,
    series: u32,
    timestamps: u64,
}

fn hash_of(list: &[i64]) -> u64 {
    match list {
        // The usual case, and hashing bytes is not free.
        [only] => only.cast_unsigned(),
        _ => list.iter().fold(list.len() as u64, |hash, at| {
            (hash ^ at.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        }),
    }
}

impl<'a> TimeWriter<'a> {
    /// Adds the timestamps of the next series.
    pub(crate) fn push(&mut self, list: &'a [i64]) -> Result<(), EncodeError> {
        let is = |id: &u32| self.lists[*id as usize] == list;
        let id = match self.ids.current().filter(is).or_else(|| self.ids.guess().filter(is)) {
            Some(id) => id,
            None => self.id_of(list)?,
        };
        self.ids.change(self.series, id);
        self.series += 1;
        self.timestamps += list.len() as u64;
        Ok(())
    }

    fn id_of(&mut self, list: &'a [i64]) -> Result<u32, EncodeError> {
        let next = self.lists.len() as u32;
        let id = *self.by_hash.entry(hash_of(list)).or_insert(next);
        if id != next && self.lists[id as usize] == list {
            return Ok(id);
        }
        // A new list, or one whose hash another has: storing it twice does no harm.
        if list.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(EncodeError::InvalidBatch("timestamps of a series do not ascend"));
        }
        self.lists.push(list);
        Ok(next)
    }

    /// Appends the lists and who has which to `block`.
    pub(crate) fn put(&self, effort: Effort, block: &mut BlockWriter) -> Result<(), EncodeError> {
        let mut raw = Vec::new();
        put_varint(&mut raw, self.lists.len() as u64);
        self.ids.put(self.series, &mut raw);
        let lengths: Vec<i64> = self.lists.iter().map(|list| list.len() as i64).collect();
        put_ints(&lengths, effort, &mut raw)?;
        // First timestamps as they are, the others as differences.
        let firsts: Vec<i64> = self.lists.iter().filter_map(|list| list.first().copied()).collect();
        put_ints(&firsts, effort, &mut raw)?;
        let steps: Vec<i64> = self
            .lists
            .iter()
            .flat_map(|list| list.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])))
            .collect();
        put_ints(&steps, effort, &mut raw)?;
        let listed: u64 = self.lists.iter().map(|list| list.len() as u64).sum();
        block.memory += (self.lists.len() as u64 + u64::from(self.series)) * LIST_BYTES as u64;
        block.memory += (listed * 2 + self.timestamps) * size_of::<i64>() as u64;
        block.put_frame(&raw)
    }
}

/// The timestamps of `series` series, one after the other, and where each one's end.
pub(crate) struct Times {
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) ends: Vec<u32>,
}

/// Reads the timestamps of `series` series.
pub(crate) fn read_times(
    reader: &mut Reader<'_>,
    series: usize,
    budget: &mut Budget,
) -> Result<Times, FormatError> {
    let raw = read_frame(reader, WHAT, budget)?;
    let mut reader = Reader::new(&raw, WHAT);
    let count = reader.size()?;
    // A list is an element of a column that may be constant, so only the budget bounds their number.
    budget.charge(WHAT, (count as u64).saturating_add(series as u64), LIST_BYTES)?;
    let mut ids = IdReader::new(&mut reader, count)?;
    let lengths = read_ints(&mut reader, count)?;
    let mut listed = 0_u64;
    for &length in &lengths {
        let length = u32::try_from(length).map_err(|_| reader.corrupt("an impossible length"))?;
        listed += u64::from(length);
    }
    budget.charge(WHAT, listed, 2 * size_of::<i64>())?;
    let nonempty = lengths.iter().filter(|length| **length > 0).count();
    let firsts = read_ints(&mut reader, nonempty)?;
    let steps = read_ints(&mut reader, listed as usize - nonempty)?;
    reader.finish()?;

    let mut lists = Vec::with_capacity(listed as usize);
    let mut list_ends = Vec::with_capacity(count);
    let (mut firsts, mut steps) = (firsts.into_iter(), steps.into_iter());
    let corrupt = |why| FormatError::Corrupt { what: WHAT, why };
    for length in lengths {
        if length > 0 {
            let mut at = firsts.next().ok_or(corrupt("cut short"))?;
            lists.push(at);
            for step in steps.by_ref().take(length as usize - 1) {
                // Between the ends of time a difference does not fit; what wraps is still compared as it comes out.
                let next = at.wrapping_add(step);
                if next <= at {
                    return Err(corrupt("timestamps that do not ascend"));
                }
                at = next;
                lists.push(at);
            }
        }
        list_ends.push(lists.len());
    }

    let mut times = Times { timestamps_ms: Vec::new(), ends: Vec::with_capacity(series) };
    for _ in 0..series {
        let id = ids.next()?.0 as usize;
        let start = if id == 0 { 0 } else { list_ends[id - 1] };
        let list = &lists[start..list_ends[id]];
        budget.charge(WHAT, list.len() as u64, size_of::<i64>())?;
        times.timestamps_ms.extend_from_slice(list);
        times.ends.push(u32::try_from(times.timestamps_ms.len()).map_err(|_| corrupt("too many samples"))?);
    }
    ids.finish()?;
    Ok(times)
}
