//! Float samples: milliseconds since the Unix epoch (UTC, signed) and an IEEE 754 double.

/// The bits of the NaN with which Prometheus marks that a series has ended.
///
/// Only this exact bit pattern is a staleness marker; every other NaN is an ordinary value. Source: Prometheus,
/// `model/value/value.go`.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a value. Its bits survive every hop, since no arithmetic touches it.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the staleness marker (and not just any NaN).
#[must_use]
#[inline]
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marker_is_stale() {
        assert!(stale_nan().is_nan());
        assert!(is_stale_nan(stale_nan()));
        assert!(!is_stale_nan(f64::NAN));
        assert!(!is_stale_nan(0.0));
    }
}
