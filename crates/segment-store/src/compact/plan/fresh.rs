//! The first stage: neighbouring fresh objects into merged ones, and these into larger ones.

use super::Reach;
use crate::limits::{
    DIVIDING_TIER, MERGE_BYTES, MERGE_FAN_IN, MERGE_FRESH_WAIT, MERGE_OBJECTS, MERGE_SAMPLES,
    MERGE_SLACK_SAMPLES,
};
use crate::{FreshObject, ObjectId, SegmentKey, ShardManifest};

/// An object of the fresh kind that no manifest has absorbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Which one.
    pub name: UnitName,
    /// Its length in bytes.
    pub len: u64,
    /// 0 for a fresh segment; [`DIVIDING_TIER`] for what is not to be merged any more.
    pub tier: u8,
    /// Samples in it, where they are known without reading it.
    pub samples: Option<u64>,
    /// The first fresh segment in it.
    pub first: SegmentKey,
    /// The last fresh segment in it.
    pub last: SegmentKey,
}

/// What an object of the fresh kind is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitName {
    /// A fresh segment.
    Fresh(SegmentKey),
    /// A merged object.
    Merged(ObjectId),
}

impl UnitName {
    /// The object's key.
    #[must_use]
    pub fn key(&self, shard: crate::ShardId) -> String {
        match self {
            Self::Fresh(key) => key.to_string(),
            Self::Merged(id) => ShardManifest::merged_key(shard, id),
        }
    }
}

/// The units of a shard in their order: what was listed and not absorbed, and what was merged; without those whose key is in
/// `passed_over`.
#[must_use]
pub fn units(
    listed: &[FreshObject],
    manifest: &ShardManifest,
    passed_over: &dyn Fn(&UnitName) -> bool,
) -> Vec<Unit> {
    let fresh = listed.iter().filter(|object| !manifest.has_absorbed(&object.key));
    let fresh = fresh.map(|object| Unit {
        name: UnitName::Fresh(object.key),
        len: object.len,
        tier: 0,
        samples: None,
        first: object.key,
        last: object.key,
    });
    let merged = manifest.merged.iter().map(|merged| Unit {
        name: UnitName::Merged(merged.id),
        len: merged.len,
        tier: if manifest.dividing.contains(&merged.id) { DIVIDING_TIER } else { merged.tier },
        samples: Some(merged.samples),
        first: merged.first,
        last: merged.last,
    });
    let mut units: Vec<Unit> = fresh.chain(merged).filter(|unit| !passed_over(&unit.name)).collect();
    units.sort_by_key(|unit| (unit.last, unit.first, unit.name));
    units
}

/// Neighbours to be made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePlan {
    /// From the earliest to the latest. All of the same tier.
    pub inputs: Vec<Unit>,
    /// The result's tier.
    pub tier: u8,
}

/// Whether `later`, the next unit after `earlier`, is its neighbour: no tenant segment has its place between them.
pub(super) fn neighbours(earlier: &Unit, later: &Unit, manifest: &ShardManifest) -> bool {
    manifest.absorbed_to.range(earlier.last..later.last).next().is_none()
}

/// The next merge of a shard whose `units` are in order; `now_ms` only tells whether a fresh segment has waited for long. The
/// latest run is chosen: there the next restart has most to read.
#[must_use]
pub fn plan_merge(units: &[Unit], manifest: &ShardManifest, reach: Reach, now_ms: i64) -> Option<MergePlan> {
    let mut end = units.len();
    while end > 0 {
        let mut start = end - 1;
        while start > 0
            && units[start - 1].tier == units[start].tier
            && neighbours(&units[start - 1], &units[start], manifest)
        {
            start -= 1;
        }
        if let Some(plan) = plan_run(&units[start..end], reach, now_ms) {
            return Some(plan);
        }
        end = start;
    }
    None
}

/// A merge of neighbours of one tier, the latest of them.
fn plan_run(run: &[Unit], reach: Reach, now_ms: i64) -> Option<MergePlan> {
    let tier = run.first()?.tier;
    if tier == DIVIDING_TIER {
        return None;
    }
    let wanted = match reach {
        Reach::Due => run,
        // What was written after the start is not part of everything.
        Reach::Everything { up_to } if tier == 0 => {
            &run[..run.partition_point(|unit| Some(unit.last) <= up_to)]
        }
        Reach::Everything { .. } => &[],
    };
    let oldest = wanted.first()?;
    let inputs = &wanted[wanted.len() - fitting(wanted)..];
    let waited_ms = now_ms.saturating_sub(oldest.last.time_ms());
    let enough = match reach {
        Reach::Everything { .. } => true,
        Reach::Due if inputs.len() >= MERGE_FAN_IN => true,
        Reach::Due => tier == 0 && i128::from(waited_ms) > MERGE_FRESH_WAIT.as_millis() as i128,
    };
    enough.then(|| MergePlan { inputs: inputs.to_vec(), tier: tier.saturating_add(1) })
}

/// How many of the last units of `run` one merge takes; at least one. Of fresh segments it is not known how many samples they
/// have: whoever merges them reads on until there are enough.
pub(super) fn fitting(run: &[Unit]) -> usize {
    let (mut bytes, mut samples) = (0_u64, 0_u64);
    let taken = run.iter().rev().take(MERGE_OBJECTS).take_while(|unit| {
        bytes = bytes.saturating_add(unit.len);
        samples = samples.saturating_add(unit.samples.unwrap_or_default());
        bytes <= MERGE_BYTES && samples <= MERGE_SAMPLES + MERGE_SLACK_SAMPLES
    });
    taken.count().max(1)
}
