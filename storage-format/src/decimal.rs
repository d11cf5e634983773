//! Decimals as integers: `value = mantissa / 10^exponent`, exactly, or not at all.
//!
//! Dividing an integer below 2⁵³ by a power of ten up to 10²² rounds once, to the double that is nearest to the decimal
//! number, and that is the double which a parser of that decimal had made. So a value that was written with few digits
//! comes back bit by bit; whether it does is checked for each value.

/// The largest exponent. No double that was a decimal of more places has a mantissa that fits.
pub(crate) const MAX_EXPONENT: u8 = 15;

const POWERS: [f64; MAX_EXPONENT as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Adding and subtracting it rounds to an integer, ties to even, and needs no instruction that old processors lack.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The largest mantissa that [`ROUNDER`] rounds rightly, 2⁵¹.
const MAX_MANTISSA: f64 = 2_251_799_813_685_248.0;

/// The mantissa of `value` for `exponent`, when it brings the value back bit by bit.
#[inline]
pub(crate) fn mantissa(value: f64, exponent: u8) -> Option<i64> {
    if exponent == 0 {
        // Integers of any size; saturation and NaN come back as something else.
        let integer = value as i64;
        return (restore(integer, 0).to_bits() == value.to_bits() && integer != i64::MAX).then_some(integer);
    }
    let scaled = value * POWERS[usize::from(exponent)];
    let rounded = (scaled + ROUNDER) - ROUNDER;
    let integer = rounded as i64;
    (rounded.abs() <= MAX_MANTISSA && restore(integer, exponent).to_bits() == value.to_bits())
        .then_some(integer)
}

/// The value of a mantissa. The exponent is at most [`MAX_EXPONENT`].
#[inline]
pub(crate) fn restore(mantissa: i64, exponent: u8) -> f64 {
    mantissa as f64 / POWERS[usize::from(exponent)]
}

/// The least exponent of at least `from` for which `value` is a decimal.
pub(crate) fn exponent_of(value: f64, from: u8) -> Option<u8> {
    if !value.is_finite() {
        return None;
    }
    (from..=MAX_EXPONENT).find(|exponent| mantissa(value, *exponent).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever has a mantissa comes back bit by bit.
        #[test]
        fn a_mantissa_restores_its_value(bits: u64, exponent in 0..=MAX_EXPONENT) {
            let value = f64::from_bits(bits);
            if let Some(mantissa) = mantissa(value, exponent) {
                prop_assert_eq!(restore(mantissa, exponent).to_bits(), bits);
            }
        }

        /// Numbers with few digits have one.
        #[test]
        fn short_decimals_have_a_mantissa(integer in -(1_i64 << 50)..1 << 50, exponent in 0..=12_u8) {
            let value: f64 = format!("{integer}e-{exponent}").parse().unwrap();
            prop_assert_eq!(mantissa(value, exponent), (integer != 0 || value.is_sign_positive()).then_some(integer));
        }
    }

    #[test]
    fn what_is_no_decimal_has_no_mantissa() {
        for value in
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, telemetry::stale_nan(), 1.0 / 3.0, 1e300]
        {
            assert_eq!(exponent_of(value, 0), None, "{value}");
        }
        assert_eq!(exponent_of(0.25, 0), Some(2));
        assert_eq!(mantissa(-9_223_372_036_854_775_808.0, 0), Some(i64::MIN));
        assert_eq!(mantissa(9_223_372_036_854_775_808.0, 0), None);
    }
}
