//! `farwatch verify-invoice`: computes an invoice anew, from the ledger.

use std::io::Write;
use std::path::PathBuf;

use control_plane::billing::{BillingError, InvoiceExport, Month, UsageRow, Verification};

use super::account::session::Session;
use super::account::{AccountError, invoice};
use super::storage::{Storage, StorageError, Use};
use super::usage::{self, Usage, UsageError};
use crate::cli::VerifyInvoiceArgs;
use crate::serve::usage::quantities;

/// So many hours are listed that came late.
const SHOWN: usize = 20;

/// Why an invoice is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The invoice cannot be had from the control plane.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// There is no data to look at.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger cannot be read from stored data.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{what} is not what {command} prints")]
    Format {
        /// Which file, or whose answer.
        what: String,
        /// What prints it.
        command: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The file is of another version.
    #[error(
        "the invoice's inputs have the format {found}; this version of Farwatch reads {}",
        InvoiceExport::FORMAT
    )]
    Version {
        /// The file's.
        found: u32,
    },
    /// Nothing can be computed from the inputs.
    #[error("the invoice cannot be computed from its inputs")]
    Billing(#[from] BillingError),
    /// It is wrong.
    #[error("the invoice is wrong: {0} of what it states is otherwise")]
    Wrong(usize),
    /// The terminal went away.
    #[error("cannot print what was found")]
    Print(#[from] std::io::Error),
}

/// Verifies an invoice and prints what was found. `session` gives who is logged in, when that is needed.
///
/// # Errors
/// [`VerifyError::Wrong`] when the invoice states anything else than it should; the others when that cannot be told.
pub async fn run(
    args: &VerifyInvoiceArgs,
    session: &dyn Fn() -> Result<Session, AccountError>,
    out: &mut dyn Write,
) -> Result<(), VerifyError> {
    const INPUTS: &str = "`farwatch invoice inputs`";
    let export: serde_json::Value = if args.invoice.parse::<Month>().is_ok() {
        invoice::inputs(&session()?, &args.invoice, args.organisation.as_deref()).await?
    } else {
        parse(&args.invoice, INPUTS, &read(PathBuf::from(&args.invoice))?)?
    };
    let format = |source| VerifyError::Format { what: args.invoice.clone(), command: INPUTS, source };
    if let Some(found) = export.get("format").and_then(serde_json::Value::as_u64)
        && found != u64::from(InvoiceExport::FORMAT)
    {
        return Err(VerifyError::Version { found: u32::try_from(found).unwrap_or(u32::MAX) });
    }
    let export: InvoiceExport = serde_json::from_value(export).map_err(format)?;
    let usage: Usage = match &args.ledger {
        Some(path) => parse(&path.display().to_string(), "`farwatch usage --json`", &read(path.clone())?)?,
        None => usage::read(&*Storage::open(&args.storage, Use::Read).await?.bucket, None).await?,
    };
    let ledger: Vec<UsageRow> = rows(&usage);
    let found = export.verify(&ledger)?;
    if args.json {
        let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        print(&export, &found, out)?;
    }
    match found.differences.len() {
        0 => Ok(()),
        wrong => Err(VerifyError::Wrong(wrong)),
    }
}

fn read(path: PathBuf) -> Result<String, VerifyError> {
    std::fs::read_to_string(&path).map_err(|source| VerifyError::File { path, source })
}

fn parse<T: serde::de::DeserializeOwned>(
    what: &str,
    command: &'static str,
    text: &str,
) -> Result<T, VerifyError> {
    serde_json::from_str(text).map_err(|source| VerifyError::Format {
        what: what.to_owned(),
        command,
        source,
    })
}

/// What the ledger says, as billing takes it.
fn rows(usage: &Usage) -> Vec<UsageRow> {
    let rows = usage.tenants.iter().flat_map(|of| {
        of.hours.iter().map(|one| UsageRow {
            tenant: of.tenant.clone(),
            signal: of.signal,
            hour: one.hour.0,
            quantities: quantities(&one.usage),
        })
    });
    rows.collect()
}

fn print(export: &InvoiceExport, found: &Verification, out: &mut dyn Write) -> std::io::Result<()> {
    let invoice = &export.invoice;
    let which = match export.number {
        Some(number) => format!("invoice {number}"),
        None => "draft".to_owned(),
    };
    let total = invoice.currency.format(invoice.total_micros);
    for difference in &found.differences {
        writeln!(out, "{difference}")?;
    }
    if found.differences.is_empty() {
        writeln!(
            out,
            "The {which} for {} over {total} is right: each of its {} lines, computed anew, and each hour of usage of {} tenants, \
             compared with the ledger.",
            invoice.month,
            invoice.lines.len(),
            export.tenants.len()
        )?;
    }
    if !found.late.is_empty() {
        match export.number {
            Some(_) => writeln!(
                out,
                "The ledger has more, which came after the invoice was final: the next one bills it."
            )?,
            None => writeln!(
                out,
                "The ledger has more, which came later: it is in the draft once the control plane has counted it."
            )?,
        }
        for late in found.late.iter().take(SHOWN) {
            writeln!(out, "  {late}")?;
        }
        if let Some(more @ 1..) = found.late.len().checked_sub(SHOWN) {
            writeln!(out, "  and {more} more")?;
        }
    }
    if !found.without_ledger.is_empty() {
        writeln!(
            out,
            "The data of {} was deleted, and the ledger with it: what they used is taken as it is stated.",
            found.without_ledger.join(", ")
        )?;
    }
    Ok(())
}
