//! Reading and writing the elements that everything else is made of: little-endian numbers, varints, byte strings.

use crate::error::FormatError;
use crate::limits::{BASE_MEMORY_BYTES, MEMORY_PER_BYTE};

/// What decoding one block may still allocate. Every allocation whose size the input decides is charged first.
pub(crate) struct Budget {
    left: u64,
    /// Made at the first compressed frame and kept for the others.
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl Budget {
    /// The budget that `input_bytes` justify.
    pub(crate) fn of(input_bytes: usize) -> Self {
        Self { left: allowance(input_bytes as u64), decompressor: None }
    }

    /// For bytes that this process has just written.
    pub(crate) fn unlimited() -> Self {
        Self { left: u64::MAX, decompressor: None }
    }

    /// Takes `count` elements of `size` bytes off the budget.
    pub(crate) fn charge(&mut self, what: &'static str, count: u64, size: usize) -> Result<(), FormatError> {
        let bytes = count.saturating_mul(size as u64);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(FormatError::OutOfProportion { what, bytes: bytes - self.left }),
        }
    }
}

impl Budget {
    /// What `packed` holds, if it is a zstd frame of at most `most_bytes`, which were charged.
    pub(crate) fn decompress(&mut self, packed: &[u8], most_bytes: usize) -> Option<Vec<u8>> {
        if self.decompressor.is_none() {
            self.decompressor = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        self.decompressor.as_mut()?.decompress(packed, most_bytes).ok()
    }
}

/// What may be allocated to decode `input_bytes`.
pub(crate) fn allowance(input_bytes: u64) -> u64 {
    BASE_MEMORY_BYTES.saturating_add(input_bytes.saturating_mul(MEMORY_PER_BYTE))
}

/// Reads one part of a segment from front to back.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Which part this is, for messages.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn corrupt(&self, why: &'static str) -> FormatError {
        FormatError::Corrupt { what: self.what, why }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.corrupt("cut short")),
        }
    }

    /// Hands out `count` bytes as a reader of their own, named `what` in messages.
    pub(crate) fn part(&mut self, count: usize, what: &'static str) -> Result<Reader<'a>, FormatError> {
        Ok(Reader::new(self.bytes(count)?, what))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.corrupt("cut short")),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 number. Only the shortest form is accepted, so that equal numbers have equal bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, FormatError> {
        // Most are small, and they are most of what is read.
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(byte.into())
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0_u64;
        for index in 0..10 {
            let Some(&byte) = self.rest.get(index) else {
                return Err(self.corrupt("cut short"));
            };
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if (index > 0 && byte == 0) || (index == 9 && byte > 1) {
                    return Err(self.corrupt("a number in an impossible form"));
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.corrupt("a number in an impossible form"))
    }

    /// A signed number, zigzagged.
    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, FormatError> {
        self.varint().map(unzigzag)
    }

    /// A number that counts things or bytes in memory.
    pub(crate) fn size(&mut self) -> Result<usize, FormatError> {
        usize::try_from(self.varint()?).map_err(|_| self.corrupt("a size beyond all memory"))
    }

    /// The number of elements that follow, each of at least `least_bytes` bytes.
    pub(crate) fn count(&mut self, least_bytes: usize) -> Result<usize, FormatError> {
        let count = self.size()?;
        if count > self.remaining() / least_bytes.max(1) {
            return Err(self.corrupt("a count beyond its size"));
        }
        Ok(count)
    }

    /// A text with its length before it.
    pub(crate) fn text(&mut self) -> Result<&'a str, FormatError> {
        let length = self.size()?;
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.corrupt("text that is not UTF-8"))
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt("bytes left over")) }
    }
}

#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_signed(&mut out, signed);
            let mut reader = Reader::new(&out, "numbers");
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn only_the_shortest_form_is_a_number() {
        for bad in [
            &[0x80, 0x00][..],
            &[0xff; 10],
            &[0x80],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert!(Reader::new(bad, "number").varint().is_err(), "{bad:?}");
        }
    }
}
