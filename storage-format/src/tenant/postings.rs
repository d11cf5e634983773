//! Postings: which series have a label, and which have which value.

use roaring::RoaringBitmap;

use super::footer::NameSection;
use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, finish_block, read_frame};

const WHAT: &str = "postings";

/// What a decoder holds for each value, in bytes.
const VALUE_BYTES: usize = 16;

/// Writes one bitmap for each value, in order of value ids.
pub(crate) fn put_postings(bitmaps: &mut [RoaringBitmap], out: &mut BlockWriter) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    for bitmap in bitmaps.iter_mut() {
        bitmap.optimize();
        put_varint(&mut raw, bitmap.serialized_size() as u64);
    }
    for bitmap in bitmaps.iter() {
        bitmap.serialize_into(&mut raw).map_err(|error| EncodeError::Compression(error.to_string()))?;
    }
    out.memory += (bitmaps.len() * VALUE_BYTES) as u64;
    out.put_frame(&raw)
}

/// Which series have which value of one label name.
#[derive(Clone, Debug)]
pub struct Postings {
    /// Where each bitmap ends in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    series: u64,
}

impl Postings {
    /// Reads the postings of a label name in a segment of `series` series; `bytes` are those of
    /// [`NameSection::postings`].
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn parse(section: &NameSection, series: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        section.postings.check(WHAT, bytes)?;
        let mut budget = Budget::of(bytes.len());
        let mut outer = Reader::new(bytes, WHAT);
        let raw = read_frame(&mut outer, WHAT, &mut budget)?;
        finish_block(outer)?;
        let mut reader = Reader::new(&raw, WHAT);
        if section.values > reader.remaining() as u64 {
            return Err(reader.corrupt("a count beyond its size"));
        }
        budget.charge(WHAT, section.values, VALUE_BYTES)?;
        let mut ends = Vec::with_capacity(section.values as usize);
        let mut end = 0_usize;
        for _ in 0..section.values {
            end = end.saturating_add(reader.size()?);
            ends.push(end);
        }
        if end != reader.remaining() {
            return Err(reader.corrupt("bitmaps that do not fill it"));
        }
        let bytes = reader.bytes(end)?.to_vec();
        Ok(Self { ends, bytes, series })
    }

    /// Memory held, in bytes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.ends.as_slice()) + self.bytes.len()
    }

    /// The numbers of the series that have value number `value`; none when there is no such value.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the bitmap is not one, or has series that do not exist.
    pub fn of(&self, value: u32) -> Result<RoaringBitmap, FormatError> {
        let value = value as usize;
        let Some(&end) = self.ends.get(value) else { return Ok(RoaringBitmap::new()) };
        let start = if value == 0 { 0 } else { self.ends[value - 1] };
        let corrupt = |why| FormatError::Corrupt { what: WHAT, why };
        let mut bytes = &self.bytes[start..end];
        let bitmap = RoaringBitmap::deserialize_from(&mut bytes).map_err(|_| corrupt("not a bitmap"))?;
        if !bytes.is_empty() || bitmap.max().is_some_and(|last| u64::from(last) >= self.series) {
            return Err(corrupt("series that do not exist"));
        }
        Ok(bitmap)
    }

    /// The numbers of the series that have the label at all.
    ///
    /// # Errors
    /// As [`Postings::of`].
    pub fn all(&self) -> Result<RoaringBitmap, FormatError> {
        (0..self.ends.len() as u32).try_fold(RoaringBitmap::new(), |all, value| Ok(all | self.of(value)?))
    }
}
