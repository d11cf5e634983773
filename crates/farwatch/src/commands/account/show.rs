//! Tables, times and sizes for people.

use std::io::{self, Write};

use serde_json::Value;

/// Prints columns, each as wide as its widest cell; `headings` are the first line.
pub(in crate::commands) fn table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings = headings.map(str::to_owned);
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let cell: String = cell.chars().map(|at| if at.is_control() { '\u{fffd}' } else { at }).collect();
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// An answer for programs.
pub(in crate::commands) fn json(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{answer:#}")
}

/// A time in milliseconds since the Unix epoch, to the second.
pub(in crate::commands) fn time(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => at_ms.to_string(),
    }
}

/// The same, or a word for "never".
pub(in crate::commands) fn time_or(at_ms: Option<i64>, never: &str) -> String {
    at_ms.map_or_else(|| never.to_owned(), time)
}

/// What figures of usage leave out.
pub(in crate::commands) fn as_of(at_ms: Option<i64>) -> String {
    let counted = at_ms.map_or_else(
        || "Nothing was counted yet".to_owned(),
        |at_ms| format!("All that was compacted by {} is counted", time(at_ms)),
    );
    format!("{counted}; what is written is compacted some minutes later.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut out = Vec::new();
        let rows = [["a".to_owned(), "éé\u{1b}".to_owned()], ["longer".to_owned(), String::new()]];
        table(["ONE", "B"], &rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ONE     B\na       éé\u{fffd}\nlonger\n");
    }

    #[test]
    fn times_are_easily_read() {
        assert_eq!(time(1_795_392_000_000), "2026-11-23 00:00:00Z");
        assert_eq!(time_or(None, "never"), "never");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }
}
