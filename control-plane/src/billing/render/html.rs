//! An invoice as one printable page of HTML that loads nothing.

use std::fmt::Write as _;

use super::super::limits::MAX_PRINTED_PARTS;
use super::super::money::group_thousands;
use super::super::month::instant;
use super::super::{Cause, CostPart, Invoice, InvoiceStatus, Line, LineKind};

/// How the page looks: black on white, sized for A4, figures aligned.
const STYLE: &str = "\
@page { size: A4; margin: 18mm 16mm; }
* { box-sizing: border-box; }
body { font: 10pt/1.45 system-ui, 'Helvetica Neue', Arial, sans-serif; color: #1a1a1a; background: #fff; max-width: 178mm; margin: 12mm auto; padding: 0 4mm; }
@media print { body { margin: 0; padding: 0; max-width: none; } tr, .keep { break-inside: avoid; } thead { display: table-header-group; } }
header { display: flex; justify-content: space-between; gap: 12mm; margin-bottom: 10mm; }
header div:last-child { text-align: right; }
h1 { font-size: 20pt; line-height: 1.2; margin: 0 0 1mm; }
h2 { font-size: 11pt; margin: 9mm 0 2mm; }
.quiet { color: #5c5c5c; }
.draft { display: inline-block; border: 1px solid #9a5b00; color: #9a5b00; border-radius: 3px; padding: 0 2mm; font-size: 11pt; vertical-align: middle; }
address { font-style: normal; white-space: pre-line; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid #1a1a1a; padding: 1.2mm 2mm 1.2mm 0; }
td { border-bottom: 1px solid #ddd; padding: 1.4mm 2mm 1.4mm 0; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-left: 4mm; }
th:last-child, td:last-child { padding-right: 0; }
tfoot { display: table-row-group; } /* once, not on every page */
tfoot td { border-bottom: 0; padding-top: .8mm; padding-bottom: .8mm; }
tfoot tr:first-child td { padding-top: 3mm; }
tfoot tr:last-child td { border-top: 1.5px solid #1a1a1a; font-weight: 700; font-size: 12pt; padding-top: 2mm; }
small { font-size: 8pt; color: #5c5c5c; }
";

/// Who sends or gets an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The name.
    pub name: String,
    /// Address, tax number and whatever else belongs on the page, line by line.
    pub details: String,
}

/// The page. `as_of_ms` is until when usage was known. Every text that comes from outside is escaped; there is no script, and nothing is loaded.
#[must_use]
pub fn to_html(invoice: &Invoice, number: &str, as_of_ms: Option<i64>, from: &Party, to: &Party) -> String {
    let mut page = String::new();
    let draft = match invoice.status {
        InvoiceStatus::Draft => " <span class=\"draft\">Draft</span>",
        InvoiceStatus::Final => "",
    };
    let period = invoice.month.span().describe();
    let as_of = as_of_ms.map_or_else(String::new, |as_of_ms| {
        format!(" · usage as of {} UTC", instant(as_of_ms.div_euclid(1000)))
    });
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Invoice {number} – {to}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<div>\n<h1>Invoice {number}{draft}</h1>\n\
         <div class=\"quiet\">{month} · {period}{as_of}</div>\n</div>\n<div>\n<strong>{from}</strong>\n\
         <address>{from_details}</address>\n</div>\n</header>\n<div class=\"quiet\">Billed to</div>\n\
         <strong>{to}</strong>\n<address>{to_details}</address>\n",
        number = escape(number),
        month = invoice.month,
        period = escape(&period),
        as_of = escape(&as_of),
        from = escape(&from.name),
        from_details = escape(&from.details),
        to = escape(&to.name),
        to_details = escape(&to.details),
    );
    lines(&mut page, invoice);
    unbilled(&mut page, invoice);
    let breakdown = &invoice.breakdown;
    for (title, parts) in [
        ("By tenant", &breakdown.by_tenant),
        ("By signal", &breakdown.by_signal),
        ("By metric name", &breakdown.by_metric),
        ("By API key", &breakdown.by_api_key),
    ] {
        cost_parts(&mut page, invoice, title, parts);
    }
    page.push_str(
        "<p class=\"quiet\"><small>Each line is quantity × price, rounded once to a millionth, half to even; the \
         total is rounded once to what can be paid. It can be recomputed from the ledger with \
         <code>farwatch verify-invoice</code>.</small></p>\n</body>\n</html>\n",
    );
    page
}

/// The lines and what they come to.
fn lines(page: &mut String, invoice: &Invoice) {
    page.push_str(
        "<h2>Charges</h2>\n<table>\n<thead><tr><th>What</th><th class=\"number\">Quantity</th>\
         <th class=\"number\">Price</th><th class=\"number\">Amount, ",
    );
    let _ = writeln!(page, "{}</th></tr></thead>\n<tbody>", invoice.currency);
    for line in &invoice.lines {
        let _ = writeln!(
            page,
            "<tr><td>{}<br><small>{} v{} · {}</small></td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td></tr>",
            escape(&capitalised(&line.describe())),
            escape(&line.plan),
            line.plan_version,
            escape(&line.period.describe()),
            escape(&quantity(line)),
            escape(&unit_price(invoice, line)),
            invoice.currency.exact(line.amount_micros),
        );
    }
    page.push_str("</tbody>\n<tfoot>\n");
    sum_row(page, "Subtotal", &invoice.currency.exact(invoice.subtotal_micros));
    for credit in &invoice.credits {
        let applied = credit.taken_off_micros();
        sum_row(page, &format!("Credit {}", credit.id), &invoice.currency.exact(applied));
    }
    if invoice.carried_over_micros != 0 {
        let carried_over = invoice.currency.exact(invoice.carried_over_micros);
        sum_row(page, "Carried over to the next invoice", &carried_over);
    }
    if invoice.rounding_micros != 0 {
        sum_row(page, "Rounding", &invoice.currency.exact(invoice.rounding_micros));
    }
    sum_row(page, "To be paid", &invoice.currency.format(invoice.total_micros));
    page.push_str("</tfoot>\n</table>\n");
}

/// A row below the lines.
fn sum_row(page: &mut String, what: &str, amount: &str) {
    let _ = writeln!(
        page,
        "<tr><td colspan=\"3\" class=\"number\">{}</td><td class=\"number\">{amount}</td></tr>",
        escape(what),
    );
}

/// What was used without a plan.
fn unbilled(page: &mut String, invoice: &Invoice) {
    if invoice.unbilled.is_empty() {
        return;
    }
    let used: Vec<String> =
        invoice.unbilled.iter().map(|used| format!("{} {}", used.quantity, used.meter.unit())).collect();
    let _ = writeln!(page, "<p>Not charged, since no plan was in force: {}.</p>", escape(&used.join(", ")));
}

/// A breakdown: the dearest parts first.
fn cost_parts(page: &mut String, invoice: &Invoice, title: &str, parts: &[CostPart]) {
    // What says no more than the subtotal is left out.
    if !parts.iter().any(|part| matches!(part.cause, Cause::Named(_))) {
        return;
    }
    let mut dearest: Vec<&CostPart> = parts.iter().collect();
    dearest.sort_by_key(|part| std::cmp::Reverse(part.charge_micros));
    let (printed, rest) = dearest.split_at(dearest.len().min(MAX_PRINTED_PARTS));
    let _ = write!(
        page,
        "<section class=\"keep\">\n<h2>{title}</h2>\n<table>\n<thead><tr><th>Cause</th>\
         <th class=\"number\">Charged, {currency}</th><th class=\"number\">After credits, {currency}</th></tr></thead>\n\
         <tbody>\n",
        currency = invoice.currency
    );
    for part in printed {
        let cause = match &part.cause {
            Cause::Named(_) => escape(&part.named().unwrap_or_default()),
            Cause::Unattributed => "<em>not attributed</em>".to_owned(),
            Cause::Fixed => "<em>fees</em>".to_owned(),
            Cause::EarlierMonths => "<em>corrections of earlier months</em>".to_owned(),
        };
        part_row(page, invoice, &cause, part.charge_micros, part.payable_micros);
    }
    if !rest.is_empty() {
        // Parts of an invoice sum to its subtotal, which is an i64.
        let charged = rest.iter().fold(0_i64, |sum, part| sum.saturating_add(part.charge_micros));
        let payable = rest.iter().fold(0_i64, |sum, part| sum.saturating_add(part.payable_micros));
        part_row(page, invoice, &format!("<em>{} more</em>", rest.len()), charged, payable);
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

/// A row of a breakdown. `cause` is escaped already.
fn part_row(page: &mut String, invoice: &Invoice, cause: &str, charged: i64, payable: i64) {
    let _ = writeln!(
        page,
        "<tr><td>{cause}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
        invoice.currency.exact(charged),
        invoice.currency.exact(payable)
    );
}

/// How much a line charges. What it counts is in the description; only a fee's seconds are not.
fn quantity(line: &Line) -> String {
    let sign = if line.quantity < 0 { "-" } else { "" };
    let unit = if line.kind == LineKind::BaseFee { " s" } else { "" };
    format!("{sign}{}{unit}", group_thousands(line.quantity.unsigned_abs()))
}

/// At which price.
fn unit_price(invoice: &Invoice, line: &Line) -> String {
    let price = invoice.currency.decimal(i64::try_from(line.unit_price_micros).unwrap_or(i64::MAX), true);
    if line.per == 1 { price } else { format!("{price} / {}", group_thousands(line.per)) }
}

/// With an upper-case first letter.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A text that is safe in HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}
