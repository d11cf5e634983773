//! Manifests: what compaction has absorbed. Their place in keys, snapshots and order is fixed; until there is compaction no
//! manifest is ever written, so the only one that can be read is the empty one, where there is no object.

use bytes::Bytes;
use telemetry::TenantId;

use crate::{SegmentKey, ShardId};

/// What compaction has done with the fresh segments of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardManifest {}

/// The segments of one tenant and signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantManifest {}

/// A manifest that this software cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a manifest of a later version: upgrade this process")]
pub struct ManifestError;

impl ShardManifest {
    /// Where the manifest of `shard` is.
    #[must_use]
    pub fn key(shard: ShardId) -> String {
        format!("{}manifest", shard.fresh_prefix())
    }

    /// The manifest in these bytes.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(_bytes: &Bytes) -> Result<Self, ManifestError> {
        Err(ManifestError)
    }

    /// Whether the data of `segment` is found through this manifest, so that the object itself must not be read.
    #[must_use]
    pub fn absorbed(&self, _segment: &SegmentKey) -> bool {
        false
    }
}

impl TenantManifest {
    /// Where the manifest of `tenant`'s metrics is.
    #[must_use]
    pub fn key(tenant: &TenantId) -> String {
        format!("t/{tenant}/metrics/manifest")
    }

    /// The manifest in these bytes.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(_bytes: &Bytes) -> Result<Self, ManifestError> {
        Err(ManifestError)
    }

    /// Whether `tenant`'s part of `segment` is found through this manifest.
    #[must_use]
    pub fn absorbed(&self, _segment: &SegmentKey) -> bool {
        false
    }
}
