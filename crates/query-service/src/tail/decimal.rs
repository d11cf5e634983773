//! Floats that are decimals: integers after a multiplication with a small power of ten.

/// In place of a scale: the values are no decimals.
pub(super) const XOR: u8 = u8::MAX;
/// 10ⁿ by n. All are exact doubles; nine places are nanoseconds, beyond that hardly anything is a decimal.
pub(super) const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The integer that gives `value` back, bit by bit, when it is divided by 10^`scale`; `None` where there is none below 2⁵².
#[inline]
pub(super) fn decimal(value: f64, scale: u8) -> Option<i64> {
    /// Up to here adding a half is exact, which rounding relies on.
    const EXACT: f64 = 4_503_599_627_370_496.0;
    let power = *POWERS.get(usize::from(scale))?;
    let scaled = value * power;
    // Also false for NaN.
    if scaled.abs() < EXACT {
        let number = (scaled + 0.5_f64.copysign(scaled)) as i64;
        if (number as f64 / power).to_bits() == value.to_bits() {
            return Some(number);
        }
    }
    None
}

/// The smallest scale, `at_least` or above, at which `value` is a decimal, or [`XOR`]. What is no number to multiply is as
/// good as 0.
pub(super) fn scale_of(value: f64, at_least: u8) -> u8 {
    if is_no_decimal(value) {
        return at_least;
    }
    (at_least..POWERS.len() as u8).find(|&scale| decimal(value, scale).is_some()).unwrap_or(XOR)
}

/// Whether `value` is NaN, infinite or −0: never a decimal, whatever its neighbours are.
#[inline]
pub(super) fn is_no_decimal(value: f64) -> bool {
    !value.is_finite() || (value == 0.0 && value.is_sign_negative())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_back_exactly() {
        for (value, scale) in [
            (0.0, 0),
            (1.0, 0),
            (-17.0, 0),
            (4_503_599_627_370_495.0, 0),
            (0.5, 1),
            (0.1, 1),
            (-1.25, 2),
            (1_699_999_999.123, 3),
            (0.000_000_001, 9),
            (4_503_599_627_370_496.0, XOR),
            (0.1 + 0.2, XOR),
            (1e-10, XOR),
            (1e300, XOR),
        ] {
            assert_eq!(scale_of(value, 0), scale, "{value}");
            if scale != XOR {
                let number = decimal(value, scale).unwrap();
                assert_eq!((number as f64 / POWERS[usize::from(scale)]).to_bits(), value.to_bits());
            }
        }
        for value in [f64::NAN, f64::INFINITY, -0.0] {
            assert!(is_no_decimal(value));
            assert_eq!((scale_of(value, 3), decimal(value, 3)), (3, None));
        }
    }
}
