//! How the text of a setting becomes a value.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use telemetry::TenantId;

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
        assert!(bool::parse("yes").is_err());
    }
}
