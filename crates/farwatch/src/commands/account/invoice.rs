//! `farwatch invoice`.

use std::io::Write;

use control_plane::billing::money::group_thousands;
use control_plane::billing::{Cause, CostPart, Currency, Invoice, InvoiceStatus, Line};
use segment_store::Clock;
use serde::Deserialize;

use super::choice::Tenant;
use super::session::Session;
use super::{AccountError, choice, show};
use crate::cli::account::{InvoiceCommand, PayInvoiceArgs, ShowInvoiceArgs, WhichOrganisation};

/// So many metric names and API keys are shown: those that cost the most.
const TOP: usize = 10;

#[derive(Deserialize)]
struct InvoiceList {
    invoices: Vec<Summary>,
    drafts: Vec<String>,
}

#[derive(Deserialize)]
struct Summary {
    name: String,
    month: String,
    currency: Currency,
    total_micros: i64,
    finalised_at_ms: i64,
    paid_at_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Document {
    summary: Option<Summary>,
    #[serde(default)]
    as_of_ms: Option<i64>,
    invoice: Invoice,
}

#[derive(Deserialize)]
struct Offer {
    url: Option<String>,
    instructions: Option<String>,
}

/// Does what `farwatch invoice` was asked.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(
    command: &InvoiceCommand,
    session: &Session,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    match command {
        InvoiceCommand::List(which) => list(which, session, out).await,
        InvoiceCommand::Show(args) => show_one(args, session, clock, out).await,
        InvoiceCommand::Pay(args) => pay(args, session, out).await,
        InvoiceCommand::Inputs(args) => {
            let inputs = inputs(session, &args.month, args.which.organisation.as_deref()).await?;
            Ok(show::json(&inputs, out)?)
        }
    }
}

/// All that an invoice was computed from.
pub(in crate::commands) async fn inputs(
    session: &Session,
    month: &str,
    organisation: Option<&str>,
) -> Result<serde_json::Value, AccountError> {
    let organisation = choice::organisation(session, organisation).await?;
    session.get(&["organisations", &organisation.id, "invoices", month, "inputs"]).await
}

async fn list(which: &WhichOrganisation, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let organisation = choice::organisation(session, which.organisation.as_deref()).await?;
    let answer = session.get(&["organisations", &organisation.id, "invoices"]).await?;
    if which.json {
        return Ok(show::json(&answer, out)?);
    }
    let InvoiceList { invoices, drafts } = session.read(&answer)?;
    let mut rows: Vec<_> = invoices
        .into_iter()
        .map(|one| {
            let total = one.currency.format(one.total_micros);
            let paid = show::time_or(one.paid_at_ms, "not yet");
            [one.month, one.name, total, show::time(one.finalised_at_ms), paid]
        })
        .collect();
    rows.extend(
        drafts.into_iter().map(|month| [month, "draft".to_owned(), "-".into(), "-".into(), "-".into()]),
    );
    Ok(show::table(["MONTH", "NUMBER", "TOTAL", "FINAL", "PAID"], &rows, out)?)
}

async fn show_one(
    args: &ShowInvoiceArgs,
    session: &Session,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let organisation = choice::organisation(session, args.which.organisation.as_deref()).await?;
    let month = args.month.clone().unwrap_or_else(|| this_month(clock.now_ms()));
    let mut path = vec!["organisations", &organisation.id, "invoices", &month];
    if args.html || args.csv {
        path.push(if args.html { "page" } else { "csv" });
        write!(out, "{}", session.text(&path).await?)?;
        return Ok(());
    }
    let answer = session.get(&path).await?;
    if args.which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Document { summary, as_of_ms, invoice } = session.read(&answer)?;
    let (tenants, _) = choice::tenants_of(session, &organisation).await?;
    print(&organisation.name, &tenants, summary.as_ref(), &invoice, out)?;
    if invoice.status == InvoiceStatus::Draft {
        writeln!(out, "\n{}", show::as_of(as_of_ms))?;
    }
    Ok(())
}

/// The calendar month (UTC) that a time is in.
fn this_month(now_ms: i64) -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    now.strftime("%Y-%m").to_string()
}

