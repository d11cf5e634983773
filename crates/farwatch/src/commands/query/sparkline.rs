//! A range answer as one small curve a series.

use std::io::{self, Write};

use super::answer::Range;
use super::table::summary;

/// From lowest to highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where there is no number to draw.
const GAP: char = ' ';
const NARROWEST: usize = 16;
/// Columns before a curve.
const INDENT: usize = 2;
/// Columns between a curve and its numbers.
const GAP_TO_NUMBERS: usize = 2;
const WIDEST: usize = 120;

/// How many points of a curve to show in a terminal of `columns` columns: what the numbers beside it leave free.
pub(super) fn points(columns: usize) -> usize {
    columns.saturating_sub(40).clamp(NARROWEST, WIDEST)
}

/// Prints for each series its name and, below it, its curve with the lowest, highest and last value.
pub(super) fn matrix(rows: &[Range], columns: usize, out: &mut dyn Write) -> io::Result<()> {
    let times = || rows.iter().flat_map(|row| row.values.iter().map(|(at, _)| *at));
    let first = times().fold(f64::INFINITY, f64::min);
    let last = times().fold(f64::NEG_INFINITY, f64::max);
    // A cell a point where there is room, so that only missing points leave gaps.
    let most = rows.iter().map(|row| row.values.len()).max().unwrap_or(0);
    let numbers: Vec<Numbers> = rows.iter().map(Numbers::of).collect();
    let beside =
        numbers.iter().map(|numbers| numbers.text.len()).max().unwrap_or(0) + INDENT + GAP_TO_NUMBERS;
    // One width for all rows, so that what is above each other is of one time; in a narrow terminal the numbers go below.
    let below = columns < beside + NARROWEST;
    let room = if below { columns.saturating_sub(INDENT).max(1) } else { columns - beside };
    let width = points(columns).min(most.max(1)).min(room);
    for (row, Numbers { values, low, high, text }) in rows.iter().zip(&numbers) {
        writeln!(out, "{}", row.metric.text())?;
        if let Some((_, histogram)) = row.histograms.last() {
            writeln!(out, "  {} native histograms, the last a {}", row.histograms.len(), summary(histogram))?;
        }
        if row.values.is_empty() {
            continue;
        }
        let curve = curve(values, (first, last), (*low, *high), width);
        if below {
            writeln!(out, "  {curve}\n  {text}")?;
        } else {
            writeln!(out, "  {curve}  {text}")?;
        }
    }
    Ok(())
}

/// A row in numbers.
struct Numbers {
    values: Vec<(f64, f64)>,
    low: f64,
    high: f64,
    /// The lowest, highest and last value.
    text: String,
}

impl Numbers {
    fn of(row: &Range) -> Self {
        let values: Vec<(f64, f64)> =
            row.values.iter().map(|(at, text)| (*at, text.parse().unwrap_or(f64::NAN))).collect();
        let finite = || values.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let latest = values.last().map_or(f64::NAN, |(_, value)| *value);
        let latest = if latest.is_infinite() { format!("{latest:+}") } else { short(latest) };
        let text = format!("min {} max {} last {latest}", short(low), short(high));
        Self { values, low, high, text }
    }
}

/// Draws `values` into `width` cells that share the time `from..=to`; of the values in one cell the last is drawn.
fn curve(values: &[(f64, f64)], (from, to): (f64, f64), (low, high): (f64, f64), width: usize) -> String {
    let mut cells = vec![GAP; width];
    for (at, value) in values.iter().filter(|(_, value)| value.is_finite()) {
        let place = if to > from { (at - from) / (to - from) * (width - 1) as f64 } else { 0.0 };
        let height = if high > low { (value - low) / (high - low) * (BARS.len() - 1) as f64 } else { 0.0 };
        // Both are within bounds; `as` saturates, and `get` guards what rounding might do.
        if let (Some(cell), Some(bar)) =
            (cells.get_mut(place.round() as usize), BARS.get(height.round() as usize))
        {
            *cell = *bar;
        }
    }
    cells.into_iter().collect()
}

/// Four significant digits: enough beside a curve.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e6).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let digits = if magnitude >= 1_000.0 {
        0
    } else if magnitude >= 100.0 {
        1
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_rises_and_gaps() {
        let values = [(0.0, 0.0), (1.0, 1.0), (3.0, 7.0), (2.0, f64::NAN)];
        assert_eq!(curve(&values, (0.0, 3.0), (0.0, 7.0), 4), "▁▂ █");
        assert_eq!(curve(&[(5.0, 3.0)], (5.0, 5.0), (3.0, 3.0), 3), "▁  ");
    }

    #[test]
    fn keeps_within_the_terminal_and_rounds_every_number() {
        let rows: Vec<Range> = serde_json::from_str(
            r#"[{"metric":{"a":"b"},"values":[[1,"-0.00000012345"],[2,"-12345678901234"],[3,"0.22437100000000415"]]},
                {"metric":{"a":"c"},"values":[[1,"0.05"],[2,"0.249"],[3,"+Inf"]]}]"#,
        )
        .unwrap();
        let many = |mut row: Range| {
            row.values.extend((4..400).map(|at| (f64::from(at), "0.22437100000000415".to_owned())));
            row
        };
        let rows: Vec<Range> = rows.into_iter().map(many).collect();
        for columns in [50, 60, 80, 120, 300] {
            let mut out = Vec::new();
            matrix(&rows, columns, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
            assert_eq!(text.matches("last 0.224\n").count(), 2, "{text}");
        }
    }

    #[test]
    fn shortens_numbers() {
        for (value, text) in
            [(0.0, "0"), (1.5, "1.5"), (12_345.6, "12346"), (1.0e9, "1.000e9"), (1e-6, "1.000e-6")]
        {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(f64::INFINITY), "-");
    }
}
