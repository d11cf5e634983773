//! JSON as Prometheus writes it, straight into bytes.

use std::io::Write as _;

mod labels;

/// What is being written. Its methods write one value or piece of punctuation each.
#[derive(Default)]
pub(super) struct Json {
    out: Vec<u8>,
    before: labels::Before,
}

impl Json {
    pub(super) fn new() -> Self {
        Self::with_capacity(256)
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A list of whatever `each` writes, with commas between.
    pub(super) fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.raw("[");
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.raw(",");
            }
            each(self, item);
        }
        self.raw("]");
    }

    pub(super) fn string(&mut self, text: &str) {
        self.raw("\"");
        let mut rest = text;
        while let Some(at) = first_to_escape(rest.as_bytes()) {
            self.raw(&rest[..at]);
            match rest.as_bytes()[at] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control => self.write(format_args!("\\u{control:04x}")),
            }
            rest = &rest[at + 1..];
        }
        self.raw(rest);
        self.raw("\"");
    }

    pub(super) fn number(&mut self, number: u64) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        // Two at a time: divisions are what takes the time.
        while rest >= 100 {
            at -= 2;
            digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        let first = &PAIRS[rest as usize];
        let first = if rest < 10 { &first[1..] } else { &first[..] };
        at -= first.len();
        digits[at..at + first.len()].copy_from_slice(first);
        self.out.extend_from_slice(&digits[at..]);
    }

    /// Milliseconds as seconds: `1.5` s is `1.500`, whole seconds have no fraction.
    /// Source: Prometheus, `jsonutil.MarshalTimestamp`.
    pub(super) fn timestamp(&mut self, timestamp_ms: i64) {
        if timestamp_ms < 0 {
            self.raw("-");
        }
        let ms = timestamp_ms.unsigned_abs();
        self.number(ms / 1000);
        let fraction = ms % 1000;
        if fraction > 0 {
            let digit = |number: u64| b'0' + (number % 10) as u8;
            self.out.extend_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)]);
        }
    }

    /// A float as a quoted string, with the fewest digits that read back as the same float; the exponent form is for very
    /// large and very small ones only. Source: Prometheus, `jsonutil.MarshalFloat`.
    pub(super) fn float(&mut self, value: f64) {
        self.raw("\"");
        let size = value.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) && size.is_finite() {
            self.exponent_form(value);
        } else {
            self.plain_float(value);
        }
        self.raw("\"");
    }

    /// A float in Go's format `f` with as many digits as it takes, not quoted.
    pub(super) fn plain_float(&mut self, value: f64) {
        /// Integers up to here are exact in a double, so that integer arithmetic writes them.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.is_nan() {
            self.raw("NaN");
        } else if value.is_infinite() {
            self.raw(if value > 0.0 { "+Inf" } else { "-Inf" });
        } else if value.fract() == 0.0 && value.abs() < EXACT {
            if value.is_sign_negative() {
                self.raw("-");
            }
            self.number(value.abs() as u64);
        } else if (1e-5..EXACT).contains(&value.abs()) {
            // Between these bounds it writes no exponent, and what is no integer has a fraction.
            let mut buffer = zmij::Buffer::new();
            self.raw(buffer.format_finite(value));
        } else {
            self.write(format_args!("{value}"));
        }
    }

    /// `1e+21`, `1.5e-07`: Go writes a sign and at least two digits.
    fn exponent_form(&mut self, value: f64) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        self.write(format_args!("{digits}e{sign}{exponent:0>2}"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.out.write_fmt(text);
    }
}

/// The two digits of each number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Where the first byte is that a JSON string cannot hold as it is. Looks at eight bytes at a time, as most strings have none.
fn first_to_escape(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    let clean = words.iter().take_while(|word| !has_any_to_escape(u64::from_le_bytes(**word))).count();
    let from = if clean == words.len() { text.len() - rest.len() } else { clean * 8 };
    let found = text[from..].iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    found.map(|at| from + at)
}

/// Whether one of eight bytes is below 0x20, a quote or a backslash.
/// Source of the arithmetic: Anderson, "Bit Twiddling Hacks" (`hasless`, `haszero`).
fn has_any_to_escape(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = has_zero(word ^ (ONES * b'"' as u64));
    let backslash = has_zero(word ^ (ONES * b'\\' as u64));
    (below_space | quote | backslash) & HIGH != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::new();
        write(&mut json);
        String::from_utf8(json.into_bytes()).unwrap()
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (100.0, "100"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e22, "-1.25e+22"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (123_456_789.123_456_78, "123456789.12345678"),
            // In the middle between two decimals the even one.
            (1_282_490_071_066_053.0 + 0.25, "1282490071066053.2"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(json(|json| json.float(value)), format!("\"{expected}\""));
        }
    }

    proptest! {
        /// The fewest digits that read back as the same float, without an exponent.
        #[test]
        fn floats_are_the_shortest(value in prop_oneof![prop::num::f64::NORMAL, (-1e17..1e17), (-1e-3..1e-3)]) {
            let written = json(|json| json.plain_float(value));
            prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), value.to_bits());
            // Of two decimals that are equally close, this may be the other.
            prop_assert_eq!(written.len(), value.to_string().len());
        }

        #[test]
        fn numbers_are_their_digits(number in any::<u64>(), shift in 0..64_u32) {
            let number = number >> shift;
            prop_assert_eq!(json(|json| json.number(number)), number.to_string());
        }

        #[test]
        fn strings_read_back(text in prop_oneof!["\\PC*", "[a-z0-9\\\\\"\\n\u{1f}\u{20}ü]*"]) {
            let written = json(|json| json.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }

    #[test]
    fn timestamps_are_seconds() {
        for (timestamp_ms, expected) in [
            (0, "0"),
            (1, "0.001"),
            (10, "0.010"),
            (100, "0.100"),
            (1_000, "1"),
            (1_435_781_451_781, "1435781451.781"),
            (-1_500, "-1.500"),
            (-1, "-0.001"),
        ] {
            assert_eq!(json(|json| json.timestamp(timestamp_ms)), expected);
        }
    }

    #[test]
    fn strings_are_escaped() {
        let text = "a\"b\\c\nd\te\r\u{1}ü<&>";
        let written = json(|json| json.string(text));
        assert_eq!(written, "\"a\\\"b\\\\c\\nd\\te\\r\\u0001ü<&>\"");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
