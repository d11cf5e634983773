//! Numbers, durations and strings: from their text to their value.

use super::{Problem, Result};
use crate::ast::NumberLiteral;
use crate::lexer::{Kind, Token};

/// The largest duration, in seconds: what a 64-bit count of nanoseconds holds, as in Prometheus.
const MAX_DURATION_SECONDS: f64 = (i64::MAX / 1_000_000_000) as f64;

pub(super) fn fits_duration(seconds: f64) -> bool {
    seconds.abs() <= MAX_DURATION_SECONDS
}

/// The value of a number or a duration, the latter in seconds.
pub(super) fn number(token: &Token<'_>) -> Result<NumberLiteral> {
    if token.kind == Kind::Duration {
        let ms = parse_duration_ms(token.text).map_err(|message| Problem::new(token.span(), message))?;
        return Ok(NumberLiteral { value: ms as f64 / 1_000.0, is_duration: true });
    }
    let text: String = token.text.chars().filter(|character| *character != '_').collect();
    let lower = text.to_ascii_lowercase();
    let digits = |text: &str, radix: u32| i64::from_str_radix(text, radix).ok().map(|value| value as f64);
    let value = match lower.as_str() {
        "inf" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => {
            if let Some(hex) = lower.strip_prefix("0x") {
                digits(hex, 16)
            } else if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) {
                // As in Go, a leading 0 makes a whole number octal; one that is not is read as decimal.
                digits(&lower, 8).or_else(|| lower.parse().ok())
            } else {
                lower.parse().ok().filter(|value: &f64| value.is_finite())
            }
        }
    };
    match value {
        Some(value) => Ok(NumberLiteral { value, is_duration: false }),
        None => {
            let message = format!("error parsing number: {} cannot be read", crate::quote(token.text));
            Err(Problem::new(token.span(), message))
        }
    }
}

/// The units of a duration with their milliseconds, in the order in which they may follow each other.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Milliseconds of a duration such as `1h30m`; the error is Prometheus's text.
pub(crate) fn parse_duration_ms(text: &str) -> std::result::Result<i64, String> {
    let invalid = || format!("not a valid duration string: {}", crate::quote(text));
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    let mut rest = text;
    let mut total: i64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (digits, tail) = rest.split_at(digits_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let at = UNITS[next_unit..].iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let unit_ms = UNITS[next_unit + at].1;
        next_unit += at + 1;
        if digits.is_empty() {
            return Err(invalid());
        }
        total = digits
            .parse::<i64>()
            .ok()
            .and_then(|count| count.checked_mul(unit_ms))
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| fits_duration(*ms as f64 / 1_000.0))
            .ok_or("duration out of range")?;
        rest = tail;
    }
    Ok(total)
}

/// The text of a quoted string that has to be UTF-8, as names and values of labels are.
pub(super) fn unquote(token: &Token<'_>) -> Result<String> {
    String::from_utf8(unquote_bytes(token)?)
        .map_err(|_| Problem::new(token.span(), format!("{} is not valid UTF-8", token.text)))
}

/// The bytes of a quoted string.
pub(super) fn unquote_bytes(token: &Token<'_>) -> Result<Vec<u8>> {
    let text = token.text;
    let body = &text[1..text.len() - 1];
    if text.starts_with('`') {
        return Ok(body.as_bytes().to_vec());
    }
    unescape(body).ok_or_else(|| {
        let message = format!("error unquoting string {}: invalid syntax", crate::quote(text));
        Problem::new(token.span(), message)
    })
}

/// Resolves Go's escapes; `None` for a bad one.
fn unescape(body: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let kind = rest[at + 1..].chars().next()?;
        let tail = &rest[at + 1 + kind.len_utf8()..];
        let mut taken = 0;
        let mut code = |from: &str, digits: usize, radix: u32| {
            taken = digits;
            let text = from.get(..digits)?;
            text.chars().all(|digit| digit.is_digit(radix)).then(|| u32::from_str_radix(text, radix).ok())?
        };
        match kind {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '\'' | '"' => bytes.push(kind as u8),
            'x' => bytes.push(u8::try_from(code(tail, 2, 16)?).ok()?),
            '0'..='7' => {
                let value = code(&rest[at + 1..], 3, 8)?;
                bytes.push(u8::try_from(value).ok()?);
                taken = 2;
            }
            'u' | 'U' => {
                let digits = if kind == 'u' { 4 } else { 8 };
                let character = char::from_u32(code(tail, digits, 16)?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
        rest = tail.get(taken..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}
