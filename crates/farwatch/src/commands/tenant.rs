//! `farwatch tenant`: deletes a tenant's data, and shows that none is left.

use std::io::Write;

use segment_store::ReadError;
use segment_store::compact::{CompactError, prove_deleted as prove};
use telemetry::{TenantId, TenantIdError};

use super::compact::{CompactCommandError, rest};
use super::storage::{SHARD, Storage, StorageError};
use crate::cli::TenantArgs;

/// Why a tenant's data is not known to be deleted.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no data to work on.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A tenant's id that is none.
    #[error(transparent)]
    Tenant(#[from] TenantIdError),
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
    #[error(
        "there is still data of tenant {0}; what was deleted goes when readers cannot need it any more, after ten minutes"
    )]
    Found(TenantId),
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
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
    let tenant = TenantId::new(&args.tenant)?;
    let storage = Storage::open(&args.storage).await?;
    storage.compactor(None)?.delete_tenant(&tenant).await?;
    // What it shares with others is written anew without it.
    rest(&storage, progress).await?;
    show_proof(&storage, &tenant, out).await
}

/// Tells whether any data of the tenant is left.
///
/// # Errors
/// [`TenantError`]; [`TenantError::Found`] when there is some.
pub async fn prove_deleted(args: &TenantArgs, out: &mut dyn Write) -> Result<(), TenantError> {
    let tenant = TenantId::new(&args.tenant)?;
    let storage = Storage::open(&args.storage).await?;
    show_proof(&storage, &tenant, out).await
}

async fn show_proof(storage: &Storage, tenant: &TenantId, out: &mut dyn Write) -> Result<(), TenantError> {
    let proof = prove(&*storage.bucket, SHARD, tenant).await?;
    writeln!(out, "{proof}")?;
    for object in &proof.found {
        writeln!(out, "has data of {tenant}: {object}")?;
    }
    for object in &proof.unreadable {
        writeln!(out, "cannot be read: {object}")?;
    }
    if proof.holds() { Ok(()) } else { Err(TenantError::Found(tenant.clone())) }
}
