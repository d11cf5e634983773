//! Compressed runs of float samples with strictly ascending timestamps.
//!
//! Timestamps are deltas of deltas, in classes chosen for milliseconds. Values are decimals where they can be, which most
//! are: a chunk whose values are all integers after a multiplication with a power of ten, exactly reversible, holds their
//! differences. In any other chunk a value is XORed with the one before, after Gorilla (Pelkonen et al., VLDB 2015). Both
//! are exact to the bit, NaN payloads included. Chunks live in memory only, so there is no version. Bits are packed
//! into words from the most significant bit down.
//!
//! | what | bits |
//! |---|---|
//! | first timestamp | none: it is a field of its own |
//! | first value | 64 |
//! | delta of delta = 0 | `0` |
//! | … −32 to 31 | `10` + 6 |
//! | … −512 to 511 | `110` + 10 |
//! | … −65,536 to 65,535 | `1110` + 17 |
//! | … any other, modulo 2⁶⁴ | `1111` + 64 |
//! | value as before | `0` |
//! | XOR inside the window of the value before | `10` + width of the window |
//! | XOR in a window of its own | `11` + 6 (leading zeros) + 6 (width − 1) + width |
//! | decimal: zigzag difference to the decimal before, by size | `10` + 6, `110` + 10, `1110` + 16, `11110` + 28, `111110` + 55 |
//! | … a value that is no number to multiply (NaN, ±Inf, −0) | `111111` + 64 |

use super::decimal::{XOR, decimal, is_no_decimal, scale_of};

/// Words of a full chunk: large enough that its fixed parts weigh little, small enough that an instant query, which wants
/// the newest samples only, decodes little. A power of two, since the words double from 4 on: 32 bytes, a handful of
/// samples, is all that many series ever need.
const FULL_WORDS: usize = 32;
/// Words that one sample completes at most: 68 bits of time and 78 of value, and they may start at the end of a word.
const SAMPLE_WORDS_MAX: usize = 3;
/// Most samples of a chunk: half an hour of a usual series, of which an instant query decodes half on average to get at five
/// minutes. As in Prometheus.
pub(super) const FULL_SAMPLES: u16 = 120;
/// A chunk of at most so many samples is written anew when a value does not fit its scale; a longer one is full then.
const REWRITTEN_SAMPLES: u16 = 16;

/// A chunk that takes no more samples.
#[derive(Debug)]
pub(super) struct Chunk {
    words: Box<[u64]>,
    first_ms: i64,
    last_ms: i64,
    samples: u16,
    scale: u8,
}

impl Chunk {
    pub(super) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Calls `each` with the timestamp and the value of every sample, in order.
    pub(super) fn for_each(&self, each: impl FnMut(i64, f64)) {
        let reader = Reader { words: &self.words, last_word: 0, at: 0 };
        decode(reader, self.first_ms, self.samples, self.scale, each);
    }
}

/// A chunk that samples are appended to. Everything that appending needs lies in it, so that the words, which are out of
/// the processor's cache by then, are touched only when one is complete.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    words: Vec<u64>,
    /// The word that is not complete yet.
    last_word: u64,
    first_ms: i64,
    last_ms: i64,
    last_delta: i64,
    last_bits: u64,
    last_decimal: i64,
    bits_used: u16,
    samples: u16,
    /// Leading zeros and width of the last window; width 0 says that there is none yet.
    leading: u8,
    width: u8,
    /// Decimal places of the values, or [`XOR`].
    scale: u8,
}

/// What came of an attempt to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The sample is in; so many bytes of memory were newly allocated.
    Grown(usize),
    /// Nothing happened: the sample needs a new chunk.
    Full,
}

impl OpenChunk {
    pub(super) fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Meaningless while the chunk is empty.
    pub(super) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    /// Meaningless while the chunk is empty.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Bits of the last value. Meaningless while the chunk is empty.
    pub(super) fn last_bits(&self) -> u64 {
        self.last_bits
    }

