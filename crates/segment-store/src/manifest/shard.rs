//! The manifest of a shard: which merged objects there are, and which fresh objects are in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use telemetry::TenantId;

use super::codec::{self, ManifestKind};
use super::{ManifestError, Quarantined, serial};
use crate::{ObjectId, SegmentKey, ShardId};

/// What compaction has done with the fresh segments of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardManifest {
    /// Goes up by one with every replacement.
    pub generation: u64,
    /// Goes up by one whenever a merged object leaves `merged`: what a reader knows of tenant manifests from before may lack data.
    pub epoch: u64,
    /// The merged objects that hold data which some tenant manifest has not absorbed, by ascending id.
    pub merged: Vec<Merged>,
    /// Those of them that are being absorbed: some tenants may have their part already. So they are merged with no other any more, or
    /// those tenants' samples would be in two places.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dividing: BTreeSet<ObjectId>,
    /// Fresh objects whose data is in merged objects (or was absorbed from them), and since when, in milliseconds since the Unix
    /// epoch. They are here until the object is deleted.
    pub absorbed: BTreeMap<SegmentKey, i64>,
    /// How many fresh objects have left `absorbed` ([`Self::forget_deleted`]): a reader sees by it whether one came and went
    /// that it never saw.
    pub swept: u64,
    /// The last of them in segment order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swept_to: Option<SegmentKey>,
    /// The `last` of what left `merged` for tenant segments, the latest of them. What turns up late with a name before one of
    /// these is not merged with what is after it: that would change which sample wins.
    pub absorbed_to: BTreeSet<SegmentKey>,
    /// Merged objects that left `merged`, until the object is deleted.
    pub retired: Vec<Retired>,
    /// Merged objects that nobody refers to and that are about to be deleted. Nobody may refer to them any more.
    pub doomed: BTreeSet<ObjectId>,
    /// Tenants whose data is being removed: their parts of fresh and merged objects are dropped. They stay here.
    #[serde(with = "serial::tenants")]
    pub deleted_tenants: BTreeSet<TenantId>,
    /// What cannot be read.
    pub quarantined: Vec<Quarantined>,
}

/// A merged object: a segment of the fresh kind, which holds what several fresh segments held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merged {
    /// Which one; [`ShardManifest::merged_key`] is its key.
    pub id: ObjectId,
    /// The object's length in bytes.
    pub len: u64,
    /// How many merges lie behind it at most; from 1.
    pub tier: u8,
    /// The first of the fresh segments in it.
    pub first: SegmentKey,
    /// The last of the fresh segments in it. Of equal samples the one in the object with the later `last` wins.
    pub last: SegmentKey,
    /// Samples in it.
    pub samples: u64,
    /// Tenants in it.
    pub tenants: u64,
    /// How many fresh segments are in it: so many flushes it took.
    #[serde(default)]
    pub fresh: u64,
}

/// An object that no reader needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// Which one.
    pub id: ObjectId,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl ShardManifest {
    /// Where the manifest of `shard` is.
    #[must_use]
    pub fn key(shard: ShardId) -> String {
        format!("{}manifest", shard.fresh_prefix())
    }

    /// What the keys of all merged objects of `shard` begin with.
    #[must_use]
    pub fn merged_prefix(shard: ShardId) -> String {
        format!("{}merged/", shard.fresh_prefix())
    }

    /// The key of a merged object of `shard`.
    #[must_use]
    pub fn merged_key(shard: ShardId, id: &ObjectId) -> String {
        format!("{}{id}", Self::merged_prefix(shard))
    }

    /// The manifest in these bytes.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = codec::decode(ManifestKind::Shard, bytes)?;
        manifest.check().map_err(|why| ManifestError::Corrupt(why.to_owned()))?;
        Ok(manifest)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`]; [`ManifestError::Corrupt`] when it contradicts itself.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check().map_err(|why| ManifestError::Corrupt(why.to_owned()))?;
        codec::encode(ManifestKind::Shard, self)
    }

    /// Whether the data of fresh segment `segment` is found through this manifest, so that the object itself must not be read.
    #[must_use]
    pub fn has_absorbed(&self, segment: &SegmentKey) -> bool {
        self.absorbed.contains_key(segment)
    }

    /// Takes fresh segments off `absorbed` whose objects are deleted; those that are not there are passed over.
    pub fn forget_deleted(&mut self, deleted: &[SegmentKey]) {
        for segment in deleted {
            if self.absorbed.remove(segment).is_some() {
                self.swept += 1;
                self.swept_to = self.swept_to.max(Some(*segment));
            }
        }
    }

    /// The last fresh segment, in segment order, whose data is found through this manifest or those of tenants.
    #[must_use]
    pub fn absorbed_to(&self) -> Option<SegmentKey> {
        self.absorbed.last_key_value().map(|(segment, _)| *segment).max(self.swept_to)
    }

    /// The merged object `id`, unless it has left.
    #[must_use]
    pub fn merged(&self, id: &ObjectId) -> Option<&Merged> {
        let found = self.merged.binary_search_by_key(id, |merged| merged.id).ok()?;
        self.merged.get(found)
    }

    /// Whether merged object `id` is, or until it is deleted was, part of this manifest.
    #[must_use]
    pub fn names(&self, id: &ObjectId) -> bool {
        self.merged(id).is_some()
            || self.retired.iter().any(|retired| retired.id == *id)
            || self.doomed.contains(id)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.merged.iter().any(|merged| merged.first > merged.last || merged.tier == 0) {
            return Err("a merged object with an impossible span");
        }
        if self.merged.windows(2).any(|pair| pair[0].id >= pair[1].id) {
            return Err("merged objects do not ascend");
        }
        if self.merged.iter().any(|merged| self.doomed.contains(&merged.id)) {
            return Err("a merged object that is to be deleted");
        }
        Ok(())
    }
}
