//! Compressed runs of float samples with strictly ascending timestamps.
//!
//! The encoding follows Gorilla (Pelkonen et al., VLDB 2015): timestamps as deltas of deltas, values XORed with the one
//! before; classes of deltas are chosen for milliseconds. It is exact to the bit, NaN payloads included, and lives in
//! memory only, so it has no version. Bits are packed into words from the most significant bit down.
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

/// Words of a full chunk: large enough that its fixed parts weigh little, small enough that an instant query, which wants
/// the newest samples only, decodes little. A power of two, since the words double from 4 on: 32 bytes, a handful of
/// samples, is all that many series ever need.
const FULL_WORDS: usize = 32;
/// Words that one sample takes at most: 68 bits of time and 78 of value, and they may start at the end of a word.
const SAMPLE_WORDS_MAX: usize = 3;
/// Most samples of a chunk: what a reader of the newest samples decodes where values do not change.
const FULL_SAMPLES: u16 = 240;

/// A chunk that takes no more samples.
#[derive(Debug)]
pub(super) struct Chunk {
    words: Box<[u64]>,
    first_ms: i64,
    last_ms: i64,
    samples: u16,
}

impl Chunk {
    pub(super) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Calls `each` with the timestamp and the bits of the value of every sample, in order.
    pub(super) fn for_each(&self, each: impl FnMut(i64, u64)) {
        decode(&self.words, self.first_ms, self.samples, each);
    }
}

/// A chunk that samples are appended to.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    words: Vec<u64>,
    first_ms: i64,
    last_ms: i64,
    last_delta: i64,
    last_bits: u64,
    bits_used: u16,
    samples: u16,
    /// Leading zeros and width of the last window; width 0 says that there is none yet.
    leading: u8,
    width: u8,
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

    pub(super) fn is_full(&self) -> bool {
        self.words.len() + SAMPLE_WORDS_MAX > FULL_WORDS || self.samples >= FULL_SAMPLES
    }

    /// Takes the samples out as a chunk of its own; this one is empty afterwards.
    pub(super) fn seal(&mut self) -> Chunk {
        let open = std::mem::take(self);
        Chunk {
            words: open.words.into_boxed_slice(),
            first_ms: open.first_ms,
            last_ms: open.last_ms,
            samples: open.samples,
        }
    }

    /// Appends a sample later than all before; the chunk is not full. Returns the bytes of memory newly allocated.
    pub(super) fn push(&mut self, timestamp_ms: i64, bits: u64) -> usize {
        let capacity = self.words.capacity();
        if self.samples == 0 {
            self.first_ms = timestamp_ms;
            self.write(bits, 64);
        } else {
            let delta = timestamp_ms.wrapping_sub(self.last_ms);
            self.write_delta_of_delta(delta.wrapping_sub(self.last_delta));
            self.write_xor(bits ^ self.last_bits);
            self.last_delta = delta;
        }
        self.last_ms = timestamp_ms;
        self.last_bits = bits;
        self.samples += 1;
        (self.words.capacity() - capacity) * size_of::<u64>()
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

    fn write_xor(&mut self, xor: u64) {
        if xor == 0 {
            return self.write(0, 1);
        }
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
        match self.words.last_mut() {
            Some(last) if offset != 0 => {
                *last |= aligned >> offset;
                if offset + count > 64 {
                    self.words.push(aligned << (64 - offset));
                }
            }
            _ => self.words.push(aligned),
        }
        self.bits_used += count as u16;
    }

    /// Calls `each` with the timestamp and the bits of the value of every sample, in order.
    pub(super) fn for_each(&self, each: impl FnMut(i64, u64)) {
        decode(&self.words, self.first_ms, self.samples, each);
    }
}

struct Reader<'a> {
    words: &'a [u64],
    at: usize,
}

impl Reader<'_> {
    /// The next 64 bits, without moving on; zeros beyond the end.
    #[inline]
    fn peek(&self) -> u64 {
        let (word, offset) = (self.at / 64, self.at % 64);
        let high = self.words.get(word).copied().unwrap_or(0);
        let low = self.words.get(word + 1).copied().unwrap_or(0);
        // Two shifts, because one by 64 would overflow.
        high << offset | low >> 1 >> (63 - offset)
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

fn decode(words: &[u64], first_ms: i64, samples: u16, mut each: impl FnMut(i64, u64)) {
    if samples == 0 {
        return;
    }
    let mut reader = Reader { words, at: 0 };
    let (mut timestamp_ms, mut delta) = (first_ms, 0_i64);
    let mut bits = reader.read(64);
    let (mut trailing, mut width) = (0_usize, 0_usize);
    each(timestamp_ms, bits);
    for _ in 1..samples {
        delta = delta.wrapping_add(reader.read_delta_of_delta());
        timestamp_ms = timestamp_ms.wrapping_add(delta);
        let next = reader.peek();
        if next >> 63 == 0 {
            reader.at += 1;
        } else {
            if next >> 62 == 0b11 {
                let leading = (next >> 56 & 0x3f) as usize;
                width = (next >> 50 & 0x3f) as usize + 1;
                trailing = 64 - leading - width;
                reader.at += 14;
            } else {
                reader.at += 2;
            }
            bits ^= reader.read(width) << trailing;
        }
        each(timestamp_ms, bits);
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
            if open.is_full() {
                sealed.push(open.seal());
            }
            open.push(timestamp_ms, bits);
        }
        let mut out = Vec::new();
        let mut words = 0;
        for chunk in &sealed {
            assert_eq!(chunk.first_ms(), samples[out.len()].0);
            chunk.for_each(|timestamp_ms, bits| out.push((timestamp_ms, bits)));
            assert_eq!(chunk.last_ms(), out[out.len() - 1].0);
            assert!(chunk.words.len() <= FULL_WORDS);
            words += chunk.words.len();
        }
        open.for_each(|timestamp_ms, bits| out.push((timestamp_ms, bits)));
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
        assert!(words * 8 <= 1200 / 4 + 5 * 24, "{} bytes", words * 8);
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
                prop_oneof![any::<u64>(), (0..1000_u32).prop_map(|v| f64::from(v).to_bits()), Just(STALE_NAN_BITS)],
                600,
            ),
        ) {
            let samples: Vec<(i64, u64)> = timestamps.into_iter().zip(values.into_iter().chain(std::iter::repeat(7))).collect();
            prop_assert_eq!(round_trip(&samples).0, samples);
        }
    }
}
