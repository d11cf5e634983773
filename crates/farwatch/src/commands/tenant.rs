//! `farwatch tenant` over stored data: shows which tenants there are, deletes the data of one, and shows that none is left.

use std::io::Write;

use segment_store::ReadError;
use segment_store::compact::{CompactError, prove_deleted as prove};

use super::account::show;
use super::compact::{CompactCommandError, rest};
use super::known::{self, Everybody, Known, KnownError};
use super::storage::{SHARD, Storage, StorageError, Use};
use crate::cli::{ListTenantsArgs, TenantArgs};

/// Why a tenant's data is not known to be deleted.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no data to work on.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not known who is meant.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// Deleting failed.
    #[error("deleting stopped; start it again")]
    Compact(#[from] CompactError),
    /// Data is shared with other tenants in objects that could not be compacted.
    #[error(transparent)]
    Rest(#[from] CompactCommandError),
    /// The bucket cannot be read.
    #[error("cannot look for data")]
    Read(#[from] ReadError),
    /// There is data, or it cannot be known.
    #[error("there is still data of {tenant}{}", if *.is_erased {
        "; what was deleted goes when readers cannot need it any more, after ten minutes"
    } else {
        ", and it was never deleted; `farwatch tenant delete` with --data-dir or --bucket does that"
    })]
    Found {
        /// Whose.
        tenant: String,
        /// Whether it was deleted.
        is_erased: bool,
    },
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
}

/// Shows every tenant of which something is known.
///
/// # Errors
/// [`TenantError`].
pub async fn list(args: &ListTenantsArgs, out: &mut dyn Write) -> Result<(), TenantError> {
    let storage = Storage::open(&args.records.storage, Use::Read).await?;
    let all = Everybody::look_up(&args.records, &storage).await?;
    let word = |is: bool| if is { "yes" } else { "no" };
    if args.which.json {
        let tenants = all.tenants.values().map(|known| {
            let record = known.record.as_ref();
            serde_json::json!({
                "id": known.id.as_str(),
                "name": known.name(),
                "organisation": record.map(|record| &record.organisation),
                "deleted_at_ms": record.and_then(|record| record.deleted_at_ms),
                "listed": known.is_listed,
                "stored": known.has_objects,
                "data_deleted": known.is_erased,
            })
        });
        return Ok(show::json(&tenants.collect(), out)?);
    }
    let rows: Vec<_> = all
        .tenants
        .values()
        .map(|known| {
            let record = known.record.as_ref();
            let organisation = record.map_or_else(|| "-".to_owned(), |record| record.organisation.clone());
            let deleted = show::time_or(record.and_then(|record| record.deleted_at_ms), "-");
            let data = if known.is_erased { "deleted" } else { word(known.has_objects) };
            let name = known.name().unwrap_or("-").to_owned();
            [
                known.id.to_string(),
                name,
                organisation,
                word(known.is_listed).to_owned(),
                data.to_owned(),
                deleted,
            ]
        })
        .collect();
    let headings =
        ["TENANT'S ID", "NAME", "ORGANISATION", "TAKES WRITES", "COMPACTED DATA", "DELETED BY ITS OWNER"];
    Ok(show::table(headings, &rows, out)?)
}

/// Deletes all data of the tenant and tells whether any is left.
///
/// # Errors
/// [`TenantError`]; [`TenantError::Found`] when some has to wait.
pub async fn delete(
    args: &TenantArgs,
    progress: &mut dyn Write,
    out: &mut dyn Write,
) -> Result<(), TenantError> {
    let storage = Storage::open(&args.records.storage, Use::Change).await?;
    let mut tenant = known::find(&args.records, &storage, &args.tenant).await?;
    // Nobody is to be told when standard error has gone; the work goes on.
    let _ = writeln!(progress, "deleting all data of {tenant}");
    if tenant.is_listed {
        let _ = writeln!(
            progress,
            "{tenant} is still in the tenant directory: what its API keys write from now on is dropped, too"
        );
    }
    storage.compactor(None).await?.delete_tenant(&tenant.id).await?;
    tenant.is_erased = true;
    // What it shares with others is written anew without it.
    rest(&storage, progress).await?;
    show_proof(&storage, &tenant, out).await
}

/// Tells whether any data of the tenant is left.
///
/// # Errors
/// [`TenantError`]; [`TenantError::Found`] when there is some.
pub async fn prove_deleted(args: &TenantArgs, out: &mut dyn Write) -> Result<(), TenantError> {
    let storage = Storage::open(&args.records.storage, Use::Read).await?;
    let tenant = known::find(&args.records, &storage, &args.tenant).await?;
    show_proof(&storage, &tenant, out).await
}

async fn show_proof(storage: &Storage, tenant: &Known, out: &mut dyn Write) -> Result<(), TenantError> {
    let proof = prove(&*storage.bucket, SHARD, &tenant.id).await?;
    writeln!(out, "{tenant}: {proof}")?;
    for object in &proof.found {
        writeln!(out, "has its data: {object}")?;
    }
    for object in &proof.unreadable {
        writeln!(out, "cannot be read: {object}")?;
    }
    if !proof.holds() {
        return Err(TenantError::Found { tenant: tenant.to_string(), is_erased: tenant.is_erased });
    }
    match tenant.is_erased {
        true => writeln!(
            out,
            "its data is deleted: the bucket has that on record, and drops what still comes for it"
        )?,
        false => writeln!(out, "its data was never deleted: there is just none")?,
    }
    if let Some(at_ms) = tenant.record.as_ref().and_then(|record| record.deleted_at_ms) {
        writeln!(out, "its owner deleted it at {}", show::time(at_ms))?;
    }
    Ok(())
}
