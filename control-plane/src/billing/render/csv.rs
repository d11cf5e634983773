//! An invoice as CSV (RFC 4180): its lines, then its credits and totals.

use std::fmt::Write as _;

use super::super::{Invoice, Line, Month};

/// The names of the columns, which scripts rely on.
const COLUMNS: &str = "kind,month,adjusts,plan,plan_version,description,quantity,unit,unit_price,per,start_s,end_s,amount,currency,as_of_s";

/// An invoice as CSV. Amounts are decimal numbers of the currency with a point; the rows of kind `credit` and `rounding` and
/// those of lines sum to that of kind `total` (with `carried_over`, where corrections gave back more). In each row is until when
/// usage was known, in Unix seconds, as `as_of_ms` says.
#[must_use]
pub fn to_csv(invoice: &Invoice, as_of_ms: Option<i64>) -> String {
    let as_of = as_of_ms.map_or_else(String::new, |as_of_ms| as_of_ms.div_euclid(1000).to_string());
    let bill = &Bill { invoice, as_of };
    let mut csv = format!("{COLUMNS}\r\n");
    for line in &invoice.lines {
        line_row(&mut csv, bill, line);
    }
    for credit in &invoice.credits {
        total_row(&mut csv, bill, "credit", &credit.id, credit.taken_off_micros());
    }
    if invoice.carried_over_micros != 0 {
        total_row(&mut csv, bill, "carried_over", "credit for the next invoice", invoice.carried_over_micros);
    }
    total_row(&mut csv, bill, "rounding", "to a payable amount", invoice.rounding_micros);
    total_row(&mut csv, bill, "total", "to be paid", invoice.total_micros);
    csv
}

/// An invoice, and what each of its rows ends with.
struct Bill<'a> {
    invoice: &'a Invoice,
    as_of: String,
}

/// The row of a line.
fn line_row(csv: &mut String, Bill { invoice, as_of }: &Bill<'_>, line: &Line) {
    let kind = serde_json::to_value(line.kind).ok();
    let price = invoice.currency.decimal(i64::try_from(line.unit_price_micros).unwrap_or(i64::MAX), false);
    row(
        csv,
        &[
            text(kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default()),
            invoice.month.to_string(),
            line.adjusts.as_ref().map(Month::to_string).unwrap_or_default(),
            text(&line.plan),
            line.plan_version.to_string(),
            text(&line.describe()),
            line.quantity.to_string(),
            line.unit().to_owned(),
            price,
            line.per.to_string(),
            line.period.start_s.to_string(),
            line.period.end_s.to_string(),
            invoice.currency.decimal(line.amount_micros, false),
            invoice.currency.to_string(),
            as_of.clone(),
        ],
    );
}

/// A row of what follows the lines.
fn total_row(
    csv: &mut String,
    Bill { invoice, as_of }: &Bill<'_>,
    kind: &str,
    description: &str,
    micros: i64,
) {
    let empty = String::new;
    row(
        csv,
        &[
            kind.to_owned(),
            invoice.month.to_string(),
            empty(),
            empty(),
            empty(),
            text(description),
            empty(),
            empty(),
            empty(),
            empty(),
            empty(),
            empty(),
            invoice.currency.decimal(micros, false),
            invoice.currency.to_string(),
            as_of.clone(),
        ],
    );
}

/// Appends a row; only texts can need quotes, and have them already.
fn row(csv: &mut String, cells: &[String]) {
    // Writing to a string cannot fail.
    let _ = write!(csv, "{}\r\n", cells.join(","));
}

/// A text as a cell: quoted where it must be, and never taken for a formula by a spreadsheet.
fn text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(text("scale"), "scale");
        assert_eq!(text("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(text("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(text("two\nlines"), "\"two\nlines\"");
    }
}
