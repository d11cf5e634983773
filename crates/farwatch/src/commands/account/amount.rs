//! Numbers of limits, as people write and read them: `50k`, `1.5M`, `5GiB`.

use control_plane::billing::money::group_thousands;

/// Units of any number, the largest first.
const COUNTS: [(&str, u64); 4] =
    [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];
/// Units of bytes alone, the largest first.
const BYTES: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];
/// Digits behind the point that are read and shown.
const DECIMALS: u32 = 2;

/// Reads a whole number; a unit may stand behind it, in any case. `1.5M` is whole, `1.5` is not.
pub(super) fn parse(text: &str, of_bytes: bool) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|at: char| !(at.is_ascii_digit() || matches!(at, '.' | ',' | '_')));
    let (number, unit) = text.split_at(digits_end.unwrap_or(text.len()));
    let unit = unit.trim_start();
    let unit = if unit.is_empty() || (of_bytes && unit.eq_ignore_ascii_case("b")) {
        1
    } else {
        let bytes = BYTES.iter().filter(|_| of_bytes);
        COUNTS.iter().chain(bytes).find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.replace([',', '_'], "").parse().ok()?;
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let part = u128::from(part) * u128::from(unit);
    if part % u128::from(scale) != 0 {
        return None;
    }
    whole.checked_mul(unit)?.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

/// The same number as a text that [`parse`] reads: with the largest unit that shows it to the last digit.
pub(super) fn show(number: u64, of_bytes: bool) -> String {
    let units: &[(&str, u64)] = if of_bytes { &BYTES } else { &COUNTS };
    let scale = 10_u128.pow(DECIMALS);
    for (name, unit) in units.iter().filter(|(_, unit)| *unit <= number) {
        let scaled = u128::from(number) * scale;
        if scaled.is_multiple_of(u128::from(*unit)) {
            let scaled = scaled / u128::from(*unit);
            let text = format!("{}.{:02}", scaled / scale, scaled % scale);
            return format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    group_thousands(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, of_bytes, number) in [
            ("50000", false, 50_000),
            ("50k", false, 50_000),
            ("50K", false, 50_000),
            ("1.5M", false, 1_500_000),
            ("0.25k", false, 250),
            ("1,234,567", false, 1_234_567),
            ("1_000", false, 1_000),
            ("2T", true, 2_000_000_000_000),
            ("5GiB", true, 5 << 30),
            ("1.5 gib", true, 3 << 29),
            ("10MB", true, 10_000_000),
            ("7B", true, 7),
            ("0", true, 0),
        ] {
            assert_eq!(parse(text, of_bytes), Some(number), "{text}");
        }
        for wrong in ["", "k", "-1", "1.5", "0.0001k", "1e6", "1é", "99999999999T", "5GiB", "1..5k", "1.5.5k"]
        {
            assert_eq!(parse(wrong, false), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_shown_so_that_they_can_be_typed_again() {
        let shown =
            [15_000, 1_500_000, 1_250, 1_234_567, 999, 0, 100_000_000].map(|number| show(number, false));
        assert_eq!(shown, ["15k", "1.5M", "1.25k", "1,234,567", "999", "0", "100M"]);
        let shown = [5 << 30, 3 << 29, 2_000_000_000_000, 1_023].map(|number| show(number, true));
        assert_eq!(shown, ["5GiB", "1.5GiB", "2TB", "1,023"]);
        for power in 0..64 {
            for number in
                [(1 << power) - 1, 1 << power, (1 << power) + 1, u64::MAX >> power, 10_u64.pow(power % 20)]
            {
                for of_bytes in [false, true] {
                    let text = show(number, of_bytes);
                    assert_eq!(parse(&text, of_bytes), Some(number), "{text}");
                }
            }
        }
    }
}
