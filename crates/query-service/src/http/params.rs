//! Parameters of requests, from the query string and the form body, read as Prometheus reads them.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::QueryError;

/// The earliest and latest time (ms) that a parameter can name: what Prometheus takes for "not given".
pub(super) const MIN_TIME_MS: i64 = i64::MIN / 4;
pub(super) const MAX_TIME_MS: i64 = i64::MAX / 4;

/// Name-value pairs; those of the body come first, and win.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    pub(super) fn parse(body: &[u8], query_string: &str) -> Self {
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        let pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(query_string.as_bytes()));
        Self { pairs: pairs.map(owned).collect() }
    }

    /// The first value of `name`; empty is as good as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let first = self.pairs.iter().find(|(other, _)| other == name);
        first.map(|(_, value)| &**value).filter(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| &**value)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, QueryError> {
        self.get(name).ok_or_else(|| invalid(name, "it is missing"))
    }

    /// A time in ms since the Unix epoch.
    pub(super) fn time_ms(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let parse = |text| parse_time_ms(text).map_err(|message| invalid(name, message));
        self.get(name).map(parse).transpose()
    }

    /// A duration in ms.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let parse = |text| parse_duration_ms(text).map_err(|message| invalid(name, message));
        self.get(name).map(parse).transpose()
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, QueryError> {
        let timeout_ms = self.duration_ms("timeout")?;
        Ok(timeout_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    /// A number of results; 0, which means no limit, is `None`.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: i64 =
            text.parse().map_err(|_| invalid(name, format!("cannot parse {text:?} to a number")))?;
        match usize::try_from(number) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(invalid(name, format!("{name} must be non-negative"))),
        }
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, QueryError> {
        match self.get(name) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(invalid(name, format!("{other:?} is neither true nor false"))),
        }
    }
}

pub(super) fn invalid(name: &str, message: impl std::fmt::Display) -> QueryError {
    QueryError::BadRequest(format!("invalid parameter {name:?}: {message}"))
}

/// Seconds as a number with a fraction, or RFC 3339.
fn parse_time_ms(text: &str) -> Result<i64, String> {
    let fail = || format!("cannot parse {text:?} to a valid timestamp");
    match parse_float(text) {
        Some(seconds) => {
            // Whole seconds apart, so that large times keep their milliseconds.
            let ms = seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round();
            let in_range = ms >= MIN_TIME_MS as f64 && ms <= MAX_TIME_MS as f64;
            if in_range { Ok(ms as i64) } else { Err(fail()) }
        }
        None => text.parse::<Timestamp>().map(|time| time.as_millisecond()).map_err(|_| fail()),
    }
}

/// Seconds as a number with a fraction, or a PromQL duration such as `1h30m`.
fn parse_duration_ms(text: &str) -> Result<i64, String> {
    match parse_float(text) {
        Some(seconds) => {
            let ms = seconds * 1000.0;
            // Prometheus counts nanoseconds in 63 bits.
            if ms.is_nan() || ms.abs() > i64::MAX as f64 / 1e6 {
                return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
            }
            Ok(ms as i64)
        }
        None => {
            promql::parse_duration_ms(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
        }
    }
}

/// Numbers that Go takes, too; not `inf`, `nan` and the like, which no time is.
fn parse_float(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The label name that a path holds: names that begin with `U__` are escaped, as clients do with names beyond ASCII.
/// Source: Prometheus, `model.UnescapeName` with values escaping.
pub(super) fn unescape_label_name(name: &str) -> Cow<'_, str> {
    name.strip_prefix("U__").and_then(unescape).map_or(Cow::Borrowed(name), Cow::Owned)
}

/// `None` where the text is not a well-formed escaped name.
fn unescape(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (code, after) = rest.split_once('_')?;
        rest = after;
        if code.is_empty() {
            out.push('_');
            continue;
        }
        if code.len() > 6 || !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("1435781451.781", Ok(1_435_781_451_781)),
            ("1435781451", Ok(1_435_781_451_000)),
            ("-1.5", Ok(-1_500)),
            ("1e3", Ok(1_000_000)),
            ("123.0006", Ok(123_001)),
            ("2015-07-01T20:10:51.781Z", Ok(1_435_781_451_781)),
            ("2015-07-01T22:10:51.781+02:00", Ok(1_435_781_451_781)),
            ("inf", Err(())),
            ("NaN", Err(())),
            ("1e300", Err(())),
            ("yesterday", Err(())),
            ("2015-07-01", Err(())),
        ] {
            assert_eq!(parse_time_ms(text).map_err(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn names_are_unescaped_where_they_are_escaped() {
        for (text, expected) in [
            ("job", "job"),
            ("U__job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__k_1F600_", "k😀"),
            ("U__open_", "U__open_"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__long_0000000_", "U__long_0000000_"),
            ("U__surrogate_d800_", "U__surrogate_d800_"),
            ("u__job", "u__job"),
        ] {
            assert_eq!(unescape_label_name(text), expected, "{text}");
        }
    }

    #[test]
    fn the_body_wins_over_the_query_string() {
        let params = Params::parse(b"query=up&match[]=a&empty=", "query=down&match[]=b&limit=0&empty=x");
        assert_eq!(params.get("query"), Some("up"));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(params.get("empty"), None);
        assert_eq!(params.count("limit").unwrap(), None);
        let params = Params::parse(b"", "limit=-1&n=x&step=5m&timeout=2.5&bad=1x&over=1e12");
        assert_eq!(
            params.count("limit").unwrap_err().to_string(),
            "invalid parameter \"limit\": limit must be non-negative"
        );
        assert!(params.count("n").is_err());
        assert_eq!(params.duration_ms("step").unwrap(), Some(300_000));
        assert_eq!(params.timeout().unwrap(), Some(Duration::from_millis(2_500)));
        assert_eq!(
            params.duration_ms("bad").unwrap_err().to_string(),
            "invalid parameter \"bad\": cannot parse \"1x\" to a valid duration"
        );
        assert!(params.duration_ms("over").unwrap_err().to_string().ends_with("It overflows int64"));
    }
}
