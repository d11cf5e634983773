//! Columns of dictionary ids, made for ids that repeat and that follow each other in the same order again and again.
//!
//! Sorted series bring both: a label stays the same for many rows, and the pods of one metric are, in the same order,
//! those of the next. So the column is cut in runs of equal ids, and each run is written as a code:
//! 0 = the next id that never occurred, 1 = the id that followed the one before when it last occurred, id + 2 otherwise.

use crate::cursor::{Reader, put_varint};
use crate::error::FormatError;

const NO_ID: u32 = u32::MAX;
const CODE_NEW: u32 = 0;
const CODE_SUCCESSOR: u32 = 1;
const CODE_FIRST_ID: u32 = 2;

/// Writes a column; ids are given out by the caller, in order, from 0.
#[derive(Debug)]
pub(crate) struct IdWriter {
    lengths: Vec<u32>,
    codes: Vec<u32>,
    /// What followed each id when it last occurred.
    successors: Vec<u32>,
    current: u32,
    /// The row at which the current run began.
    start: u32,
}

impl Default for IdWriter {
    fn default() -> Self {
        Self { lengths: Vec::new(), codes: Vec::new(), successors: Vec::new(), current: NO_ID, start: 0 }
    }
}

impl IdWriter {
    /// The id of the run that goes on.
    pub(crate) fn current(&self) -> Option<u32> {
        (self.current != NO_ID).then_some(self.current)
    }

    /// The id that will probably come next.
    #[inline]
    pub(crate) fn guess(&self) -> Option<u32> {
        self.successors.get(self.current as usize).copied().filter(|id| *id != NO_ID)
    }

    /// From `row` on the id is `id`. An id given for the first time is the number of ids before it.
    #[inline]
    pub(crate) fn change(&mut self, row: u32, id: u32) {
        if id == self.current {
            return;
        }
        let known = self.successors.len() as u32;
        let code = if id == known {
            self.successors.push(NO_ID);
            CODE_NEW
        } else if self.guess() == Some(id) {
            CODE_SUCCESSOR
        } else {
            id + CODE_FIRST_ID
        };
        if let Some(successor) = self.successors.get_mut(self.current as usize) {
            *successor = id;
            self.lengths.push(row - self.start);
        }
        self.codes.push(code);
        self.current = id;
        self.start = row;
    }

    /// From `row` on the id is what [`IdWriter::guess`] says, which is not the current one.
    #[inline]
    pub(crate) fn follow(&mut self, row: u32, guess: u32) {
        self.lengths.push(row - self.start);
        self.codes.push(CODE_SUCCESSOR);
        self.current = guess;
        self.start = row;
    }

    /// How many distinct ids there are.
    pub(crate) fn distinct(&self) -> usize {
        self.successors.len()
    }

    /// Appends the column of `rows` rows: number of runs, their lengths, their codes.
    pub(crate) fn put(&self, rows: u32, out: &mut Vec<u8>) {
        put_varint(out, self.codes.len() as u64);
        // The last run goes to the end.
        for length in &self.lengths {
            put_varint(out, u64::from(*length));
        }
        debug_assert!(self.codes.is_empty() || rows > self.start);
        match code_width(self.distinct()) {
            1 => out.extend(self.codes.iter().map(|code| *code as u8)),
            2 => out.extend(self.codes.iter().flat_map(|code| (*code as u16).to_le_bytes())),
            _ => out.extend(self.codes.iter().flat_map(|code| code.to_le_bytes())),
        }
    }
}

/// Bytes of a code when there are `distinct` ids.
fn code_width(distinct: usize) -> usize {
    match distinct {
        0..=0xfd => 1,
        0xfe..=0xfffd => 2,
        _ => 4,
    }
}

/// Reads a column row by row.
#[derive(Debug)]
pub(crate) struct IdReader<'a> {
    lengths: Reader<'a>,
    codes: &'a [u8],
    width: usize,
    successors: Vec<u32>,
    distinct: u32,
    current: u32,
    left: u64,
}

