//! Frames: byte strings, compressed when that pays.

use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};

/// Compression of byte strings. Level 1 costs a third of level 3 and gains all but a few per cent of it.
const ZSTD_LEVEL: i32 = 1;

/// Shorter byte strings are not worth the header of a zstd frame.
const LEAST_ZSTD_BYTES: usize = 64;

/// Collects the bytes of one block, and what decoding it will allocate.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    pub(crate) bytes: Vec<u8>,
    /// What a decoder will charge to its budget.
    pub(crate) memory: u64,
}

impl BlockWriter {
    /// Appends `raw` as a frame: length << 1 | compressed, length in the block if compressed, bytes.
    pub(crate) fn put_frame(&mut self, raw: &[u8]) -> Result<(), EncodeError> {
        self.memory += raw.len() as u64;
        if raw.len() >= LEAST_ZSTD_BYTES {
            let packed = zstd::bulk::compress(raw, ZSTD_LEVEL)
                .map_err(|error| EncodeError::Compression(error.to_string()))?;
            if packed.len() < raw.len() {
                put_varint(&mut self.bytes, (raw.len() as u64) << 1 | 1);
                put_varint(&mut self.bytes, packed.len() as u64);
                self.bytes.extend_from_slice(&packed);
                return Ok(());
            }
        }
        put_varint(&mut self.bytes, (raw.len() as u64) << 1);
        self.bytes.extend_from_slice(raw);
        Ok(())
    }
}

/// Reads a frame.
pub(crate) fn read_frame(
    reader: &mut Reader<'_>,
    what: &'static str,
    budget: &mut Budget,
) -> Result<Vec<u8>, FormatError> {
    let head = reader.size()?;
    let raw_bytes = head >> 1;
    budget.charge(what, raw_bytes as u64, 1)?;
    if head & 1 == 0 {
        return Ok(reader.bytes(raw_bytes)?.to_vec());
    }
    let packed_bytes = reader.size()?;
    let packed = reader.bytes(packed_bytes)?;
    let raw = zstd::bulk::decompress(packed, raw_bytes)
        .map_err(|_| FormatError::Corrupt { what, why: "not a zstd frame of its length" })?;
    if raw.len() != raw_bytes {
        return Err(FormatError::Corrupt { what, why: "not a zstd frame of its length" });
    }
    Ok(raw)
}
