//! What is in the bucket, in the one order of reading in which nothing acked is missed and nothing counts twice:
//! the listing of fresh segments first, then the shard's manifest, then the tenant's; then what the shard's manifest has
//! absorbed is taken off the listing, and what the tenant's has absorbed off the merged objects.
//!
//! Why that order: data moves from the listing to merged objects to tenant segments, never back. Whoever looks in that order may
//! see data in two places (and takes it off), but never in neither.
//!
//! A listed object may be deleted before it is read, when it was absorbed and its grace has passed: [`read_in_snapshot`]
//! then starts over with a new snapshot.

use std::sync::Arc;

use storage_format::FormatError;
use telemetry::TenantId;

use crate::limits::{LIST_PAGE_KEYS, MAX_FRESH_OBJECTS, MAX_SNAPSHOTS};
use crate::manifest::ManifestError;
use crate::{Bucket, BucketError, Etag, Merged, SegmentKey, ShardId, ShardManifest, TenantManifest};

mod fresh;
pub use fresh::{
    FreshPartitions, read_footer, read_fresh_footer, read_fresh_partition, read_fresh_partitions,
    read_partition,
};

/// A fresh segment in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshObject {
    /// The segment.
    pub key: SegmentKey,
    /// The object's length in bytes.
    pub len: u64,
}

/// Why something could not be read. The text names the object.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A listed object is not there any more: take a new snapshot.
    #[error("segment {0} was deleted after it was named")]
    Gone(String),
    /// The bucket did not answer, or not with the object.
    #[error("the object store could not be read")]
    Bucket(#[source] Arc<BucketError>),
    /// The object is not what it should be. Others are not concerned.
    #[error("segment {key} cannot be read")]
    Segment {
        /// Which one.
        key: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A manifest is not what it should be.
    #[error("manifest {key} cannot be read")]
    Manifest {
        /// Which one.
        key: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// More fresh segments than a listing may hold.
    #[error("shard {shard} has more than {limit} fresh segments: compaction is behind")]
    TooManyObjects {
        /// Which shard.
        shard: ShardId,
        /// [`MAX_FRESH_OBJECTS`]
        limit: usize,
    },
}

impl From<BucketError> for ReadError {
    fn from(error: BucketError) -> Self {
        Self::Bucket(Arc::new(error))
    }
}

impl ReadError {
    /// Whether the same read may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Gone(_) => true,
            Self::Bucket(error) => error.is_retryable(),
            Self::Segment { .. } | Self::Manifest { .. } | Self::TooManyObjects { .. } => false,
        }
    }
}

/// A page of a listing of fresh segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshPage {
    /// In segment order.
    pub objects: Vec<FreshObject>,
    /// After which key the next page begins; `None` when this one is the last.
    pub next: Option<String>,
}

/// Lists the fresh segments of `shard` after the key `start_after`, in segment order, up to [`LIST_PAGE_KEYS`] of them, so that
/// a listing of any length takes bounded memory. Other names below the shard's prefix are passed over.
///
/// # Errors
/// [`ReadError::Bucket`].
pub async fn list_fresh_page(
    bucket: &dyn Bucket,
    shard: ShardId,
    start_after: Option<&str>,
) -> Result<FreshPage, ReadError> {
    let page = bucket.list(&shard.fresh_prefix(), start_after, LIST_PAGE_KEYS).await?;
    let segments = page.objects.iter();
    let segments = segments.filter_map(|object| Some((object.key.parse().ok()?, object.len)));
    let objects = segments.map(|(key, len)| FreshObject { key, len }).collect();
    let last = page.objects.into_iter().next_back().filter(|_| page.truncated);
    Ok(FreshPage { objects, next: last.map(|last| last.key) })
}