    /// Takes the samples out as a chunk of its own; this one is empty afterwards.
    pub(super) fn seal(&mut self) -> Chunk {
        let mut open = std::mem::take(self);
        if !open.bits_used.is_multiple_of(64) {
            open.words.push(open.last_word);
        }
        Chunk {
            words: open.words.into_boxed_slice(),
            first_ms: open.first_ms,
            last_ms: open.last_ms,
            samples: open.samples,
            scale: open.scale,
        }
    }

    /// Appends a sample later than all before. An empty chunk takes any.
    #[inline]
    pub(super) fn push(&mut self, timestamp_ms: i64, value: f64) -> Pushed {
        let capacity = self.words.capacity();
        if self.samples == 0 {
            self.scale = scale_of(value, 0);
            self.push_first(timestamp_ms, value);
        } else {
            if self.words.len() + SAMPLE_WORDS_MAX > FULL_WORDS || self.samples >= FULL_SAMPLES {
                return Pushed::Full;
            }
            let mut found = None;
            if self.scale != XOR {
                found = decimal(value, self.scale);
                if found.is_none() && !is_no_decimal(value) {
                    if self.samples > REWRITTEN_SAMPLES {
                        return Pushed::Full;
                    }
                    self.rewrite_for(value);
                    found = if self.scale == XOR { None } else { decimal(value, self.scale) };
                }
            }
            self.push_next(timestamp_ms, value, found);
        }
        Pushed::Grown((self.words.capacity() - capacity) * size_of::<u64>())
    }

    fn push_first(&mut self, timestamp_ms: i64, value: f64) {
        self.first_ms = timestamp_ms;
        self.write(value.to_bits(), 64);
        self.last_decimal = if self.scale == XOR { 0 } else { decimal(value, self.scale).unwrap_or(0) };
        self.last_ms = timestamp_ms;
        self.last_bits = value.to_bits();
        self.samples = 1;
    }

    /// `found` is the value's decimal, where the chunk is one of decimals and the value has one.
    fn push_next(&mut self, timestamp_ms: i64, value: f64, found: Option<i64>) {
        let bits = value.to_bits();
        let delta = timestamp_ms.wrapping_sub(self.last_ms);
        self.write_delta_of_delta(delta.wrapping_sub(self.last_delta));
        if bits == self.last_bits {
            self.write(0, 1);
        } else if self.scale == XOR {
            self.write_xor(bits ^ self.last_bits);
        } else if let Some(number) = found {
            self.write_difference(number - self.last_decimal);
            self.last_decimal = number;
        } else {
            self.write(0b11_1111, 6);
            self.write(bits, 64);
        }
        self.last_delta = delta;
        self.last_ms = timestamp_ms;
        self.last_bits = bits;
        self.samples += 1;
    }

    /// Writes the samples anew in a way that `value` fits in, too.
    #[cold]
    fn rewrite_for(&mut self, value: f64) {
        let mut samples = Vec::with_capacity(self.samples.into());
        self.for_each(|timestamp_ms, value| samples.push((timestamp_ms, value)));
        let mut scale = scale_of(value, self.scale);
        if samples.iter().any(|(_, value)| decimal(*value, scale).is_none() && !is_no_decimal(*value)) {
            scale = XOR;
        }
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        *self = Self { words, scale, ..Self::default() };
        for (place, (timestamp_ms, value)) in samples.into_iter().enumerate() {
            if place == 0 {
                self.push_first(timestamp_ms, value);
            } else {
                self.push_next(timestamp_ms, value, decimal(value, scale));
            }
        }
    }

    fn write_delta_of_delta(&mut self, dod: i64) {
        match dod {
            0 => self.write(0, 1),
            -32..=31 => self.write(0b10 << 6 | (dod as u64 & 0x3f), 8),
            -512..=511 => self.write(0b110 << 10 | (dod as u64 & 0x3ff), 13),
            -65_536..=65_535 => self.write(0b1110 << 17 | (dod as u64 & 0x1_ffff), 21),
            _ => {
                self.write(0b1111, 4);
                self.write(dod as u64, 64);
            }
        }
    }

