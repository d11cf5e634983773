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
    let scientific = even_on_tie(format!("{value:e}"), |digits| format!("{value:.digits$e}"));
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
    special(value)
        .map_or_else(|| even_on_tie(format!("{value}"), |digits| format!("{value:.digits$}")), str::to_owned)
}

/// The shortest decimal, but of two that are equally close to the value the one with the even last digit, as Go chooses.
/// `with` writes the value with so many digits behind the point.
fn even_on_tie(shortest: String, with: impl Fn(usize) -> String) -> String {
    // With so many digits a value in the middle of two decimals can be told from one next to it.
    const ENOUGH: usize = 40;
    let Some(point) = shortest.find('.') else { return shortest };
    let digits = shortest[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let last = point + digits;
    // Those with few digits are exact.
    if last < 15 || (shortest.as_bytes()[last] - b'0').is_multiple_of(2) {
        return shortest;
    }
    let exact = with(digits + ENOUGH);
    let rest = &exact[point + 1 + digits..point + 1 + digits + ENOUGH];
    if !rest.starts_with('5') || rest[1..].bytes().any(|digit| digit != b'0') {
        return shortest;
    }
    // Rounding to a given number of digits goes to the even one.
    let even = with(digits);
    if even.parse::<f64>() == shortest.parse::<f64>() { even } else { shortest }
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
        // In the middle of two decimals.
        assert_eq!(plain(229_836_530.025_390_63), "229836530.02539062");
        assert_eq!(plain(-10_217_282.653_320_313), "-10217282.653320312");
        assert_eq!(shortest(229_836_530.025_390_63), "2.2983653002539062e+08");
        assert_eq!(plain(0.1 + 0.2), "0.30000000000000004");
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
