//! Calendar months in UTC, which is what is billed, and spans of seconds within them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::BillingError;

/// Seconds of an hour.
pub(crate) const HOUR_S: i64 = 3600;

/// A calendar month in UTC, of the years 1970 to 9998. Written `2026-11`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    /// The first day.
    first: Date,
}

impl Month {
    /// The month with this number (1 to 12) of a year.
    ///
    /// # Errors
    /// [`BillingError::Month`] outside 1970-01 to 9998-12.
    pub fn new(year: i16, month: i8) -> Result<Self, BillingError> {
        Date::new(year, month, 1)
            .ok()
            .filter(|_| (1970..=9998).contains(&year))
            .map(|first| Self { first })
            .ok_or_else(|| BillingError::Month(format!("{year:04}-{month:02}")))
    }

    /// The month that an instant, in Unix seconds, lies in.
    ///
    /// # Errors
    /// [`BillingError::Month`] outside 1970-01 to 9998-12.
    pub fn containing(unix_s: i64) -> Result<Self, BillingError> {
        let instant =
            Timestamp::from_second(unix_s).map_err(|_| BillingError::Month(format!("{unix_s} s")))?;
        let date = instant.to_zoned(TimeZone::UTC).date();
        Self::new(date.year(), date.month())
    }

    /// The month after this one.
    ///
    /// # Errors
    /// [`BillingError::Month`] after 9998-12.
    pub fn next(self) -> Result<Self, BillingError> {
        let after = self.first.saturating_add(1.month());
        Self::new(after.year(), after.month())
    }

    /// The seconds of the month.
    #[must_use]
    pub fn span(self) -> Span {
        Span { start_s: unix_s(self.first), end_s: unix_s(self.first.saturating_add(1.month())) }
    }
}

/// Midnight UTC at the beginning of a day.
fn unix_s(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second())
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), self.first.month())
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Month {
    type Err = BillingError;

    fn from_str(text: &str) -> Result<Self, BillingError> {
        let wrong = || BillingError::Month(text.chars().take(32).collect());
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if year.len() != 4 || month.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(wrong());
        }
        Self::new(year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?)
    }
}

impl TryFrom<String> for Month {
    type Error = BillingError;

    fn try_from(text: String) -> Result<Self, BillingError> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

/// Seconds from `start_s` to before `end_s`, both in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first second.
    pub start_s: i64,
    /// The first second after it.
    pub end_s: i64,
}

impl Span {
    /// How many seconds it has.
    #[must_use]
    pub fn seconds(self) -> u64 {
        u64::try_from(self.end_s.saturating_sub(self.start_s)).unwrap_or(0)
    }

    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(self, unix_s: i64) -> bool {
        (self.start_s..self.end_s).contains(&unix_s)
    }

    /// The part that lies in `other`, too, if there is any.
    #[must_use]
    pub fn within(self, other: Self) -> Option<Self> {
        let both = Self { start_s: self.start_s.max(other.start_s), end_s: self.end_s.min(other.end_s) };
        (both.start_s < both.end_s).then_some(both)
    }

    /// For people, with seconds where they are not 0: `2026-11-01 00:00 – 2026-11-16 12:30:05 UTC`.
    #[must_use]
    pub fn describe(self) -> String {
        format!("{} – {} UTC", instant(self.start_s), instant(self.end_s))
    }
}

/// `2026-11-01 00:00` or `2026-11-01 00:00:01`, or the number of seconds where the calendar ends.
pub(in crate::billing) fn instant(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).map_or_else(
        |_| format!("{unix_s} s"),
        |at| {
            let format = if unix_s.rem_euclid(60) == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
            at.to_zoned(TimeZone::UTC).strftime(format).to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_calendar_months_in_utc() {
        let month: Month = "2026-11".parse().unwrap();
        assert_eq!(month.span(), Span { start_s: 1_793_491_200, end_s: 1_796_083_200 });
        assert_eq!(month.span().seconds(), 30 * 86_400);
        assert_eq!(month.next().unwrap().next().unwrap().to_string(), "2027-01");
        assert_eq!(Month::containing(1_796_083_199), Ok(month));
        assert_eq!(Month::containing(1_796_083_200).unwrap().to_string(), "2026-12");
        assert_eq!("2024-02".parse::<Month>().unwrap().span().seconds(), 29 * 86_400);
        assert_eq!(month.span().describe(), "2026-11-01 00:00 – 2026-12-01 00:00 UTC");
        let to_the_second = Span { start_s: 1_793_491_201, end_s: i64::MAX };
        assert_eq!(to_the_second.describe(), "2026-11-01 00:00:01 – 9223372036854775807 s UTC");
        for wrong in
            ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "2026-+1", "1969-12", "9999-01", "ü-11"]
        {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
        assert!(Month::containing(i64::MAX).is_err() && Month::containing(-1).is_err());
    }
}
