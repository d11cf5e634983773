//! Money as whole micro-units, and the only places where it is rounded or divided.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BillingError;

/// Micro-units of one unit of a currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// The currencies that can be billed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// Australian dollar.
    Aud,
    /// Canadian dollar.
    Cad,
    /// Swiss franc.
    Chf,
    /// Danish krone.
    Dkk,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// Yen, which has no minor unit.
    Jpy,
    /// Norwegian krone.
    Nok,
    /// Złoty.
    Pln,
    /// Swedish krona.
    Sek,
    /// US dollar.
    Usd,
}

impl Currency {
    /// The ISO 4217 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Aud => "AUD",
            Self::Cad => "CAD",
            Self::Chf => "CHF",
            Self::Dkk => "DKK",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Jpy => "JPY",
            Self::Nok => "NOK",
            Self::Pln => "PLN",
            Self::Sek => "SEK",
            Self::Usd => "USD",
        }
    }

    /// Decimal places of what can be paid: 2 (cents), 0 for the yen.
    #[must_use]
    pub const fn minor_digits(self) -> usize {
        match self {
            Self::Jpy => 0,
            _ => 2,
        }
    }

    /// Micro-units of the smallest amount that can be paid: 10,000 for a cent.
    #[must_use]
    pub const fn micros_per_minor(self) -> i64 {
        match self {
            Self::Jpy => MICROS_PER_UNIT,
            _ => MICROS_PER_UNIT / 100,
        }
    }

    /// `micros` rounded to what can be paid, half to even.
    ///
    /// # Errors
    /// [`BillingError::TooLarge`] where rounding leaves the range.
    pub fn payable(self, micros: i64) -> Result<i64, BillingError> {
        let minor = self.micros_per_minor().unsigned_abs();
        let rounded =
            round_half_even(u128::from(micros.unsigned_abs()), u128::from(minor)) * u128::from(minor);
        let signed = i64::try_from(rounded).map_err(|_| too_large("a total", rounded))?;
        Ok(if micros < 0 { -signed } else { signed })
    }

    /// An amount with the code: at least the currency's own decimal places, at most six, thousands grouped:
    /// `1,234.50 EUR`, `0.000125 EUR`.
    #[must_use]
    pub fn format(self, micros: i64) -> String {
        format!("{} {}", self.decimal(micros, true), self.code())
    }

    /// An amount with all six decimal places and thousands grouped, for columns of figures: `1,234.500000`.
    #[must_use]
    pub fn exact(self, micros: i64) -> String {
        let sign = if micros < 0 { "-" } else { "" };
        let unit = MICROS_PER_UNIT.unsigned_abs();
        let (whole, fraction) = (micros.unsigned_abs() / unit, micros.unsigned_abs() % unit);
        format!("{sign}{}.{fraction:06}", group_thousands(whole))
    }

    /// An amount as [`Currency::format`] has it, without the code and, unless `grouped`, without separators.
    #[must_use]
    pub fn decimal(self, micros: i64, grouped: bool) -> String {
        let sign = if micros < 0 { "-" } else { "" };
        let whole = micros.unsigned_abs() / MICROS_PER_UNIT.unsigned_abs();
        let mut fraction = format!("{:06}", micros.unsigned_abs() % MICROS_PER_UNIT.unsigned_abs());
        while fraction.len() > self.minor_digits() && fraction.ends_with('0') {
            fraction.pop();
        }
        let whole = if grouped { group_thousands(whole) } else { whole.to_string() };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn group_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `numerator / denominator` to the nearest whole number, a half to the even one. `denominator` is not 0.
///
/// Half to even, since it has no drift over many lines: as many halves go up as go down.
#[must_use]
pub(crate) fn round_half_even(numerator: u128, denominator: u128) -> u128 {
    let (quotient, remainder) = (numerator / denominator, numerator % denominator);
    let above_half = remainder > denominator - remainder;
    let half = remainder == denominator - remainder;
    quotient + u128::from(above_half || (half && quotient % 2 == 1))
}

/// What `quantity` units cost at `price_micros` for each `per` of them: the one rounding of an invoice line.
///
/// # Errors
/// [`BillingError::TooLarge`], naming `what`, where the amount does not fit.
pub(crate) fn price(quantity: u64, price_micros: u64, per: u64, what: &str) -> Result<i64, BillingError> {
    let exact = u128::from(quantity) * u128::from(price_micros);
    let rounded = round_half_even(exact, u128::from(per.max(1)));
    i64::try_from(rounded).map_err(|_| too_large(what, rounded))
}

/// Divides `total` in proportion to `weights` so that the parts sum to it exactly: each part is the floor of its share, and
/// what is left goes, a micro-unit each, to the largest remainders, the earlier first among equals (largest remainder method).
///
/// Parts are all 0 where `total` is, and where all weights are.
#[must_use]
pub(crate) fn divide(total: i64, weights: &[u64]) -> Vec<i64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let amount = u128::from(total.unsigned_abs());
    let mut parts: Vec<u128> = Vec::with_capacity(weights.len());
    let mut remainders: Vec<(u128, usize)> = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let share = amount * u128::from(*weight);
        parts.push(share / sum);
        remainders.push((share % sum, index));
    }
    let left = amount - parts.iter().sum::<u128>();
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    // Fewer micro-units are left than there are remainders above zero, so each gets one at most.
    for ((_, index), _) in remainders.iter().zip(0..left) {
        parts[*index] += 1;
    }
    let sign = if total < 0 { -1 } else { 1 };
    parts.into_iter().map(|part| i64::try_from(part).unwrap_or(i64::MAX) * sign).collect()
}

