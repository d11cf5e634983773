//! How the text of a setting becomes a value.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use telemetry::TenantId;
use tracing_subscriber::EnvFilter;

/// A type that a setting can have. The same text means the same in a flag, in the environment and in the file.
pub trait SettingValue: Sized {
    /// Reads `text`.
    ///
    /// # Errors
    /// What would have been right, in a few words that go on "… must be".
    fn parse(text: &str) -> Result<Self, String>;
}

/// No text at all means "not set".
impl<T: SettingValue> SettingValue for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
}

/// Values separated by commas; no text means none.
impl<T: SettingValue> SettingValue for Vec<T> {
    fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(T::parse).collect()
    }
}

impl SettingValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a text that is not empty".to_owned()) } else { Ok(text.to_owned()) }
    }
}

impl SettingValue for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path".to_owned()) } else { Ok(Self::from(text)) }
    }
}

impl SettingValue for bool {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|_| "true or false".to_owned())
    }
}

impl SettingValue for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|_| "a whole number, zero or more".to_owned())
    }
}

impl SettingValue for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(|_| "a duration such as 500ms, 30s, 5m, 1h or 7d".to_owned())
    }
}

/// A number of bytes, such as `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl SettingValue for ByteSize {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "a number of bytes such as 65536, 64KiB, 512MiB or 8GiB".to_owned();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let shift = match text[digits..].trim_start() {
            "" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(expected()),
        };
        let number: u64 = text[..digits].parse().map_err(|_| expected())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(expected)
    }
}

/// How long a write may wait for company: at most [`Linger::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linger(pub Duration);

impl Linger {
    /// Senders give up on a request, and send it again, after some tens of seconds.
    pub const MAX: Duration = Duration::from_secs(10);
}

impl SettingValue for Linger {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "a duration such as 20ms, at most 10s".to_owned();
        let linger = Duration::parse(text).map_err(|_| expected())?;
        if linger <= Self::MAX { Ok(Self(linger)) } else { Err(expected()) }
    }
}

/// The URL of a server: `http://HOST[:PORT]` or `https://HOST[:PORT]`, and perhaps a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for ServerUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).ok();
        let good = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if good {
            return Ok(Self(text.to_owned()));
        }
        // Of what lacks only the scheme it can be said how to write it.
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let example = if rest.is_empty() { "127.0.0.1:9000" } else { rest };
        Err(format!("a URL with http:// or https://, such as http://{example}"))
    }
}

impl SettingValue for TenantId {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("a tenant id ({error})"))
    }
}

/// A duration, or no bound at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most this long.
    Within(Duration),
    /// Any length.
    Unlimited,
}

impl SettingValue for Bound {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        Duration::parse(text).map(Self::Within).map_err(|expected| format!("{expected}, or unlimited"))
    }
}

/// Where to listen: `HOST:PORT`. Port 0 lets the system choose one, which is then printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress(String);

impl ListenAddress {
    /// The text, `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for ListenAddress {
    fn parse(text: &str) -> Result<Self, String> {
        let good =
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if good { Ok(Self(text.to_owned())) } else { Err("HOST:PORT, such as 127.0.0.1:9600".to_owned()) }
    }
}

/// What is logged: a level, or a list of `TARGET=LEVEL` with a level for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for LogFilter {
    fn parse(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        // To the filter a word that is no level is a target, and everything else would be silent: a typing error, here.
        let no_level = |part: &str| {
            !part.contains(['=', '[']) && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part))
        };
        if text.split(',').map(str::trim).any(no_level) || EnvFilter::try_new(text).is_err() {
            return Err(
                "a level (off, error, warn, info, debug, trace) or a list such as info,segment_store=debug"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_says_it_reads() {
        assert_eq!(Duration::parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(Bound::parse("unlimited"), Ok(Bound::Unlimited));
        assert_eq!(Bound::parse("90s"), Ok(Bound::Within(Duration::from_secs(90))));
        assert_eq!(Option::<PathBuf>::parse(""), Ok(None));
        assert_eq!(Vec::<String>::parse("a, b,"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        for good in ["127.0.0.1:0", "[::1]:9600", "localhost:80"] {
            assert!(ListenAddress::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn says_what_would_have_been_right() {
        assert!(Bound::parse("soon").unwrap_err().contains("unlimited"));
        for bad in ["", "9600", ":9600", "host:", "host:70000", "host:x"] {
            assert!(ListenAddress::parse(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
        assert!(u64::parse("-1").is_err());
        assert_eq!(Linger::parse("10s"), Ok(Linger(Linger::MAX)));
        for bad in ["", "10001ms", "1h", "soon"] {
            assert!(Linger::parse(bad).unwrap_err().contains("at most 10s"), "{bad}");
        }
        for good in ["http://127.0.0.1:9000", "https://[::1]:9000/", "http://minio"] {
            assert_eq!(ServerUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in ["127.0.0.1:35000", "localhost:35000", "minio", "ftp://127.0.0.1:35000", "http://", ""] {
            assert!(ServerUrl::parse(bad).unwrap_err().contains("such as http://"), "{bad}");
        }
        assert!(ServerUrl::parse("127.0.0.1:35000").unwrap_err().ends_with("http://127.0.0.1:35000"));
        assert!(bool::parse("yes").is_err());
        for good in
            ["info", "WARN", "off", "info,segment_store=debug", "segment_store=debug", "info,farwatch=trace"]
        {
            assert!(LogFilter::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "verbose", "info,segment_store", "loud=very", "info,"] {
            assert!(LogFilter::parse(bad).unwrap_err().contains("error, warn, info, debug, trace"), "{bad}");
        }
    }
}
