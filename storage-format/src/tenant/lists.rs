//! Timestamp lists of a tenant segment: each distinct one is stored once, and series refer to it or to a part of it.
//!
//! A series that began late or ended early has a tail or a head of the list that the others of its target have.

use hashbrown::HashMap;

use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, finish_block, read_frame};
use crate::ids::{IdReader, IdWriter};
use crate::ints::{Effort, put_ints, read_ints};

const WHAT: &str = "series times";

/// When so many timestamps wait, they are written, and later series no longer find them.
pub(crate) const MAX_WAITING_TIMESTAMPS: usize = 1 << 20;

/// What a decoder holds for each list, each series and each cut, in bytes.
const LIST_BYTES: usize = 64;

/// A list, when its timestamps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListInfo {
    pub(crate) count: u32,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

/// A part of a list that is a series' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListPart {
    pub(crate) list: u32,
    pub(crate) skip: u32,
    pub(crate) count: u32,
}

/// Collects the lists of series.
#[derive(Default)]
pub(crate) struct ListWriter {
    pub(crate) infos: Vec<ListInfo>,
    /// Lists that are not written yet, the first of them being number `written`.
    waiting: Vec<Vec<i64>>,
    waiting_timestamps: usize,
    written: u32,
    by_first: HashMap<i64, u32>,
    by_last: HashMap<i64, u32>,
    ids: IdWriter,
    /// (series, skip, count) of series that have a part only.
    cuts: Vec<(u32, u32, u32)>,
    series: u32,
}

impl ListWriter {
    /// Adds the timestamps of the next series.
    pub(crate) fn push(&mut self, list: &[i64]) {
        let guesses = [
            self.ids.current(),
            self.ids.guess(),
            list.first().and_then(|at| self.by_first.get(at).copied()),
            list.last().and_then(|at| self.by_last.get(at).copied()),
        ];
        let found = guesses.into_iter().flatten().find_map(|id| Some((id, self.part_of(id, list)?)));
        let id = match found {
            Some((id, skip)) => {
                if list.len() != self.infos[id as usize].count as usize {
                    self.cuts.push((self.series, skip, list.len() as u32));
                }
                id
            }
            None => self.add(list),
        };
        self.ids.change(self.series, id);
        self.series += 1;
    }

    /// Where in list `id` all of `list` is, if it is its head or tail.
    fn part_of(&self, id: u32, list: &[i64]) -> Option<u32> {
        if self.infos.get(id as usize)?.count == 0 {
            return list.is_empty().then_some(0);
        }
        let whole = self.waiting.get(id.checked_sub(self.written)? as usize)?;
        if list.is_empty() || list.len() > whole.len() {
            None
        } else if whole.starts_with(list) {
            Some(0)
        } else {
            whole.ends_with(list).then(|| (whole.len() - list.len()) as u32)
        }
    }

    fn add(&mut self, list: &[i64]) -> u32 {
        let id = self.infos.len() as u32;
        let first_ms = list.first().copied().unwrap_or_default();
        let last_ms = list.last().copied().unwrap_or_default();
        self.infos.push(ListInfo { count: list.len() as u32, first_ms, last_ms });
        if !list.is_empty() {
            self.by_first.insert(first_ms, id);
            self.by_last.insert(last_ms, id);
        }
        self.waiting.push(list.to_vec());
        self.waiting_timestamps += list.len();
        id
    }

    /// How many timestamps wait to be written.
    pub(crate) fn waiting_timestamps(&self) -> usize {
        self.waiting_timestamps
    }

    /// The number of the first list that waits, and the lists; they count as written afterwards.
    pub(crate) fn take_waiting(&mut self) -> (u32, Vec<Vec<i64>>) {
        let first = self.written;
        let lists = std::mem::take(&mut self.waiting);
        self.written += lists.len() as u32;
        self.waiting_timestamps = 0;
        self.by_first.clear();
        self.by_last.clear();
        (first, lists)
    }

    /// Writes which list each series has.
    pub(crate) fn put(&self, out: &mut BlockWriter) -> Result<(), EncodeError> {
        let mut raw = Vec::new();
        put_varint(&mut raw, self.infos.len() as u64);
        let column = |of: fn(&ListInfo) -> i64| self.infos.iter().map(of).collect::<Vec<i64>>();
        put_ints(&column(|info| info.count.into()), Effort::Compacted, &mut raw)?;
        put_ints(&column(|info| info.first_ms), Effort::Compacted, &mut raw)?;
        put_ints(&column(|info| info.last_ms), Effort::Compacted, &mut raw)?;
        self.ids.put(self.series, &mut raw);
        put_varint(&mut raw, self.cuts.len() as u64);
        let mut last = 0;
        for (series, skip, count) in &self.cuts {
            put_varint(&mut raw, u64::from(series - last));
            put_varint(&mut raw, u64::from(*skip));
            put_varint(&mut raw, u64::from(*count));
            last = *series;
        }
        let things = self.infos.len() + self.series as usize + self.cuts.len();
        out.memory += (things * LIST_BYTES) as u64;
        out.put_frame(&raw)
    }
}

