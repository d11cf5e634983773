//! A range answer as one small curve a series.

use std::io::{self, Write};

use super::answer::Range;
use super::table::summary;

/// From lowest to highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where there is no number to draw.
const GAP: char = ' ';
const NARROWEST: usize = 16;
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
    let width = points(columns).min(most.max(1));
    for row in rows {
        writeln!(out, "{}", row.metric.text())?;
        if let Some((_, histogram)) = row.histograms.last() {
            writeln!(out, "  {} native histograms, the last a {}", row.histograms.len(), summary(histogram))?;
        }
        if row.values.is_empty() {
            continue;
        }
        let values: Vec<(f64, f64)> =
            row.values.iter().map(|(at, text)| (*at, text.parse().unwrap_or(f64::NAN))).collect();
        let finite = || values.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let curve = curve(&values, (first, last), (low, high), width);
        let latest = row.values.last().map_or("", |(_, text)| text);
        writeln!(out, "  {curve}  min {} max {} last {latest}", short(low), short(high))?;
    }
    Ok(())
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
    fn shortens_numbers() {
        for (value, text) in
            [(0.0, "0"), (1.5, "1.5"), (12_345.6, "12346"), (1.0e9, "1.000e9"), (1e-6, "1.000e-6")]
        {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(f64::INFINITY), "-");
    }
}
