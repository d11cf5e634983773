//! Columns of numbers: constant, bit-packed or `pco`, whichever is shortest. The reader knows how many there are.

use pco::metadata::{DeltaEncoding, Mode};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};

use crate::cursor::{Reader, put_signed, put_varint};
use crate::error::{EncodeError, FormatError};

/// How much work to put into compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// On the way of a write: soon to be compacted.
    Fresh,
    /// By compaction: to be kept for long.
    Compacted,
}

impl Effort {
    /// pco's level. 4 takes half the time of 8, its default, for about two per cent more bytes.
    fn pco_level(self) -> usize {
        match self {
            Self::Fresh => 4,
            Self::Compacted => 8,
        }
    }
}

const CONSTANT: u8 = 0;
const PACKED: u8 = 1;
const PCO: u8 = 2;

/// Columns shorter than this are never given to pco: its table of bins would not pay.
const LEAST_PCO_VALUES: usize = 96;

/// The longest pco chunk, in values; its own default.
const PCO_CHUNK_VALUES: usize = 1 << 18;

/// Appends a column of integers.
pub(crate) fn put_ints(values: &[i64], effort: Effort, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let Some((&first, rest)) = values.split_first() else { return Ok(()) };
    let (min, max) = rest.iter().fold((first, first), |(min, max), &value| (min.min(value), max.max(value)));
    if min == max {
        out.push(CONSTANT);
        put_signed(out, first);
        return Ok(());
    }
    let width = (u64::BITS - max.wrapping_sub(min).cast_unsigned().leading_zeros()) as usize;
    let packed_bytes = (values.len() * width).div_ceil(8) + 2;
    if values.len() >= LEAST_PCO_VALUES {
        let config = ChunkConfig::default()
            .with_compression_level(effort.pco_level())
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(DeltaSpec::NoOp);
        let start = out.len();
        put_pco(values, &config, out)?;
        if out.len() - start <= packed_bytes {
            return Ok(());
        }
        out.truncate(start);
    }
    out.push(PACKED);
    put_signed(out, min);
    out.push(width as u8);
    put_packed(values.iter().map(|value| value.wrapping_sub(min).cast_unsigned()), width as u32, out);
    Ok(())
}

/// Reads a column of `count` integers; the caller has charged their memory.
pub(crate) fn read_ints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, FormatError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match reader.u8()? {
        CONSTANT => Ok(vec![reader.signed()?; count]),
        PACKED => {
            let min = reader.signed()?;
            let width = u32::from(reader.u8()?);
            if !(1..=64).contains(&width) {
                return Err(reader.corrupt("an impossible bit width"));
            }
            let bytes = (count as u64 * u64::from(width)).div_ceil(8);
            let packed = reader.bytes(usize::try_from(bytes).map_err(|_| reader.corrupt("cut short"))?)?;
            Ok(read_packed(packed, width, count, |value| min.wrapping_add(value.cast_signed())))
        }
        PCO => read_pco(reader, count),
        _ => Err(reader.corrupt("a column codec that does not exist")),
    }
}