impl<'a> IdReader<'a> {
    /// Reads a column of ids below `distinct`; the caller has checked that number against what memory is there.
    pub(crate) fn new(reader: &mut Reader<'a>, distinct: usize) -> Result<Self, FormatError> {
        let width = code_width(distinct);
        let distinct = u32::try_from(distinct).map_err(|_| reader.corrupt("too many distinct ids"))?;
        let runs = reader.count(width)?;
        let lengths = reader.clone();
        for _ in 1..runs {
            if reader.varint()? == 0 {
                return Err(reader.corrupt("an empty run"));
            }
        }
        let codes = reader.bytes(runs * width)?;
        Ok(Self { lengths, codes, width, successors: Vec::new(), distinct, current: NO_ID, left: 0 })
    }

    /// The id of the next row, and whether it differs from that of the row before.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<(u32, bool), FormatError> {
        if self.left > 0 {
            self.left -= 1;
            return Ok((self.current, false));
        }
        self.next_run()?;
        Ok((self.current, true))
    }

    fn next_run(&mut self) -> Result<(), FormatError> {
        let corrupt = |why| FormatError::Corrupt { what: "id column", why };
        let head = match self.width {
            1 => self.codes.split_first().map(|(byte, rest)| (u32::from(*byte), rest)),
            2 => self.codes.split_first_chunk().map(|(code, rest)| (u16::from_le_bytes(*code).into(), rest)),
            _ => self.codes.split_first_chunk().map(|(code, rest)| (u32::from_le_bytes(*code), rest)),
        };
        let Some((code, rest)) = head else { return Err(corrupt("fewer ids than rows")) };
        self.codes = rest;
        let known = self.successors.len() as u32;
        let id = match code {
            CODE_NEW => known,
            CODE_SUCCESSOR => self.successors.get(self.current as usize).copied().unwrap_or(NO_ID),
            code => code - CODE_FIRST_ID,
        };
        if id > known || id >= self.distinct || id == self.current {
            return Err(corrupt("an id that does not exist"));
        }
        if id == known {
            self.successors.push(NO_ID);
        }
        if let Some(successor) = self.successors.get_mut(self.current as usize) {
            *successor = id;
        }
        self.current = id;
        // The last run has no length: it goes on as long as rows do.
        self.left = if self.codes.is_empty() { u64::MAX } else { self.lengths.varint()? - 1 };
        Ok(())
    }

    /// Checks that all runs were read.
    pub(crate) fn finish(&self) -> Result<(), FormatError> {
        if !self.codes.is_empty() || self.successors.len() != self.distinct as usize {
            return Err(FormatError::Corrupt { what: "id column", why: "more ids than rows" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any column of ids, numbered by first occurrence, comes back.
        #[test]
        fn ids_round_trip(raw in proptest::collection::vec(0_u32..400, 0..600), repeat in 1_usize..4) {
            let mut seen = Vec::new();
            let mut writer = IdWriter::default();
            let mut ids = Vec::new();
            for value in raw.iter().flat_map(|value| std::iter::repeat_n(*value / 8, repeat)) {
                let id = seen.iter().position(|known| *known == value).unwrap_or_else(|| {
                    seen.push(value);
                    seen.len() - 1
                });
                writer.change(ids.len() as u32, id as u32);
                ids.push(id as u32);
            }
            let mut out = Vec::new();
            writer.put(ids.len() as u32, &mut out);
            let mut bytes = Reader::new(&out, "ids");
            let mut reader = IdReader::new(&mut bytes, seen.len()).unwrap();
            for id in &ids {
                prop_assert_eq!(reader.next().unwrap().0, *id);
            }
            reader.finish().unwrap();
            prop_assert_eq!(bytes.finish(), Ok(()));
        }
    }
}
