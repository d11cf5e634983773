//! Results as a table in Markdown, which reads well in a terminal and can be pasted into `BENCHMARKS.md`.

use std::fmt;

/// Rows of cells under a heading; every column is as wide as its widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first column says what the others hold.
    pub fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { heading: heading.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty.
    pub fn row<S: Into<String>>(&mut self, what: impl Into<String>, cells: impl IntoIterator<Item = S>) {
        let mut row = vec![what.into()];
        row.extend(cells.into_iter().map(Into::into));
        row.resize(self.heading.len().max(row.len()), String::new());
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.heading).chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        for (index, row) in lines().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let (left, right) = if column == 0 { ("|", "-") } else { ("", ":") };
                    write!(f, "{left}{}{right}|", "-".repeat(width + 1))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_markdown() {
        let mut table = Table::new(["", "farwatch"]);
        table.row("samples/s", ["1200000"]);
        table.row("errors", Vec::<String>::new());
        let expected = "\
|           | farwatch |
|-----------|---------:|
| samples/s |  1200000 |
| errors    |          |
";
        assert_eq!(table.to_string(), expected);
    }
}