/// Appends a column of doubles, bit for bit: as integers have it, but of their bits when not given to pco.
pub(crate) fn put_floats(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if values.is_empty() {
        return Ok(());
    }
    if values.len() >= LEAST_PCO_VALUES {
        let config = ChunkConfig::default()
            .with_compression_level(effort.pco_level())
            .with_delta_spec(DeltaSpec::TryConsecutive(1));
        let start = out.len();
        put_pco(values, &config, out)?;
        if out.len() - start < values.len() * 8 {
            return Ok(());
        }
        out.truncate(start);
    }
    out.push(PACKED);
    for value in values {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    Ok(())
}

/// Reads a column of `count` doubles; the caller has charged their memory.
pub(crate) fn read_floats(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, FormatError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match reader.u8()? {
        PACKED => {
            let bytes = reader.bytes(count.checked_mul(8).ok_or(reader.corrupt("cut short"))?)?;
            let (numbers, _) = bytes.as_chunks::<8>();
            Ok(numbers.iter().map(|number| f64::from_bits(u64::from_le_bytes(*number))).collect())
        }
        PCO => read_pco(reader, count),
        _ => Err(reader.corrupt("a column codec that does not exist")),
    }
}

fn put_packed(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let mut pending = 0_u128;
    let mut bits = 0;
    for value in values {
        pending |= u128::from(value) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= 64;
            bits -= 64;
        }
    }
    out.extend_from_slice(&(pending as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
}

fn read_packed(packed: &[u8], width: u32, count: usize, number: impl Fn(u64) -> i64) -> Vec<i64> {
    let mask = u64::MAX >> (64 - width);
    let mut pending = 0_u128;
    let mut bits = 0;
    let mut words = packed.chunks(8);
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        if bits < width {
            let mut word = [0; 8];
            let bytes = words.next().unwrap_or_default();
            word[..bytes.len()].copy_from_slice(bytes);
            pending |= u128::from(u64::from_le_bytes(word)) << bits;
            bits += 64;
        }
        values.push(number(pending as u64 & mask));
        pending >>= width;
        bits -= width;
    }
    values
}

fn put_pco<T: pco::data_types::Number>(
    values: &[T],
    config: &ChunkConfig,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let failed = |error: pco::errors::PcoError| EncodeError::Compression(error.to_string());
    let file = pco::wrapped::FileCompressor::default();
    let mut packed = file.write_header(Vec::new()).map_err(failed)?;
    for values in values.chunks(PCO_CHUNK_VALUES) {
        let config = config.clone().with_paging_spec(PagingSpec::Exact(vec![values.len()]));
        let mut chunk = file.chunk_compressor(values, &config).map_err(failed)?;
        packed = chunk.write_meta(packed).map_err(failed)?;
        packed = chunk.write_page(0, packed).map_err(failed)?;
    }
    out.push(PCO);
    put_varint(out, packed.len() as u64);
    out.extend_from_slice(&packed);
    Ok(())
}

fn read_pco<T: pco::data_types::Number + Default>(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<T>, FormatError> {
    let bytes = reader.size()?;
    let mut rest = reader.bytes(bytes)?;
    let failed = |_| FormatError::Corrupt { what: "pco column", why: "not what pco writes" };
    let file;
    (file, rest) = pco::wrapped::FileDecompressor::new(rest).map_err(failed)?;
    let mut values = vec![T::default(); count];
    for values in values.chunks_mut(PCO_CHUNK_VALUES) {
        let mut chunk;
        (chunk, rest) = file.chunk_decompressor::<T, _>(rest).map_err(failed)?;
        // What our writer never asks for may cost memory that the size of the input does not justify.
        let plain =
            matches!(chunk.meta().delta_encoding, DeltaEncoding::NoOp | DeltaEncoding::Consecutive { .. });
        if !plain || matches!(chunk.meta().mode, Mode::Dict(_)) {
            return Err(FormatError::Corrupt { what: "pco column", why: "a pco feature that is not used" });
        }
        let mut page = chunk.page_decompressor(rest, values.len()).map_err(failed)?;
        let progress = page.read(values).map_err(failed)?;
        if progress.n_processed != values.len() || !progress.finished {
            return Err(FormatError::Corrupt { what: "pco column", why: "not as long as it should be" });
        }
        rest = page.into_src();
    }
    if !rest.is_empty() {
        return Err(FormatError::Corrupt { what: "pco column", why: "bytes left over" });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_ints(values: &[i64]) {
        for effort in [Effort::Fresh, Effort::Compacted] {
            let mut out = Vec::new();
            put_ints(values, effort, &mut out).unwrap();
            let mut reader = Reader::new(&out, "ints");
            assert_eq!(read_ints(&mut reader, values.len()).unwrap(), values);
            reader.finish().unwrap();
        }
    }

    proptest! {
        #[test]
        fn integers_round_trip(values in proptest::collection::vec(any::<i64>(), 0..300), shift in 0_u32..64) {
            check_ints(&values.iter().map(|value| value >> shift).collect::<Vec<_>>());
        }

        #[test]
        fn doubles_round_trip_bit_by_bit(bits in proptest::collection::vec(any::<u64>(), 0..300)) {
            let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
            let mut out = Vec::new();
            put_floats(&values, Effort::Fresh, &mut out).unwrap();
            let mut reader = Reader::new(&out, "floats");
            let read = read_floats(&mut reader, values.len()).unwrap();
            prop_assert_eq!(read.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn long_and_extreme_columns_round_trip() {
        check_ints(&[i64::MIN, i64::MAX, 0, -1]);
        check_ints(&[7; 1000]);
        check_ints(&(0..600_000).map(|value| value % 1000).collect::<Vec<_>>());
    }
}
