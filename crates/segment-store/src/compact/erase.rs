//! Deleting a tenant, and proving that nothing of it is left.
//!
//! The shard's manifest keeps the tenant's name, so that its parts of fresh and merged objects are dropped wherever they are met. Its own
//! objects are deleted at once; the others when they are compacted and their grace is over.

use std::collections::BTreeSet;
use std::fmt;

use futures::StreamExt as _;
use telemetry::TenantId;

use super::CompactError;
use super::context::Context;
use super::in_order::in_order;
use crate::limits::{LIST_PAGE_KEYS, MERGE_READS};
use crate::{Bucket, ReadError, SegmentKey, ShardId, ShardManifest, read_footer};

/// Notes that `tenant` is to be deleted. From then on none of its data is absorbed.
pub(super) async fn mark(context: &Context, tenant: &TenantId) -> Result<(), CompactError> {
    loop {
        let shard = context.read_shard().await?;
        if shard.manifest.deleted_tenants.contains(tenant) {
            return Ok(());
        }
        let mut next = shard.manifest.clone();
        next.deleted_tenants.insert(tenant.clone());
        if context.commit_shard(&shard, next).await?.is_some() {
            return Ok(());
        }
    }
}

/// Deletes all objects of `tenant` alone.
pub(super) async fn erase(context: &Context, tenant: &TenantId) -> Result<usize, CompactError> {
    let keys = keys(&*context.bucket, &own_prefix(tenant)).await?;
    context.delete(&keys).await?;
    Ok(keys.len())
}

fn own_prefix(tenant: &TenantId) -> String {
    format!("t/{tenant}/")
}

async fn keys(bucket: &dyn Bucket, prefix: &str) -> Result<Vec<String>, ReadError> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = bucket.list(prefix, keys.last().map(String::as_str), LIST_PAGE_KEYS).await?;
        keys.extend(page.objects.into_iter().map(|object| object.key));
        if !page.truncated {
            return Ok(keys);
        }
    }
}

/// What a search for a tenant's data looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionProof {
    /// Objects of the shard whose footer was read: it names every tenant that the object has data of.
    pub footers_read: usize,
    /// Objects that hold data of the tenant.
    pub found: BTreeSet<String>,
    /// Objects of which it cannot be known, and why.
    pub unreadable: BTreeSet<String>,
}

impl DeletionProof {
    /// Whether nothing is left.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.found.is_empty() && self.unreadable.is_empty()
    }
}

impl fmt::Display for DeletionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { footers_read, found, unreadable } = self;
        write!(f, "{footers_read} footers read, {} objects with data of the tenant", found.len())?;
        if !unreadable.is_empty() {
            write!(f, ", {} objects that cannot be read", unreadable.len())?;
        }
        Ok(())
    }
}

/// Looks for data of `tenant` in every object of `shard` and under the tenant's own prefix. An object that goes away while it looks
/// has nothing any more.
///
/// # Errors
/// [`ReadError::Bucket`].
pub async fn prove_deleted(
    bucket: &dyn Bucket,
    shard: ShardId,
    tenant: &TenantId,
) -> Result<DeletionProof, ReadError> {
    let mut proof = DeletionProof {
        found: keys(bucket, &own_prefix(tenant)).await?.into_iter().collect(),
        ..Default::default()
    };
    let merged = ShardManifest::merged_prefix(shard);
    let shared = keys(bucket, &shard.fresh_prefix()).await?;
    let shared =
        shared.into_iter().filter(|key| key.starts_with(&merged) || key.parse::<SegmentKey>().is_ok());
    let reads = shared.map(|key| async move {
        let footer = read_footer(bucket, &key).await;
        (key, footer)
    });
    let mut reads = in_order(reads, MERGE_READS);
    while let Some((key, footer)) = reads.next().await {
        match footer {
            Ok(footer) => {
                proof.footers_read += 1;
                if footer.partitions().iter().any(|entry| entry.tenant == *tenant) {
                    proof.found.insert(key);
                }
            }
            Err(ReadError::Gone(_)) => {}
            Err(ReadError::Segment { source, .. }) => {
                proof.unreadable.insert(format!("{key}: {source}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(proof)
}
