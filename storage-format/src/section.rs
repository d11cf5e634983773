//! Sections and blocks: separately checksummed byte ranges of a tenant segment.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::cursor::Reader;
use crate::error::FormatError;
use crate::frame::BlockWriter;

/// A byte range of a segment with its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where its bytes are in the object.
    pub range: Range<u64>,
    /// xxh3-64 of its bytes.
    pub checksum: u64,
}

/// Length as a varint takes at least one byte, the checksum eight.
pub(crate) const LEAST_SECTION_BYTES: usize = 9;

impl Section {
    /// Moves the finished bytes of `block` to `out`, which begins at `offset` of the object.
    pub(crate) fn append(block: &mut BlockWriter, offset: u64, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        block.finish(out);
        Self { range: offset + start as u64..offset + out.len() as u64, checksum: xxh3_64(&out[start..]) }
    }

    /// Stands for a section that is not written yet.
    pub(crate) fn empty() -> Self {
        Self { range: 0..0, checksum: 0 }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Checks that `bytes` are this section's.
    pub(crate) fn check(&self, what: &'static str, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() as u64 != self.len_bytes() {
            return Err(FormatError::Corrupt { what, why: "not as long as it should be" });
        }
        let found = xxh3_64(bytes);
        if found != self.checksum {
            return Err(FormatError::Checksum { what, expected: self.checksum, found });
        }
        Ok(())
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        crate::cursor::put_varint(out, self.len_bytes());
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    /// Reads a section that begins at `*offset` and must end before `end`; moves `*offset` to its end.
    pub(crate) fn read(reader: &mut Reader<'_>, offset: &mut u64, end: u64) -> Result<Self, FormatError> {
        let length = reader.varint()?;
        let checksum = reader.u64()?;
        if length > end - *offset {
            return Err(reader.corrupt("a section beyond the segment"));
        }
        let range = *offset..*offset + length;
        *offset = range.end;
        Ok(Self { range, checksum })
    }
}