/// Lists the fresh segments of `shard` after `after` at once, in segment order; where there may be very many, follow
/// [`list_fresh_page`].
///
/// What a listing does not show may come later with a key *before* its last one: clocks of writers differ, and a put takes
/// its time. Whoever follows a shard by `after` leaves room for both.
///
/// # Errors
/// [`ReadError::Bucket`] and [`ReadError::TooManyObjects`].
pub async fn list_fresh(
    bucket: &dyn Bucket,
    shard: ShardId,
    after: Option<&SegmentKey>,
) -> Result<Vec<FreshObject>, ReadError> {
    let mut start_after = after.map(ToString::to_string);
    let mut found = Vec::new();
    loop {
        let page = list_fresh_page(bucket, shard, start_after.as_deref()).await?;
        found.extend(page.objects);
        if found.len() > MAX_FRESH_OBJECTS {
            return Err(ReadError::TooManyObjects { shard, limit: MAX_FRESH_OBJECTS });
        }
        match page.next {
            Some(next) => start_after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Everything that one tenant's query has to look at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Fresh segments that the shard's manifest has not absorbed, in segment order. Which tenants they hold, their footers say.
    pub fresh: Vec<FreshObject>,
    /// Merged objects that the tenant's manifest has not absorbed. Which tenants they hold, their footers say.
    pub merged: Vec<Merged>,
    /// The shard's manifest.
    pub shard: ShardManifest,
    /// The tenant's manifest, with the tenant's segments.
    pub tenant: TenantManifest,
}

impl Snapshot {
    /// Takes a snapshot: a listing and two reads, in this order.
    ///
    /// # Errors
    /// Those of [`list_fresh`], and [`ReadError::Manifest`].
    pub async fn take(bucket: &dyn Bucket, shard: ShardId, tenant: &TenantId) -> Result<Self, ReadError> {
        let mut fresh = list_fresh(bucket, shard, None).await?;
        let shard_manifest = read_shard_manifest(bucket, shard).await?;
        let tenant_manifest = read_tenant_manifest(bucket, tenant).await?;
        fresh.retain(|object| !shard_manifest.has_absorbed(&object.key));
        let merged = shard_manifest.merged.iter();
        let merged = merged.filter(|merged| !tenant_manifest.has_absorbed(&merged.id)).cloned().collect();
        Ok(Self { fresh, merged, shard: shard_manifest, tenant: tenant_manifest })
    }
}

/// Reads the manifest of `shard`; without one, nothing was ever compacted.
///
/// # Errors
/// [`ReadError::Bucket`] and [`ReadError::Manifest`].
pub async fn read_shard_manifest(bucket: &dyn Bucket, shard: ShardId) -> Result<ShardManifest, ReadError> {
    let read = read_manifest(bucket, &ShardManifest::key(shard), None, ShardManifest::decode).await?;
    Ok(read.map(|(manifest, _)| manifest).unwrap_or_default())
}

/// Reads the manifest of `tenant`; without one, nothing of the tenant is in segments of its own.
///
/// # Errors
/// [`ReadError::Bucket`] and [`ReadError::Manifest`].
pub async fn read_tenant_manifest(
    bucket: &dyn Bucket,
    tenant: &TenantId,
) -> Result<TenantManifest, ReadError> {
    let read = read_manifest(bucket, &TenantManifest::key(tenant), None, TenantManifest::decode).await?;
    Ok(read.map(|(manifest, _)| manifest).unwrap_or_default())
}

/// Reads a manifest unless its etag is `known`; `None` where there is none or it is the known one.
///
/// # Errors
/// [`ReadError::Bucket`] and [`ReadError::Manifest`].
pub async fn read_manifest<M>(
    bucket: &dyn Bucket,
    key: &str,
    known: Option<&Etag>,
    decode: impl FnOnce(&[u8]) -> Result<M, ManifestError>,
) -> Result<Option<(M, Etag)>, ReadError> {
    let object = match bucket.get_if_changed(key, known).await {
        Ok(Some(object)) => object,
        Ok(None) | Err(BucketError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let manifest =
        decode(&object.body).map_err(|source| ReadError::Manifest { key: key.to_owned(), source })?;
    Ok(Some((manifest, object.etag)))
}

/// Does `read` on a snapshot, and again on a new one when an object of it has gone meanwhile; at most [`MAX_SNAPSHOTS`] times.
///
/// # Errors
/// Those of [`Snapshot::take`] and of `read`.
pub async fn read_in_snapshot<T, F>(
    bucket: &dyn Bucket,
    shard: ShardId,
    tenant: &TenantId,
    mut read: impl FnMut(Snapshot) -> F,
) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    for _ in 1..MAX_SNAPSHOTS {
        match read(Snapshot::take(bucket, shard, tenant).await?).await {
            Err(ReadError::Gone(_)) => {}
            answer => return answer,
        }
    }
    read(Snapshot::take(bucket, shard, tenant).await?).await
}

#[cfg(test)]
mod tests;