/// Sums amounts.
///
/// # Errors
/// [`BillingError::TooLarge`], naming `what`, where the sum does not fit.
pub(crate) fn sum(amounts: impl IntoIterator<Item = i64>, what: &str) -> Result<i64, BillingError> {
    let sum: i128 = amounts.into_iter().map(i128::from).sum();
    i64::try_from(sum).map_err(|_| too_large(what, sum))
}

/// The error of a number that fits nowhere.
pub(crate) fn too_large(what: &str, value: impl fmt::Display) -> BillingError {
    BillingError::TooLarge { what: what.to_owned(), value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_half_goes_to_the_even_neighbour() {
        let rounded: Vec<u128> = [0, 4, 5, 6, 14, 15, 16, 25, 35].map(|n| round_half_even(n, 10)).to_vec();
        assert_eq!(rounded, [0, 0, 0, 1, 1, 2, 2, 2, 4]);
        assert_eq!(round_half_even(u128::MAX, u128::MAX), 1);
        assert_eq!(Currency::Eur.payable(25_000), Ok(20_000));
        assert_eq!(Currency::Eur.payable(-35_000), Ok(-40_000));
        assert_eq!(Currency::Jpy.payable(2_500_000), Ok(2_000_000));
        assert!(Currency::Jpy.payable(i64::MAX).is_err());
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(Currency::Eur.format(1_234_500_000), "1,234.50 EUR");
        assert_eq!(Currency::Eur.format(-125), "-0.000125 EUR");
        assert_eq!(Currency::Jpy.format(1_000_000_000_000), "1,000,000 JPY");
        assert_eq!(Currency::Usd.decimal(1_234_567_890, false), "1234.56789");
        assert_eq!(Currency::Usd.exact(-1_234_500_000), "-1,234.500000");
        assert_eq!(Currency::Usd.format(i64::MIN), "-9,223,372,036,854.775808 USD");
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole_and_are_off_by_less_than_one(
            total in any::<i64>().prop_filter("i64::MIN has no counterpart", |total| *total != i64::MIN),
            weights in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let parts = divide(total, &weights);
            let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            prop_assume!(sum > 0);
            prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), i128::from(total));
            for (part, weight) in parts.iter().zip(&weights) {
                let floor = u128::from(total.unsigned_abs()) * u128::from(*weight) / sum;
                let part = u128::from(part.unsigned_abs());
                prop_assert!(part == floor || part == floor + 1);
                prop_assert!(*weight > 0 || part == 0);
            }
        }
    }
}