/// Writes the differences of timestamps of lists.
pub(crate) fn put_lists(lists: &[Vec<i64>], out: &mut BlockWriter) -> Result<u32, EncodeError> {
    let steps: Vec<i64> =
        lists.iter().flat_map(|list| list.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))).collect();
    let count: usize = lists.iter().map(Vec::len).sum();
    out.memory += (2 * count * size_of::<i64>()) as u64;
    put_ints(&steps, Effort::Compacted, &mut out.bytes)?;
    Ok(count as u32)
}

/// Reads the lists that `infos` describe.
pub(crate) fn read_lists(bytes: &[u8], infos: &[ListInfo]) -> Result<Vec<Vec<i64>>, FormatError> {
    const WHAT: &str = "block of timestamps";
    let mut budget = Budget::of(bytes.len());
    let count: u64 = infos.iter().map(|info| u64::from(info.count)).sum();
    let steps: u64 = infos.iter().map(|info| u64::from(info.count.saturating_sub(1))).sum();
    budget.charge(WHAT, count, 2 * size_of::<i64>())?;
    let mut reader = Reader::new(bytes, WHAT);
    let steps = read_ints(&mut reader, steps as usize)?;
    finish_block(reader)?;
    let corrupt = || FormatError::Corrupt { what: WHAT, why: "timestamps that do not ascend to the last" };
    let mut steps = steps.as_slice();
    infos
        .iter()
        .map(|info| {
            let Some(more) = info.count.checked_sub(1) else { return Ok(Vec::new()) };
            let (own, rest) = steps.split_at_checked(more as usize).ok_or_else(corrupt)?;
            steps = rest;
            let mut list = Vec::with_capacity(info.count as usize);
            let mut at = info.first_ms;
            list.push(at);
            for step in own {
                let next = at.wrapping_add(*step);
                if next <= at {
                    return Err(corrupt());
                }
                at = next;
                list.push(at);
            }
            if at == info.last_ms { Ok(list) } else { Err(corrupt()) }
        })
        .collect()
}

/// Reads which list each of `series` series has: the lists, and the series' parts of them.
pub(crate) fn read_series(bytes: &[u8], series: u64) -> Result<(Vec<ListInfo>, Vec<ListPart>), FormatError> {
    let mut budget = Budget::of(bytes.len());
    let mut outer = Reader::new(bytes, WHAT);
    let raw = read_frame(&mut outer, WHAT, &mut budget)?;
    finish_block(outer)?;
    let mut reader = Reader::new(&raw, WHAT);
    let lists = reader.size()?;
    budget.charge(WHAT, (lists as u64).saturating_add(series), LIST_BYTES)?;
    let counts = read_ints(&mut reader, lists)?;
    let firsts = read_ints(&mut reader, lists)?;
    let lasts = read_ints(&mut reader, lists)?;
    let mut infos = Vec::with_capacity(lists);
    for ((count, first_ms), last_ms) in counts.into_iter().zip(firsts).zip(lasts) {
        let count = u32::try_from(count).map_err(|_| reader.corrupt("an impossible length"))?;
        if first_ms > last_ms || (count < 2 && first_ms != last_ms) {
            return Err(reader.corrupt("an impossible time range"));
        }
        infos.push(ListInfo { count, first_ms, last_ms });
    }
    let mut ids = IdReader::new(&mut reader, lists)?;
    let mut parts = Vec::with_capacity(series as usize);
    for _ in 0..series {
        let list = ids.next()?.0;
        parts.push(ListPart { list, skip: 0, count: infos[list as usize].count });
    }
    ids.finish()?;
    let cuts = reader.count(3)?;
    budget.charge(WHAT, cuts as u64, LIST_BYTES)?;
    let mut at = 0_usize;
    for _ in 0..cuts {
        at = at.saturating_add(reader.size()?);
        let (skip, count) = (reader.varint()?, reader.varint()?);
        let part = parts.get_mut(at).ok_or(reader.corrupt("a series that does not exist"))?;
        if skip.saturating_add(count) > infos[part.list as usize].count.into() {
            return Err(reader.corrupt("a part beyond its list"));
        }
        (part.skip, part.count) = (skip as u32, count as u32);
    }
    reader.finish()?;
    Ok((infos, parts))
}
