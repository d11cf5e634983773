//! An instant answer as a table.

use std::io::{self, Write};

use super::answer::{Histogram, Instant};

/// Prints one line a series, in columns.
pub(super) fn vector(rows: &[Instant], out: &mut dyn Write) -> io::Result<()> {
    const HEADING: &str = "SERIES";
    let series: Vec<String> = rows.iter().map(|row| row.metric.text()).collect();
    let width = series.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(HEADING.len());
    writeln!(out, "{HEADING:width$}  VALUE")?;
    for (text, row) in series.iter().zip(rows) {
        let value = match (&row.value, &row.histogram) {
            (Some((_, value)), _) => value.clone(),
            (None, Some((_, histogram))) => summary(histogram),
            (None, None) => String::new(),
        };
        writeln!(out, "{text:width$}  {value}")?;
    }
    Ok(())
}

/// A native histogram in a few words.
pub(super) fn summary(histogram: &Histogram) -> String {
    format!("histogram of {} (sum {})", histogram.count, histogram.sum)
}