fn print(
    buyer: &str,
    tenants: &[Tenant],
    summary: Option<&Summary>,
    invoice: &Invoice,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let currency = invoice.currency;
    match (summary, invoice.status) {
        (Some(summary), _) => writeln!(out, "Invoice {} of {buyer} for {}", summary.name, invoice.month)?,
        (None, InvoiceStatus::Draft) => {
            writeln!(out, "Draft of {buyer} for {}: what would be billed now", invoice.month)?;
        }
        (None, InvoiceStatus::Final) => writeln!(out, "Invoice of {buyer} for {}", invoice.month)?,
    }
    writeln!(out)?;
    let rows: Vec<_> = invoice.lines.iter().map(|line| row(line, currency)).collect();
    show::table(["WHAT", "PLAN", "QUANTITY", "PRICE", "AMOUNT"], &rows, out)?;
    writeln!(out)?;
    let mut sums = vec![["subtotal".to_owned(), currency.format(invoice.subtotal_micros)]];
    for credit in &invoice.credits {
        sums.push([format!("credit {}", credit.id), currency.format(credit.taken_off_micros())]);
    }
    if invoice.carried_over_micros != 0 {
        sums.push(["carried over to the next".to_owned(), currency.format(invoice.carried_over_micros)]);
    }
    if invoice.rounding_micros != 0 {
        sums.push(["rounding".to_owned(), currency.format(invoice.rounding_micros)]);
    }
    sums.push(["total".to_owned(), currency.format(invoice.total_micros)]);
    for [what, amount] in sums {
        writeln!(out, "{what:>40}  {amount}")?;
    }
    let parts = &invoice.breakdown;
    let tenant = |id: &str| format!("{} ({id})", choice::name_of(tenants, id));
    let itself = |name: &str| name.to_owned();
    part("TENANT", &parts.by_tenant, &tenant, currency, out)?;
    part("SIGNAL", &parts.by_signal, &itself, currency, out)?;
    for (dimension, parts) in [("METRIC NAME", &parts.by_metric), ("API KEY", &parts.by_api_key)] {
        part(dimension, parts, &itself, currency, out)?;
        if !parts.is_empty() {
            writeln!(out, "(in proportion to what ingest counted)")?;
        }
    }
    Ok(())
}

fn row(line: &Line, currency: Currency) -> [String; 5] {
    let sign = if line.quantity < 0 { "-" } else { "" };
    let quantity = format!("{sign}{} {}", group_thousands(line.quantity.unsigned_abs()), line.unit());
    let price = i64::try_from(line.unit_price_micros).unwrap_or(i64::MAX);
    let per = if line.per == 1 { String::new() } else { format!(" per {}", group_thousands(line.per)) };
    [
        line.describe(),
        format!("{} v{}", line.plan, line.plan_version),
        quantity.trim_end().to_owned(),
        format!("{}{per}", currency.format(price)),
        currency.format(line.amount_micros),
    ]
}

fn part(
    dimension: &'static str,
    parts: &[CostPart],
    named: &dyn Fn(&str) -> String,
    currency: Currency,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let mut parts: Vec<&CostPart> = parts.iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.charge_micros));
    let more = parts.len().saturating_sub(TOP);
    let rows: Vec<_> = parts
        .into_iter()
        .take(TOP)
        .map(|part| {
            let cause = match &part.cause {
                Cause::Named(name) => named(name),
                Cause::Unattributed => "(not known)".to_owned(),
                Cause::Fixed => "(fees)".to_owned(),
                Cause::EarlierMonths => "(earlier months)".to_owned(),
            };
            [
                cause,
                group_thousands(part.samples),
                group_thousands(part.spans),
                currency.format(part.charge_micros),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    show::table([dimension, "SAMPLES", "SPANS", "COST"], &rows, out)?;
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    Ok(())
}

async fn pay(args: &PayInvoiceArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let organisation = choice::organisation(session, args.which.organisation.as_deref()).await?;
    let path = ["organisations", &organisation.id, "invoices", &args.month, "payment"];
    let answer = session.send(reqwest::Method::POST, &path, None).await?;
    if args.which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Offer { url, instructions } = session.read(&answer)?;
    for text in [url, instructions].into_iter().flatten() {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_that_of_utc() {
        assert_eq!(this_month(0), "1970-01");
        assert_eq!(this_month(1_795_392_000_000), "2026-11");
    }
}
