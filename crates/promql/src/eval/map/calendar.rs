//! Dates of timestamps, in UTC. The civil-from-days algorithm is Howard Hinnant's.

/// A day in the proleptic Gregorian calendar, as floats, since that is what queries calculate with.
pub(super) struct Date {
    pub(super) year: f64,
    /// From 1.
    pub(super) month: f64,
    /// From 1.
    pub(super) day: f64,
}

const SECONDS_PER_DAY: i128 = 86_400;

/// Whole seconds, cut off towards zero. What a 64-bit number cannot hold, NaN among it, counts as 2^63, which is what
/// Prometheus makes of it on common processors.
fn seconds(timestamp: f64) -> i128 {
    let fits = timestamp > i64::MIN as f64 && timestamp < i64::MAX as f64;
    if fits { timestamp as i128 } else { 1 << 63 }
}

pub(super) fn hour(timestamp: f64) -> f64 {
    (seconds(timestamp).rem_euclid(SECONDS_PER_DAY) / 3_600) as f64
}

pub(super) fn minute(timestamp: f64) -> f64 {
    (seconds(timestamp).rem_euclid(3_600) / 60) as f64
}

/// From 0, Sunday.
pub(super) fn day_of_week(timestamp: f64) -> f64 {
    // The epoch was a Thursday.
    (seconds(timestamp).div_euclid(SECONDS_PER_DAY) + 4).rem_euclid(7) as f64
}

impl Date {
    pub(super) fn at(timestamp: f64) -> Self {
        // Days since 0000-03-01: with the leap day last, months have fixed lengths.
        let days = seconds(timestamp).div_euclid(SECONDS_PER_DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        Self { year: year as f64, month: month as f64, day: day as f64 }
    }

    fn is_leap_year(&self) -> bool {
        let divides = |by: f64| self.year % by == 0.0;
        divides(4.0) && (!divides(100.0) || divides(400.0))
    }

    pub(super) fn days_in_month(&self) -> f64 {
        match self.month as u8 {
            2 if self.is_leap_year() => 29.0,
            2 => 28.0,
            4 | 6 | 9 | 11 => 30.0,
            _ => 31.0,
        }
    }

    /// From 1.
    pub(super) fn day_of_year(&self) -> f64 {
        const BEFORE: [f64; 12] = [0., 31., 59., 90., 120., 151., 181., 212., 243., 273., 304., 334.];
        let leap_day = if self.month > 2.0 && self.is_leap_year() { 1.0 } else { 0.0 };
        BEFORE[self.month as usize - 1] + self.day + leap_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        for (timestamp, year, month, day, day_of_year, days) in [
            (0.0, 1970.0, 1.0, 1.0, 1.0, 31.0),
            (951_782_400.0, 2000.0, 2.0, 29.0, 60.0, 29.0),
            (951_868_800.0, 2000.0, 3.0, 1.0, 61.0, 31.0),
            (4_107_456_000.0, 2100.0, 2.0, 28.0, 59.0, 28.0),
            (1_735_603_200.0, 2024.0, 12.0, 31.0, 366.0, 31.0),
            (-1.0, 1969.0, 12.0, 31.0, 365.0, 31.0),
        ] {
            let date = Date::at(timestamp);
            assert_eq!((date.year, date.month, date.day), (year, month, day), "{timestamp}");
            assert_eq!((date.day_of_year(), date.days_in_month()), (day_of_year, days), "{timestamp}");
        }
        assert_eq!((day_of_week(0.0), hour(86_399.0), minute(86_399.0)), (4.0, 23.0, 59.0));
        assert!(Date::at(f64::INFINITY).month >= 1.0);
        assert!(Date::at(f64::NAN).month >= 1.0);
    }
}