    fn write_difference(&mut self, difference: i64) {
        let zigzag = (difference << 1 ^ difference >> 63) as u64;
        match 64 - zigzag.leading_zeros() {
            0..=6 => self.write(0b10 << 6 | zigzag, 8),
            7..=10 => self.write(0b110 << 10 | zigzag, 13),
            11..=16 => self.write(0b1110 << 16 | zigzag, 20),
            17..=28 => self.write(0b1_1110 << 28 | zigzag, 33),
            _ => self.write(0b11_1110 << 55 | zigzag, 61),
        }
    }

    fn write_xor(&mut self, xor: u64) {
        let (leading, trailing) = (xor.leading_zeros() as u8, xor.trailing_zeros() as u8);
        let width = 64 - leading - trailing;
        let window_trailing = 64_u8.wrapping_sub(self.leading).wrapping_sub(self.width);
        let fits = self.width > 0 && leading >= self.leading && trailing >= window_trailing;
        // A window of its own costs 12 bits more and pays where it is that much narrower.
        if fits && self.width <= width + 12 {
            let window = u32::from(self.width);
            self.write(0b10, 2);
            self.write(xor >> window_trailing, window);
        } else {
            self.write(0b11 << 12 | u64::from(leading) << 6 | u64::from(width - 1), 14);
            self.write(xor >> trailing, u32::from(width));
            (self.leading, self.width) = (leading, width);
        }
    }

    /// Appends the lowest `count` (1 to 64) bits of `value`, whose other bits are 0.
    #[inline]
    fn write(&mut self, value: u64, count: u32) {
        let aligned = value << (64 - count);
        let offset = u32::from(self.bits_used) % 64;
        self.last_word |= aligned >> offset;
        if offset + count >= 64 {
            self.words.push(self.last_word);
            // Two shifts, because one by 64 would overflow.
            self.last_word = aligned << 1 << (63 - offset);
        }
        self.bits_used += count as u16;
    }

    /// Calls `each` with the timestamp and the value of every sample, in order.
    pub(super) fn for_each(&self, each: impl FnMut(i64, f64)) {
        let reader = Reader { words: &self.words, last_word: self.last_word, at: 0 };
        decode(reader, self.first_ms, self.samples, self.scale, each);
    }
}

struct Reader<'a> {
    words: &'a [u64],
    /// What follows the words.
    last_word: u64,
    at: usize,
}

impl Reader<'_> {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        match self.words.get(index) {
            Some(word) => *word,
            None if index == self.words.len() => self.last_word,
            None => 0,
        }
    }

    /// The next 64 bits, without moving on; zeros beyond the end.
    #[inline]
    fn peek(&self) -> u64 {
        let (index, offset) = (self.at / 64, self.at % 64);
        // Two shifts, because one by 64 would overflow.
        self.word(index) << offset | self.word(index + 1) >> 1 >> (63 - offset)
    }

    /// The next `count` (1 to 64) bits.
    #[inline]
    fn read(&mut self, count: usize) -> u64 {
        let bits = self.peek() >> (64 - count);
        self.at += count;
        bits
    }

    #[inline]
    fn read_delta_of_delta(&mut self) -> i64 {
        let next = self.peek();
        let (skip, count) = match next.leading_ones() {
            0 => {
                self.at += 1;
                return 0;
            }
            1 => (2, 6),
            2 => (3, 10),
            3 => (4, 17),
            _ => {
                self.at += 4;
                return self.read(64) as i64;
            }
        };
        self.at += skip + count;
        // Arithmetic shift: the sign comes along.
        (next << skip) as i64 >> (64 - count)
    }
}

