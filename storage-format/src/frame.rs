//! Frames: byte strings, compressed when that pays.

use crate::cursor::{Budget, Reader, allowance, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::limits::MEMORY_PER_BYTE;

/// Compression of byte strings. Level 1 costs a third of level 3 and gains all but a few per cent of it.
const ZSTD_LEVEL: i32 = 1;

/// Shorter byte strings are not worth the header of a zstd frame.
const LEAST_ZSTD_BYTES: usize = 64;

/// Collects the bytes of one block after the other, and what decoding it will allocate.
pub(crate) struct BlockWriter {
    pub(crate) bytes: Vec<u8>,
    /// What a decoder will charge to its budget.
    pub(crate) memory: u64,
    /// Kept from frame to frame, since making one costs more than compressing a small frame.
    compressor: zstd::bulk::Compressor<'static>,
}

impl BlockWriter {
    pub(crate) fn new() -> Result<Self, EncodeError> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(failed)?;
        Ok(Self { bytes: Vec::new(), memory: 0, compressor })
    }

    /// Appends `raw` as a frame: length << 1 | compressed, length in the block if compressed, bytes.
    pub(crate) fn put_frame(&mut self, raw: &[u8]) -> Result<(), EncodeError> {
        self.memory += raw.len() as u64;
        if raw.len() >= LEAST_ZSTD_BYTES {
            let packed = self.compressor.compress(raw).map_err(failed)?;
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

    /// Hands the finished block over and is ready for the next one.
    ///
    /// Readers refuse what is out of proportion to its size; zeros bring what is very regular back into it.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let missing =
            self.memory.saturating_sub(allowance(self.bytes.len() as u64)).div_ceil(MEMORY_PER_BYTE);
        self.bytes.resize(self.bytes.len() + missing as usize, 0);
        out.append(&mut self.bytes);
        self.memory = 0;
    }
}

fn failed(error: std::io::Error) -> EncodeError {
    EncodeError::Compression(error.to_string())
}

/// Checks that nothing but padding is left of a block.
pub(crate) fn finish_block(mut reader: Reader<'_>) -> Result<(), FormatError> {
    let padding = reader.remaining();
    if reader.bytes(padding)?.iter().any(|byte| *byte != 0) {
        return Err(reader.corrupt("bytes left over"));
    }
    Ok(())
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
    let bad = FormatError::Corrupt { what, why: "not a zstd frame of its length" };
    match budget.decompress(packed, raw_bytes) {
        Some(raw) if raw.len() == raw_bytes => Ok(raw),
        _ => Err(bad),
    }
}
