//! The manifest of a tenant: its segments, which merged objects are in them, and the ledger.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use telemetry::{BatchCounts, TenantId};

use super::codec::{self, ManifestKind};
use super::ledger::Ledger;
use super::shard::Retired;
use super::{ManifestError, Quarantined, serial};
use crate::{ObjectId, SegmentKey};

/// The segments of one tenant and signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantManifest {
    /// Goes up by one with every replacement.
    pub generation: u64,
    /// Merged objects whose part of this tenant is in `segments`. One is here at least as long as the shard's manifest names it.
    pub absorbed: BTreeSet<ObjectId>,
    /// The segments, by ascending id.
    pub segments: Vec<SegmentEntry>,
    /// Segments that left `segments`, until the object is deleted.
    pub retired: Vec<Retired>,
    /// Segments that nobody refers to and that are about to be deleted. Nobody may refer to them any more.
    pub doomed: BTreeSet<ObjectId>,
    /// What cannot be read.
    pub quarantined: Vec<Quarantined>,
    /// What was committed.
    pub ledger: Ledger,
    /// Segments of windows that ended before this were dropped when they became too old, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_before_ms: Option<i64>,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Two hours.
    TwoHours,
    /// A day.
    Day,
}

impl Level {
    /// Its length in milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        match self {
            Self::TwoHours => 2 * 3_600_000,
            Self::Day => 24 * 3_600_000,
        }
    }

    /// The window of this level that `timestamp_ms` is in.
    #[must_use]
    pub fn window_of(self, timestamp_ms: i64) -> TimeWindow {
        // Times before the first window that can be numbered are counted to it.
        let start_ms = timestamp_ms.div_euclid(self.ms()).checked_mul(self.ms());
        TimeWindow { level: self, start_ms: start_ms.unwrap_or((i64::MIN / self.ms()) * self.ms()) }
    }
}

/// A stretch of time whose samples a segment holds. It begins at a multiple of its level's length since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// How long it is.
    pub level: Level,
    /// When it begins, in milliseconds since the Unix epoch.
    pub start_ms: i64,
}

impl TimeWindow {
    /// The first millisecond after it.
    #[must_use]
    pub fn end_ms(&self) -> i64 {
        self.start_ms.saturating_add(self.level.ms())
    }

    /// The day that it is in.
    #[must_use]
    pub fn day(&self) -> Self {
        Level::Day.window_of(self.start_ms)
    }
}

/// How far apart samples are; see [`crate::thin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// As they came.
    #[default]
    Raw,
    /// Thinned in stretches of five minutes.
    FiveMinutes,
    /// Thinned in stretches of an hour.
    OneHour,
}

impl Resolution {
    /// Those of thinned segments, the finest first.
    pub const THINNED: [Self; 2] = [Self::FiveMinutes, Self::OneHour];

    /// How long stretches are, in milliseconds; `None` where nothing is thinned.
    #[must_use]
    pub const fn ms(self) -> Option<i64> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(5 * 60 * 1_000),
            Self::OneHour => Some(60 * 60 * 1_000),
        }
    }
}

/// A tenant segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEntry {
    /// Which one; [`TenantManifest::segment_key`] is its key.
    pub id: ObjectId,
    /// The object's length in bytes.
    pub len: u64,
    /// Where the index begins in the object: from there to its end is what a query needs first.
    pub index_start: u64,
    /// What time it is of. Several segments of a window may hold different series, or later samples of the same.
    pub window: TimeWindow,
    /// The earliest timestamp in it, ms; `i64::MAX` when there is none (metadata alone).
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms; `i64::MIN` when there is none.
    pub max_time_ms: i64,
    /// The first of the fresh segments whose data is in it.
    pub first: SegmentKey,
    /// The last of the fresh segments whose data is in it. Of equal samples the one in the object with the later `last` wins.
    pub last: SegmentKey,
    /// How much is in it.
    #[serde(with = "serial::Counts")]
    pub counts: BatchCounts,
    /// Samples that were counted in the ledger when they came here. What several segments hold together is counted once; of
    /// segments that one merge wrote, the first has the sum for all of them. Of a thinned segment: those that it was made from.
    pub distinct: u64,
    /// How far apart samples are.
    #[serde(default)]
    pub resolution: Resolution,
}

impl SegmentEntry {
    /// Whether a sample of the segment can lie in `start_ms..=end_ms`.
    #[must_use]
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_time_ms <= end_ms && self.max_time_ms >= start_ms
    }
}

impl TenantManifest {
    /// Where the manifest of `tenant`'s metrics is.
    #[must_use]
    pub fn key(tenant: &TenantId) -> String {
        format!("{}manifest", Self::prefix(tenant))
    }

    /// What the keys of `tenant`'s segments of metrics, and of their manifest, begin with.
    #[must_use]
    pub fn prefix(tenant: &TenantId) -> String {
        format!("t/{tenant}/metrics/")
    }

    /// The key of a segment of `tenant`.
    #[must_use]
    pub fn segment_key(tenant: &TenantId, id: &ObjectId) -> String {
        format!("{}{id}", Self::prefix(tenant))
    }

    /// The manifest in these bytes.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = codec::decode(ManifestKind::Tenant, bytes)?;
        manifest.check().map_err(|why| ManifestError::Corrupt(why.to_owned()))?;
        Ok(manifest)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`]; [`ManifestError::Corrupt`] when it contradicts itself.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check().map_err(|why| ManifestError::Corrupt(why.to_owned()))?;
        codec::encode(ManifestKind::Tenant, self)
    }

    /// Whether the tenant's part of merged object `merged` is found through this manifest.
    #[must_use]
    pub fn has_absorbed(&self, merged: &ObjectId) -> bool {
        self.absorbed.contains(merged)
    }

    /// The segment `id`, unless it has left.
    #[must_use]
    pub fn segment(&self, id: &ObjectId) -> Option<&SegmentEntry> {
        let found = self.segments.binary_search_by_key(id, |segment| segment.id).ok()?;
        self.segments.get(found)
    }

    /// Whether segment `id` is, or until it is deleted was, part of this manifest.
    #[must_use]
    pub fn names(&self, id: &ObjectId) -> bool {
        self.segment(id).is_some()
            || self.retired.iter().any(|retired| retired.id == *id)
            || self.doomed.contains(id)
    }

    fn check(&self) -> Result<(), &'static str> {
        for segment in &self.segments {
            if segment.first > segment.last || segment.index_start > segment.len {
                return Err("a segment with an impossible span");
            }
            let window = &segment.window;
            if window.start_ms.rem_euclid(window.level.ms()) != 0 {
                return Err("a window that begins where none does");
            }
            if self.doomed.contains(&segment.id) {
                return Err("a segment that is to be deleted");
            }
        }
        if self.segments.windows(2).any(|pair| pair[0].id >= pair[1].id) {
            return Err("segments do not ascend");
        }
        Ok(())
    }
}