#[inline]
fn decode(mut reader: Reader<'_>, first_ms: i64, samples: u16, scale: u8, mut each: impl FnMut(i64, f64)) {
    if samples == 0 {
        return;
    }
    let first = reader.read(64);
    each(first_ms, f64::from_bits(first));
    if scale == XOR {
        let mut values = XorValues { bits: first, trailing: 0, width: 0 };
        decode_rest(&mut reader, first_ms, samples, |reader, at| each(at, values.next(reader)));
    } else {
        let value = f64::from_bits(first);
        let number = decimal(value, scale).unwrap_or(0);
        let mut values = DecimalValues { value, number, divisor: super::decimal::POWERS[usize::from(scale)] };
        decode_rest(&mut reader, first_ms, samples, |reader, at| each(at, values.next(reader)));
    }
}

/// Reads the timestamps of all samples but the first; `value` reads the value that follows each.
#[inline]
fn decode_rest(
    reader: &mut Reader<'_>,
    first_ms: i64,
    samples: u16,
    mut value: impl FnMut(&mut Reader<'_>, i64),
) {
    let (mut timestamp_ms, mut delta) = (first_ms, 0_i64);
    for _ in 1..samples {
        delta = delta.wrapping_add(reader.read_delta_of_delta());
        timestamp_ms = timestamp_ms.wrapping_add(delta);
        value(reader, timestamp_ms);
    }
}

struct XorValues {
    bits: u64,
    trailing: usize,
    width: usize,
}

impl XorValues {
    #[inline]
    fn next(&mut self, reader: &mut Reader<'_>) -> f64 {
        let next = reader.peek();
        if next >> 63 == 0 {
            reader.at += 1;
        } else {
            if next >> 62 == 0b11 {
                let leading = (next >> 56 & 0x3f) as usize;
                self.width = (next >> 50 & 0x3f) as usize + 1;
                self.trailing = 64 - leading - self.width;
                reader.at += 14;
            } else {
                reader.at += 2;
            }
            self.bits ^= reader.read(self.width) << self.trailing;
        }
        f64::from_bits(self.bits)
    }
}

struct DecimalValues {
    value: f64,
    number: i64,
    divisor: f64,
}

impl DecimalValues {
    #[inline]
    fn next(&mut self, reader: &mut Reader<'_>) -> f64 {
        let next = reader.peek();
        let (skip, count) = match next.leading_ones() {
            0 => {
                reader.at += 1;
                return self.value;
            }
            1 => (2, 6),
            2 => (3, 10),
            3 => (4, 16),
            4 => (5, 28),
            5 => (6, 55),
            _ => {
                reader.at += 6;
                self.value = f64::from_bits(reader.read(64));
                return self.value;
            }
        };
        reader.at += skip + count;
        let zigzag = next << skip >> (64 - count);
        self.number += (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        self.value = self.number as f64 / self.divisor;
        self.value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use telemetry::STALE_NAN_BITS;

    use super::*;

    /// Encodes in as many chunks as it takes and decodes again.
    fn round_trip(samples: &[(i64, u64)]) -> (Vec<(i64, u64)>, usize) {
        let mut sealed = Vec::new();
        let mut open = OpenChunk::default();
        for &(timestamp_ms, bits) in samples {
            if open.push(timestamp_ms, f64::from_bits(bits)) == Pushed::Full {
                sealed.push(open.seal());
                assert!(matches!(open.push(timestamp_ms, f64::from_bits(bits)), Pushed::Grown(_)));
            }
        }
        let mut out = Vec::new();
        let mut words = 0;
        for chunk in &sealed {
            assert_eq!(chunk.first_ms(), samples[out.len()].0);
            chunk.for_each(|timestamp_ms, value| out.push((timestamp_ms, value.to_bits())));
            assert_eq!(chunk.last_ms(), out[out.len() - 1].0);
            // Writing anew may make a short chunk a little longer than a full one.
            assert!(chunk.words.len() <= FULL_WORDS + usize::from(REWRITTEN_SAMPLES) * 3);
            words += chunk.words.len();
        }
        open.for_each(|timestamp_ms, value| out.push((timestamp_ms, value.to_bits())));
        (out, words + open.words.len())
    }

    #[test]
    fn special_values_keep_their_bits() {
        let values = [
            0.0,
            -0.0,
            f64::NAN,
            f64::from_bits(STALE_NAN_BITS),
            f64::from_bits(0xfff8_dead_beef_0001),
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::MAX,
            1.0,
            1.0,
        ];
        let samples: Vec<(i64, u64)> =
            (0..).zip(values).map(|(index, value): (i64, f64)| (index * 15_000, value.to_bits())).collect();
        assert_eq!(round_trip(&samples).0, samples);
    }

    #[test]
    fn a_steady_gauge_takes_two_bits_a_sample() {
        let samples: Vec<(i64, u64)> =
            (0..1200).map(|index| (1_700_000_000_000 + index * 15_000, 42_f64.to_bits())).collect();
        let (out, words) = round_trip(&samples);
        assert_eq!(out, samples);
        assert!(words * 8 <= 1200 / 4 + 1200 / usize::from(FULL_SAMPLES) * 20, "{} bytes", words * 8);
    }

    /// Bytes a sample for values that `next` makes one after the other.
    fn bytes_a_sample(mut next: impl FnMut(u32) -> f64) -> f64 {
        let samples: Vec<(i64, u64)> =
            (0..2000_u32).map(|index| (i64::from(index) * 15_000, next(index).to_bits())).collect();
        let (out, words) = round_trip(&samples);
        assert_eq!(out, samples);
        (words * 8) as f64 / 2000.0
    }

    #[test]
    fn decimals_are_small_whatever_their_places() {
        let hash = |index: u32| f64::from(index.wrapping_mul(2_654_435_761) >> 20);
        // Random below 4,096, two places: 3 bytes at most; integers that go up by less than 100: two.
        assert!(bytes_a_sample(|index| hash(index) / 100.0) < 3.0);
        let mut counter = 1e9;
        let counted = bytes_a_sample(|index| {
            counter += hash(index) / 41.0_f64.trunc();
            counter.trunc()
        });
        assert!(counted < 2.1, "{counted}");
        // Places that only show after a while, a value with none in between, and the end of a series.
        assert!(bytes_a_sample(|index| hash(index) / if index < 9 { 1.0 } else { 1000.0 }) < 3.1);
        assert!(bytes_a_sample(|index| if index % 100 == 7 { f64::NAN } else { f64::from(index) }) < 1.7);
        // What is no decimal costs what it has to.
        assert!(bytes_a_sample(|index| f64::from(index).sqrt()) < 8.2);
    }

    fn timestamps() -> impl Strategy<Value = Vec<i64>> {
        let steps = prop_oneof![
            8 => Just(15_000_i64),
            4 => 14_990..15_010_i64,
            2 => 1..100_000_i64,
            1 => 1..i64::MAX / 1024,
        ];
        let start = prop_oneof![Just(1_700_000_000_000_i64), Just(i64::MIN), Just(-5), any::<i64>()];
        (start, prop::collection::vec(steps, 0..600)).prop_map(|(start, steps)| {
            let mut at = start;
            let mut out = vec![at];
            for step in steps {
                match at.checked_add(step) {
                    Some(next) => at = next,
                    None => break,
                }
                out.push(at);
            }
            out
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever goes in comes out, bit by bit.
        #[test]
        fn samples_round_trip(
            timestamps in timestamps(),
            values in prop::collection::vec(
                prop_oneof![
                    1 => any::<u64>(),
                    6 => (0..1000_u32).prop_map(|v| f64::from(v).to_bits()),
                    3 => (-100_000..100_000_i32).prop_map(|v| (f64::from(v) / 100.0).to_bits()),
                    1 => any::<i64>().prop_map(|v| (v as f64).to_bits()),
                    1 => Just(STALE_NAN_BITS),
                    1 => Just((-0.0_f64).to_bits()),
                ],
                600,
            ),
        ) {
            let samples: Vec<(i64, u64)> = timestamps.into_iter().zip(values.into_iter().chain(std::iter::repeat(7))).collect();
            prop_assert_eq!(round_trip(&samples).0, samples);
        }
    }
}
