//! JSON as Prometheus writes it, straight into bytes.

use std::io::Write as _;

use telemetry::Labels;

/// What is being written. Its methods write one value or piece of punctuation each.
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn new() -> Self {
        Self::with_capacity(256)
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
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
        while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
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
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
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

    pub(super) fn labels(&mut self, labels: &Labels) {
        self.raw("{");
        for (place, (name, value)) in labels.iter().enumerate() {
            if place > 0 {
                self.raw(",");
            }
            self.string(name);
            self.raw(":");
            self.string(value);
        }
        self.raw("}");
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.out.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
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
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(json(|json| json.float(value)), format!("\"{expected}\""));
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
