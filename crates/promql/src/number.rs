//! Floats as Go writes them, since texts of queries, labels and messages hold them.

/// Go writes numbers with an exponent from this one on when it may choose the shortest form.
const SHORTEST_EXPONENT_FROM: i32 = 6;

/// As `%v` and `%g`: the shortest decimal that reads back, with an exponent where the number is very small or large.
pub(crate) fn shortest(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..SHORTEST_EXPONENT_FROM).contains(&exponent) {
        return plain(value);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// As `strconv.FormatFloat(value, 'f', -1, 64)`: the shortest decimal that reads back, without an exponent.
pub(crate) fn plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// As `%f`: six digits behind the point.
pub(crate) fn fixed(value: f64) -> String {
    special(value).map_or_else(|| format!("{value:.6}"), str::to_owned)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// Milliseconds as Prometheus writes a duration: `1h30m`, `1w`, `0s`.
pub(crate) fn duration_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = ms.unsigned_abs();
    let mut text = String::new();
    if ms < 0 {
        text.push('-');
    }
    // Years, weeks and days are used only where they come out even.
    let units = [
        ("y", 365 * 24 * 3_600_000_u64, true),
        ("w", 7 * 24 * 3_600_000, true),
        ("d", 24 * 3_600_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    for (unit, unit_ms, exact) in units {
        if exact && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        let count = rest / unit_ms;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest -= count * unit_ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_in_go() {
        for (value, text) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (123_456.5, "123456.5"),
            (1_234_567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(shortest(value), text);
        }
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!(fixed(1.5), "1.500000");
    }

    #[test]
    fn durations_look_as_in_prometheus() {
        for (ms, text) in [
            (0, "0s"),
            (300_000, "5m"),
            (90 * 60_000, "1h30m"),
            (7 * 86_400_000, "1w"),
            (1_500, "1s500ms"),
            (-1_000, "-1s"),
            (8 * 86_400_000, "8d"),
        ] {
            assert_eq!(duration_ms(ms), text);
        }
    }
}
